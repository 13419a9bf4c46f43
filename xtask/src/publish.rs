//! `cargo xtask release`: a version is built, pushed by digest, signed, attested, and verified out of the registry as a
//! stranger would. Only then it gets its tag. skopeo and cosign do what they are for; this is the order.

use crate::build::{self, Program};
use crate::command::run;
use crate::distribution;
use crate::image::build_image;
use crate::oci::{self, Image};
use crate::output;
use crate::platform::PLATFORMS;
use crate::release::{self, Release};
use crate::sbom;
use crate::verify;
use crate::vex;
use anyhow::{Context, Result, ensure};
use oci_spec::image::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Release this version: build, push, sign, attest, verify as a stranger, and at last set its tag
///
/// Needs skopeo, cosign 3, oras and the compiler that release.toml records. Until all of that has held, the registry has
/// no tag of the version. A registry on 127.0.0.1 is spoken to without TLS, for rehearsals.
#[derive(clap::Args)]
#[command(mut_group("Origin", |origin| origin.required(true)))]
pub struct Publish {
    /// Where the image goes, such as ghcr.io/OWNER/pause
    repository: String,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    origin: Origin,
    /// Directory for the files of the release [default: target/release-files of the project]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// What the provenance states of a build.
#[derive(clap::Args)]
pub struct Origin {
    /// Where the sources are, for the provenance: an https address of a git repository
    #[arg(long, value_name = "URL", required = false, requires = "builder")]
    source: String,
    /// Who builds, for the provenance: <https://slsa.dev/spec/v1.0/provenance#builder.id>
    #[arg(long, value_name = "URI", required = false, requires = "source")]
    builder: String,
}

/// Who signs: all that differs between a release and its rehearsal.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Signer {
    /// Sign with a private key that cosign made, without a transparency log; COSIGN_PASSWORD has its password
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign by a certificate for this workflow of GitHub's; takes `released = true` in release.toml
    #[arg(long, value_name = "URL")]
    identity: Option<String>,
}

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

const SBOM: &str = "pause.cdx.json";
/// <https://www.iana.org/assignments/media-types/application/vnd.cyclonedx+json>
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
const VEX: &str = "pause.openvex.json";
const PROVENANCE: &str = "pause.intoto.json";
const SUMS: &str = "SHA256SUMS";
const SUMS_SIGNED: &str = "SHA256SUMS.sigstore.json";

