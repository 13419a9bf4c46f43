//! Load: a million orphans, ten thousand sandboxes, no process and no memory left to be had. Nothing is lost and nothing is
//! left.

use nix::libc;
use nix::unistd::Pid;
use pause_contract::cgroup::Cgroup;
use pause_contract::*;
use pause_tests::shipped;

/// Context switches of pause that have other causes than reaping.
const FEW: u64 = 10;

fn pause() -> Program {
    Program::new(&[], shipped())
}

#[track_caller]
fn leaves_nobody(pause: &Pause, switches_before: u64) {
    eventually("the last orphan to be reaped", || pause.children().is_empty());
    let switches = pause.context_switches() - switches_before;
    assert!(switches < FEW, "{switches} context switches of pause for reaping");
}

fn kill_all(pids: &[Pid]) {
    pids.iter().for_each(|pid| send(*pid, libc::SIGKILL));
}

#[test]
#[ignore = "long: two minutes: .ci/run long"]
fn a_million_orphans_at_full_speed() {
    const MAKERS: usize = 8;
    const ORPHANS: usize = 100;
    const ROUNDS: usize = 1_000_000 / MAKERS / ORPHANS;
    // A process that leaves some behind, dead ones among them, and is waited for.
    let leave = || done_by_child(|| (0..ORPHANS).all(|_| child(|| true).is_some()));
    let pause = pause().first().asleep();
    let before = pause.context_switches();
    std::thread::scope(|scope| {
        for _ in 0..MAKERS {
            scope.spawn(|| assert!(pause.joined_by(|| (0..ROUNDS).all(|_| leave()))));
        }
    });
    leaves_nobody(&pause, before);
    pause.terminated().exited(0, "", TERMINATED);
}

#[test]
#[ignore = "long: a minute: .ci/run long"]
fn ten_thousand_sandboxes_start_and_stop() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2500 {
                    pause().first().asleep().terminated().exited(0, "", TERMINATED);
                }
            });
        }
    });
    assert_eq!(left(), []);
}

/// The processes that are pause still.
fn left() -> Vec<Pid> {
    let processes = procfs::process::all_processes().expect("readable");
    let left = processes.filter_map(|process| {
        let process = process.ok()?;
        (process.exe().ok()? == shipped().canonicalize().expect("a file")).then_some(Pid::from_raw(process.pid))
    });
    left.collect()
}

#[test]
#[ignore = "limiting a cgroup needs root: cargo test --test program load:: -- --ignored"]
fn where_no_process_can_be_made_any_more_it_holds_and_ends() {
    for is_to_end_at_once in [false, true] {
        let cgroup = Cgroup::new("pids").expect("a cgroup");
        cgroup.set(["pids.max"; 2], "50").expect("a limit");
        let pause = pause().first().asleep();
        let before = pause.context_switches();
        let processes = cgroup.processes();
        assert!(
            pause.joined_by(|| std::fs::write(&processes, "0").is_ok() && (0..100).any(|_| child(|| live()).is_none()))
        );
        if !is_to_end_at_once {
            let orphans = pause.children();
            assert!(orphans.len() > 40, "{} orphans", orphans.len());
            kill_all(&orphans);
            leaves_nobody(&pause, before);
            assert!(pause.joined_by(|| std::fs::write(&processes, "0").is_ok() && child(|| true).is_some()));
        }
        pause.terminated().exited(0, "", TERMINATED);
    }
}

#[test]
#[ignore = "limiting a cgroup needs root: cargo test --test program load:: -- --ignored"]
fn in_the_least_memory_an_engine_gives_it_outlives_who_eats_all_of_it() {
    let cgroup = Cgroup::new("memory").expect("a cgroup");
    // The least that `docker run --memory` takes.
    cgroup.set(["memory.limit_in_bytes", "memory.max"], &(6 << 20).to_string()).expect("a limit");
    let processes = cgroup.processes();
    let own = processes.clone();
    let pause = pause().first().before(move || std::fs::write(&own, "0")).asleep();
    for _ in 0..10 {
        let survived = pause.joined_by(|| {
            std::fs::write(&processes, "0").is_ok() && child(|| live()).is_some() && {
                let eaten: Vec<_> = (0..64).map(|_| vec![1u8; 1 << 20]).collect();
                std::hint::black_box(&eaten);
                true
            }
        });
        assert!(!survived && is_asleep(pause.pid));
    }
    kill_all(&pause.children());
    eventually("the last orphan to be reaped", || pause.children().is_empty());
    pause.terminated().exited(0, "", TERMINATED);
}
