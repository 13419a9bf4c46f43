//! gVisor, whose kernel is another program's: there too pause is the first process of a container, and of a Pod of two.

use nix::sys::signal::Signal::{self, SIGINT, SIGTERM};
use pause_tests::sandbox::{STATES, Sandbox, make_orphans, zombies};
use pause_tests::{INTERRUPT, TERMINATED, VERSION, WARNING, eventually, shipped};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Stdio};
use tempfile::TempDir;

#[test]
#[ignore = "needs root, runsc and busybox-static: cargo test --test engines gvisor:: -- --ignored"]
fn alone_and_in_a_pod_of_two_it_is_as_on_linux() {
    for platform in ["systrap", "ptrace"] {
        for (signal, message) in [(SIGINT, INTERRUPT), (SIGTERM, TERMINATED)] {
            println!("{platform}, {signal}");
            let node = Node::new(platform);
            let sandbox = node.run("alone", &["/pause"], json!({}), None);
            node.ends("alone", sandbox, signal, message);

            let annotations = json!({ "io.kubernetes.cri.container-type": "sandbox" });
            let sandbox = node.run("pod", &["/pause"], annotations, None);
            let annotations =
                json!({ "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod" });
            let pid = node.state("pod")["pid"].to_string();
            let mut member = node.run("member", &["/bin/sleep", "1000"], annotations, Some(&pid));
            assert_eq!(node.sh("tr '\\0' ' ' < /proc/1/cmdline"), "/pause", "the first process of the Pod");
            node.sh(&make_orphans(50));
            assert_eq!(zombies(&node.sh(STATES)), 0, "zombies in the Pod");
            let versions = [VERSION, VERSION].concat();
            assert_eq!(node.sh("/pause -v; /pause a b -v"), versions.trim_end());
            let second = SECOND.replace("SIGNAL", signal.as_str().trim_start_matches("SIG"));
            assert_eq!(node.sh(&second), [WARNING, message, "0"].concat());

            node.ends("pod", sandbox, signal, message);
            member.wait().expect("it has ended with its Pod");
        }
    }
}

/// Runs another pause until it sleeps.
const SECOND: &str = "
    /pause 2> /tmp/said &
    until [ -s /tmp/said ] && grep -q '^State:.S' /proc/$!/status; do sleep 0.1; done
    kill -SIGNAL $!
    wait $! || true
    cat /tmp/said
    echo $?
";

/// A machine with runsc, and the root file system that its containers share.
struct Node {
    sandbox: Sandbox,
    directory: TempDir,
    platform: &'static str,
}

impl Node {
    fn new(platform: &'static str) -> Self {
        let node = Self { sandbox: Sandbox::new(), directory: tempfile::tempdir().expect("a directory"), platform };
        let root = node.directory.path().join("rootfs");
        for directory in ["bin", "proc", "tmp"] {
            fs::create_dir_all(root.join(directory)).expect("writable");
        }
        fs::copy(shipped(), root.join("pause")).expect("writable");
        let install = "cp /bin/busybox $1/bin && chroot $1 /bin/busybox --install -s /bin";
        node.sandbox.sh(install, &[root.to_str().expect("UTF-8")]);
        node
    }

    fn runsc<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        let platform = if self.platform == "ptrace" { "--platform=ptrace" } else { "--platform=systrap" };
        [&["runsc", "--root=/run/runsc", "--network=none", "--ignore-cgroups", platform], words].concat()
    }

    /// Starts a container, in the namespaces of the process `pid` if there is one, and waits until it runs.
    fn run(&self, id: &str, args: &[&str], annotations: Value, pid: Option<&str>) -> Child {
        let bundle = self.directory.path().join(id);
        fs::create_dir(&bundle).expect("writable");
        let namespace = |(kind, file)| match pid {
            Some(pid) => json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }),
            None => json!({ "type": kind }),
        };
        let mut namespaces =
            [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")].map(namespace).to_vec();
        namespaces.push(json!({ "type": "mount" }));
        let configuration = json!({
            "ociVersion": "1.0.2",
            // The user of the image.
            "process": {
                "user": { "uid": 65535, "gid": 65535 }, "args": args, "cwd": "/", "noNewPrivileges": true,
                "env": ["PATH=/bin"]
            },
            "root": { "path": "../rootfs", "readonly": true },
            "annotations": annotations,
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] }
            ],
            "linux": { "namespaces": namespaces }
        });
        fs::write(bundle.join("config.json"), configuration.to_string()).expect("writable");
        let words = self.runsc(&["run", "--bundle", bundle.to_str().expect("UTF-8"), id]);
        let mut command = self.sandbox.command(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("nsenter runs");
        eventually("the container to run", || self.state(id)["status"] == "running");
        child
    }

    /// What runsc says of a container, which may not be there yet.
    fn state(&self, id: &str) -> Value {
        let ended = self.sandbox.try_run(&self.runsc(&["state", id]));
        serde_json::from_str(&ended.stdout).unwrap_or_default()
    }

    /// Runs a script in the Pod's other container.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        self.sandbox.run(&self.runsc(&["exec", "member", "/bin/sh", "-euc", script]))
    }

    #[track_caller]
    fn ends(&self, id: &str, container: Child, signal: Signal, message: &str) {
        self.sandbox.run(&self.runsc(&["kill", id, signal.as_str()]));
        pause_tests::end(id, container).exited(0, "", message);
    }
}
