//! A kubelet runs a static Pod on the image, with containerd 1 and runc: what it asks of pause over the Pod's life.

use crate::node::pod::{Container, Pod};
use crate::node::{Containerd, Kind, Node, Traces};
use pause_tests::sandbox::{holds_a_pod, manifest};
use std::time::Duration;

/// How long the kubelet may take. It looks for sandboxes to remove once a minute.
const PATIENCE: Duration = Duration::from_secs(180);

const ONE: Traces = Traces { pods: 1, processes: 1, addresses: 1, interfaces: 1 };

#[test]
#[ignore = "needs root, containerd and Go: .ci/run has the packages; cargo test --features cri --test cri -- --ignored"]
fn a_static_pod_comes_stays_and_goes() {
    let node = Node::new(Kind { containerd: Containerd::V1, runtime: "runc", more: "" });
    node.start_kubelet("");
    node.set_manifest(Some(&manifest()));
    eventually("a sandbox", || !node.pods().is_empty());
    let pod = node.pods().remove(0);
    let (server, client) = (running(&pod, "server"), running(&pod, "client"));
    pod.runs_the_shipped_file();
    holds_a_pod(&["pid", "net", "ipc", "uts"], |name, script| running(&pod, name).sh(script));
    let address = pod.address();
    assert_eq!(client.wget(&address), "hello");
    assert_eq!(node.traces(), ONE);
    // It has changed what it was shown in the place of the machine's setting.
    assert_eq!(node.sandbox.run(&["cat", "/run/sys/kernel/panic"]), "10");

    client.sh("kill -KILL $(pidof httpd)");
    eventually("another server", || pod.container("server").is_some_and(|another| another.id != server.id));
    assert_eq!(client.wget(&address), "hello");
    assert_eq!(pod.address(), address);
    assert_eq!(node.traces(), ONE);

    node.sandbox.run(&["kill", "-KILL", &pod.pid().to_string()]);
    eventually("another sandbox", || node.pods().first().is_some_and(|newest| newest.id != pod.id));
    let another = node.pods().remove(0);
    another.runs_the_shipped_file();
    assert!(another.is_ready() && !pod.is_ready());
    running(&another, "server");
    assert_eq!(running(&another, "client").wget("localhost"), "hello");
    assert_eq!(node.traces(), Traces { pods: 2, ..ONE });

    let process = another.proc();
    node.set_manifest(None);
    eventually("pause to end", || !process.exists());
    eventually("the sandboxes to be removed", || node.pods().is_empty());
    assert_eq!(node.traces(), Traces::default());
    let cgroups = format!("*{}/kubepods/*/pod*", node.sandbox.cgroup);
    eventually("its cgroups to be removed", || {
        node.sandbox.run(&["find", "/sys/fs/cgroup", "-path", &cgroups]).is_empty()
    });
}

/// Waits for a container.
#[track_caller]
fn running<'a>(pod: &'a Pod, name: &str) -> Container<'a> {
    let mut container = None;
    eventually(&format!("the container {name} to run"), || {
        container = pod.container(name);
        container.is_some()
    });
    container.expect("seen")
}

#[track_caller]
fn eventually(what: &str, condition: impl FnMut() -> bool) {
    pause_tests::within(PATIENCE, what, condition);
}
