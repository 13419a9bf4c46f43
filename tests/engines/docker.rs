//! The image does its job in Docker: others join its namespaces and share them, under the project's seccomp profile too;
//! it leaves no zombie, ends at once when it is told to, and is as small as it says.

use pause_tests::sandbox::{BUSYBOX, SERVE, Sandbox, holds_a_pod};
use std::fs;

const LOADED: &str = "localhost/pause:loaded";
const BUILT: &str = "localhost/pause:built";

#[test]
#[ignore = "needs root, docker.io and busybox-static: cargo test --test engines docker:: -- --ignored"]
fn others_join_the_namespaces_of_the_loaded_image() {
    let node = Node::new();
    node.load();
    node.holds_what_others_join(LOADED, &[]);
}

#[test]
#[ignore = "needs root, docker.io and busybox-static: cargo test --test engines docker:: -- --ignored"]
fn others_join_the_namespaces_of_the_built_image() {
    let node = Node::new();
    pause_tests::shipped();
    node.sandbox.run(&["docker", "build", "--tag", BUILT, "--file=Containerfile", "."]);
    node.holds_what_others_join(BUILT, &[]);
}

#[test]
#[ignore = "needs root, docker.io and busybox-static: cargo test --test engines docker:: -- --ignored"]
fn under_the_projects_seccomp_profile_it_is_the_same() {
    let node = Node::new();
    node.load();
    node.holds_what_others_join(LOADED, &["--security-opt=seccomp=deploy/seccomp.json"]);
}

#[test]
#[ignore = "needs root and docker.io: cargo test --test engines docker:: -- --ignored"]
fn the_list_of_images_shows_the_size_of_the_program() {
    let node = Node::new();
    node.load();
    let size = fs::metadata(pause_tests::shipped()).expect("a file").len();
    assert!(size < 1000, "{size} bytes are not shown in full");
    assert_eq!(node.sandbox.run(&["docker", "images", "--format={{.Size}}", LOADED]), format!("{size}B"));
}

/// A machine with Docker.
struct Node {
    sandbox: Sandbox,
}

impl Node {
    fn new() -> Self {
        Self { sandbox: Sandbox::with_docker() }
    }

    fn load(&self) {
        let directory = tempfile::tempdir().expect("a directory");
        let archive = pause_tests::archive(directory.path(), &[pause_tests::platform()], &[LOADED]).0;
        self.sandbox.run(&["docker", "load", "--input", archive.to_str().expect("UTF-8")]);
    }

    /// Starts a container; one that joins is given every namespace of the container `sandbox` that Docker lets it join.
    fn start(&self, name: &str, options: &[&str], words: &[&str]) {
        let (name, cgroup) = (format!("--name={name}"), format!("--cgroup-parent={}", self.sandbox.cgroup));
        self.sandbox.run(&[&["docker", "run", "--detach", &name, &cgroup], options, words].concat());
    }

    #[track_caller]
    fn holds_what_others_join(&self, image: &str, options: &[&str]) {
        self.sandbox.import_busybox("docker");
        self.start("sandbox", &[&["--ipc=shareable"], options].concat(), &[image]);
        let join = ["--net=container:sandbox", "--ipc=container:sandbox", "--pid=container:sandbox"];
        self.start("server", &join, &[&[BUSYBOX], &SERVE[..]].concat());
        self.start("client", &join, &[BUSYBOX, "sleep", "1000"]);

        let held = format!(
            "for kind in net ipc pid; do readlink /proc/{}/ns/$kind; done",
            self.inspect("sandbox", ".State.Pid")
        );
        let joined = "for kind in net ipc pid; do readlink /proc/self/ns/$kind; done";
        assert_eq!(self.sh("client", joined), self.sandbox.run(&["sh", "-euc", &held]), "the client's namespaces");
        holds_a_pod(&["net", "ipc", "pid"], |container, script| self.sh(container, script));

        // What does not end on SIGTERM would be killed, and its status would be 137.
        self.sandbox.run(&["docker", "stop", "sandbox"]);
        assert_eq!(self.inspect("sandbox", ".State.ExitCode"), "0", "its status when it is stopped");
        let said = self.sandbox.run(&["sh", "-c", "docker logs sandbox 2>&1"]);
        assert_eq!(said, pause_tests::TERMINATED.trim_end(), "what pause said");
    }

    #[track_caller]
    fn sh(&self, container: &str, script: &str) -> String {
        self.sandbox.run(&["docker", "exec", container, "sh", "-euc", script])
    }

    #[track_caller]
    fn inspect(&self, container: &str, field: &str) -> String {
        self.sandbox.run(&["docker", "inspect", "--format", &format!("{{{{{field}}}}}"), container])
    }
}
