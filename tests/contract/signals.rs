//! Signals: SIGTERM and SIGINT end it once and only once, whenever they come; what every other signal does.

use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{self, Signal, Signal::*};
use nix::sys::wait::{WaitStatus, waitpid};
use pause_tests::tracee::Tracee;
use pause_tests::*;
use procfs::process::ProcState;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;

/// Signals that do not end a process by default (signal(7)): ignored, or stopping and continuing it.
const HARMLESS: [i32; 4] = [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT];
const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Every signal but the two pause handles and, for PID 1, the two that cannot be refused.
fn other_signals() -> impl Iterator<Item = i32> {
    (1..=libc::SIGRTMAX())
        .filter(|signal| !(32..libc::SIGRTMIN()).contains(signal))
        .filter(|signal| ![libc::SIGINT, libc::SIGTERM].contains(signal))
}

/// Sends signals to a stopped pause, so that all of them are there when it goes on.
fn all_at_once(signals: impl IntoIterator<Item = Signal>) -> Ended {
    let pause = Pause::first();
    pause.signal(SIGSTOP);
    eventually("it to stop", || state(pause.pid) == Some(ProcState::Stopped));
    for signal in signals {
        pause.signal(signal);
    }
    pause.signal(SIGCONT);
    pause.ended()
}

#[test]
fn sigterm_and_sigint_at_once_give_one_message() {
    // The kernel delivers the lower number first.
    all_at_once([SIGTERM, SIGINT]).exited(0, "", INTERRUPT);
    all_at_once([SIGINT, SIGTERM]).exited(0, "", INTERRUPT);
}

#[test]
fn a_thousand_signals_at_once_give_one_message() {
    all_at_once([SIGTERM; 1000]).exited(0, "", TERMINATED);
    all_at_once([SIGTERM, SIGINT, SIGCHLD].into_iter().cycle().take(1000)).exited(0, "", INTERRUPT);
}

