//! What a Pod has is held by pause alone: processes come and go, and its namespaces stay.

use nix::sys::signal::Signal::{SIGKILL, SIGTERM};
use pause_tests::*;
use std::fs::read_link;

/// What a Pod would miss if a namespace were lost.
fn belongings(pause: &Pause) -> String {
    pause.run("ip -oneline address show dev lo; uname --nodename; ipcs --shmems --queues --semaphores")
}

#[test]
fn address_ipc_object_and_hostname_outlive_every_process_that_joins() {
    assert!(
        std::process::Command::new("ip").arg("-V").output().is_ok(),
        "this test gives the Pod an address with `ip`: install the package iproute2"
    );
    let pause = Pause::first();

    let mut partner = pause.command("sh");
    partner.args([
        "-euc",
        "ip address add 10.88.0.7/24 dev lo; ip link set lo up; hostname pod-7; ipcmk -M 64 -Q; exec sleep 1000",
    ]);
    let mut partner = partner.spawn().expect("nsenter runs");
    eventually("the partner to set up the Pod", || {
        belongings(&pause).contains("0x") && pause.run("hostname") == "pod-7\n"
    });
    let before = belongings(&pause);
    assert!(before.contains("10.88.0.7/24") && before.contains("pod-7"), "{before}");
    partner.kill().expect("still alive");
    partner.wait().expect("waitable");

    assert_eq!(belongings(&pause), before, "after the partner died");
    pause.run("hostname pod-8; ip address add 10.88.0.8/24 dev lo");
    let after = belongings(&pause);
    assert!(after.contains("10.88.0.7/24") && after.contains("10.88.0.8/24") && after.contains("pod-8"), "{after}");
    pause.terminated().exited(0, "", TERMINATED);
}

#[test]
fn a_process_that_joins_is_in_the_same_namespaces_before_and_after_its_partner_died() {
    let pause = Pause::first();
    for namespace in ["user", "net", "ipc", "uts", "mnt", "pid"] {
        let of = |pid: String| read_link(format!("/proc/{pid}/ns/{namespace}")).expect("readable");
        assert_ne!(of(pause.pid.to_string()), of("self".into()), "{namespace} namespace");
    }
    let seen_by_a_member =
        || pause.run("readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/mnt");
    let first = seen_by_a_member();
    assert_eq!(first.lines().count(), 4, "{first}");
    assert_eq!(seen_by_a_member(), first);
}

#[test]
fn in_its_pid_namespace_it_is_process_1_and_the_others_follow() {
    let pause = Pause::first();
    let status = pause.status();
    assert_eq!(status.nspid.expect("Linux 4.1").last(), Some(&1));
    let pids: Vec<u32> = (0..3).map(|_| pause.run("echo $$").trim().parse().expect("a PID")).collect();
    assert!(pids.is_sorted() && pids[0] > 1 && pids[2] < 100, "PIDs of a namespace of its own: {pids:?}");
}

#[test]
fn everything_in_the_pid_namespace_goes_when_pause_goes() {
    for signal in [SIGTERM, SIGKILL] {
        let pause = Pause::first();
        let mut joined = pause.command("sleep");
        let mut joined = joined.arg("1000").spawn().expect("nsenter runs");
        pause.run("(sleep 1000 >&- 2>&- & trap '' TERM; sleep 1000 >&- 2>&- &)");
        eventually("two orphans", || pause.children().len() == 2);
        let orphans = pause.children();

        pause.signal(signal);
        let ended = pause.ended();
        if signal == SIGTERM {
            ended.exited(0, "", TERMINATED);
        } else {
            // unshare(1) cannot die of SIGKILL as its child did, and fails in its own way.
            assert!(!ended.status.success() && !ended.stderr.contains(TERMINATED), "{ended}");
        }
        eventually("the orphans to be gone", || orphans.iter().all(|orphan| state(*orphan).is_none()));
        let status = joined.wait().expect("waitable");
        assert!(!status.success(), "the process that had joined must have been killed, not have ended: {status}");
    }
}
