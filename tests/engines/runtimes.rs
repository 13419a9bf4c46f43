//! runc and crun without an engine, of Debian 11, 12 and unstable, for amd64 and i386: under the project's own seccomp
//! profile pause starts, reaps and ends as anywhere else, whether what the profile does not list kills or fails.

use nix::sys::signal::Signal::SIGSYS;
use oci_spec::runtime::get_default_mounts;
use pause_contract::Status;
use pause_tests::debian::{self, Suite};
use pause_tests::sandbox::{STATES, Sandbox, zombies};
use pause_tests::{ERROR, Ended, PROFILE, TERMINATED, WARNING, built, end, eventually, finish, named, shipped};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn the_first_process_reaps_and_ends_in_order() {
    with_each_option(|node, options| {
        let container = node.start(&options);
        container.reaps();
        container.terminated().exited(0, "", TERMINATED);
    });
}

#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn in_the_nodes_pid_namespace_it_warns_and_ends_in_order() {
    with_each_option(|node, options| {
        let container = node.start(&Options { has_own_pids: false, ..options });
        container.terminated().exited(0, "", [WARNING, TERMINATED].concat());
    });
}

/// Were the filter not in force, the tests above would pass as well.
#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn what_the_profile_does_not_list_kills_or_fails() {
    with_each_option(|node, options| {
        let ended = finish(node.command(&Options { lists_pause: false, ..options }));
        match options.default_action {
            FAIL => ended.exited(42, "", ERROR),
            _ => ended.exited(128 + SIGSYS as i32, "", ""),
        }
    });
}

#[test]
#[ignore = "needs root, conmon and Debian's archive: cargo test --test engines runtimes:: -- --ignored"]
fn restored_from_a_checkpoint_it_reaps_and_ends_in_order() {
    let node = Node::new(shipped());
    node.sandbox.lay_over(Suite::Sid);
    let options = Options { runtime: "runc", is_created_first: false, is_for_criu: true, ..CREATED };
    let mut container = node.start(&options);

    let [bundle, image, work] = ["", "image", "work"].map(|name| node.path(name).display().to_string());
    let common = ["--image-path", &image, "--work-path", &work, "--manage-cgroups-mode", "soft", ID];
    node.sandbox.run(&[&["runc", "checkpoint"], &common[..]].concat());
    container.run.wait().expect("it has ended");
    fs::remove_file(node.path("pid")).expect("it was there");
    let mut restore = node.sandbox.command("runc");
    restore.args(["restore", "--bundle", &bundle, "--pid-file"]).arg(node.path("pid")).args(common);
    let container = node.sleeps(restore, &options);
    container.reaps();
    container.terminated().exited(0, "", TERMINATED);
}

/// An older C library waits in other system calls, and the kernel of 32 bits has other names for them.
#[test]
#[ignore = "needs root, conmon and the target i686-unknown-linux-gnu, or Debian's rustc-web cargo-web rust-web-src: \
            cargo test --test engines runtimes:: -- --ignored"]
fn with_an_older_c_library_and_with_32_bits_it_is_the_same() {
    for (suite, architecture, platform) in
        [("bullseye", "amd64", "linux/amd64"), ("bookworm", "i386", "linux/386"), ("sid", "i386", "linux/386")]
    {
        println!("{suite}, {architecture}");
        let node = Node::new(&built(&[named(platform)])[0].path);
        let runtimes = debian::kept(&format!("runtimes-{suite}-{architecture}"), |directory| {
            debian::unpack(directory, suite, architecture, "runc crun")
        });
        node.sandbox.sh(CHANGE_ROOT, &[runtimes.to_str().expect("UTF-8")]);
        with_each_option_of(&node, ["/run/crun", "/run/runc"], |node, options| {
            node.start(&options).terminated().exited(0, "", TERMINATED);
        });
    }
}

