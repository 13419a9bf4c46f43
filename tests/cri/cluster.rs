//! A cluster of one node, of Debian's source package of Kubernetes: what controllers, the scheduler and an administrator
//! do to Pods, down to the sandboxes and their processes.

use crate::node::kubernetes::OF_THE_CLUSTER;
use crate::node::pod::Pod;
use crate::node::{BUSYBOX, Containerd, Kind, Node, PAUSE};
use pause_tests::ROOT;
use pause_tests::sandbox::{STATES, make_orphans, zombies};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use xtask::oci::Image;

/// How long the cluster may take for one thing.
const PATIENCE: Duration = Duration::from_secs(300);

const DEPLOYED: usize = 10;

#[test]
#[ignore = "long: .ci/run long"]
fn pods_of_a_cluster_come_stay_and_go() {
    let cluster = Cluster::new();
    for (kind, name) in [("Deployment", "many"), ("DaemonSet", "everywhere")] {
        let (labels, template) = (json!({ "matchLabels": { "app": name } }), pod(name, json!({})));
        let specification = json!({ "selector": labels, "template": template });
        let metadata = json!({ "name": name });
        cluster.apply(&json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": specification }));
    }
    cluster.scale(DEPLOYED);

    an_administrator_sees_one_pause_for_each_pod(&cluster);
    a_killed_pause_costs_the_pod_its_address(&cluster);
    a_pod_has_the_namespaces_and_the_user_it_asks_for(&cluster);

    cluster.kubectl(&["rollout", "restart", "deployment/many"]);
    cluster.is_rolled_out(DEPLOYED + 1);
    cluster.kubectl(&["drain", "node", "--ignore-daemonsets", "--force", "--timeout=300s"]);
    cluster.has_sandboxes(1);
    cluster.kubectl(&["uncordon", "node"]);
    cluster.is_rolled_out(DEPLOYED + 1);

    a_hundred_at_once_beside_the_reference(&cluster);

    cluster.kubectl(&["delete", "deployment/many", "daemonset/everywhere"]);
    cluster.has_sandboxes(0);
    assert_eq!(cluster.node.sandbox.sh("pgrep -x pause || true", &[]), "");
}

fn an_administrator_sees_one_pause_for_each_pod(cluster: &Cluster) {
    let debug = ["debug", "node/node", "--image", BUSYBOX, "--image-pull-policy=Never", "--quiet", "--attach"];
    let seen = cluster.kubectl(&[&debug[..], &["--", "ps", "-o", "pid,user,args"]].concat());
    let own = cluster.kubectl(&["get", "pods", "--output=name"]);
    let own = own.lines().find(|name| name.contains("debugger")).expect("the Pod that has looked");
    let pauses = seen.lines().filter(|line| line.split_whitespace().skip(1).eq(["65535", "/pause"])).count();
    // That Pod's own is among them.
    assert_eq!(pauses, DEPLOYED + 2, "{seen}");
    cluster.kubectl(&["delete", own]);
    cluster.has_sandboxes(DEPLOYED + 1);
    // The kubelet removes what has ended once a minute.
    let containers = || cluster.node.sandbox.run(&["ctr", "--namespace", "k8s.io", "containers", "ls"]);
    eventually("as many containers", || containers().matches(PAUSE).count() == DEPLOYED + 1);
}

fn a_killed_pause_costs_the_pod_its_address(cluster: &Cluster) {
    let address =
        || cluster.kubectl(&["get", "pods", "--selector=app=everywhere", "--output=jsonpath={.items[0].status.podIP}"]);
    let before = address();
    let sandbox = cluster.node.ready_pods().into_iter().find(|pod| pod.address() == before).expect("the Pod's sandbox");
    cluster.node.sandbox.run(&["kill", "-KILL", &sandbox.pid().to_string()]);
    eventually("another address", || ![&*before, ""].contains(&&*address()));
    cluster.is_rolled_out(DEPLOYED + 1);
    cluster.node.ready_pods().iter().for_each(Pod::runs_the_shipped_file);
}

fn a_pod_has_the_namespaces_and_the_user_it_asks_for(cluster: &Cluster) {
    for (name, more, first) in [
        ("shared", json!({ "shareProcessNamespace": true }), "/pause"),
        ("host-pid", json!({ "hostPID": true }), "sh"),
        ("host-network", json!({ "hostNetwork": true }), "sleep"),
        ("user", json!({ "securityContext": { "runAsUser": 1000, "runAsGroup": 2000 } }), "sleep"),
    ] {
        let mut one = pod(name, more);
        (one["apiVersion"], one["kind"], one["metadata"]["name"]) = (json!("v1"), json!("Pod"), json!(name));
        cluster.apply(&one);
        cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=300s"]);
        let sh = |script: &str| cluster.kubectl(&["exec", name, "--", "sh", "-euc", script]);
        let line = sh("cat /proc/1/cmdline");
        assert_eq!(line.split('\0').next(), Some(first), "the first process that {name} sees");
        if name == "shared" {
            sh(&make_orphans(50));
            assert_eq!(zombies(&sh(STATES)), 0, "zombies in the Pod");
        }
        let newest = cluster.node.pods().remove(0);
        newest.runs_the_shipped_file();
        assert_eq!(newest.namespace("net") == cluster.node.namespace("net"), name == "host-network", "{name}");
        assert_eq!(newest.namespace("pid") == cluster.node.namespace("pid"), name == "host-pid", "{name}");
        assert_eq!(newest.sleeps().euid, if name == "user" { 1000 } else { 65535 }, "{name}");
        cluster.kubectl(&["delete", "pod", name]);
    }
}

/// Alternating. Whoever reads it divides: docs/benchmarks.md has the figures of one run.
fn a_hundred_at_once_beside_the_reference(cluster: &Cluster) {
    const HUNDRED: usize = 100;
    let images = [("this program", pause_tests::shipped().to_path_buf()), ("C, glibc", reference())];
    for round in 1..=2 {
        for (name, program) in &images {
            cluster.scale(0);
            cluster.node.import(&archive(&fs::read(program).expect("readable")));
            let start = Instant::now();
            cluster.scale(HUNDRED);
            let seconds = start.elapsed().as_secs_f64();
            let charged = cluster.node.sandbox.sh(CHARGED, &[]);
            println!("round {round}, {name}: available after {seconds:.1} s, {charged} KiB charged for each sandbox");
        }
    }
    cluster.scale(0);
    cluster.node.import(&archive(&fs::read(&images[0].1).expect("readable")));
}

/// The average of the cgroups of all that are called pause, the DaemonSet's among them.
const CHARGED: &str = "
    for process in $(pgrep -x pause); do
        path=$(sed -n 's/^[0-9]*:\\(memory\\|\\)://p' /proc/$process/cgroup | head -n 1)
        cat /sys/fs/cgroup/memory$path/memory.usage_in_bytes /sys/fs/cgroup$path/memory.current 2> /dev/null || :
    done | awk '{ sum += $1 } END { printf \"%.0f\", sum / NR / 1024 }'
";

/// What `pause.c` does, with a handler for each signal.
fn reference() -> PathBuf {
    pause_tests::debian::kept("reference", |directory| {
        let program = directory.join("pause");
        let mut compile = Command::new("gcc");
        compile.args(["-Os", "-static", "-s", "-o"]).arg(&program).arg(format!("{ROOT}/bench/handlers.c"));
        pause_tests::Ended::of(&mut compile).succeeded();
        program
    })
}

/// An image of a program, under the name that the node asks for.
fn archive(program: &[u8]) -> PathBuf {
    let times = xtask::image::times().expect("a date");
    let image = Image::new(&[(pause_tests::platform(), program)], &times, &Default::default(), || ());
    let path = pause_tests::target().join("tmp/cluster.tar");
    fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
    fs::write(&path, image.expect("an image").archive(&[PAUSE.to_owned()]).expect("an archive")).expect("writable");
    path
}

/// The metadata and the specification of a Pod of one container.
fn pod(app: &str, more: Value) -> Value {
    let container = json!({
        "name": "container", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "1000"]
    });
    // The container does not heed SIGTERM.
    let mut specification = json!({ "containers": [container], "terminationGracePeriodSeconds": 1 });
    specification.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({ "metadata": { "labels": { "app": app } }, "spec": specification })
}

