//! The image does its job on nodes with containerd, asked over the CRI as the kubelet asks: with containerd 1 and 2, each
//! with runc and with crun.

use crate::node::pod::Pod;
use crate::node::{Containerd, Kind, Node, PAUSE, Traces};
use k8s_cri::v1::security_profile::ProfileType;
use k8s_cri::v1::{
    IdMapping, Int64Value, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, SecurityProfile, UserNamespace,
};
use pause_tests::PROFILE;
use pause_tests::clients;
use pause_tests::debian::Suite;
use pause_tests::sandbox::{SERVE, holds_a_pod};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const V1_RUNC: Kind = Kind { containerd: Containerd::V1, runtime: "runc", more: "" };
const V1_CRUN: Kind = Kind { runtime: "crun", ..V1_RUNC };
const V2_RUNC: Kind = Kind { containerd: Containerd::V2, ..V1_RUNC };
const V2_CRUN: Kind = Kind { containerd: Containerd::V2, ..V1_CRUN };

const PROMISES: [fn(&Node); 13] = [
    runs_the_image_imported_from_its_archive,
    stops_and_is_removed_without_a_trace,
    killed_it_is_not_ready_and_another_takes_over,
    is_confined_by_default,
    runs_as_the_pods_user,
    sleeps_under_the_runtimes_seccomp_profile,
    sleeps_under_a_seccomp_profile_of_the_node,
    ends_under_a_seccomp_profile_that_denies_it_to_sleep,
    containers_share_localhost_and_keep_the_address,
    containers_that_share_processes_see_pause_as_pid_1_and_no_zombie,
    containers_that_share_no_processes_see_none,
    a_pod_may_use_the_namespaces_of_the_node,
    a_hundred_run_side_by_side,
];

macro_rules! nodes {
    ($($test:ident: $kind:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
            fn $test() {
                keeps_every_promise($kind);
            }
        )*
    };
}

nodes! {
    a_node_with_containerd_1_and_runc_keeps_every_promise: V1_RUNC;
    a_node_with_containerd_1_and_crun_keeps_every_promise: V1_CRUN;
    a_node_with_containerd_2_and_runc_keeps_every_promise: V2_RUNC;
    a_node_with_containerd_2_and_crun_keeps_every_promise: V2_CRUN;
}

/// One after the other; none leaves a trace of its Pods behind.
fn keeps_every_promise(kind: Kind) {
    let node = Node::new(kind);
    for promise in PROMISES {
        promise(&node);
        node.pods().iter().for_each(Pod::remove);
        assert_eq!(node.traces(), Traces::default());
    }
}

/// What unpacks images, beside the overlays of all other tests. The image is loaded as deploy/containerd.md has it.
const SNAPSHOTTERS: [(&str, Kind); 4] = [
    ("native", Kind { more: "[plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'native'", ..V1_RUNC }),
    ("native", Kind { more: "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'native'", ..V2_RUNC }),
    (
        "erofs",
        Kind {
            more: "[plugins.'io.containerd.service.v1.diff-service']\ndefault = ['erofs', 'walking']
               [plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'erofs'",
            ..V2_RUNC
        },
    ),
    (
        "blockfile",
        Kind {
            more: "[plugins.'io.containerd.snapshotter.v1.blockfile']\nscratch_file = '/run/scratch'\nfs_type = 'ext4'
               [plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'blockfile'",
            ..V2_RUNC
        },
    ),
];

#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn runs_the_image_out_of_every_snapshotter() {
    for (name, kind) in SNAPSHOTTERS {
        println!("{name}");
        let node = Node::new(kind);
        let pod = node.run(|_| {});
        pod.runs_the_shipped_file();
        let unpacked = format!("/run/images/io.containerd.snapshotter.v1.{name}/snapshots");
        assert_ne!(node.sandbox.run(&["ls", &unpacked]), "", "the image is unpacked elsewhere");
        let suite = if kind.containerd == Containerd::V1 { Suite::Bookworm } else { Suite::Sid };
        let command = [format!("snapshotter = '{name}'"), "RunPodSandbox".to_owned()];
        clients::record(
            &format!("containerd with {name}"),
            suite,
            &node.containerd_version(),
            &command,
            "the program runs",
        );
    }
}

/// A node that keeps no compressed layer once it is unpacked: neither of an image that is loaded, nor of one it pulls.
#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn runs_the_image_whose_layers_are_discarded() {
    for kind in [
        Kind { more: "[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndiscard_unpacked_layers = true", ..V1_RUNC },
        Kind { more: "[plugins.'io.containerd.cri.v1.images']\ndiscard_unpacked_layers = true", ..V2_RUNC },
    ] {
        Node::new(kind).run(|_| {}).runs_the_shipped_file();
        let (node, name) = Node::with_registry(kind);
        node.run(|_| {}).runs_the_shipped_file();
        let check = ["ctr", "--namespace=k8s.io", "images", "check", &format!("name=={name}")];
        // Some time after it was unpacked.
        pause_tests::eventually("the layer to go", || node.sandbox.run(&check).contains("incomplete"));
    }
}