/// Makes programs of the runtimes that run in the directory `$1` as their root.
const CHANGE_ROOT: &str = r#"
    mkdir /run/root
    mount --bind $1 /run/root
    mkdir -p $1/proc $1/sys $1/dev $1/tmp $1/run
    [ -e $1/lib ] || ln -s usr/lib $1/lib
    for directory in proc sys dev tmp; do
        mount --rbind /$directory /run/root/$directory
    done
    mount -t tmpfs tmpfs /run/root/run
    for runtime in crun runc; do
        printf '#!/bin/sh\nexec chroot /run/root %s "$@"\n' $runtime > /run/$runtime
        chmod 755 /run/$runtime
    done
"#;

/// How a container is run.
#[derive(Clone, Copy, Debug)]
struct Options {
    runtime: &'static str,
    /// `create`, then `start`, as Podman and CRI-O do, instead of `run`: pause's first process waits in between.
    is_created_first: bool,
    default_action: &'static str,
    /// Without it the runtimes load the filter earlier, and make more calls under it.
    no_new_privileges: bool,
    has_own_pids: bool,
    /// Whether pause(2) is on the profile's lists.
    lists_pause: bool,
    /// Without what CRIU does not take, for it is part of another system: a network of the sandbox's own, a root that is
    /// mounted anew, a filter, under which it could not work in the process. As root, for without CAP_SYS_RESOURCE that
    /// reads no limits of another user's.
    is_for_criu: bool,
}

const FAIL: &str = "SCMP_ACT_ERRNO";
const KILL: &str = "SCMP_ACT_KILL_PROCESS";

const CREATED: Options = Options {
    runtime: "crun",
    is_created_first: true,
    default_action: FAIL,
    no_new_privileges: true,
    has_own_pids: true,
    lists_pause: true,
    is_for_criu: false,
};

fn with_each_option(test: impl Fn(&Node, Options)) {
    for is_newer in [false, true] {
        let node = Node::new(shipped());
        if is_newer {
            node.sandbox.lay_over(Suite::Sid);
        }
        with_each_option_of(&node, ["crun", "runc"], &test);
    }
}

