//! runc and crun without an engine, of Debian 11, 12 and unstable, for amd64 and i386: under the project's own seccomp
//! profile pause starts, reaps and ends as anywhere else, whether what the profile does not list kills or fails.

use nix::sys::signal::Signal::SIGSYS;
use oci_spec::runtime::get_default_mounts;
use pause_tests::debian::{self, SID};
use pause_tests::sandbox::Sandbox;
use pause_tests::{ERROR, Ended, PROFILE, TERMINATED, WARNING, built, named, shipped};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

#[test]
#[ignore = "needs root, runc, crun and conmon: cargo test --test engines runtimes:: -- --ignored"]
fn it_reaps_and_ends_in_order_as_the_first_process_or_not() {
    for is_newer in [false, true] {
        let node = Node::new(shipped());
        if is_newer {
            node.sandbox.lay_over(SID);
        }
        node.in_every_way(["crun", "runc"], |way, configuration| {
            let reaps = "starts; falls_asleep; reaps; $runtime kill pause TERM; ends";
            node.run(way, configuration, reaps).exited(0, "", TERMINATED);
            let mut others = configuration.clone();
            let namespaces = others["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "pid");
            node.run(way, &others, SLEEPS_AND_ENDS).exited(0, "", [WARNING, TERMINATED].concat());
            // Were the filter not in force, the others would pass as well.
            let without: Value = configuration.to_string().replace("\"pause\",", "").parse().expect("JSON");
            let ended = node.run(way, &without, "starts; ends");
            match configuration["linux"]["seccomp"]["defaultAction"] == KILL {
                true => ended.exited(128 + SIGSYS as i32, "", ""),
                false => ended.exited(42, "", ERROR),
            }
        });
    }
}

/// Without what CRIU does not take, for it is part of another system: a network of the sandbox's own, a root that is mounted
/// anew, a filter, under which it could not work in the process. As root, for without CAP_SYS_RESOURCE that reads no limits of
/// another user's.
#[test]
#[ignore = "needs root, conmon and Debian's archive: cargo test --test engines runtimes:: -- --ignored"]
fn restored_from_a_checkpoint_it_reaps_and_ends_in_order() {
    const SCENARIO: &str = "
        common='--image-path image --work-path work --manage-cgroups-mode soft pause'
        starts; falls_asleep; runc checkpoint $common; wait $run || :
        rm pid; runc restore --pid-file pid $common & run=$!
        falls_asleep; reaps; runc kill pause TERM; ends";
    let node = Node::new(shipped());
    node.sandbox.lay_over(SID);
    let mut configuration = node.configuration();
    configuration["linux"]["namespaces"].as_array_mut().expect("namespaces").retain(|its| its["type"] != "network");
    configuration["linux"]["seccomp"] = Value::Null;
    configuration["root"]["readonly"] = false.into();
    configuration["process"]["user"] = json!({ "uid": 0, "gid": 0 });
    node.run(("runc", false), &configuration, SCENARIO).exited(0, "", TERMINATED);
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
        node.in_every_way(["/run/crun", "/run/runc"], |way, configuration| {
            node.run(way, configuration, SLEEPS_AND_ENDS).exited(0, "", TERMINATED);
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

const KILL: &str = "SCMP_ACT_KILL_PROCESS";

/// A runtime, and whether it does `create`, then `start`, as Podman and CRI-O do, instead of `run`: pause's first process
/// waits in between.
type Way = (&'static str, bool);

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

    /// With each runtime, in both ways, whether what the profile does not list fails or kills, and with and without
    /// no-new-privileges: without it the runtimes load the filter earlier, and make more calls under it.
    fn in_every_way(&self, runtimes: [&'static str; 2], test: impl Fn(Way, &Value)) {
        for runtime in runtimes {
            let version = self.sandbox.run(&[runtime, "--version"]);
            println!("{version}");
            for [is_created_first, no_new_privileges, kills] in (0..8).map(|way| [1, 2, 4].map(|bit| way & bit != 0)) {
                // One does not know that.
                if !(kills && version.starts_with("runc version 1.0.0~rc93")) {
                    let mut configuration = self.configuration();
                    configuration["process"]["noNewPrivileges"] = no_new_privileges.into();
                    if kills {
                        configuration["linux"]["seccomp"]["defaultAction"] = KILL.into();
                    }
                    println!("created: {is_created_first}, no new privileges: {no_new_privileges}, kills: {kills}");
                    test((runtime, is_created_first), &configuration);
                }
            }
        }
    }

    /// As containerd makes a sandbox of the image, under the project's profile.
    fn configuration(&self) -> Value {
        let namespaces = ["mount", "ipc", "uts", "cgroup", "pid", "network"].map(|kind| json!({ "type": kind }));
        let mut mounts = get_default_mounts();
        mounts.retain(|mount| mount.typ().as_deref() != Some("cgroup"));
        json!({
            "ociVersion": "1.0.2",
            "hostname": "sandbox",
            "root": { "path": "rootfs", "readonly": true },
            "process": {
                "args": ["/pause"], "cwd": "/", "user": { "uid": 65535, "gid": 65535 }, "noNewPrivileges": true
            },
            "mounts": mounts,
            "linux": {
                "cgroupsPath": format!("{}/pause", self.sandbox.cgroup), "namespaces": namespaces,
                "seccomp": PROFILE.parse::<Value>().expect("a profile")
            }
        })
    }

    /// What a scenario of a container comes to, and pause has said.
    fn run(&self, (runtime, is_created_first): Way, configuration: &Value, scenario: &str) -> Ended {
        let write = |name, content: String| fs::write(self.bundle.path().join(name), content).expect("writable");
        write("config.json", configuration.to_string());
        write("pid", String::new());
        let mut command = self.sandbox.command("env");
        command.arg("--chdir").arg(self.bundle.path());
        command.args(["timeout", "120", "sh", "-euc", &format!("{RUN}\n{scenario}"), "sh", runtime]);
        Ended::of(command.arg(is_created_first.to_string()))
    }
}