/// As deploy/containerd.md has it: what is imported under its name is to be tagged with its digest too.
#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn finds_the_image_by_name_and_digest() {
    for containerd in [Containerd::V1, Containerd::V2] {
        let (node, digest) = Node::with_digest(Kind { containerd, ..V1_RUNC });
        let (name, _) = PAUSE.rsplit_once(':').expect("a tag");
        let tag = ["ctr", "--namespace", "k8s.io", "images", "tag", PAUSE, &format!("{name}@{digest}")];
        node.sandbox.run(&tag);
        node.run(|_| {}).runs_the_shipped_file();
    }
}

fn runs_the_image_imported_from_its_archive(node: &Node) {
    let version = node.containerd_version();
    let expected = if node.kind.containerd == Containerd::V1 { "1." } else { "2." };
    assert!(version.trim_start_matches('v').starts_with(expected), "containerd {version}");
    let pod = node.run(|_| {});
    assert!(pod.is_ready());
    pod.runs_the_shipped_file();
    assert!(is_pinned_if_the_node_pins(node, PAUSE));
}

#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn runs_the_image_pulled_from_a_registry() {
    for kind in [V1_RUNC, V2_CRUN] {
        let (node, name) = Node::with_registry(kind);
        assert_eq!(node.image(&name), None, "the image is there before it is pulled");
        let pod = node.run(|_| {});
        pod.runs_the_shipped_file();
        assert_eq!(node.image(&name).expect("the image was pulled").repo_tags, [&*name]);
        assert!(is_pinned_if_the_node_pins(&node, &name));
    }
}

/// Pinned, the kubelet does not remove an image to save space. containerd 1.6.20 pins none.
fn is_pinned_if_the_node_pins(node: &Node, name: &str) -> bool {
    node.image(name).expect("the image is there").pinned == (node.kind.containerd != Containerd::V1)
}

fn stops_and_is_removed_without_a_trace(node: &Node) {
    let pod = node.run(|_| {});
    pod.sleeps();
    let process = pod.proc();
    assert_eq!(node.traces(), Traces { pods: 1, processes: 1, addresses: 1, interfaces: 1 });
    pod.stop();
    assert!(!pod.is_ready());
    assert!(!process.exists(), "the process is still there");
    pod.remove();
    assert_eq!(node.traces(), Traces::default());
    assert!(node.image(PAUSE).is_some(), "the image is gone");
}

fn containers_share_localhost_and_keep_the_address(node: &Node) {
    let pod = node.run(|_| {});
    let (server, client) = (pod.start("server", &SERVE), pod.start("client", &["sleep", "1000"]));
    assert_eq!(client.wget("localhost"), "hello");
    let address = pod.address();
    server.remove();
    assert_eq!(client.sh("wget -q -O - http://localhost:8080 || true"), "", "what a removed server serves");
    assert_eq!(pod.address(), address, "the Pod's address while the server is gone");
    pod.start("server", &SERVE);
    assert_eq!(pod.address(), address, "the Pod's address with another server");
    assert_eq!(client.wget(&address), "hello");
}

fn containers_that_share_processes_see_pause_as_pid_1_and_no_zombie(node: &Node) {
    let pod = node.run(|context| namespaces(context).set_pid(NamespaceMode::Pod));
    let (server, client) = (pod.start("server", &SERVE), pod.start("client", &["sleep", "1000"]));
    holds_a_pod(&["pid", "net", "ipc", "uts"], |name, script| {
        let container = if name == "server" { &server } else { &client };
        container.sh(script)
    });
}

fn containers_that_share_no_processes_see_none(node: &Node) {
    let pod = node.run(|context| namespaces(context).set_pid(NamespaceMode::Container));
    let container = pod.start("container", &["sleep", "1000"]);
    assert_eq!(container.sh("cat /proc/1/cmdline"), "sleep\x001000\0");
    assert_eq!(container.sh("pidof pause || true"), "");
    for kind in ["net", "ipc", "uts"] {
        let joined = container.sh(&format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(Path::new(joined.trim_end()), pod.namespace(kind), "the container's namespace");
        assert_ne!(pod.namespace(kind), node.namespace(kind), "the node's namespace");
    }
}

fn a_pod_may_use_the_namespaces_of_the_node(node: &Node) {
    let pod = node.run(|context| {
        for set in [NamespaceOption::set_network, NamespaceOption::set_pid, NamespaceOption::set_ipc] {
            set(namespaces(context), NamespaceMode::Node);
        }
    });
    pod.runs_the_shipped_file();
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(pod.namespace(kind), node.namespace(kind), "the sandbox's namespace and the node's");
    }
    let container = pod.start("container", &["sleep", "1000"]);
    assert_ne!(container.sh("cat /proc/1/cmdline"), "/pause\0");
    assert_eq!(container.sh(&format!("cat /proc/{}/cmdline", pod.pid())), "/pause\0");
    assert!(pod.is_ready());
    let process = pod.proc();
    pod.stop();
    assert!(!process.exists(), "the process is still there");
}

