//! The containerd of Debian unstable, with the runc and crun of there and the libraries they are linked with: kept in
//! target/sid, and laid over the system's own inside a sandbox.

use crate::debian::{self, Archive};
use crate::sandbox::Sandbox;
use std::path::PathBuf;
use std::sync::LazyLock;

/// To apt nothing is installed, so that it brings everything the packages depend on.
const DOWNLOAD: &str = r#"
    apt-get "$@" --yes --no-install-recommends --download-only install containerd crun
    mkdir -p root
    for package in cache/archives/*.deb; do
        dpkg-deb --extract "$package" root
    done
"#;

static FILES: LazyLock<PathBuf> = LazyLock::new(|| {
    debian::kept("sid", |folder| {
        Archive { kind: "deb", suite: "sid", architecture: debian::this_architecture() }.run(folder, DOWNLOAD);
        folder.join("root")
    })
});

/// Has every program that starts in the sandbox from now on find the newer files in /usr first.
pub fn lay_over(sandbox: &Sandbox) {
    let lower = format!("lowerdir={}:/usr", FILES.join("usr").display());
    sandbox.run(&["mount", "-t", "overlay", "-o", &lower, "overlay", "/usr"]);
}
