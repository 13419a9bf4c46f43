//! The image does its job in Podman: it holds the namespaces of a real Pod of two containers, loses none of them when
//! a container dies, leaves no zombie and ends when it is told to.

use pause_contract::Status;
use pause_tests::sandbox::{BUSYBOX, SERVE, STATES, Sandbox, holds_a_pod, make_orphans, wget, zombies};
use std::fs;

const IMAGE: &str = "registry.k8s.io/pause:3.10";

#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn holds_a_pod_whose_containers_come_and_go() {
    let node = Node::new();
    node.start_pod(IMAGE, "/pause");
    node.podman(&[&["run", "--detach", "--pod=pod", "--name=server", BUSYBOX], &SERVE[..]].concat());
    node.podman(&["run", "--detach", "--pod=pod", "--name=client", BUSYBOX, "sleep", "1000"]);

    let held = node.sandbox.run(&["sha256sum", &format!("/proc/{}/exe", node.pid("infra"))]);
    let shipped = node.sandbox.run(&["sha256sum", &pause_tests::shipped().display().to_string()]);
    assert_eq!(held.split(' ').next(), shipped.split(' ').next(), "the infra container runs another file");

    holds_a_pod(&SHARED, |container, script| node.sh(container, script));

    let (address, process) = (node.address(), node.pid("server"));
    node.podman(&["kill", "server"]);
    assert_eq!(node.podman(&["wait", "server"]), "137", "the killed server's status");
    assert_eq!(node.address(), address, "the Pod's address while the server is dead");
    node.podman(&["start", "server"]);
    assert_ne!(node.pid("server"), process, "the server is the process that was killed");
    assert_eq!(node.address(), address, "the Pod's address after the server came back");
    assert_eq!(node.sh("client", &wget(&address)), "hello");
    holds_a_pod(&SHARED, |container, script| node.sh(container, script));

    assert_eq!(node.status_when_stopped(), "0");
    let said = node.sandbox.run(&["sh", "-c", "podman logs infra 2>&1"]);
    assert_eq!(said, pause_tests::TERMINATED.trim_end(), "what pause said");
}

/// What the checks above would show of a first process that neither reaps nor listens.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn a_first_process_that_is_no_pause_leaves_zombies_and_is_killed() {
    let node = Node::new();
    node.start_pod(BUSYBOX, "/bin/sleep 1000");
    node.podman(&["run", "--detach", "--pod=pod", "--name=client", BUSYBOX, "sleep", "1000"]);
    node.sh("client", &make_orphans(100));
    assert_eq!(zombies(&node.sh("client", STATES)), 100, "zombies in the Pod");
    assert_eq!(node.status_when_stopped(), "137");
}

/// As on a node where containers.conf names the image and Pods come from manifests.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn holds_the_pod_of_a_kubernetes_manifest() {
    let _cgroup = CgroupOfPods;
    let node = Node::new();
    fs::create_dir_all(node.sandbox.path("/etc/containers/containers.conf.d")).expect("writable");
    let configuration = format!("[engine]\ninfra_image = \"{IMAGE}\"\ninfra_command = \"/pause\"\n");
    fs::write(node.sandbox.path("/etc/containers/containers.conf.d/pause.conf"), configuration).expect("writable");
    fs::write(node.sandbox.path("/run/pod.yaml"), manifest()).expect("writable");
    node.podman(&["play", "kube", "/run/pod.yaml"]);

    let infra = node.podman(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"]);
    assert_eq!(node.inspect(&infra, ".ImageName"), IMAGE, "the infra container's image");
    holds_a_pod(&SHARED, |container, script| node.sh(&format!("pod-{container}"), script));

    node.podman(&["pod", "stop", "--time=1", "pod"]);
    assert_eq!(node.inspect(&infra, ".State.ExitCode"), "0");
    node.podman(&["play", "kube", "--down", "/run/pod.yaml"]);
}

/// The cgroup that Podman makes for all Pods of manifests, which cannot name another, and leaves there.
struct CgroupOfPods;

impl Drop for CgroupOfPods {
    fn drop(&mut self) {
        pause_tests::sandbox::remove_cgroups("libpod_parent");
    }
}

fn manifest() -> String {
    let container = |name: &str, command: &[&str]| {
        // Of an image that names no PATH Podman gives a container of a manifest none either.
        let path = serde_json::json!({ "name": "PATH", "value": "/bin" });
        serde_json::json!({
            "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": command, "env": [path]
        })
    };
    let containers = [container("server", &SERVE), container("client", &["sleep", "1000"])];
    let pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "pod" },
        "spec": { "shareProcessNamespace": true, "containers": containers }
    });
    pod.to_string()
}