impl Publish {
    pub fn run(self) -> Result<()> {
        let recorded = Release::own()?;
        if self.signer.identity.is_some() {
            ensure!(recorded.released, "{} does not say `released = true`", release::FILE);
            let changed = run(&mut release::git(["diff", "--name-only", "HEAD"]))?.trim_end().replace('\n', ", ");
            ensure!(changed.is_empty(), "the provenance names a commit, and these were changed since: {changed}");
        }
        recorded.check_sources()?;
        let (programs, image) = build_image(&PLATFORMS.iter().collect::<Vec<_>>(), &recorded.times(), &recorded)?;
        let digest = &recorded.index.digest;
        let is_recorded = image.index.digest() == digest;
        ensure!(is_recorded, "what this source gives is not what is recorded: run `cargo xtask verify`");
        let directory = match &self.output {
            Some(output) => std::path::absolute(output).context("--output names no directory")?,
            None => build::root()?.join("target/release-files"),
        };
        let (by_digest, tag) =
            (format!("{}@{digest}", self.repository), format!("{}:{}", self.repository, recorded.version));
        ensure!(digest_of(&tag)?.is_none(), "{tag} exists already, and a version is released once");

        let progress = output::progress(5)?;
        let step = |name: &'static str| {
            progress.inc(1);
            progress.set_message(name);
        };
        self.write_files(&directory, &programs, &image, &recorded)?;
        step("pushing");
        let archive = format!("oci-archive:{}", directory.join("pause.tar").display());
        let archive = format!("{archive}:{}", archive_names()[0]);
        run(&mut copying(&archive, &format!("docker://{by_digest}")))?;
        step("signing");
        self.sign(&directory, &by_digest)?;
        step("verifying");
        let verifier = self.signer.verifier(&directory)?;
        check_published(&by_digest, &verifier, &recorded)?;
        check_files(&directory, &verifier)?;
        step("tagging");
        run(&mut copying(&format!("docker://{by_digest}"), &format!("docker://{tag}")))?;
        let tagged = digest_of(&tag)?;
        ensure!(tagged.as_ref() == Some(digest), "{tag} was set to {digest}, but is {tagged:?}");
        progress.finish_and_clear();
        output::print(&format!("{tag}\n{by_digest}\n{}\n", directory.display()))
    }

    /// What a release holds beside the image in the registry, and last the sums of it all.
    fn write_files(&self, directory: &Path, programs: &[Program], image: &Image, recorded: &Release) -> Result<()> {
        let provenance = self.origin.provenance(&self.repository, programs, image, &recorded.version)?;
        let mut files = BTreeMap::from([
            ("pause.tar".to_owned(), image.archive(&archive_names())?),
            (SBOM.into(), sbom::document(programs, image.index.digest(), &recorded.times())?),
            (
                VEX.into(),
                vex::document(image.index.digest(), &recorded.version, &self.origin.source, &recorded.times())?,
            ),
            (PROVENANCE.into(), provenance),
            (release::FILE.into(), recorded.to_string().into_bytes()),
        ]);
        files.extend(programs.iter().map(|program| (file_name(program), program.bytes.clone())));
        let mut sums = String::new();
        for (name, bytes) in &files {
            sums += &format!("{}  {name}\n", oci::sha256(bytes)?.digest());
            let is_program = programs.iter().any(|program| file_name(program) == *name);
            output::write(&directory.join(name), bytes, if is_program { 0o755 } else { 0o644 })?;
        }
        output::write(&directory.join(SUMS), sums.as_bytes(), 0o644)
    }

    /// Index and manifests, in both forms, because a client verifies what it pulls; and the index' documents.
    fn sign(&self, directory: &Path, image: &str) -> Result<()> {
        let path = |name: &str| directory.join(name).display().to_string();
        let signer = self.signer.arguments()?;
        let sign = |words: &[&str]| {
            run(cosign().args(words).args(["--yes", "--use-signing-config=false"]).args(&signer)).map(drop)
        };
        // cosign writes the statement around it itself, about the index alone; SHA256SUMS signs the whole one.
        let statement: Value = serde_json::from_slice(&fs::read(directory.join(PROVENANCE))?)?;
        let predicate = tempfile::NamedTempFile::new()?;
        fs::write(predicate.path(), statement["predicate"].to_string())?;
        let documents = [path(SBOM), path(VEX), predicate.path().display().to_string()];
        for form in FORMS {
            let there: Vec<&str> = [form, image].into_iter().chain(plain(image)).collect();
            sign(&[&["sign", "--recursive"], &*there].concat())?;
            for (kind, document) in ATTESTED.iter().zip(&documents) {
                sign(&[&["attest", "--type", kind, "--predicate", document], &*there].concat())?;
            }
        }
        // Where scanners look for it: a referrer of the index (OCI distribution 1.1, "Listing Referrers").
        let mut attach = Command::new("oras");
        attach.args(["attach", "--artifact-type", CYCLONEDX, image, &format!("{SBOM}:{CYCLONEDX}")]);
        attach.args(is_on_loopback(image).then_some("--plain-http")).current_dir(directory);
        run(&mut attach)?;
        sign(&["sign-blob", "--bundle", &path(SUMS_SIGNED), &path(SUMS)])
    }
}

impl Origin {
    /// <https://slsa.dev/spec/v1.0/provenance>, as a statement: <https://in-toto.io/Statement/v1>.
    pub fn provenance(&self, name: &str, programs: &[Program], image: &Image, version: &str) -> Result<Vec<u8>> {
        let head = run(&mut release::git(["rev-parse", "HEAD"]));
        let head = head.context("the provenance names the commit: release from a clone of the repository")?;
        let head = head.trim_end();
        let subject = |name: &str, digest: &str| json!({ "name": name, "digest": { "sha256": digest } });
        let mut subjects = vec![subject(name, image.index.digest().digest())];
        subjects.extend(image.platforms.iter().map(|part| subject(name, part.manifest.digest().digest())));
        for program in programs {
            subjects.push(subject(&file_name(program), oci::sha256(&program.bytes)?.digest()));
        }
        let mut materials = vec![json!({ "uri": format!("git+{}", self.source), "digest": { "gitCommit": head } })];
        materials.extend(linked_crates(programs)?);
        let compilers: BTreeMap<String, &str> =
            programs.iter().map(|program| (program.platform.to_string(), program.compiler.as_str())).collect();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": format!("{}/blob/{head}/docs/release.md", self.source),
                    "externalParameters": { "version": version },
                    "internalParameters": { "compilers": compilers },
                    "resolvedDependencies": materials,
                },
                "runDetails": { "builder": { "id": self.builder } },
            },
        });
        Ok(serde_json::to_vec_pretty(&statement)?)
    }
}

impl Signer {
    fn arguments(&self) -> Result<Vec<String>> {
        let Some(key) = &self.key else { return Ok(Vec::new()) };
        let key = key.to_str().context("--key is not UTF-8")?.to_owned();
        Ok(vec!["--key".into(), key, "--tlog-upload=false".into()])
    }

