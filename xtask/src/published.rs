//! What `verify --published` asks of a registry: signatures and attestations, by cosign, and the image itself.

use crate::command::run;
use crate::release::Release;
use crate::verify;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// What a stranger has to know of the signer.
#[derive(clap::Args)]
pub struct Verifier {
    /// The public key it has to be signed with, without a transparency log
    #[arg(long, value_name = "FILE", requires = "published", conflicts_with = "identity")]
    key: Option<PathBuf>,
    /// The workflow of GitHub's whose certificate it has to be signed by
    #[arg(long, value_name = "URL", requires = "published")]
    identity: Option<String>,
}

/// What is attested of the image, by the name cosign has for it.
const ATTESTED: [&str; 3] = ["cyclonedx", "openvex", "slsaprovenance1"];

/// The form that Podman and cosign 2 read, a tag `sha256-….sig`, and the bundle of cosign 3.
const FORMS: [&str; 2] = ["--new-bundle-format=false", "--new-bundle-format=true"];

/// Of the certificates GitHub's workflows get:
/// <https://docs.github.com/actions/concepts/security/openid-connect>.
const ISSUER: &str = "https://token.actions.githubusercontent.com";

impl Verifier {
    fn arguments(&self) -> Result<Vec<String>> {
        if let Some(key) = &self.key {
            let key = key.to_str().context("--key is not UTF-8")?.to_owned();
            return Ok(vec!["--key".into(), key, "--insecure-ignore-tlog".into()]);
        }
        let identity = self.identity.as_deref().context("whose signature? --key or --identity says it")?;
        Ok(["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER].map(str::to_owned).into())
    }
}

/// Verifies what a registry has, knowing the signer and what is recorded, and nothing else: not the credentials of who
/// released it, nor what cosign keeps in his home directory.
pub fn check_published(image: &str, verifier: &Verifier, recorded: &Release) -> Result<String> {
    let signer = verifier.arguments()?;
    let home = tempfile::tempdir()?;
    let stranger = |mut command: Command| {
        command.env("HOME", home.path()).env_remove("REGISTRY_AUTH_FILE").env_remove("DOCKER_CONFIG");
        run(&mut command)
    };
    // A registry on this machine has no certificate.
    let is_on_loopback = image.starts_with("127.0.0.1:");
    let check = |image: &str, words: &[&str]| -> Result<()> {
        for form in FORMS {
            let mut cosign = Command::new("cosign");
            cosign
                .args(words)
                .arg(form)
                .args(&signer)
                .args(is_on_loopback.then_some("--allow-http-registry"))
                .arg(image);
            stranger(cosign).with_context(|| format!("{} of {image}, {form}", words.join(" ")))?;
        }
        Ok(())
    };
    check(image, &["verify"])?;
    for kind in ATTESTED {
        check(image, &["verify-attestation", "--type", kind])?;
    }
    let (repository, _) = image.split_once('@').context("not an image by digest")?;
    for row in recorded.shipped_rows() {
        check(&format!("{repository}@{}", row.manifest.digest), &["verify"])?;
    }
    let pulled = home.path().join("pulled.tar");
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--all", "--preserve-digests", &format!("--src-tls-verify={}", !is_on_loopback)]);
    copy.args([format!("docker://{image}"), format!("oci-archive:{}", pulled.display())]);
    stranger(copy)?;
    verify::check(File::open(&pulled)?, recorded)
        .map_err(|complaints| anyhow::anyhow!("{image} is not what is recorded:\n  {}", complaints.join("\n  ")))
}