/// Without an image of its own: the file alone, mounted into any image, under any user, is an init for those who join.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn the_bare_file_is_an_init_in_any_image() {
    let node = Node::new();
    let (file, cgroup) = (pause_tests::shipped().display(), format!("--cgroup-parent={}", node.sandbox.cgroup));
    let (volume, run) = (format!("--volume={file}:/pause:ro"), ["run", "--detach", "--network=none", &cgroup]);
    let infra = ["--name=infra", "--user=1000:2000", "--read-only", "--cap-drop=all", &volume, "--entrypoint=/pause"];
    node.podman(&[&run[..], &infra, &[BUSYBOX]].concat());
    node.podman(&[&run[..], &["--name=client", "--pid=container:infra", BUSYBOX, "sleep", "1000"]].concat());
    assert_eq!(node.sh("client", "cat /proc/1/cmdline; stat -c %u:%g /proc/1"), "/pause\x001000:2000");
    node.sh("client", &make_orphans(100));
    assert_eq!(zombies(&node.sh("client", STATES)), 0, "zombies");
    node.podman(&["stop", "--time=1", "infra"]);
    assert_eq!(node.inspect("infra", ".State.ExitCode"), "0");
    let said = node.sandbox.run(&["sh", "-c", "podman logs infra 2>&1"]);
    assert_eq!(said, pause_tests::TERMINATED.trim_end(), "what it said");
}

/// Podman creates a container, and crun waits, already under the profile, until it is started.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn sleeps_and_ends_under_the_projects_seccomp_profile() {
    let node = Node::new();
    let cgroup = format!("--cgroup-parent={}", node.sandbox.cgroup);
    let run =
        ["run", "--detach", "--name=infra", "--network=none", "--security-opt=seccomp=deploy/seccomp.json", &cgroup];
    for more in [&[][..], &["--security-opt=no-new-privileges"]] {
        node.podman(&[&run[..], more, &[IMAGE]].concat());
        let status = node.sandbox.path(&format!("/proc/{}/status", node.pid("infra")));
        pause_tests::eventually("pause to sleep", || Status::from_file(&status).is_ok_and(|status| status.is_asleep()));
        node.podman(&["stop", "--time=1", "infra"]);
        assert_eq!(node.inspect("infra", ".State.ExitCode"), "0", "{more:?}");
        node.podman(&["rm", "infra"]);
    }
}

#[test]
#[ignore = "needs root and podman: cargo test --test engines podman:: -- --ignored"]
fn is_loaded_under_all_its_names() {
    let names = [IMAGE, "docker.io/rancher/mirrored-pause:3.6", "localhost:5000/pause:latest"];
    let directory = tempfile::tempdir().expect("a directory");
    let sandbox = Sandbox::new();
    let archive = pause_tests::archive(directory.path(), &[pause_tests::platform()], &names).0;
    sandbox.run(&["podman", "load", "--input", archive.to_str().expect("UTF-8")]);
    let ids = names.map(|name| sandbox.run(&["podman", "image", "inspect", "--format={{.Id}}", name]));
    assert!(ids.iter().all(|id| *id == ids[0]), "{names:?} are {ids:?}");
}

const SHARED: [&str; 4] = ["pid", "net", "ipc", "uts"];

/// A machine with Podman, our image and one of busybox, and at most one Pod, named `pod`.
struct Node {
    sandbox: Sandbox,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let node = Self { sandbox: Sandbox::new() };
        let archive = pause_tests::archive(directory.path(), &[pause_tests::platform()], &[IMAGE]).0;
        node.podman(&["load", "--input", archive.to_str().expect("UTF-8")]);
        node.sandbox.import_busybox("podman");
        node
    }

    #[track_caller]
    fn podman(&self, arguments: &[&str]) -> String {
        self.sandbox.run(&[&["podman"], arguments].concat())
    }

    /// Creates and starts the Pod; its infra container is named `infra`.
    fn start_pod(&self, image: &str, command: &str) {
        let names = ["pod", "create", "--name=pod", "--infra-name=infra", "--share=pid,net,ipc,uts"];
        let infra = ["--infra-image", image, "--infra-command", command, "--cgroup-parent", &self.sandbox.cgroup];
        self.podman(&[&names[..], &infra].concat());
        self.podman(&["pod", "start", "pod"]);
    }

    #[track_caller]
    fn inspect(&self, container: &str, field: &str) -> String {
        self.podman(&["inspect", "--format", &format!("{{{{{field}}}}}"), container])
    }

    /// The main process of a container, as the sandbox sees it.
    fn pid(&self, container: &str) -> String {
        self.inspect(container, ".State.Pid")
    }

    #[track_caller]
    fn sh(&self, container: &str, script: &str) -> String {
        self.podman(&["exec", container, "sh", "-euc", script])
    }

    /// The Pod's address, as the client sees it.
    #[track_caller]
    fn address(&self) -> String {
        let addresses = self.sh("client", "ip -4 -o address show scope global");
        let address = addresses.split_whitespace().skip_while(|word| *word != "inet").nth(1);
        let address = address.and_then(|address| address.split('/').next());
        address.unwrap_or_else(|| panic!("no address in {addresses:?}")).to_owned()
    }

    /// Stops the Pod with SIGTERM, and what has not ended a second later with SIGKILL: its infra container's status.
    #[track_caller]
    fn status_when_stopped(&self) -> String {
        self.podman(&["pod", "stop", "--time=1", "pod"]);
        self.inspect("infra", ".State.ExitCode")
    }
}
