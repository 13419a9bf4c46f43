//! A node: containerd with its network in a machine within the machine, and the kubelet's side of the CRI, by which
//! the tests run Pods on it. What fails shows containerd's log.

pub mod kubernetes;
pub mod pod;

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::*;
use pause_tests::debian::Suite;
use pause_tests::sandbox::{self, Sandbox};
use pod::Pod;
use std::cell::Cell;
use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// What `cargo xtask image` names the image.
pub const PAUSE: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));
pub const BUSYBOX: &str = "localhost/busybox:latest";

/// How long a call may take. It only bounds how long a failure takes to be seen.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
pub enum Containerd {
    /// Debian 12's.
    V1,
    /// Debian unstable's, with the runc and crun of there.
    V2,
}

/// A kind of node: which containerd, and whether with runc or crun.
#[derive(Clone, Copy)]
pub struct Kind {
    pub containerd: Containerd,
    pub runtime: &'static str,
    /// What is configured beside it all.
    pub more: &'static str,
}

impl Containerd {
    /// What makes a node use the image, as operators are told.
    fn deployed(self) -> String {
        let version = if self == Self::V1 { "version = 2\n" } else { "version = 3\n" };
        let blocks = pause_tests::blocks("deploy/containerd.md", "2. Use", "toml");
        blocks.into_iter().find(|block| block.starts_with(version)).expect("a configuration of that version")
    }

    /// What this machine takes beside it: crun besides runc, and no score below containerd's own, for which it may not
    /// have the capability.
    fn configuration(self) -> String {
        let (restriction, plugin) = match self {
            Self::V1 => ("", "io.containerd.grpc.v1.cri"),
            Self::V2 => ("[plugins.'io.containerd.cri.v1.runtime']", "io.containerd.cri.v1.runtime"),
        };
        format!(
            "
{restriction}
  restrict_oom_score_adj = true
[plugins.'{plugin}'.cni]
  bin_dir = '/usr/lib/cni'
[plugins.'{plugin}'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'{plugin}'.containerd.runtimes.crun]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'{plugin}'.containerd.runtimes.crun.options]
  BinaryName = '/usr/bin/crun'
"
        )
    }
}

/// Pods get addresses of 10.88.0.0/16 on a bridge. Of the networks configured the one whose file comes first is taken.
const NETWORK: &str = r#"{
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [{
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "ipam": { "type": "host-local", "dataDir": "/run/addresses", "ranges": [[{ "subnet": "10.88.0.0/16" }]] }
    }]
}"#;

/// Images lie in /run, because overlays, in which they are unpacked, cannot lie on one another.
const DAEMON: &str =
    "containerd --log-level warn --config /run/containerd.toml --root /run/images --state /run/containerd";

/// The image and its archive, which the tests share: it is the same every time.
static IMAGE: LazyLock<(PathBuf, xtask::oci::Image)> =
    LazyLock::new(|| pause_tests::archive(&pause_tests::target().join("cri"), &[pause_tests::platform()], &[PAUSE]));

pub struct Node {
    pub sandbox: Sandbox,
    pub kind: Kind,
    runtime_services: RuntimeServiceClient<Channel>,
    image_services: ImageServiceClient<Channel>,
    calls: runtime::Runtime,
    pods: Cell<u32>,
}

impl Node {
    /// A node with the image imported from its archive.
    pub fn new(kind: Kind) -> Self {
        let node = Self::empty(kind, PAUSE);
        node.import(&IMAGE.0);
        node
    }

    /// A node with a registry that has the image, under a name that leads there.
    pub fn with_registry(kind: Kind) -> (Self, String) {
        let name = format!("{}/pause:{}", sandbox::REGISTRY, env!("CARGO_PKG_VERSION"));
        let node = Self::empty(kind, &name);
        node.sandbox.start_registry();
        node.sandbox.push(&IMAGE.0, PAUSE, &name);
        (node, name)
    }

    /// A node that asks for the image by name and digest, with the image under its name.
    pub fn with_digest(kind: Kind) -> (Self, String) {
        let digest = IMAGE.1.index.digest();
        let node = Self::empty(kind, &format!("{PAUSE}@{digest}"));
        node.import(&IMAGE.0);
        (node, digest.to_string())
    }

