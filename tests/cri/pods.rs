//! Pods on nodes with containerd 1 and 2, each with runc and with crun, and those of a kubelet: the nodes of what pods.py
//! asserts.

use crate::node::{IMAGE, Kind, Node, PAUSE};
use pause_tests::clients;
use pause_tests::debian::{BOOKWORM, SID};
use pause_tests::sandbox::REGISTRY;

const V1_RUNC: Kind = Kind { containerd: 1, runtime: "runc", more: "" };
const V1_CRUN: Kind = Kind { runtime: "crun", ..V1_RUNC };
const V2_RUNC: Kind = Kind { containerd: 2, ..V1_RUNC };
const V2_CRUN: Kind = Kind { containerd: 2, ..V1_CRUN };

macro_rules! nodes {
    ($($test:ident: $kind:expr;)*) => {
        $(
            #[test]
            #[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
            fn $test() {
                Node::new($kind).holds("EveryNode");
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

#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn a_kubelet_runs_a_static_pod() {
    let node = Node::new(V1_RUNC);
    node.start_kubelet("");
    node.holds("Kubelet");
}

#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn a_pod_may_have_users_of_its_own() {
    for kind in [V2_RUNC, V2_CRUN] {
        Node::new(kind).holds("Runs.test_a_pod_may_have_users_of_its_own");
    }
}

const RUNS: &str = "Runs.test_runs_the_image";

/// A node whose image is in a registry.
fn with_registry(kind: Kind) -> (Node, String) {
    let name = format!("{REGISTRY}/pause:{}", env!("CARGO_PKG_VERSION"));
    let node = Node::asking_for(&name, kind);
    node.sandbox.start_registry("");
    node.sandbox.push(&IMAGE.0, PAUSE, &name);
    (node, name)
}

#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn runs_the_image_pulled_from_a_registry() {
    for kind in [V1_RUNC, V2_CRUN] {
        with_registry(kind).0.holds("Runs.test_it_is_pulled_first");
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
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn runs_the_image_out_of_every_snapshotter() {
    for (name, kind) in SNAPSHOTTERS {
        println!("{name}");
        let node = Node::new(kind);
        node.holds(RUNS);
        let unpacked = format!("/run/images/io.containerd.snapshotter.v1.{name}/snapshots");
        assert_ne!(node.sandbox.run(&["ls", &unpacked]), "", "the image is unpacked elsewhere");
        let suite = if kind.containerd == 1 { BOOKWORM } else { SID };
        let (client, version) = (format!("containerd with {name}"), node.sandbox.run(&["containerd", "--version"]));
        let command = [format!("snapshotter = '{name}'"), "RunPodSandbox".to_owned()];
        clients::record(&client, suite, &version, &command, "the program runs");
    }
}

/// A node that keeps no compressed layer once it is unpacked: neither of an image that is loaded, nor of one it pulls.
#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn runs_the_image_whose_layers_are_discarded() {
    for kind in [
        Kind { more: "[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndiscard_unpacked_layers = true", ..V1_RUNC },
        Kind { more: "[plugins.'io.containerd.cri.v1.images']\ndiscard_unpacked_layers = true", ..V2_RUNC },
    ] {
        Node::new(kind).holds(RUNS);
        let (node, name) = with_registry(kind);
        node.holds(RUNS);
        let check = ["ctr", "--namespace=k8s.io", "images", "check", &format!("name=={name}")];
        // Some time after it was unpacked.
        pause_tests::eventually("the layer to go", || node.sandbox.run(&check).contains("incomplete"));
    }
}

/// As deploy/containerd.md has it: what is imported under its name is to be tagged with its digest too.
#[test]
#[ignore = "needs root and containers: .ci/run has the packages; cargo test --test cri -- --ignored"]
fn finds_the_image_by_name_and_digest() {
    for containerd in [1, 2] {
        let digest = IMAGE.1.index.digest();
        let node = Node::asking_for(&format!("{PAUSE}@{digest}"), Kind { containerd, ..V1_RUNC });
        node.import(&IMAGE.0);
        let (name, _) = PAUSE.rsplit_once(':').expect("a tag");
        node.sandbox.run(&["ctr", "--namespace", "k8s.io", "images", "tag", PAUSE, &format!("{name}@{digest}")]);
        node.holds(RUNS);
    }
}
