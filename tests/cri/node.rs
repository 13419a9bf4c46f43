//! A node: containerd with its network in a machine within the machine. What fails shows containerd's log.

use pause_tests::debian::{SID, kept, with_apt};
use pause_tests::sandbox::{SERVE, Sandbox, busybox, holds_a_pod, manifest};
use pause_tests::{Ended, PROFILE, ROOT, shipped};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use xtask::oci::Image;

/// What `cargo xtask image` names the image.
pub const PAUSE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// A kind of node.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Debian 12's containerd is 1, and unstable's, with the runc and crun of there, is 2.
    pub containerd: usize,
    pub runtime: &'static str,
    /// What is configured beside it all.
    pub more: &'static str,
}

/// Images lie in /run, because overlays, in which they are unpacked, cannot lie on one another.
const DAEMON: &str =
    "containerd --log-level warn --config /run/containerd.toml --root /run/images --state /run/containerd";

/// The archive of the image, and the image, which the tests share: it is the same every time.
pub static IMAGE: LazyLock<(PathBuf, Image)> =
    LazyLock::new(|| pause_tests::archive(&pause_tests::target().join("cri"), &[pause_tests::platform()], &[PAUSE]));

pub struct Node {
    pub sandbox: Sandbox,
    kind: Kind,
    /// The image that it runs sandboxes with.
    image: String,
}

impl Node {
    /// With the image, imported from its archive.
    pub fn new(kind: Kind) -> Self {
        let node = Self::asking_for(PAUSE, kind);
        node.import(&IMAGE.0);
        node
    }

    /// With an image for containers alone.
    pub fn asking_for(image: &str, kind: Kind) -> Self {
        let sandbox = Sandbox::new();
        if kind.containerd == 2 {
            sandbox.lay_over(SID);
        }
        // What makes a node use the image, as operators are told, and what this machine takes beside it.
        let version = format!("version = {}\n", kind.containerd + 1);
        let blocks = pause_tests::blocks("deploy/containerd.md", "2. Use", "toml");
        let deployed =
            blocks.iter().find(|block| block.starts_with(&version)).expect("a configuration of that version");
        assert!(deployed.contains(PAUSE), "{PAUSE} is not in {deployed}");
        let more = [include_str!("containerd-1.toml"), include_str!("containerd-2.toml")][kind.containerd - 1];
        let configuration = format!("{}\n{more}{}", deployed.replace(PAUSE, image), kind.more);
        fs::write(sandbox.path("/run/containerd.toml"), configuration).expect("writable");
        fs::create_dir_all(sandbox.path("/etc/cni/net.d")).expect("writable");
        // Of the networks configured the one whose file comes first is taken.
        fs::write(sandbox.path("/etc/cni/net.d/10-pods.conflist"), include_str!("network.json")).expect("writable");
        if kind.more.contains("blockfile") {
            // What it makes copies of.
            sandbox.sh("truncate --size=16M /run/scratch && mkfs.ext4 -q /run/scratch", &[]);
        }
        sandbox.start(DAEMON, "ctr version");
        let node = Self { sandbox, kind, image: image.into() };
        node.import(&busybox());
        node
    }

    pub fn import(&self, archive: &Path) {
        // The directory of the archive may be hidden in the sandbox.
        fs::copy(archive, self.sandbox.path("/run/image.tar")).expect("readable");
        self.sandbox.run(&["ctr", "--namespace=k8s.io", "images", "import", "/run/image.tar"]);
    }

    /// Runs tests of pods.py, by the name of one or of a class.
    #[track_caller]
    pub fn holds(&self, tests: &str) {
        let enter = self.sandbox.command("env");
        let words = [enter.get_program()].into_iter().chain(enter.get_args());
        let node = json!({
            "root": self.sandbox.path(""), "enter": words.map(|word| word.to_str()).collect::<Vec<_>>(),
            "containerd": self.kind.containerd.to_string(),
            "runtime": self.kind.runtime, "cgroup": self.sandbox.cgroup, "image": self.image, "shipped": shipped(),
            "profile": PROFILE, "serve": SERVE, "holds_a_pod": holds_a_pod("pid net ipc uts"), "manifest": manifest(),
        });
        // Debian's, whose packages of gRPC it is to find.
        let mut python = Command::new("/usr/bin/python3");
        python.arg(format!("{ROOT}/tests/cri/pods.py")).arg(tests).env("NODE", node.to_string());
        python.env("PYTHONPATH", protocol());
        Ended::of(&mut python).succeeded();
    }
}

/// A directory of the CRI's messages for Python, compiled from Kubernetes' own description of them, without an option that
/// Debian 12's protoc does not know.
fn protocol() -> PathBuf {
    const COMPILE: &str = r#"
        apt-get "$@" download golang-k8s-cri-api-dev
        dpkg-deb --extract golang-k8s-cri-api-dev_*.deb .
        mkdir -p python
        sed 's/ *\[debug_redact = true\]//' usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto > api.proto
        protoc --python_out=python api.proto
    "#;
    kept("cri-api", |directory| {
        with_apt(["deb", SID, ""], directory, COMPILE);
        directory.join("python")
    })
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for daemon in ["containerd", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                let log = fs::read(self.sandbox.path(&format!("/run/{daemon}.log"))).unwrap_or_default();
                eprintln!("the log of {daemon}:\n{}", String::from_utf8_lossy(&log));
            }
        }
    }
}
