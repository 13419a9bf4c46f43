//! What may happen before each instruction of the shipped file, executed one by one (ptrace(2)).

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::Signal::SIGTERM;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use pause_contract::{Pause, Program, Start, TERMINATED, eventually, has, is_asleep, send, state};
use pause_tests::shipped;

fn pause() -> Program {
    Program::new(&[], shipped())
}

/// Executes one instruction; nothing if it has fallen asleep.
fn step(pause: &Pause) -> Option<()> {
    ptrace::step(pause.pid, None).expect("stopped");
    let mut is_stopped = false;
    eventually("an instruction to be executed", || {
        let status = waitpid(pause.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).expect("traced");
        is_stopped = status != WaitStatus::StillAlive;
        is_stopped || is_asleep(pause.pid)
    });
    is_stopped.then_some(())
}

/// Stopped before its instruction of this number, or nothing if it falls asleep before that.
fn stopped_before(start: Start, instruction: usize) -> Option<Pause> {
    let pause = start.stopped();
    for _ in 0..instruction {
        step(&pause)?;
    }
    Some(pause)
}

/// More than lead to its sleep.
const MOST: usize = 500;

/// Without a handler SIGTERM kills it, or as PID 1 leaves it asleep.
#[test]
fn sigterm_before_whichever_instruction_is_lost_only_before_its_handler_is_set() {
    for is_first in [false, true] {
        let mut handled = 0;
        for instruction in 0..MOST {
            let start = if is_first { pause().first() } else { pause().another() };
            let Some(mut pause) = stopped_before(start, instruction) else { break };
            let has_handler = has(pause.pid, "SigCgt", SIGTERM);
            pause.signal(SIGTERM);
            pause.let_go();
            handled += usize::from(has_handler);
            if has_handler {
                let ended = pause.ended();
                assert!(ended.status.success() && ended.stderr.ends_with(TERMINATED), "before {instruction}: {ended}");
            } else if is_first {
                pause.falls_asleep();
            } else {
                pause.ended().was_killed_by(&[libc::SIGTERM]);
            }
        }
        assert!((1..MOST).contains(&handled), "SIGTERM is handled before {handled} instructions");
    }
}

#[test]
fn a_child_that_dies_before_whichever_instruction_leaves_no_zombie() {
    for instruction in 0..MOST {
        let Some(mut pause) = stopped_before(pause().another().inheriting(0, 1), instruction) else {
            assert!(instruction > 20, "asleep after {instruction} instructions");
            return;
        };
        let [child] = pause.children()[..] else { panic!("one child") };
        send(child, libc::SIGKILL);
        eventually("the child to die", || state(child).is_none_or(|state| state == 'Z'));
        pause.let_go();
        pause.falls_asleep();
        eventually("the child to be reaped", || pause.children().is_empty());
    }
    panic!("it never falls asleep");
}