    /// A node with an image for containers alone.
    fn empty(kind: Kind, sandbox_image: &str) -> Self {
        let sandbox = Sandbox::new();
        if kind.containerd != Containerd::V1 {
            sandbox.lay_over(Suite::Sid);
        }
        let deployed = kind.containerd.deployed();
        assert!(deployed.contains(PAUSE), "{PAUSE} is not in {deployed}");
        let configuration = deployed.replace(PAUSE, sandbox_image) + &kind.containerd.configuration() + kind.more;
        fs::write(sandbox.path("/run/containerd.toml"), configuration).expect("writable");
        fs::create_dir_all(sandbox.path("/etc/cni/net.d")).expect("writable");
        fs::write(sandbox.path("/etc/cni/net.d/10-pods.conflist"), NETWORK).expect("writable");
        if kind.more.contains("blockfile") {
            // What it makes copies of.
            sandbox.sh("truncate --size=16M /run/scratch && mkfs.ext4 -q /run/scratch", &[]);
        }
        sandbox.start(DAEMON, "ctr version");

        let calls = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = sandbox.path("/run/containerd/containerd.sock");
        let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).expect("an address");
        let channel = calls.block_on(endpoint.timeout(PATIENCE).connect()).expect("containerd listens");
        let node = Self {
            sandbox,
            kind,
            runtime_services: RuntimeServiceClient::new(channel.clone()),
            image_services: ImageServiceClient::new(channel),
            calls,
            pods: Cell::new(0),
        };
        node.import(&sandbox::busybox());
        node
    }

    pub fn import(&self, archive: &Path) {
        // The directory of the archive may be hidden in the sandbox.
        fs::copy(archive, self.sandbox.path("/run/image.tar")).expect("readable");
        self.sandbox.run(&["ctr", "--namespace=k8s.io", "images", "import", "/run/image.tar"]);
    }

    pub fn containerd_version(&self) -> String {
        self.wait(self.services().version(VersionRequest::default())).runtime_version
    }

    fn services(&self) -> RuntimeServiceClient<Channel> {
        self.runtime_services.clone()
    }

    /// What a call returns, which has to succeed.
    #[track_caller]
    fn wait<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> T {
        self.calls.block_on(call).unwrap_or_else(|status| panic!("{status:?}")).into_inner()
    }

    /// Runs a Pod's sandbox as the kubelet would, but for what `adjust` changes.
    #[track_caller]
    pub fn run(&self, adjust: impl FnOnce(&mut LinuxSandboxSecurityContext)) -> Pod<'_> {
        let number = self.pods.replace(self.pods.get() + 1);
        let name = format!("pod-{number}");
        // By default containers see no process of each other's.
        let namespaces = NamespaceOption { pid: NamespaceMode::Container.into(), ..Default::default() };
        let mut context = LinuxSandboxSecurityContext { namespace_options: Some(namespaces), ..Default::default() };
        adjust(&mut context);
        // On the node's network a Pod has the node's name.
        let network = context.namespace_options.as_ref().map(NamespaceOption::network);
        let hostname = if network == Some(NamespaceMode::Node) { String::new() } else { name.clone() };
        let (cgroup_parent, security_context) = (self.sandbox.cgroup.clone(), Some(context));
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata { uid: name.clone(), namespace: "default".into(), attempt: 0, name }),
            hostname,
            linux: Some(LinuxPodSandboxConfig { cgroup_parent, security_context, ..Default::default() }),
            ..Default::default()
        };
        let run = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: self.kind.runtime.into() };
        let id = self.wait(self.services().run_pod_sandbox(run)).pod_sandbox_id;
        Pod { node: self, config, id }
    }

    /// The Pods whose sandboxes containerd knows of, newest first.
    #[track_caller]
    pub fn pods(&self) -> Vec<Pod<'_>> {
        let mut items = self.wait(self.services().list_pod_sandbox(ListPodSandboxRequest::default())).items;
        items.sort_by_key(|item| Reverse(item.created_at));
        items.into_iter().map(|item| Pod { node: self, config: PodSandboxConfig::default(), id: item.id }).collect()
    }

    /// What there is of Pods on the node.
    #[track_caller]
    pub fn traces(&self) -> Traces {
        let count = |script: &str| self.sandbox.sh(script, &[]).lines().count();
        Traces {
            pods: self.pods().len(),
            processes: count("pgrep -x pause || true"),
            addresses: count("find /run/addresses -name '10.*'"),
            interfaces: count("ip -o link show master cni0"),
        }
    }

    /// What containerd knows of an image.
    #[track_caller]
    pub fn image(&self, name: &str) -> Option<Image> {
        let image = Some(ImageSpec { image: name.into(), ..Default::default() });
        let mut services = self.image_services.clone();
        self.wait(services.image_status(ImageStatusRequest { image, verbose: false })).image
    }

    /// A namespace of the node itself, such as `net`.
    pub fn namespace(&self, kind: &str) -> PathBuf {
        // The first process of the sandbox, which engines see as PID 1.
        fs::read_link(self.sandbox.path(&format!("/proc/1/ns/{kind}"))).expect("readable")
    }
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

/// How many sandboxes containerd knows of, how many of their processes run, how many addresses they hold, and how many
/// of their interfaces there are.
#[derive(Debug, Default, PartialEq)]
pub struct Traces {
    pub pods: usize,
    pub processes: usize,
    pub addresses: usize,
    pub interfaces: usize,
}
