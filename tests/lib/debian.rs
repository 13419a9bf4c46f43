//! Debian's packages and sources of any suite and architecture: downloaded with apt from the archive this machine uses
//! and checked by apt. Nothing of this machine's packages or sources changes.

use crate::target;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Has apt work on the current directory alone and for one architecture, so that it needs no root and dpkg need not
/// know of the architecture.
const SET_UP: &str = r#"
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
        head -n 1)
    if [ -z "$archive" ]; then
        echo "apt knows no archive of Debian: run apt-get update" >&2
        exit 1
    fi
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    if [ ! -e $keys ]; then
        echo "$keys is missing: install Debian's package debian-archive-keyring" >&2
        exit 1
    fi
    ARCHITECTURE=${ARCHITECTURE:-$(dpkg --print-architecture)}
    echo "$KIND [signed-by=$keys] $archive $SUITE main" > sources.list
    mkdir -p lists/partial cache/archives/partial
    touch status
    set -- -o Dir::State::Lists="$PWD/lists" -o Dir::State::status="$PWD/status" -o Dir::Cache="$PWD/cache" \
        -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o APT::Architecture="$ARCHITECTURE" -o APT::Architectures="$ARCHITECTURE" -o APT::Sandbox::User=root \
        -o Acquire::Retries=5 -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false --quiet=2
    apt-get "$@" --error-on=any update
"#;

/// How often it is tried, apt's own retries aside.
const ATTEMPTS: usize = 3;

/// Runs a shell script in an empty directory; with `"$@"` apt-get and apt-cache know packages (`deb`) or their sources
/// (`deb-src`) of a suite, for what Debian calls an architecture, this machine's if it is empty. Returns what it printed.
pub fn with_apt([kind, suite, architecture]: [&str; 3], directory: &Path, script: &str) -> String {
    for attempt in 1.. {
        let mut command = Command::new("sh");
        command.args(["-euc", &format!("{SET_UP}{script}")]).current_dir(directory);
        command.env("KIND", kind).env("SUITE", suite).env("ARCHITECTURE", architecture);
        let output = command.output().expect("sh runs");
        if output.status.success() {
            return String::from_utf8(output.stdout).expect("text");
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(attempt < ATTEMPTS, "failed {ATTEMPTS} times: {script}\n{}\n{said}", output.status);
    }
    unreachable!("the last attempt has returned or failed")
}

/// The suite that is the system's own, and the others whose packages the tests use.
pub const BOOKWORM: &str = "bookworm";
pub const TRIXIE: &str = "trixie";
pub const SID: &str = "sid";

/// Those packages of a suite, and what they depend on, unpacked: kept in target/debian-trixie and target/debian-sid. Each is
/// named, with its version, in usr/packages.
pub fn files(suite: &str) -> PathBuf {
    let packages = match suite {
        TRIXIE => "cosign erofs-utils",
        SID => {
            "apptainer buildah busybox-static charliecloud containerd cosign crane criu crun docker-buildx docker-cli \
             docker.io erofs-utils golang-github-opencontainers-image-spec-dev libarchive-tools node-tar node-tar-stream \
             nodejs oras podman python3-jsonschema python3-rfc3339-validator runc skopeo soci-snapshotter squashfs-tools \
             squashfs-tools-ng stargz-snapshotter umoci"
        }
        other => panic!("no packages of {other} are used"),
    };
    kept(&format!("debian-{suite}"), |directory| unpack(directory, suite, "", packages))
}

/// Unpacks packages, and all they depend on, below a directory: the root file system they are, with a list of them in
/// usr/packages.
pub fn unpack(directory: &Path, suite: &str, architecture: &str, packages: &str) -> PathBuf {
    // To apt nothing is installed, so that it brings everything the packages depend on.
    let download = format!(
        r#"
        apt-get "$@" --yes --no-install-recommends --download-only install {packages}
        mkdir -p root/usr
        for package in cache/archives/*.deb; do
            dpkg-deb --extract "$package" root
            dpkg-deb --show "$package" >> root/usr/packages
        done
        "#
    );
    with_apt(["deb", suite, architecture], directory, &download);
    directory.join("root")
}

/// A file or directory in the build's own: unless it is there, `make` makes it somewhere in an empty directory.
pub fn kept(name: &str, make: impl FnOnce(&Path) -> PathBuf) -> PathBuf {
    // Two tests may want the same.
    static MAKING: Mutex<()> = Mutex::new(());
    let kept = target().join(name);
    if !kept.exists() {
        let _one_at_a_time = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !kept.exists() {
            fs::create_dir_all(target()).expect("a directory");
            let directory = tempfile::tempdir_in(target()).expect("a directory");
            fs::rename(make(directory.path()), &kept).expect("the same file system");
        }
    }
    kept
}
