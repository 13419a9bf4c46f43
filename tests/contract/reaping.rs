//! No zombie stays, whoever dies and whenever, and reaping does not even wake pause.

use nix::sys::ptrace;
use nix::sys::signal::{self, Signal::*};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pause_tests::cgroup::Cgroup;
use pause_tests::*;
use procfs::process::ProcState;
use std::process::Stdio;

/// Being stopped, continued, traced or frozen, and looked at, takes a switch or two; pause.c takes one a child.
const FEW: u64 = 10;

/// Asserts that nobody is left and that pause slept through it.
#[track_caller]
fn leaves_nobody(mut pause: Pause, switches_before: u64) {
    pause.wait_until("the last child to be reaped", |pause| pause.children().is_empty());
    let switches = pause.context_switches() - switches_before;
    assert!(switches < FEW, "{switches} context switches of pause for reaping");
    pause.terminated().exited(0, "", TERMINATED);
}

/// Leaves `count` orphans that sleep until they are killed, made by `makers` processes at once.
fn orphans(pause: &Pause, makers: usize, count: usize) -> Vec<Pid> {
    let making: Vec<_> = (0..makers)
        .map(|_| {
            let mut command = pause.command("sh");
            command.args(["-euc", "i=0; while [ $i -lt $1 ]; do (sleep 1000 &); i=$((i + 1)); done", "sh"]);
            command.arg((count / makers).to_string());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nsenter runs")
        })
        .collect();
    for mut maker in making {
        assert!(maker.wait().expect("waitable").success());
    }
    eventually("pause to adopt the orphans", || pause.children().len() == count);
    let orphans = pause.children();
    eventually("them to sleep", || orphans.iter().all(|orphan| state(*orphan) == Some(ProcState::Sleeping)));
    orphans
}

fn kill_all(pids: &[Pid]) {
    for pid in pids {
        signal::kill(*pid, SIGKILL).expect("alive");
    }
}

#[test]
fn orphans_by_the_thousand_from_several_processes_at_once() {
    let pause = Pause::first();
    let before = pause.context_switches();
    let orphans = orphans(&pause, 8, 2000);
    kill_all(&orphans);
    leaves_nobody(pause, before);
}

#[test]
fn orphans_that_die_while_others_are_made() {
    let pause = Pause::first();
    let before = pause.context_switches();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pause.run("i=0; while [ $i -lt 1000 ]; do (: &); i=$((i + 1)); done"));
        }
    });
    leaves_nobody(pause, before);
}

#[test]
fn grandchildren_of_orphans() {
    let pause = Pause::first();
    let before = pause.context_switches();
    pause.run("i=0; while [ $i -lt 200 ]; do ( ( ( (: &) & ) & ) & ); i=$((i + 1)); done");
    leaves_nobody(pause, before);
}

#[test]
fn a_stopped_child_neither_wakes_pause_nor_stays() {
    let pause = Pause::first();
    let before = pause.context_switches();
    let orphan = orphans(&pause, 1, 1)[0];
    for _ in 0..100 {
        signal::kill(orphan, SIGSTOP).expect("alive");
        eventually("it to stop", || state(orphan) == Some(ProcState::Stopped));
        signal::kill(orphan, SIGCONT).expect("alive");
        eventually("it to go on", || state(orphan) == Some(ProcState::Sleeping));
    }
    signal::kill(orphan, SIGSTOP).expect("alive");
    signal::kill(orphan, SIGKILL).expect("alive");
    leaves_nobody(pause, before);
}

#[test]
fn a_traced_child_is_reaped_when_its_tracer_leaves() {
    let pause = Pause::first();
    let before = pause.context_switches();
    let orphan = orphans(&pause, 1, 1)[0];
    ptrace::seize(orphan, ptrace::Options::empty()).expect("may be traced");
    signal::kill(orphan, SIGKILL).expect("alive");
    eventually("it to be a zombie for its tracer", || state(orphan) == Some(ProcState::Zombie));
    assert_eq!(pause.children(), [orphan], "as long as the tracer has not looked, it must stay");
    waitpid(orphan, None).expect("the tracer may wait for it");
    leaves_nobody(pause, before);
}

#[test]
fn a_traced_child_is_reaped_when_its_tracer_dies() {
    let pause = Pause::first();
    let before = pause.context_switches();
    let orphan = orphans(&pause, 1, 1)[0];
    std::thread::spawn(move || {
        ptrace::seize(orphan, ptrace::Options::empty()).expect("may be traced");
        signal::kill(orphan, SIGKILL).expect("alive");
        eventually("it to be a zombie for its tracer", || state(orphan) == Some(ProcState::Zombie));
        // The thread is the tracer, and ends here without having waited.
    })
    .join()
    .expect("traced");
    leaves_nobody(pause, before);
}