#[test]
fn a_storm_of_signals_gives_one_message() {
    for _ in 0..20 {
        let pause = Pause::first();
        let pid = pause.pid;
        std::thread::scope(|scope| {
            for signal in [SIGTERM, SIGINT] {
                scope.spawn(move || {
                    // Until it is gone. Dead but not yet waited for, it can still be sent signals.
                    for _ in 0..1000 {
                        if signal::kill(pid, signal).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let ended = pause.ended();
        assert!([TERMINATED, INTERRUPT].contains(&&*ended.stderr) && ended.status.code() == Some(0), "{ended}");
    }
}

#[test]
fn stopping_and_tracing_do_not_wake_it_up() {
    let pause = Pause::first();
    for _ in 0..100 {
        pause.signal(SIGSTOP);
        eventually("it to stop", || state(pause.pid) == Some(ProcState::Stopped));
        pause.signal(SIGCONT);
        eventually("it to sleep on", || is_asleep(pause.pid));
        ptrace::attach(pause.pid).expect("may be traced");
        waitpid(pause.pid, None).expect("the tracer may wait for it");
        ptrace::detach(pause.pid, None).expect("stopped");
        eventually("it to sleep on", || is_asleep(pause.pid));
    }
    pause.terminated().exited(0, "", TERMINATED);
}

/// How it goes when SIGTERM comes after so many instructions.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Early {
    /// Killed, or as PID 1 left asleep: the signal came before there was a handler.
    Lost,
    Handled,
}

/// Starts pause, executes some instructions one by one, sends SIGTERM and lets it go. Says how it went and how many
/// system calls it had completed by then.
fn sigterm_after(instructions: usize, as_pid_1: bool) -> (Early, usize) {
    let tracee = Tracee::start(if as_pid_1 { sandboxed(shipped()) } else { alone(shipped()) });
    let mut system_calls = 0;
    for _ in 0..instructions {
        // x86_64's `syscall`; the step over it completes the call.
        let next = ptrace::read(tracee.pid, tracee.address() as ptrace::AddressType);
        system_calls += (next.expect("readable") & 0xffff == 0x050f) as usize;
        assert_eq!(tracee.step(None), WaitStatus::Stopped(tracee.pid, SIGTRAP), "after a step");
    }
    signal::kill(tracee.pid, SIGTERM).expect("alive");
    let pause = tracee.let_go();
    let pid = pause.pid;

    // Lost, it leaves PID 1 asleep and kills any other process.
    let mut asleep = false;
    eventually("it to end or to fall asleep", || {
        asleep = is_asleep(pid);
        asleep || state(pid).is_none_or(|state| state == ProcState::Zombie)
    });
    if asleep {
        signal::kill(pid, SIGKILL).expect("alive");
    }
    let status = pause.ended().status;
    let early = if asleep || status.signal() == Some(libc::SIGTERM) { Early::Lost } else { Early::Handled };
    assert!(early == Early::Lost || status.success(), "after {instructions} instructions: {status}");
    (early, system_calls)
}

/// An emulator handles signals of its own, and instructions are stepped through on this machine's architecture.
mod natively {
    use super::*;

    /// `Disposition` in src/sys.rs is aligned as the ABI aligns the stack: by 16 bytes on both.
    fn dispositions_are_aligned(program: &Path, rt_sigaction: i64) {
        let tracee = Tracee::start(alone(program));
        for expected in [SIGINT, SIGTERM, SIGCHLD] {
            let [signal, disposition, ..] = tracee.to(rt_sigaction);
            assert_eq!((signal, disposition % 16), (expected as u64, 0), "{disposition:#x} in {}", program.display());
        }
    }

    #[test]
    fn every_disposition_is_aligned_as_its_type_says() {
        dispositions_are_aligned(shipped(), libc::SYS_rt_sigaction);
    }

    #[test]
    #[ignore = "needs a target: rustup target add i686-unknown-linux-gnu, or Debian's rustc-web cargo-web rust-web-src; \
                then cargo test --test contract signals:: -- --ignored"]
    fn every_disposition_of_386_is_aligned_as_its_type_says() {
        dispositions_are_aligned(&built(&[named("linux/386")])[0].path, syscalls::x86::Sysno::rt_sigaction as i64);
    }

    #[test]
    fn a_signal_that_comes_while_another_is_handled_is_not_told_of() {
        for (first, message) in [(SIGTERM, TERMINATED), (SIGINT, INTERRUPT)] {
            for second in [SIGTERM, SIGINT] {
                let tracee = Tracee::start(sandboxed(shipped()));
                tracee.to(libc::SYS_pause);
                signal::kill(tracee.pid, first).expect("alive");
                let [_, _, milliseconds, ..] = tracee.to(libc::SYS_poll);
                assert_eq!(milliseconds, 0, "for room in stderr it does not wait at all");
                signal::kill(tracee.pid, second).expect("alive");
                tracee.let_go().ended().exited(0, "", message);
            }
        }
    }

    #[test]
    fn as_pid_1_it_ignores_every_other_signal_from_within_and_from_outside() {
        let pause = Pause::first();
        for signal in other_signals().filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            send(pause.pid, signal);
            pause.run(&format!("kill -{signal} 1"));
            assert!(is_asleep(pause.pid), "signal {signal}");
        }
        pause.run("kill -KILL 1; kill -STOP 1");
        assert!(is_asleep(pause.pid), "SIGKILL and SIGSTOP from within its namespace");
        pause.terminated().exited(0, "", TERMINATED);
    }

    #[test]
    fn not_as_pid_1_every_other_signal_has_its_default_effect() {
        for signal in other_signals() {
            let mut command = alone(shipped());
            command.process_group(0); // In a group without its parent, SIGTSTP and its like stop it.
            // SAFETY: only system calls are made between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    // nohup, and a shell that starts something in the background, leave some ignored. For those that
                    // cannot be it fails.
                    libc::signal(signal, libc::SIG_DFL);
                    Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?)
                })
            };
            let pause = Pause::start(command);
            send(pause.pid, signal);
            if HARMLESS.contains(&signal) {
                assert!(is_asleep(pause.pid), "signal {signal}");
                pause.terminated().exited(0, "", &[WARNING, TERMINATED].concat());
            } else if STOPPING.contains(&signal) {
                eventually("it to stop", || state(pause.pid) == Some(ProcState::Stopped));
                pause.signal(SIGCONT);
                eventually("it to sleep on", || is_asleep(pause.pid));
                pause.terminated().exited(0, "", &[WARNING, TERMINATED].concat());
            } else {
                pause.ended().was_killed_by(signal);
            }
        }
    }

    #[test]
    fn sigterm_right_after_exec_is_lost_only_before_its_handler_is_set() {
        for as_pid_1 in [false, true] {
            let mut outcomes = Vec::new();
            while outcomes.last().is_none_or(|(early, _)| *early == Early::Lost) {
                outcomes.push(sigterm_after(outcomes.len(), as_pid_1));
                assert!(outcomes.len() < 500, "SIGTERM is lost whenever it comes");
            }
            let (window, (_, system_calls)) = (outcomes.len() - 1, outcomes[outcomes.len() - 1]);
            // Once its handler is set, it stays: the next call is that for SIGCHLD.
            for instructions in window..window + 5 {
                assert_eq!(
                    sigterm_after(instructions, as_pid_1).0,
                    Early::Handled,
                    "after {instructions} instructions"
                );
            }
            // getpid, rt_sigaction for SIGINT, rt_sigaction for SIGTERM; beside other processes also poll and write.
            assert_eq!(system_calls, if as_pid_1 { 3 } else { 5 });
        }
    }
}
