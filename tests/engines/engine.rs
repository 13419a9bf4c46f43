//! A machine with Podman or Docker, which share the commands for one container.

use pause_tests::sandbox::{DOCKER, Sandbox, holds_a_pod};
use pause_tests::{TERMINATED, platform};

#[test]
#[ignore = "needs root, podman and docker.io: cargo test --test engines engine:: -- --ignored"]
fn the_image_is_loaded_under_all_its_names() {
    let names = ["registry.k8s.io/pause:3.10", "docker.io/rancher/mirrored-pause:3.6", "localhost:5000/pause:latest"];
    for program in ["podman", "docker"] {
        let engine = Engine::new(program, &names);
        let ids = names.map(|name| engine.run(&["image", "inspect", "--format={{.Id}}", name]));
        assert!(ids.iter().all(|id| *id == ids[0]), "{names:?} of {program} are {ids:?}");
    }
}

pub struct Engine {
    pub sandbox: Sandbox,
    program: &'static str,
}

impl Engine {
    /// With our image under these names, and one of busybox.
    pub fn new(program: &'static str, names: &[&str]) -> Self {
        let (directory, engine) =
            (tempfile::tempdir().expect("a directory"), Self { sandbox: Sandbox::new(), program });
        if program == "docker" {
            engine.sandbox.start(DOCKER, "docker version");
        }
        let (archive, _) = pause_tests::archive(directory.path(), &[platform()], names);
        engine.run(&["load", "--input", archive.to_str().expect("UTF-8")]);
        engine.sandbox.import_busybox(program);
        engine
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        self.sandbox.run(&[&[self.program], arguments].concat())
    }

    /// Starts a container.
    #[track_caller]
    pub fn start(&self, name: &str, arguments: &[&str]) {
        let (name, cgroup) = (format!("--name={name}"), format!("--cgroup-parent={}", self.sandbox.cgroup));
        self.run(&[&["run", "--detach", &name, &cgroup], arguments].concat());
    }

    #[track_caller]
    pub fn inspect(&self, container: &str, field: &str) -> String {
        self.run(&["inspect", "--format", &format!("{{{{{field}}}}}"), container])
    }

    /// The main process of a container, as the sandbox sees it.
    #[track_caller]
    pub fn pid(&self, container: &str) -> String {
        self.inspect(container, ".State.Pid")
    }

    #[track_caller]
    pub fn sh(&self, container: &str, script: &str) -> String {
        self.run(&["exec", container, "sh", "-euc", script])
    }

    #[track_caller]
    pub fn holds_a_pod(&self, shared: &str, containers: [&str; 2]) {
        for container in containers {
            self.sh(container, &holds_a_pod(shared));
        }
    }

    /// Stops pause, which ends in order: what does not end on SIGTERM is killed a second later, and its status is 137.
    #[track_caller]
    pub fn ends(&self, container: &str) {
        self.run(&["stop", "--time=1", container]);
        self.has_ended(container);
    }

    #[track_caller]
    pub fn has_ended(&self, container: &str) {
        assert_eq!(self.inspect(container, ".State.ExitCode"), "0", "the status of {container}");
        let said = self.sandbox.sh(&format!("{} logs {container} 2>&1", self.program), &[]);
        assert_eq!(said, TERMINATED.trim_end(), "what {container} said");
    }
}