struct Cluster {
    node: Node,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self { node: Node::new(Kind { containerd: Containerd::V1, runtime: "runc", more: "" }) };
        cluster.node.start_control_plane();
        cluster.node.start_kubelet(OF_THE_CLUSTER);
        eventually("the node to register", || cluster.kubectl(&["get", "nodes", "--output=name"]) == "node/node");
        cluster.kubectl(&["wait", "--for=condition=Ready", "node/node", "--timeout=300s"]);
        cluster
    }

    #[track_caller]
    fn kubectl(&self, arguments: &[&str]) -> String {
        // Of its own version, not of the node's.
        let mut command = self.node.sandbox.command("/run/kubernetes/kubectl");
        command.args(["--kubeconfig=/run/kubeconfig"]).args(arguments);
        pause_tests::Ended::of(&mut command).succeeded().stdout.trim_end().to_owned()
    }

    fn apply(&self, object: &Value) {
        fs::write(self.node.sandbox.path("/run/object.json"), object.to_string()).expect("writable");
        self.kubectl(&["apply", "--filename=/run/object.json"]);
    }

    #[track_caller]
    fn is_rolled_out(&self, sandboxes: usize) {
        for what in ["deployment/many", "daemonset/everywhere"] {
            self.kubectl(&["rollout", "status", what, "--timeout=300s"]);
        }
        self.has_sandboxes(sandboxes);
    }

    #[track_caller]
    fn scale(&self, replicas: usize) {
        self.kubectl(&["scale", "deployment/many", &format!("--replicas={replicas}")]);
        self.is_rolled_out(replicas + 1);
    }

    #[track_caller]
    fn has_sandboxes(&self, count: usize) {
        eventually(&format!("{count} sandboxes"), || self.node.ready_pods().len() == count);
    }
}

#[track_caller]
fn eventually(what: &str, condition: impl FnMut() -> bool) {
    pause_tests::within(PATIENCE, what, condition);
}