fn with_each_option_of(node: &Node, runtimes: [&'static str; 2], test: impl Fn(&Node, Options)) {
    for runtime in runtimes {
        let version = node.sandbox.run(&[runtime, "--version"]);
        println!("{version}");
        for [is_created_first, no_new_privileges, kills] in (0..8).map(|way| [way & 1 != 0, way & 2 != 0, way & 4 != 0])
        {
            if kills && version.starts_with("runc version 1.0.0~rc93") {
                continue; // It does not know that.
            }
            let default_action = if kills { KILL } else { FAIL };
            let options = Options { runtime, is_created_first, default_action, no_new_privileges, ..CREATED };
            println!("{options:?}");
            test(node, options);
        }
    }
}

/// A machine with a bundle: the directory of a container's configuration and its root file system.
struct Node {
    sandbox: Sandbox,
    bundle: TempDir,
}

const ID: &str = "pause";

/// `$1` runs the container of the bundle `$2`, or creates it first if `$3` is true: under conmon, which Podman and CRI-O
/// start it by, and which keeps its streams and its status.
const RUN: &str = r#"
    if ! $3; then
        exec $1 run --bundle $2 --pid-file $2/pid pause
    fi
    conmon --sync --cid pause --cuuid pause --runtime $(command -v $1) --bundle $2 --container-pidfile $2/pid \
        --log-path passthrough --exit-dir $2 &
    until [ -s $2/pid ]; do
        kill -0 $!
        sleep 0.01
    done
    $1 start pause
    wait $! || :
    $1 delete pause
    exit $(cat $2/pause)
"#;

impl Node {
    fn new(program: &Path) -> Self {
        let node = Self { sandbox: Sandbox::new(), bundle: tempfile::tempdir().expect("a directory") };
        fs::create_dir(node.path("rootfs")).expect("writable");
        fs::copy(program, node.path("rootfs/pause")).expect("writable");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bundle.path().join(name)
    }

    fn configuration(&self, options: &Options) -> Value {
        let listed = if options.lists_pause { PROFILE.to_owned() } else { PROFILE.replace("\"pause\",", "") };
        let mut profile: Value = serde_json::from_str(&listed).expect("a profile");
        profile["defaultAction"] = options.default_action.into();
        let mut namespaces = vec!["mount", "ipc", "uts", "cgroup"];
        namespaces.extend(options.has_own_pids.then_some("pid"));
        namespaces.extend((!options.is_for_criu).then_some("network"));
        let namespaces: Vec<_> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
        let mut mounts = get_default_mounts();
        mounts.retain(|mount| mount.typ().as_deref() != Some("cgroup"));
        // The user of the image, and what containerd makes of a sandbox.
        let id = if options.is_for_criu { 0 } else { 65535 };
        let mut linux = json!({ "cgroupsPath": format!("{}/{ID}", self.sandbox.cgroup), "namespaces": namespaces });
        if !options.is_for_criu {
            linux["seccomp"] = profile;
        }
        json!({
            "ociVersion": "1.0.2",
            "hostname": ID,
            "root": { "path": "rootfs", "readonly": !options.is_for_criu },
            "process": {
                "args": ["/pause"], "cwd": "/", "user": { "uid": id, "gid": id },
                "noNewPrivileges": options.no_new_privileges
            },
            "mounts": mounts,
            "linux": linux
        })
    }

    /// Runs the container.
    fn command(&self, options: &Options) -> Command {
        fs::write(self.path("config.json"), self.configuration(options).to_string()).expect("writable");
        fs::remove_file(self.path("pid")).ok();
        let mut command = self.sandbox.command("sh");
        command.args(["-euc", RUN, "sh", options.runtime]).arg(self.bundle.path());
        command.arg(options.is_created_first.to_string());
        command
    }

    /// Starts the container, and waits until pause sleeps in it.
    #[track_caller]
    fn start(&self, options: &Options) -> Container<'_> {
        self.sleeps(self.command(options), options)
    }

    #[track_caller]
    fn sleeps(&self, mut command: Command, options: &Options) -> Container<'_> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut has_ended = false;
        eventually("pause to sleep", || {
            has_ended = run.try_wait().expect("waitable").is_some();
            let status = self.sandbox.path(&format!("/proc/{}/status", self.pid()));
            has_ended || self.path("pid").exists() && Status::from_file(status).is_ok_and(|status| status.is_asleep())
        });
        let command = format!("{command:?}");
        if has_ended {
            panic!("pause should sleep, but\n{}", end(&command, run));
        }
        Container { node: self, runtime: options.runtime, command, run }
    }

    /// The PID of pause, as the sandbox sees it.
    fn pid(&self) -> String {
        fs::read_to_string(self.path("pid")).unwrap_or_default()
    }
}

/// A container that runs, and its runtime, which waits for it.
struct Container<'a> {
    node: &'a Node,
    runtime: &'static str,
    command: String,
    run: Child,
}

impl Container<'_> {
    /// As PID 1, the orphans of a container that joins the Pod's PID namespace, with a /proc of its own.
    #[track_caller]
    fn reaps(&self) {
        let pid = self.node.pid();
        let join = ["nsenter", "--target", &pid, "--pid", "unshare", "--mount", "--mount-proc", "sh", "-euc"];
        let script = format!("cat /proc/1/cmdline; (: &); (: & exec sleep 0.01); {STATES}");
        let seen = self.node.sandbox.run(&[&join[..], &[&script]].concat());
        assert_eq!((seen.starts_with("/pause\0"), zombies(&seen)), (true, 0), "the first process, and zombies: {seen}");
    }

    fn terminated(self) -> Ended {
        self.node.sandbox.run(&[self.runtime, "kill", ID, "TERM"]);
        end(&self.command, self.run)
    }
}
