//! The image can be signed, and its bill of materials attested, with a key pair; whoever has the public key sees whether
//! it is that image, and another key or another image is refused.

mod debian;
mod engines;
mod support;

use engines::Sandbox;
use oci_spec::image::ImageIndex;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const NAME: &str = "localhost/pause:0.1.0";
const TAG: &str = "127.0.0.1:5000/pause:0.1.0";

/// Keys, and neither a transparency log nor a service that issues certificates, for these are not on this machine.
const SIGN: [&str; 4] = ["--yes", "--use-signing-config=false", "--tlog-upload=false", "--allow-http-registry"];
const VERIFY: [&str; 2] = ["--insecure-ignore-tlog", "--allow-http-registry"];

#[test]
#[ignore = "needs root, docker-registry, skopeo and Debian's archive: cargo test --test signing -- --ignored"]
fn a_signed_image_is_told_from_every_other() {
    let signer = Signer::new();
    let (ours, theirs) = (signer.key("ours"), signer.key("theirs"));
    let image = signer.image();
    assert!(signer.verify(&ours, &image).is_err(), "nobody has signed yet");
    signer.cosign(&[&["sign", "--key", &ours.private], &SIGN[..], &[&image]].concat()).expect("signed");
    signer.verify(&ours, &image).expect("what was signed is verified");
    let refusal = signer.verify(&theirs, &image).expect_err("somebody else's key");
    assert!(refusal.contains("failed to verify signature"), "{refusal}");
    let other = format!("127.0.0.1:5000/pause@{}", signer.replace_image());
    assert_ne!(other, image);
    signer.verify(&ours, &other).expect_err("another image in the same place");
    signer.verify(&ours, TAG).expect_err("the tag, which now stands for the other image");
    signer.verify(&ours, &image).expect("the first image is still the one that was signed");
}

#[test]
#[ignore = "needs root, docker-registry, skopeo and Debian's archive: cargo test --test signing -- --ignored"]
fn the_bill_of_materials_is_attested() {
    let signer = Signer::new();
    let (ours, theirs) = (signer.key("ours"), signer.key("theirs"));
    let image = signer.image();
    let sbom = signer.path("image/pause.cdx.json");
    let attest = ["attest", "--key", &ours.private, "--type=cyclonedx", "--predicate", &sbom];
    signer.cosign(&[&attest[..], &SIGN[..], &[&image]].concat()).expect("attested");
    let verify = |key: &Key| {
        let verify = ["verify-attestation", "--key", &key.public, "--type=cyclonedx"];
        signer.cosign(&[&verify[..], &VERIFY[..], &[&image]].concat())
    };
    verify(&ours).expect("what was attested is verified");
    verify(&theirs).expect_err("somebody else's key");
}

/// A machine with cosign and a registry that has the image.
struct Signer {
    sandbox: Sandbox,
    folder: TempDir,
    cosign: PathBuf,
}

struct Key {
    private: String,
    public: String,
}

impl Signer {
    fn new() -> Self {
        let signer = Self { sandbox: Sandbox::new(), folder: tempfile::tempdir().expect("a folder"), cosign: cosign() };
        signer.build(&[]);
        signer.sandbox.start_registry();
        signer.push();
        signer
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn build(&self, variables: &[(&str, &str)]) {
        let mut command = support::tool();
        command.args(["image", "--output", &self.path("image"), "--tag", NAME]).stdout(Stdio::null());
        let status = command.envs(variables.iter().copied()).status().expect("the tool runs");
        assert!(status.success(), "{command:?} failed: {status}");
    }

    fn push(&self) {
        self.sandbox.push(Path::new(&self.path("image/oci")), NAME, TAG);
    }

    /// The name and the digest of what the layout has.
    fn image(&self) -> String {
        format!("127.0.0.1:5000/pause@{}", self.digest())
    }

    fn digest(&self) -> String {
        let index = ImageIndex::from_file(self.path("image/oci/index.json")).expect("an index");
        index.manifests()[0].digest().to_string()
    }

    /// Puts another image under the same tag.
    fn replace_image(&self) -> String {
        self.build(&[("SOURCE_DATE_EPOCH", "1")]);
        self.push();
        self.digest()
    }

    fn key(&self, name: &str) -> Key {
        let prefix = self.path(name);
        self.cosign(&["generate-key-pair", "--output-key-prefix", &prefix]).expect("a key pair");
        Key { private: format!("{prefix}.key"), public: format!("{prefix}.pub") }
    }

    fn verify(&self, key: &Key, image: &str) -> Result<(), String> {
        self.cosign(&[&["verify", "--key", &key.public], &VERIFY[..], &[image]].concat())
    }

    fn cosign(&self, words: &[&str]) -> Result<(), String> {
        let cosign = self.cosign.to_str().expect("UTF-8");
        // The keys have no passphrase.
        let ended = self.sandbox.try_run(&[&["env", "COSIGN_PASSWORD=", cosign], words].concat());
        if ended.status.success() { Ok(()) } else { Err(ended.to_string()) }
    }
}

/// Debian has it in no release yet; what it needs of the system is the C library alone.
fn cosign() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cosign");
    if !path.is_file() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let archive = debian::Archive { kind: "deb", suite: "sid", architecture: debian::this_architecture() };
        archive.run(folder.path(), r#"apt-get "$@" download cosign; dpkg-deb --extract cosign_*.deb ."#);
        std::fs::rename(folder.path().join("usr/bin/cosign"), &path).expect("the same file system");
    }
    assert!(Command::new(&path).arg("version").output().is_ok_and(|output| output.status.success()), "cosign runs");
    path
}
