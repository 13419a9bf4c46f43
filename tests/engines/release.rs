//! A release, rehearsed against a registry of the machine's own: what a stranger can check of it, what is refused, and
//! that a release that fails leaves no tag.

use oci_spec::image::Digest;
use pause_tests::debian::Suite;
use pause_tests::sandbox::Sandbox;
use pause_tests::{Ended, ROOT, blocks, tool};
use serde_json::Value;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::release::Release;

const REPOSITORY: &str = "127.0.0.1:5000/pause";

#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, all toolchains: cargo test --test engines release:: -- --ignored"]
fn a_stranger_verifies_a_release_and_sees_what_was_changed_later() {
    let rehearsal = Rehearsal::new();
    rehearsal.release(REPOSITORY).expect("released");
    assert_eq!(rehearsal.tags(), ["0.1.0"]);
    rehearsal.verify("ours").expect("what was released is verified");
    // cosign 2 verifies the older form, and every attestation.
    let older = Suite::Trixie.files().join("usr/bin/cosign").display().to_string();
    let attested = ["cyclonedx", "openvex", "slsaprovenance1"].map(|kind| format!("verify-attestation --type {kind}"));
    for command in ["verify"].into_iter().chain(attested.iter().map(String::as_str)) {
        let words = format!(
            "{older} {command} --key {} --insecure-ignore-tlog --allow-http-registry {REPOSITORY}:0.1.0",
            rehearsal.path("ours.pub")
        );
        rehearsal.run(&words).expect("cosign 2");
    }
    let oras = |words: &str| rehearsal.run(&format!("oras {words} --plain-http")).expect("oras");
    let found = format!("discover --format json --artifact-type application/vnd.cyclonedx+json {REPOSITORY}:0.1.0");
    let found: Value = serde_json::from_str(&oras(&found)).expect("JSON");
    oras(&format!(
        "pull --output {} {}",
        rehearsal.path("found"),
        found["referrers"][0]["reference"].as_str().expect("one")
    ));
    let [found, released] = ["found", "files"].map(|directory| rehearsal.path(directory) + "/pause.cdx.json");
    assert_eq!(fs::read(found).expect("it is there"), fs::read(released).expect("a file of the release"));
    let complaint = rehearsal.release(REPOSITORY).expect_err("a version is released once");
    assert!(complaint.contains("127.0.0.1:5000/pause:0.1.0 exists already"), "{complaint}");
    let words = format!("{ROOT}/.ci/release {REPOSITORY} --identity a --source b --builder c");
    let complaint = rehearsal.run(&words).expect_err("a release of what is between two");
    assert!(complaint.contains("does not say `released = true`"), "{complaint}");
    rehearsal.verify("theirs").expect_err("another key");

    let index = RELEASE.index.digest.clone();
    let [amd64, arm64] = [0, 1].map(|at| &RELEASE.images[at]);
    // One manifest's signature in the place of the index', in the form Podman reads.
    let signature = |digest: &Digest| format!("docker://{REPOSITORY}:sha256-{}.sig", digest.digest());
    rehearsal.copy(&signature(&index), &signature(&amd64.program.digest));
    rehearsal.copy(&signature(&arm64.manifest.digest), &signature(&index));
    let complaint = rehearsal.verify("ours").expect_err("the signature of another");
    assert!(complaint.contains(&format!("verify of {REPOSITORY}@{index}, --new-bundle-format=false")), "{complaint}");
    rehearsal.copy(&signature(&amd64.program.digest), &signature(&index));
    rehearsal.verify("ours").expect("as it was");

    rehearsal.with(&layer(&amd64.layer.digest), "echo other > FILE", || {
        rehearsal.verify("ours").expect_err("another layer");
    });
    let missing = format!("{STORE}/repositories/pause/_manifests/revisions/sha256/{}", arm64.manifest.digest.digest());
    rehearsal.with(&missing, "rm -r FILE", || {
        let complaint = rehearsal.verify("ours").expect_err("no arm64");
        assert!(complaint.contains(arm64.manifest.digest.as_ref()), "{complaint}");
    });
    rehearsal.verify("ours").expect("as it was");
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, python3, all toolchains: cargo test --test engines release:: -- --ignored"]
fn a_release_that_fails_leaves_no_tag() {
    let rehearsal = Rehearsal::new();
    fs::write(rehearsal.sandbox.path("/run/proxy.py"), PROXY).expect("written");
    // A connection that breaks while the image is pushed, while it is signed, and while it is verified.
    for (at, (bytes, command)) in [(3_000, "skopeo "), (60_000, "cosign "), (150_000, "")].into_iter().enumerate() {
        let port = 5001 + at;
        let proxy = format!("python3 /run/proxy.py {port} {bytes}");
        let listens = format!("ss --no-header --listening --tcp --numeric 'sport = :{port}' | grep --quiet .");
        rehearsal.sandbox.start(&proxy, &listens);
        let complaint = rehearsal.release(&format!("127.0.0.1:{port}/pause")).expect_err("a connection that breaks");
        assert!(complaint.contains(&format!("error: {command}")), "after {bytes} bytes: {complaint}");
        assert_eq!(rehearsal.tags(), [""; 0], "after {bytes} bytes");
    }
    // A registry that has another layer under the recorded digest.
    let layer = layer(&RELEASE.images[0].layer.digest);
    rehearsal.with(&layer, "echo other > FILE", || {
        rehearsal.release(REPOSITORY).expect_err("another layer");
        assert_eq!(rehearsal.tags(), [""; 0]);
    });
    // And what is left of all these is in nobody's way.
    rehearsal.release(REPOSITORY).expect("released");
    assert_eq!(rehearsal.tags(), ["0.1.0"]);
}

/// With what docs/release.md has for nodes. Debian 12's Podman does not know such signatures ("Debian-local change: sigstore
/// disabled"), so it is sid's.
#[test]
#[ignore = "needs root, docker-registry, skopeo, jq, all toolchains: cargo test --test engines release:: -- --ignored"]
fn podman_pulls_what_is_signed_and_nothing_else() {
    let rehearsal = Rehearsal::new();
    rehearsal.release(REPOSITORY).expect("released");
    let image = format!("docker://{REPOSITORY}:0.1.0");
    let unsigned = "docker://127.0.0.1:5000/unsigned/pause:0.1.0";
    rehearsal.copy(&image, unsigned);
    rehearsal.sandbox.lay_over(Suite::Sid);
    rehearsal.run("mkdir -p /etc/containers/registries.d").expect("a directory");
    for (kind, path) in [("json", "/etc/containers/policy.json"), ("yaml", "/etc/containers/registries.d/pause.yaml")] {
        let block = blocks("docs/release.md", "To verify one", kind).remove(0);
        let block =
            block.replace("ghcr.io/OWNER", "127.0.0.1:5000").replace("/etc/pki/pause.pub", &rehearsal.path("ours.pub"));
        fs::write(rehearsal.sandbox.path(path), block).expect("written");
    }
    rehearsal.run(&format!("podman pull --tls-verify=false {image}")).expect("it is signed");
    let complaint = rehearsal.run(&format!("podman pull --tls-verify=false {unsigned}")).expect_err("it is not signed");
    assert!(complaint.contains("A signature was required"), "{complaint}");
    fs::copy(rehearsal.path("theirs.pub"), rehearsal.path("ours.pub")).expect("copied");
    let complaint = rehearsal.run(&format!("podman pull --tls-verify=false {image}")).expect_err("another key");
    assert!(complaint.contains("Source image rejected"), "{complaint}");
}

/// In a root file system made of Debian 12's packages alone, with no network. The crates are checked by Cargo.lock.
#[test]
#[ignore = "long: needs root, mmdebstrap, five minutes: cargo test --test engines release::somebody -- --ignored"]
fn somebody_else_builds_the_same_and_states_it() {
    const BUILD: &str = r#"
        packages=$(sed --quiet 's/^apt-get install \(rustc-web.*\)/\1/p' "$PROJECT/docs/release.md" | tr ' ' ,)
        mmdebstrap --quiet --variant=apt --include="$packages" bookworm root
        git -c safe.directory='*' clone --quiet "$PROJECT" root/pause
        mkdir root/root/.cargo
        # The core library is built too, from a workspace of its own.
        RUSTC_BOOTSTRAP=1 cargo vendor --quiet --locked --manifest-path root/pause/Cargo.toml \
            --sync root/usr/src/rustc-*/library/Cargo.toml root/crates
        printf '[source.crates-io]\nreplace-with = "crates"\n[source.crates]\ndirectory = "/crates"\n' \
            > root/root/.cargo/config.toml
        unshare --net chroot root env --ignore-environment --chdir=/pause HOME=/root PATH=/usr/bin:/bin \
            cargo xtask verify --statement /statement --source https://a.example/pause --builder https://b.example/builder
    "#;
    let directory = tempfile::tempdir_in(pause_tests::target()).expect("a directory");
    let build = Command::new("sh").args(["-euc", BUILD]).env("PROJECT", ROOT).current_dir(&directory).status();
    assert!(build.expect("sh runs").success());
    let statement = fs::read(directory.path().join("root/statement")).expect("a statement");
    let statement: Value = serde_json::from_slice(&statement).expect("JSON");
    assert_eq!(statement["predicate"]["runDetails"]["builder"]["id"], "https://b.example/builder");
    let stated = statement["subject"].as_array().expect("subjects").iter();
    let stated: Vec<&str> = stated.filter_map(|subject| subject["digest"]["sha256"].as_str()).collect();
    let recorded = RELEASE.shipped_rows().map(|row| &row.manifest);
    let recorded = recorded.chain(RELEASE.shipped_rows().map(|row| &row.program));
    let recorded = [&RELEASE.index].into_iter().chain(recorded).map(|content| content.digest.digest());
    assert_eq!(stated, recorded.collect::<Vec<_>>());
}

/// Passes on connections until clients have sent so many bytes; then all of them break.
const PROXY: &str = r#"
import socket, sys, threading
left = int(sys.argv[2])
def passes(one, other, counts):
    global left
    try:
        while left > 0 and (data := one.recv(65536)):
            left -= len(data) * counts
            if left > 0:
                other.sendall(data)
    except OSError:
        pass
    for end in one, other:
        try: end.shutdown(socket.SHUT_RDWR)
        except OSError: pass
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = server.accept()
    registry = socket.create_connection(("127.0.0.1", 5000))
    for ends in (client, registry, 1), (registry, client, 0):
        threading.Thread(target=passes, args=ends, daemon=True).start()
"#;

/// Where the registry keeps what it has.
const STORE: &str = "/run/registry/docker/registry/v2";

static RELEASE: LazyLock<Release> = LazyLock::new(|| Release::own().expect("release.toml"));

fn layer(digest: &Digest) -> String {
    format!("{STORE}/blobs/sha256/{}/{}/data", &digest.digest()[..2], digest.digest())
}

/// A machine with a registry, cosign, and two key pairs: ours and theirs.
struct Rehearsal {
    sandbox: Sandbox,
    directory: TempDir,
}

impl Rehearsal {
    fn new() -> Self {
        let rehearsal = Self { sandbox: Sandbox::new(), directory: tempfile::tempdir().expect("a directory") };
        rehearsal.sandbox.start_registry();
        for program in ["cosign", "oras"] {
            symlink(Suite::Sid.files().join("usr/bin").join(program), rehearsal.path(program)).expect("a link");
        }
        for name in ["ours", "theirs"] {
            let words = format!("cosign generate-key-pair --output-key-prefix {}", rehearsal.path(name));
            rehearsal.run(&words).expect("a key pair");
        }
        rehearsal
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn release(&self, repository: &str) -> Result<String, String> {
        self.run(&format!(
            "{ROOT}/.ci/release {repository} --key {} --source https://a.example/pause \
             --builder https://a.example/builder --output {}",
            self.path("ours.key"),
            self.path("files"),
        ))
    }

    fn verify(&self, key: &str) -> Result<String, String> {
        let key = self.path(&format!("{key}.pub"));
        self.run(&format!("{} verify --published {REPOSITORY} --key {key}", tool().get_program().display()))
    }

    /// From one place of the registry to another.
    fn copy(&self, from: &str, to: &str) {
        let copy = "skopeo copy --all --src-tls-verify=false --dest-tls-verify=false";
        self.run(&format!("{copy} {from} {to}")).expect("copied");
    }

    /// The versions in the repository.
    fn tags(&self) -> Vec<String> {
        let list = self.run(&format!("ls {STORE}/repositories/pause/_manifests/tags")).unwrap_or_default();
        list.lines().filter(|tag| !tag.starts_with("sha256-")).map(str::to_owned).collect()
    }

    /// While a file of the registry is changed.
    fn with(&self, file: &str, change: &str, look: impl FnOnce()) {
        self.sandbox.sh(&format!("cp -a {file} /run/unchanged; {}", change.replace("FILE", file)), &[]);
        look();
        self.sandbox.sh(&format!("rm -rf {file}; mv /run/unchanged {file}"), &[]);
    }

    fn run(&self, words: &str) -> Result<String, String> {
        let mut variables = vec!["COSIGN_PASSWORD=".to_owned(), format!("CARGO={}", env!("CARGO"))];
        // Where cargo finds what it has downloaded.
        for name in ["HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME"] {
            variables.extend(env::var(name).map(|value| format!("{name}={value}")));
        }
        let path = env::var("PATH").expect("a path");
        variables.push(format!("PATH={}:{path}", self.directory.path().display()));
        let mut command = self.sandbox.command("timeout");
        command.args(["300", "env"]).args(&variables).args(words.split_whitespace());
        let ended = Ended::of(&mut command);
        if ended.status.success() { Ok(ended.stdout) } else { Err(ended.to_string()) }
    }
}
