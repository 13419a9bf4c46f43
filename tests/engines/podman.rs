//! The image does its job in Podman: it holds the namespaces of a real Pod of two containers, loses none of them when
//! a container dies, leaves no zombie and ends when it is told to.

use crate::engine::Engine;
use pause_tests::sandbox::{BUSYBOX, SERVE, ZOMBIES, make_orphans, manifest, wget};
use std::fs;

const IMAGE: &str = "registry.k8s.io/pause:3.10";

#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn holds_a_pod_whose_containers_come_and_go() {
    let podman = Engine::new("podman", &[IMAGE]);
    start_pod(&podman, IMAGE, "/pause");
    podman.run(&[&["run", "--detach", "--pod=pod", "--name=server", BUSYBOX], &SERVE[..]].concat());

    let held = podman.sandbox.run(&["sha256sum", &format!("/proc/{}/exe", podman.pid("infra"))]);
    let shipped = podman.sandbox.run(&["sha256sum", &pause_tests::shipped().display().to_string()]);
    assert_eq!(held.split(' ').next(), shipped.split(' ').next(), "the infra container runs another file");

    podman.holds_a_pod("pid net ipc uts", ["server", "client"]);

    let address = || {
        let addresses = podman.sh("client", "ip -4 -o address show scope global");
        let address = addresses.split_whitespace().skip_while(|word| *word != "inet").nth(1);
        let address = address.and_then(|address| address.split('/').next());
        address.unwrap_or_else(|| panic!("no address in {addresses:?}")).to_owned()
    };
    let (before, process) = (address(), podman.pid("server"));
    podman.run(&["kill", "server"]);
    assert_eq!(podman.run(&["wait", "server"]), "137", "the killed server's status");
    assert_eq!(address(), before, "the Pod's address while the server is dead");
    podman.run(&["start", "server"]);
    assert_ne!(podman.pid("server"), process, "the server is the process that was killed");
    assert_eq!(address(), before, "the Pod's address after the server came back");
    assert_eq!(podman.sh("client", &wget(&before)), "hello");
    podman.holds_a_pod("pid net ipc uts", ["server", "client"]);

    podman.run(&["pod", "stop", "--time=1", "pod"]);
    podman.has_ended("infra");
}

/// What the checks above would show of a first process that neither reaps nor listens.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn a_first_process_that_is_no_pause_leaves_zombies_and_is_killed() {
    let podman = Engine::new("podman", &[IMAGE]);
    start_pod(&podman, BUSYBOX, "/bin/sleep 1000");
    podman.sh("client", &make_orphans(100));
    assert_eq!(podman.sh("client", ZOMBIES), "100");
    podman.run(&["pod", "stop", "--time=1", "pod"]);
    assert_eq!(podman.inspect("infra", ".State.ExitCode"), "137");
}

/// As on a node where containers.conf names the image and Pods come from manifests.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn holds_the_pod_of_a_kubernetes_manifest() {
    let _cgroup = CgroupOfPods;
    let podman = Engine::new("podman", &[IMAGE]);
    fs::create_dir_all(podman.sandbox.path("/etc/containers/containers.conf.d")).expect("writable");
    let configuration = format!("[engine]\ninfra_image = \"{IMAGE}\"\ninfra_command = \"/pause\"\n");
    fs::write(podman.sandbox.path("/etc/containers/containers.conf.d/pause.conf"), configuration).expect("writable");
    fs::write(podman.sandbox.path("/run/pod.yaml"), manifest()).expect("writable");
    podman.run(&["play", "kube", "/run/pod.yaml"]);

    let infra = podman.run(&["pod", "inspect", "--format={{.InfraContainerID}}", "pod"]);
    assert_eq!(podman.inspect(&infra, ".ImageName"), IMAGE, "the infra container's image");
    podman.holds_a_pod("pid net ipc uts", ["pod-server", "pod-client"]);

    podman.run(&["pod", "stop", "--time=1", "pod"]);
    assert_eq!(podman.inspect(&infra, ".State.ExitCode"), "0");
    podman.run(&["play", "kube", "--down", "/run/pod.yaml"]);
}

/// The cgroup that Podman makes for all Pods of manifests, which cannot name another, and leaves there.
struct CgroupOfPods;

impl Drop for CgroupOfPods {
    fn drop(&mut self) {
        pause_tests::sandbox::remove_cgroups("libpod_parent");
    }
}

/// Without an image of its own: the file alone, mounted into any image, under any user, is an init for those who join.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines podman:: -- --ignored"]
fn the_bare_file_is_an_init_in_any_image() {
    let podman = Engine::new("podman", &[IMAGE]);
    let volume = format!("--volume={}:/pause:ro", pause_tests::shipped().display());
    let infra = ["--network=none", "--user=1000:2000", "--read-only", "--cap-drop=all", &volume, "--entrypoint=/pause"];
    podman.start("infra", &[&infra[..], &[BUSYBOX]].concat());
    podman.start("client", &["--network=none", "--pid=container:infra", BUSYBOX, "sleep", "1000"]);
    assert_eq!(podman.sh("client", "cat /proc/1/cmdline; stat -c %u:%g /proc/1"), "/pause\x001000:2000");
    podman.sh("client", &make_orphans(100));
    assert_eq!(podman.sh("client", ZOMBIES), "0");
    podman.ends("infra");
}

/// Creates and starts the Pod; its infra container is named `infra`.
fn start_pod(podman: &Engine, image: &str, command: &str) {
    let names = ["pod", "create", "--name=pod", "--infra-name=infra", "--share=pid,net,ipc,uts"];
    let infra = ["--infra-image", image, "--infra-command", command, "--cgroup-parent", &podman.sandbox.cgroup];
    podman.run(&[&names[..], &infra].concat());
    podman.run(&["pod", "start", "pod"]);
    podman.run(&["run", "--detach", "--pod=pod", "--name=client", BUSYBOX, "sleep", "1000"]);
}
