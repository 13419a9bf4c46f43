//! What holds before each instruction of the shipped file, executed one by one (ptrace(2)).

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, Signal::*};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use pause_contract::deny::sleep;
use pause_contract::{Pause, Program, Start, Status, TERMINATED, broken, eventually, is_asleep, send, state};
use pause_tests::shipped;
use procfs::process::{MMPermissions, MMapPath, Process};

fn pause() -> Program {
    Program::new(&[], shipped())
}

/// Executes one instruction, having delivered a signal, and tells what happened; nothing if it has fallen asleep.
fn step(pause: &Pause, signal: Option<Signal>) -> Option<WaitStatus> {
    ptrace::step(pause.pid, signal).expect("stopped");
    let mut status = WaitStatus::StillAlive;
    eventually("an instruction to be executed", || {
        status = waitpid(pause.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).expect("traced");
        status != WaitStatus::StillAlive || is_asleep(pause.pid)
    });
    (status != WaitStatus::StillAlive).then_some(status)
}

/// Stopped before its instruction of this number, or nothing if it falls asleep before that.
fn stopped_before(start: Start, instruction: usize) -> Option<Pause> {
    let pause = start.stopped();
    for _ in 0..instruction {
        step(&pause, None)?;
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
            let has_handler = Status::of(pause.pid).expect("stopped").catches(SIGTERM);
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

/// Starts that together come to all the code.
fn starts() -> Vec<Start> {
    let sigaction = |signal| pause().another().failing(("rt_sigaction", Some((0, signal))), libc::EPERM);
    vec![
        pause().first(),
        pause().another(),
        pause().another().stderr(broken()),
        pause().another().args(["-v"]),
        sigaction(libc::SIGINT as u32),
        sigaction(libc::SIGTERM as u32),
        sigaction(libc::SIGCHLD as u32),
        pause().another().failing(sleep(), libc::EPERM),
        pause().another().failing(("exit", None), libc::EPERM),
        pause().another().args(["-v"]).failing(("exit", None), libc::EPERM),
    ]
}

/// The stack is the kernel's gift, without which no program starts.
#[test]
fn at_no_instruction_can_anything_but_the_stack_be_written_or_the_stack_be_executed() {
    for start in starts() {
        let pause = start.stopped();
        let process = Process::new(pause.pid.as_raw()).expect("stopped");
        let mut signal = None;
        for instruction in 0..MOST {
            for map in process.maps().expect("stopped") {
                let is_writable = map.perms.contains(MMPermissions::WRITE);
                let is_stack = map.pathname == MMapPath::Stack;
                assert!(is_writable == is_stack, "before {instruction}: {map:?}");
                assert!(!(is_stack && map.perms.contains(MMPermissions::EXECUTE)), "before {instruction}: {map:?}");
            }
            let status = step(&pause, signal).unwrap_or_else(|| {
                pause.signal(SIGTERM);
                waitpid(pause.pid, Some(WaitPidFlag::__WALL)).expect("traced")
            });
            signal = match status {
                WaitStatus::Stopped(_, SIGTRAP) => None,
                // To be delivered with the next step: the one just sent, or that of its trap.
                WaitStatus::Stopped(_, other) => Some(other),
                _ => break,
            };
        }
    }
}
