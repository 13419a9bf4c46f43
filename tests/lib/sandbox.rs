//! A machine within the machine, for container engines to run in: namespaces and directories of its own, so that the
//! machine stays as it was, however a test ends. What fails says which command it was and what it printed.

use crate::debian::{files, kept};
use crate::{Ended, ROOT};
use serde_json::json;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What engines write to is replaced by memory: their state, their configuration, their locks, their images. When the
/// last process in the mount namespace ends, it is gone. Their images need a file system that overlays can lie on,
/// which an overlay is not.
///
/// crun refuses the hybrid of cgroup v1 with a v2 hierarchy beside it, and Podman makes directories where the latter was.
/// Engines copy the machine's name servers, which may lie in the /run that is hidden here; none is needed.
///
/// A shell is PID 1 because it reaps what engines leave behind, and it ends when the test does, for then `cat` finds
/// its end of the pipe closed; and with PID 1 the kernel ends everything else in the PID namespace. What `cat` is sent
/// it sends back, when it has started and no program of the machine is needed any more.
const SET_UP: &str = r#"
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /dev/shm
    for top in /etc /var/lib; do
        mkdir -p /run/upper$top /run/work$top
        mount -t overlay -o lowerdir=$top,upperdir=/run/upper$top,workdir=/run/work$top overlay $top
    done
    for storage in /var/lib/containers /var/lib/docker; do
        mkdir -p $storage
        mount -t tmpfs tmpfs $storage
    done
    if mountpoint -q /sys/fs/cgroup/unified; then
        umount /sys/fs/cgroup/unified
        mount -t tmpfs tmpfs /sys/fs/cgroup/unified
    fi
    rm -f /etc/resolv.conf
    touch /etc/resolv.conf
    ip link set lo up
    # Without CAP_SYS_RESOURCE limits cannot be raised to what Podman would ask for, and for containers of a manifest it
    # does so whatever is configured: crun is not told.
    cat > /run/crun-without-limits << 'end'
#!/bin/sh
last=
for word; do
    case $last in
        --bundle) sed -i 's/"rlimits":\[[^]]*\]/"rlimits":[]/' "$word/config.json" ;;
        --process) sed -i 's/"rlimits":\[[^]]*\]/"rlimits":[]/' "$word" ;;
    esac
    last=$word
done
exec crun "$@"
end
    chmod 755 /run/crun-without-limits
    mkdir -p /etc/containers
    echo '[engine.runtimes]
crun = ["/run/crun-without-limits"]' > /etc/containers/containers.conf
    cat
    exit
"#;

/// Starts the daemon `$1` and waits until the command `$2` succeeds; if it never does, shows the log.
const START: &str = "
    program=${1%% *}
    log=/run/${program##*/}.log
    $1 > $log 2>&1 &
    for attempt in $(seq 200); do
        eval \"$2\" > /dev/null 2>&1 && exit
        kill -0 $! || break
        sleep 0.05
    done
    cat $log >&2
    exit 1
";

/// The Docker daemon without the bridge and the firewall, for which building and loading images have no use.
pub const DOCKER: &str = "dockerd --bridge=none --iptables=false";

/// Where a registry in the sandbox listens.
pub const REGISTRY: &str = "127.0.0.1:5000";

pub struct Sandbox {
    keeper: Child,
    /// The cgroup engines are to make theirs in, for cgroups are the one thing that no namespace takes along.
    pub cgroup: String,
}

#[allow(clippy::new_without_default, reason = "it starts a process")]
impl Sandbox {
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--ipc", "--uts", "--propagation=private"]);
        command.args(["--fork", "--kill-child", "--mount-proc", "--", "sh", "-euc", SET_UP]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut line = String::new();
        // Should it have ended already, that shows when there is nothing to read.
        keeper.stdin.as_mut().expect("piped").write_all(b"ready\n").ok();
        BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        let cgroup = format!("/pause-test-{}", keeper.id());
        let sandbox = Self { keeper, cgroup };
        assert!(line == "ready\n", "no sandbox; this test needs root, and {command:?} has said above what is missing");
        sandbox
    }

    /// A sandbox in which the Docker daemon runs.
    pub fn with_docker() -> Self {
        let sandbox = Self::new();
        sandbox.start(DOCKER, "docker version");
        sandbox
    }

    /// Has every program that starts in the sandbox from now on find the suite's files in /usr first.
    pub fn lay_over(&self, suite: &str) {
        let lower = format!("lowerdir={}:/usr", files(suite).join("usr").display());
        self.run(&["mount", "-t", "overlay", "-o", &lower, "overlay", "/usr"]);
    }

    /// Starts a daemon, which logs to /run, and waits until the command `ready` succeeds.
    #[track_caller]
    pub fn start(&self, daemon: &str, ready: &str) {
        self.sh(START, &[daemon, ready]);
    }

    /// Starts containerd, for `ctr`.
    pub fn start_containerd(&self) {
        fs::write(self.path("/run/containerd.toml"), include_str!("containerd.toml")).expect("writable");
        self.start("containerd --config /run/containerd.toml", "ctr version");
    }

    /// Starts a registry at [`REGISTRY`], with variables over its configuration; it is ready as soon as something listens.
    pub fn start_registry(&self, variables: &str) {
        fs::write(self.path("/run/registry.yml"), include_str!("registry.yml")).expect("writable");
        let listens = "ss --no-header --listening --tcp --numeric 'sport = :5000' | grep --quiet .";
        self.start(&format!("env {variables} docker-registry serve /run/registry.yml"), listens);
    }

    /// Fills the registry with an image from an OCI archive.
    #[track_caller]
    pub fn push(&self, archive: &Path, name: &str, reference: &str) {
        let source = format!("oci-archive:{}:{name}", archive.display());
        let push = ["skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", &source];
        self.run(&[&push[..], &[&format!("docker://{reference}")]].concat());
    }

    /// Makes the image [`BUSYBOX`] out of the machine's, with an engine's `import`.
    pub fn import_busybox(&self, engine: &str) {
        let import = "
            mkdir -p /run/busybox/bin
            cp /bin/busybox /run/busybox/bin
            /run/busybox/bin/busybox --install /run/busybox/bin
            tar -C /run/busybox -c bin | $1 import - $2
        ";
        self.sh(import, &[engine, BUSYBOX]);
    }

    /// Where a file of the sandbox can be found from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        format!("/proc/{}/root{path}", self.keeper.id()).into()
    }

    /// `program` in the sandbox, found in the system's own directories alone, for a client has to match its daemon.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let namespace = |kind, file| format!("--{kind}=/proc/{}/ns/{file}", self.keeper.id());
        let mut command = Command::new("nsenter");
        command.args([namespace("mount", "mnt"), namespace("net", "net"), namespace("ipc", "ipc")]);
        command.args([namespace("uts", "uts"), namespace("pid", "pid_for_children")]);
        // Entering a mount namespace leads to its root directory.
        command.args(["--", "env", &format!("--chdir={ROOT}")]).arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/run");
        command.env("TMPDIR", "/run");
        command
    }

    /// Runs a command in the sandbox that has to succeed, in minutes, and returns what it printed, without the last line's
    /// end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> String {
        let mut command = self.command("timeout");
        Ended::of(command.arg("600").args(words)).succeeded().stdout.trim_end().to_owned()
    }

    /// Runs a shell script in the sandbox that has to succeed.
    #[track_caller]
    pub fn sh(&self, script: &str, arguments: &[&str]) -> String {
        self.run(&[&["sh", "-euc", script, "sh"], arguments].concat())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // PID 1 ends when this end of its pipe closes, and `unshare` when everything in the PID namespace has.
        drop(self.keeper.stdin.take());
        self.keeper.wait().ok();
        remove_cgroups(&self.cgroup[1..]);
    }
}

