//! runc and crun without an engine, of Debian 11, 12 and unstable, for amd64 and i386: under the project's own seccomp
//! profile pause starts, reaps and ends as anywhere else, whether what the profile does not list kills or fails.

use nix::sys::signal::Signal::SIGSYS;
use oci_spec::runtime::get_default_mounts;
use pause_tests::debian::{self, Suite};
use pause_tests::sandbox::Sandbox;
use pause_tests::{ERROR, Ended, PROFILE, TERMINATED, WARNING, built, named, shipped};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn the_first_process_reaps_and_ends_in_order() {
    with_each_option(|node, options| {
        node.run(&options, "starts; falls_asleep; reaps; $runtime kill pause TERM; ends").exited(0, "", TERMINATED);
    });
}

#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn in_the_nodes_pid_namespace_it_warns_and_ends_in_order() {
    with_each_option(|node, options| {
        let options = Options { has_own_pids: false, ..options };
        node.run(&options, SLEEPS_AND_ENDS).exited(0, "", [WARNING, TERMINATED].concat());
    });
}

/// Were the filter not in force, the tests above would pass as well.
#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn what_the_profile_does_not_list_kills_or_fails() {
    with_each_option(|node, options| {
        let ended = node.run(&Options { lists_pause: false, ..options }, "starts; ends");
        match options.default_action {
            FAIL => ended.exited(42, "", ERROR),
            _ => ended.exited(128 + SIGSYS as i32, "", ""),
        }
    });
}

#[test]
#[ignore = "needs root, conmon and Debian's archive: cargo test --test engines runtimes:: -- --ignored"]
fn restored_from_a_checkpoint_it_reaps_and_ends_in_order() {
    const SCENARIO: &str = "
        common='--image-path image --work-path work --manage-cgroups-mode soft pause'
        starts; falls_asleep; runc checkpoint $common; wait $run || :
        rm pid; runc restore --pid-file pid $common & run=$!
        falls_asleep; reaps; runc kill pause TERM; ends";
    let node = Node::new(shipped());
    node.sandbox.lay_over(Suite::Sid);
    let options = Options { runtime: "runc", is_created_first: false, is_for_criu: true, ..CREATED };
    node.run(&options, SCENARIO).exited(0, "", TERMINATED);
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
            node.run(&options, SLEEPS_AND_ENDS).exited(0, "", TERMINATED);
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

const SLEEPS_AND_ENDS: &str = "starts; falls_asleep; $runtime kill pause TERM; ends";

/// What can be done in a bundle with `$1`, the runtime. `$2` is whether it first creates the container: under conmon, which
/// Podman and CRI-O start it by, and which keeps its streams and its status. Of the orphans some are those of a container
/// that joins the Pod's PID namespace, with a /proc of its own.
const RUN: &str = r#"
    runtime=$1 is_created_first=$2
    starts() {
        if $is_created_first; then
            conmon --sync --cid pause --cuuid pause --runtime $(command -v $runtime) --bundle $PWD \
                --container-pidfile $PWD/pid --log-path passthrough --exit-dir $PWD &
            run=$!
            until [ -s pid ]; do kill -0 $run; sleep 0.01; done
            $runtime start pause
        else
            $runtime run --bundle $PWD --pid-file $PWD/pid pause &
            run=$!
        fi
    }
    # With SIGINT and SIGTERM caught and SIGCHLD ignored: nothing else ever sleeps so.
    falls_asleep() {
        until [ -s pid ] && grep -q "^State:.S" /proc/$(cat pid)/status &&
            grep -q "^SigIgn:.*[13579bdf]....$" /proc/$(cat pid)/status && grep -q "^SigCgt:.*4002$" /proc/$(cat pid)/status
        do
            kill -0 $run
            sleep 0.01
        done
    }
    reaps() {
        nsenter --target $(cat pid) --pid unshare --mount --mount-proc sh -euc '
            grep -q ^/pause /proc/1/cmdline
            (: &)
            (: & exec sleep 0.01)
            ! grep ^State:.Z /proc/[0-9]*/status'
    }
    ends() {
        status=0
        wait $run || status=$?
        if $is_created_first; then
            $runtime delete pause
            status=$(cat pause)
        fi
        exit $status
    }
"#;

impl Node {
    fn new(program: &Path) -> Self {
        let node = Self { sandbox: Sandbox::new(), bundle: tempfile::tempdir().expect("a directory") };
        fs::create_dir(node.bundle.path().join("rootfs")).expect("writable");
        fs::copy(program, node.bundle.path().join("rootfs/pause")).expect("writable");
        node
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
        let mut linux = json!({ "cgroupsPath": format!("{}/pause", self.sandbox.cgroup), "namespaces": namespaces });
        if !options.is_for_criu {
            linux["seccomp"] = profile;
        }
        json!({
            "ociVersion": "1.0.2",
            "hostname": "pause",
            "root": { "path": "rootfs", "readonly": !options.is_for_criu },
            "process": {
                "args": ["/pause"], "cwd": "/", "user": { "uid": id, "gid": id },
                "noNewPrivileges": options.no_new_privileges
            },
            "mounts": mounts,
            "linux": linux
        })
    }

    /// What a scenario of a container comes to, and pause has said.
    fn run(&self, options: &Options, scenario: &str) -> Ended {
        let write = |name, content: String| fs::write(self.bundle.path().join(name), content).expect("writable");
        write("config.json", self.configuration(options).to_string());
        write("pid", String::new());
        let mut command = self.sandbox.command("env");
        command.arg("--chdir").arg(self.bundle.path());
        command.args(["timeout", "120", "sh", "-euc", &format!("{RUN}\n{scenario}"), "sh", options.runtime]);
        Ended::of(command.arg(options.is_created_first.to_string()))
    }
}
