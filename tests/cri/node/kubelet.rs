//! The kubelet of Debian's source package: built once, kept in target/kubelet, and run on a node.

use super::Node;
use pause_tests::debian::{self, Archive};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

/// Debian packages the source, but of its programs only kubectl.
const DOWNLOAD: &str = r#"
    rm -rf kubernetes-*/
    apt-get "$@" source kubernetes
    mkdir -p src/k8s.io
    mv kubernetes-*/ src/k8s.io/kubernetes
"#;

static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    debian::kept("kubelet", |directory| {
        Archive { kind: "deb-src", suite: "bookworm", architecture: debian::this_architecture() }
            .run(directory, DOWNLOAD);
        build(directory)
    })
});

/// Builds it without the clients of clouds and of Docker, which saves a third of the time.
fn build(directory: &Path) -> PathBuf {
    let start = Instant::now();
    let program = directory.join("kubelet");
    let mut command = Command::new("go");
    command.args(["build", "-tags=providerless,dockerless", "-ldflags=-s -w", "-o"]).arg(&program);
    command.arg("./cmd/kubelet").current_dir(directory.join("src/k8s.io/kubernetes")).env_remove("GOFLAGS");
    command.env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    command.env("GOPATH", directory).env("GOCACHE", directory.join("compiled")).env("GOTMPDIR", directory);
    let status = command.stdin(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("go: {error}: install Debian's package golang-go"));
    assert!(status.success(), "{command:?}: {status}");
    // Not with eprintln, of which the test's runner shows nothing when the test succeeds.
    writeln!(std::io::stderr(), "the kubelet was built in {} s", start.elapsed().as_secs()).expect("writable");
    program
}

/// Hides the machine's own: the settings of the kernel that the kubelet changes, and the log directory, which cannot be
/// configured. The cgroup is one it expects to be there.
const SET_UP: &str = r#"
    for file in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
        kernel/keys/root_maxbytes
    do
        mkdir -p /run/sys/${file%/*}
        cp /proc/sys/$file /run/sys/$file
        mount --bind /run/sys/$file /proc/sys/$file
    done
    mount -t tmpfs tmpfs /var/log
    mkdir /run/manifests
    if [ -e /sys/fs/cgroup/cgroup.procs ]; then
        mkdir /sys/fs/cgroup$1
    else
        for hierarchy in /sys/fs/cgroup/*; do
            mkdir -p $hierarchy$1
        done
    fi
    ln -s "$2" /run/kubelet
"#;

/// A score below its own and chains in the firewall are nothing it may or has to make here.
const CONFIGURATION: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /run/manifests
fileCheckFrequency: 1s
cgroupDriver: cgroupfs
cgroupRoot: %CGROUP
authentication: { anonymous: { enabled: true }, webhook: { enabled: false } }
authorization: { mode: AlwaysAllow }
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
resolvConf: ''
volumePluginDir: /run/volume-plugins
# However full the machine's disk is.
evictionHard: {}
imageGCHighThresholdPercent: 100
";

const DAEMON: &str = "/run/kubelet --config=/run/kubelet.yaml --hostname-override=node --container-runtime=remote \
    --container-runtime-endpoint=unix:///run/containerd/containerd.sock";

impl Node {
    /// Starts a kubelet that knows of no API server, only of the manifests it finds in a directory.
    pub fn start_kubelet(&self) {
        let program = PROGRAM.to_str().expect("UTF-8");
        self.sandbox.run(&["sh", "-euc", SET_UP, "sh", &self.sandbox.cgroup, program]);
        let configuration = CONFIGURATION.replace("%CGROUP", &self.sandbox.cgroup);
        fs::write(self.sandbox.path("/run/kubelet.yaml"), configuration).expect("writable");
        self.sandbox.start(DAEMON, "busybox wget -q -O - http://127.0.0.1:10248/healthz");
    }

    /// Gives the kubelet a static Pod, or takes it away again.
    pub fn set_manifest(&self, manifest: Option<&str>) {
        let path = self.sandbox.path("/run/manifests/pod.yaml");
        match manifest {
            Some(manifest) => fs::write(path, manifest).expect("writable"),
            None => fs::remove_file(path).expect("there"),
        }
    }
}