/// Removes a cgroup and all below it, in every hierarchy: with v1 each controller has one.
pub fn remove_cgroups(name: &str) {
    let remove = r#"for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ ! -d "$hierarchy/$0" ] || find "$hierarchy/$0" -depth -type d -exec rmdir {} +
    done"#;
    let ended = Ended::of(Command::new("sh").args(["-euc", remove, name]));
    assert!(ended.status.success() || std::thread::panicking(), "it is left behind: {ended}");
}

/// The image that [`Sandbox::import_busybox`] makes.
pub const BUSYBOX: &str = "localhost/busybox";

/// What serves `hello` in a container of busybox.
pub const SERVE: [&str; 3] =
    ["sh", "-c", "mkdir -p /www && printf hello > /www/index.html && exec httpd -f -p 8080 -h /www"];

/// A script for a container that makes so many orphans, and ends when all of them are dead: half of them die before their
/// parents, half after.
pub fn make_orphans(count: usize) -> String {
    format!(
        "i=0
         while [ $i -lt {} ]; do
             (sleep 0.01 &)
             (: & exec sleep 0.001)
             i=$((i + 1))
         done
         while ps -o args | grep -q ^sleep.0; do sleep .1; done",
        count / 2
    )
}

/// A script for a container that shows how many zombies there are among the processes it sees.
pub const ZOMBIES: &str = "cat /proc/[0-9]*/status 2> /dev/null | grep -c ^State:.Z || :";

/// A script for each of the containers `server`, which runs [`SERVE`], and `client` of a Pod, which share these namespaces,
/// `pid` among them: what they see of pause and of each other.
pub fn holds_a_pod(shared: &str) -> String {
    let orphans = make_orphans(2000);
    format!(
        r#"[ "$(until wget -q -O - http://localhost:8080; do sleep 0.1; done)" = hello ]
        [ "$(tr '\0' ' ' < /proc/1/cmdline)" = '/pause ' ]
        for kind in {shared}; do [ $(readlink /proc/self/ns/$kind) = $(readlink /proc/$(pidof httpd)/ns/$kind) ]; done
        {orphans}
        [ $({ZOMBIES}) = 0 ]"#
    )
}

/// The manifest of a Pod of these two containers, which share processes.
pub fn manifest() -> String {
    let container = |name, command: &[&str]| {
        // Of an image that names no PATH Podman gives a container of a manifest none either.
        json!({
            "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": command,
            "env": [{ "name": "PATH", "value": "/bin" }]
        })
    };
    let containers = [container("server", &SERVE), container("client", &["sleep", "1000"])];
    // The client does not heed SIGTERM.
    let specification =
        json!({ "shareProcessNamespace": true, "terminationGracePeriodSeconds": 1, "containers": containers });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod" }, "spec": specification }).to_string()
}

/// An archive of the image [`BUSYBOX`], as Podman writes it.
pub fn busybox() -> PathBuf {
    kept("busybox.tar", |directory| {
        let (sandbox, path) = (Sandbox::new(), directory.join("busybox.tar"));
        sandbox.import_busybox("podman");
        let save = "podman save --quiet --format=oci-archive --output $1 $2";
        sandbox.sh(save, &[path.to_str().expect("UTF-8"), BUSYBOX]);
        path
    })
}