/// As with `hostUsers: false`.
#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn a_pod_may_have_users_of_its_own() {
    for kind in [V2_RUNC, V2_CRUN] {
        let node = Node::new(kind);
        let pod = node.run(|context| {
            let map = vec![IdMapping { host_id: 100_000, container_id: 0, length: 65_536 }];
            let users = UserNamespace { mode: NamespaceMode::Pod.into(), uids: map.clone(), gids: map };
            namespaces(context).userns_options = Some(users);
        });
        pod.runs_the_shipped_file();
        assert_ne!(pod.namespace("user"), node.namespace("user"));
        assert_eq!(pod.sleeps().euid, 165_535, "the image's user, as the node sees it");
        assert_eq!(pod.start("container", &["sleep", "1000"]).sh("id -u"), "0\n");
    }
}

fn namespaces(context: &mut LinuxSandboxSecurityContext) -> &mut NamespaceOption {
    context.namespace_options.get_or_insert_default()
}

fn killed_it_is_not_ready_and_another_takes_over(node: &Node) {
    let pod = node.run(|_| {});
    node.sandbox.run(&["kill", "-KILL", &pod.pid().to_string()]);
    pause_tests::eventually("the killed sandbox to be not ready", || !pod.is_ready());
    // As the kubelet does it.
    pod.stop();
    let another = node.run(|_| {});
    another.runs_the_shipped_file();
    assert_ne!(another.id, pod.id);
    pod.remove();
    assert!(another.is_ready());
    assert_eq!(node.traces(), Traces { pods: 1, processes: 1, addresses: 1, interfaces: 1 });
}

/// What the kernel says of a process that has a filter.
const FILTERED: Option<u32> = Some(2);

fn sleeps_under_the_runtimes_seccomp_profile(node: &Node) {
    let unconfined = node.run(|_| {});
    assert_eq!(unconfined.sleeps().seccomp, Some(0));
    let pod = node.run(|context| {
        context.seccomp =
            Some(SecurityProfile { profile_type: ProfileType::RuntimeDefault.into(), ..Default::default() });
    });
    assert_eq!(pod.sleeps().seccomp, FILTERED);
    assert!(pod.is_ready());
}

fn sleeps_under_a_seccomp_profile_of_the_node(node: &Node) {
    let pod = run_with_profile(node, PROFILE);
    assert_eq!(pod.sleeps().seccomp, FILTERED);
    assert!(pod.is_ready());
}

fn ends_under_a_seccomp_profile_that_denies_it_to_sleep(node: &Node) {
    let denying = PROFILE.replace("\"pause\",", "").replace("\"ppoll\",", "");
    assert_ne!(denying, PROFILE);
    let pod = run_with_profile(node, &denying);
    pause_tests::eventually("the sandbox to be not ready", || !pod.is_ready());
}

fn run_with_profile<'a>(node: &'a Node, profile: &str) -> Pod<'a> {
    let path = "/run/seccomp.json";
    fs::write(node.sandbox.path(path), profile).expect("writable");
    node.run(|context| {
        let profile_type = ProfileType::Localhost.into();
        context.seccomp = Some(SecurityProfile { profile_type, localhost_ref: path.into() });
    })
}

fn is_confined_by_default(node: &Node) {
    confined(&node.run(|_| {}), 65535, 65535);
}

#[track_caller]
fn confined(pod: &Pod, user: u32, group: u32) {
    let status = pod.sleeps();
    assert_eq!((status.ruid, status.euid, status.rgid, status.egid), (user, user, group, group));
    assert_eq!(status.nonewprivs, Some(1), "whether it may gain privileges");
    assert_eq!((status.capprm, status.capeff), (0, 0), "capabilities");
    let mounts = pod.process().mountinfo().expect("readable");
    let root = mounts.into_iter().find(|mount| mount.mount_point == Path::new("/")).expect("a root");
    assert!(root.mount_options.contains_key("ro"), "the root can be written to: {:?}", root.mount_options);
}

fn runs_as_the_pods_user(node: &Node) {
    let pod = node.run(|context| {
        context.run_as_user = Some(Int64Value { value: 1000 });
        context.run_as_group = Some(Int64Value { value: 2000 });
        context.readonly_rootfs = true;
    });
    confined(&pod, 1000, 2000);
}

fn a_hundred_run_side_by_side(node: &Node) {
    const HUNDRED: usize = 100;
    let pods: Vec<_> = (0..HUNDRED).map(|_| node.run(|_| {})).collect();
    pods.iter().for_each(Pod::runs_the_shipped_file);
    assert!(pods.iter().all(Pod::is_ready));
    let addresses: BTreeSet<String> = pods.iter().map(Pod::address).collect();
    assert_eq!(addresses.len(), HUNDRED, "different addresses");
    let all = Traces { pods: HUNDRED, processes: HUNDRED, addresses: HUNDRED, interfaces: HUNDRED };
    assert_eq!(node.traces(), all);
}
