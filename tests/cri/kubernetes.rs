//! Kubernetes' programs of Debian's source package: built once, kept in target, and run on a node.

use crate::node::Node;
use pause_tests::debian::{self, BOOKWORM, kept};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Debian packages the source, but of its programs only kubectl.
const DOWNLOAD: &str = r#"
    rm -rf kubernetes-*/
    apt-get "$@" source kubernetes
    mkdir -p src/k8s.io
    mv kubernetes-*/ src/k8s.io/kubernetes
"#;

/// Without the clients of clouds and of Docker, which saves a third of the time. The API server needs a description of
/// the API that is generated from its source.
const BUILD: &str = r#"
    export GO111MODULE=off CGO_ENABLED=0 GOPATH=$PWD GOCACHE=$PWD/compiled GOTMPDIR=$PWD
    unset GOFLAGS
    cd src/k8s.io/kubernetes
    if [ $1 = kube-apiserver ]; then
        packages=$(grep -rl --include=*.go '+k8s:openapi-gen=' pkg staging/src/k8s.io |
            grep -v -e _test.go -e code-generator -e sample-apiserver | xargs -n 1 dirname | sort -u |
            sed -e 's|^staging/src/|k8s.io/kubernetes/vendor/|' -e '/^k8s.io/!s|^|k8s.io/kubernetes/|' | paste -sd ,)
        go run k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen --input-dirs $packages \
            --output-package k8s.io/kubernetes/pkg/generated/openapi --output-file-base zz_generated.openapi \
            --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt --report-filename /dev/null
    fi
    for program; do
        go build -tags=providerless,dockerless -ldflags='-s -w' -o $GOPATH/bin/ ./cmd/$program
    done
"#;

fn kubelet() -> PathBuf {
    kept("kubelet", |directory| build(directory, &["kubelet"]).join("kubelet"))
}

/// A directory of all a control plane consists of.
fn control_plane() -> PathBuf {
    kept("kubernetes", |directory| {
        let programs = build(directory, &["kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
        let packaged = debian::unpack(directory, BOOKWORM, "", "etcd-server kubernetes-client");
        for program in ["etcd", "kubectl"] {
            fs::copy(packaged.join("usr/bin").join(program), programs.join(program)).expect("readable");
        }
        programs
    })
}

fn build(directory: &Path, programs: &[&str]) -> PathBuf {
    debian::with_apt(["deb-src", BOOKWORM, ""], directory, DOWNLOAD);
    let start = Instant::now();
    let mut command = Command::new("sh");
    command.args(["-euc", BUILD, "sh"]).args(programs).current_dir(directory).stdin(Stdio::null());
    let status = command.status().expect("sh runs");
    assert!(status.success(), "{command:?}: {status}; it needs Debian's package golang-go");
    // Not with eprintln, of which the test's runner shows nothing when the test succeeds.
    writeln!(std::io::stderr(), "{programs:?} built in {} s", start.elapsed().as_secs()).expect("writable");
    directory.join("bin")
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

const DAEMON: &str = "/run/kubelet --config=/run/kubelet.yaml --hostname-override=node --container-runtime=remote \
    --container-runtime-endpoint=unix:///run/containerd/containerd.sock";

/// The API server refuses to be found at a loopback address.
const SET_UP_CONTROL_PLANE: &str = "
    ln -s $1 /run/kubernetes
    ip link add cluster type bridge
    ip address add 10.99.0.1/24 dev cluster
    ip link set cluster up
    openssl genrsa -out /run/account.key 2048
    echo token,all,all > /run/tokens
";

/// Each with what tells that it is ready.
const CONTROL_PLANE_DAEMONS: [[&str; 2]; 4] = [
    ["/run/kubernetes/etcd --data-dir=/run/etcd", "busybox wget -q -O - http://127.0.0.1:2379/health"],
    [
        "/run/kubernetes/kube-apiserver --etcd-servers=http://127.0.0.1:2379 --cert-dir=/run/apiserver \
         --advertise-address=10.99.0.1 --authorization-mode=AlwaysAllow --token-auth-file=/run/tokens --allow-privileged \
         --disable-admission-plugins=ServiceAccount --service-cluster-ip-range=10.96.0.0/24 \
         --service-account-issuer=https://cluster --service-account-key-file=/run/account.key \
         --service-account-signing-key-file=/run/account.key --kubelet-preferred-address-types=InternalIP",
        "/run/kubernetes/kubectl --kubeconfig=/run/kubeconfig get --raw /readyz",
    ],
    [
        "/run/kubernetes/kube-controller-manager --kubeconfig=/run/kubeconfig --leader-elect=false",
        "busybox wget -q -O - http://127.0.0.1:10252/healthz",
    ],
    [
        "/run/kubernetes/kube-scheduler --kubeconfig=/run/kubeconfig --leader-elect=false",
        "busybox wget -q -O - http://127.0.0.1:10251/healthz",
    ],
];

/// What makes a kubelet part of the cluster.
pub const OF_THE_CLUSTER: &str = "--kubeconfig=/run/kubeconfig --node-ip=10.99.0.1";

impl Node {
    pub fn start_control_plane(&self) {
        self.sandbox.sh(SET_UP_CONTROL_PLANE, &[control_plane().to_str().expect("UTF-8")]);
        fs::write(self.sandbox.path("/run/kubeconfig"), include_str!("kubeconfig.yaml")).expect("writable");
        for [daemon, ready] in CONTROL_PLANE_DAEMONS {
            self.sandbox.start(daemon, ready);
        }
    }

    /// Starts a kubelet that knows only of the manifests it finds in a directory, and of what its options say.
    pub fn start_kubelet(&self, options: &str) {
        self.sandbox.sh(SET_UP, &[&self.sandbox.cgroup, kubelet().to_str().expect("UTF-8")]);
        let configuration = include_str!("kubelet.yaml").replace("%CGROUP", &self.sandbox.cgroup);
        fs::write(self.sandbox.path("/run/kubelet.yaml"), configuration).expect("writable");
        self.sandbox.start(&format!("{DAEMON} {options}"), "busybox wget -q -O - http://127.0.0.1:10248/healthz");
    }
}