#[test]
fn children_that_die_while_pause_is_stopped() {
    let pause = Pause::first();
    let orphans = orphans(&pause, 2, 200);
    let before = pause.context_switches();
    pause.signal(SIGSTOP);
    eventually("pause to stop", || state(pause.pid) == Some(ProcState::Stopped));
    kill_all(&orphans);
    eventually("them to be reaped although pause cannot run", || pause.children().is_empty());
    pause.signal(SIGCONT);
    eventually("pause to sleep again", || is_asleep(pause.pid));
    leaves_nobody(pause, before);
}

#[test]
fn children_that_die_while_pause_is_traced() {
    let pause = Pause::first();
    let orphans = orphans(&pause, 2, 200);
    let before = pause.context_switches();
    ptrace::seize(pause.pid, ptrace::Options::empty()).expect("may be traced");
    ptrace::interrupt(pause.pid).expect("traced");
    waitpid(pause.pid, None).expect("the tracer may wait for it");
    kill_all(&orphans);
    eventually("them to be reaped although pause cannot run", || pause.children().is_empty());
    ptrace::detach(pause.pid, None).expect("stopped");
    eventually("pause to sleep again", || is_asleep(pause.pid));
    leaves_nobody(pause, before);
}

#[test]
#[ignore = "freezing a cgroup needs root: cargo test --test contract reaping:: -- --ignored"]
fn children_that_die_while_pause_is_frozen() {
    let pause = Pause::first();
    let orphans = orphans(&pause, 2, 200);
    let before = pause.context_switches();
    let freezer = Cgroup::around("freezer", pause.pid);
    freezer.freeze();
    kill_all(&orphans);
    eventually("them to be reaped although pause cannot run", || pause.children().is_empty());
    freezer.thaw();
    eventually("pause to sleep again", || is_asleep(pause.pid));
    leaves_nobody(pause, before);
}

/// Steps through instructions of this machine's architecture.
mod natively {
    use super::*;
    use nix::libc;
    use pause_tests::tracee::Tracee;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Pause with children from before it was executed, each of which sleeps in a process group of its own.
    fn with_children(count: usize) -> Command {
        let mut command = alone(shipped());
        // SAFETY: only system calls are made between fork and exec, and in the child of the child.
        unsafe {
            command.pre_exec(move || {
                for _ in 0..count {
                    if libc::fork() == 0 {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        libc::setpgid(0, 0);
                        // Whoever waits for the end of pause's output, or for exec, does not wait for this process.
                        libc::close_range(0, u32::MAX, 0);
                        loop {
                            libc::pause();
                        }
                    }
                }
                Ok(())
            });
        }
        command
    }

    #[test]
    fn a_child_that_dies_before_whichever_instruction_leaves_no_zombie() {
        // About 70 instructions lead to its sleep.
        for instructions in 0..500 {
            let tracee = Tracee::start(with_children(1));
            let [child] = children(tracee.pid)[..] else { panic!("one child") };
            for _ in 0..instructions {
                tracee.step(None);
            }
            kill_all(&[child]);
            eventually("the child to die", || state(child).is_none_or(|state| state == ProcState::Zombie));
            let mut pause = tracee.let_go();
            eventually("pause to sleep or to end", || pause.has_ended() || is_asleep(pause.pid));
            if pause.has_ended() {
                // It was asleep at the last step, which ends that with SIGTERM.
                let status = pause.ended().status;
                assert!(status.success() && instructions > 20, "{status} after {instructions} instructions");
                return;
            }
            assert_eq!(pause.children(), [], "zombies of what died after {instructions} instructions");
        }
        panic!("it never falls asleep");
    }

    #[test]
    fn of_the_children_it_starts_with_the_dead_are_swept_and_the_living_not_waited_for() {
        let tracee = Tracee::start(with_children(6));
        let children = children(tracee.pid);
        let (dead, living) = children.split_at(3);
        kill_all(dead);
        eventually("them to be zombies", || dead.iter().all(|child| state(*child) == Some(ProcState::Zombie)));
        tracee.to(libc::SYS_pause);
        let pause = tracee.let_go().falls_asleep();
        assert_eq!(pause.children(), living);
        let before = pause.context_switches();
        kill_all(living);
        eventually("the others to be reaped, too", || pause.children().is_empty());
        assert!(pause.context_switches() - before < FEW);
    }
}