    /// The public key is written beside the files it verifies.
    fn verifier(&self, directory: &Path) -> Result<Verifier> {
        let Some(key) = &self.key else { return Ok(Verifier { key: None, identity: self.identity.clone() }) };
        let public = directory.join("cosign.pub");
        let bytes = run(cosign().arg("public-key").arg("--key").arg(key))?;
        output::write(&public, bytes.as_bytes(), 0o644)?;
        Ok(Verifier { key: Some(public), identity: None })
    }
}

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
    let check = |image: &str, words: &[&str]| -> Result<()> {
        for form in FORMS {
            let mut command = cosign();
            command.args(words).arg(form).args(&signer).args(plain(image)).arg(image);
            stranger(command).with_context(|| format!("{} of {image}, {form}", words.join(" ")))?;
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
    stranger(copying(&format!("docker://{image}"), &format!("oci-archive:{}", pulled.display())))?;
    verify::check(File::open(&pulled)?, recorded)
        .map_err(|complaints| anyhow::anyhow!("{image} is not what is recorded:\n  {}", complaints.join("\n  ")))
}

/// Whether the sums are signed, and the files have them.
fn check_files(directory: &Path, verifier: &Verifier) -> Result<()> {
    let sums = directory.join(SUMS);
    let mut verify = cosign();
    run(verify
        .arg("verify-blob")
        .args(verifier.arguments()?)
        .arg("--bundle")
        .arg(directory.join(SUMS_SIGNED))
        .arg(&sums))?;
    run(Command::new("sha256sum").args(["--check", "--strict", "--quiet", SUMS]).current_dir(directory)).map(drop)
}

/// Crates that are in the program, with the sums that Cargo.lock has.
fn linked_crates(programs: &[Program]) -> Result<Vec<Value>> {
    let lock: toml::Table = toml::from_str(&fs::read_to_string(build::root()?.join("Cargo.lock"))?)?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let mut linked = BTreeMap::new();
    for library in programs.iter().flat_map(|program| &program.crates) {
        let text =
            |package: &toml::Value, key: &str| package.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let is_it = |package: &&toml::Value| {
            text(package, "name").as_ref() == Some(&library.name)
                && text(package, "version").as_ref() == Some(&library.version)
        };
        let sum = packages.iter().find(is_it).and_then(|package| text(package, "checksum"));
        let uri = format!("pkg:cargo/{}@{}", library.name, library.version);
        let sum = sum.with_context(|| format!("Cargo.lock has no checksum of {uri}"))?;
        linked.insert(uri, sum);
    }
    Ok(linked.into_iter().map(|(uri, sum)| json!({ "uri": uri, "digest": { "sha256": sum } })).collect())
}

/// What the nodes of every distribution ask for that can load an archive of all platforms.
fn archive_names() -> Vec<String> {
    let distributions = distribution::names().map(distribution::named);
    let names = distributions.filter(|distribution| distribution.loads(PLATFORMS.len()));
    let mut names: Vec<String> = names.flat_map(|distribution| distribution.images()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn file_name(program: &Program) -> String {
    format!("pause-{}", program.platform.to_string().replace('/', "-"))
}

fn cosign() -> Command {
    Command::new("cosign")
}

/// Whether a registry is on this machine, and so has no certificate.
fn is_on_loopback(image: &str) -> bool {
    image.trim_start_matches("docker://").starts_with("127.0.0.1:")
}

/// What cosign has to be told of such a registry.
fn plain(image: &str) -> Option<&'static str> {
    is_on_loopback(image).then_some("--allow-http-registry")
}

/// skopeo's command that copies all platforms as they are.
fn copying(from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--all", "--preserve-digests"]);
    command.arg(format!("--src-tls-verify={}", !is_on_loopback(from)));
    command.arg(format!("--dest-tls-verify={}", !is_on_loopback(to))).args([from, to]);
    command
}

/// What a tag stands for, if there is one.
fn digest_of(tag: &str) -> Result<Option<Digest>> {
    let mut inspect = Command::new("skopeo");
    inspect.args(["inspect", "--raw", &format!("--tls-verify={}", !is_on_loopback(tag)), &format!("docker://{tag}")]);
    match run(&mut inspect) {
        Ok(manifest) => oci::sha256(manifest.as_bytes()).map(Some),
        // As registries word MANIFEST_UNKNOWN and NAME_UNKNOWN of OCI's distribution specification.
        Err(error) if ["manifest unknown", "name unknown"].iter().any(|code| error.to_string().contains(code)) => {
            Ok(None)
        }
        Err(error) => Err(error.context(format!("cannot tell whether {tag} exists"))),
    }
}
