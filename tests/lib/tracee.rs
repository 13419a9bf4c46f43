//! Pause executed instruction by instruction, or from system call to system call, with ptrace(2).

use crate::{Pause, eventually, is_asleep, shipped};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal, Signal::*};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::{MMapPath, Process};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Where a tracee stops with [`Tracee::to_system_call`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemCall {
    /// Before the kernel looks at it: its number and its arguments.
    Entry(i64, [u64; 6]),
    Exit,
}

/// A pause that is stopped before an instruction. Dropped, it is killed.
pub struct Tracee {
    pub pid: Pid,
    started: Option<(Command, Child)>,
}

impl Tracee {
    pub fn start(mut command: Command) -> Self {
        // SAFETY: only a system call is made between fork and exec.
        unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let is_sandboxed = command.get_program() == "unshare";
        let mut tracee = Self { pid: Pid::from_raw(child.id() as i32), started: Some((command, child)) };
        assert_eq!(waitpid(tracee.pid, None), Ok(WaitStatus::Stopped(tracee.pid, SIGTRAP)), "stopped at exec");
        if is_sandboxed {
            tracee.pid = follow_to_first_process(tracee.pid);
        }
        ptrace::setoptions(tracee.pid, Options::PTRACE_O_TRACESYSGOOD).expect("stopped");
        tracee
    }

    /// Where the first byte of the shipped file is.
    pub fn base(&self) -> u64 {
        let maps = Process::new(self.pid.as_raw()).and_then(|process| process.maps()).expect("stopped");
        let file = MMapPath::Path(shipped().canonicalize().expect("a file"));
        maps.iter().find(|map| map.pathname == file).expect("mapped").address.0
    }

    /// Where the next instruction is.
    pub fn address(&self) -> u64 {
        ptrace::syscall_info(self.pid).expect("stopped").instruction_pointer
    }

    /// Executes one instruction, having delivered a signal, and tells what happened. Before it would sleep for ever, it
    /// is sent SIGTERM.
    pub fn step(&self, signal: impl Into<Option<Signal>>) -> WaitStatus {
        ptrace::step(self.pid, signal).expect("stopped");
        let mut status = WaitStatus::StillAlive;
        let mut is_told = false;
        eventually("an instruction to be executed", || {
            status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).expect("traced");
            if status == WaitStatus::StillAlive && !is_told && is_asleep(self.pid) {
                signal::kill(self.pid, SIGTERM).expect("alive");
                is_told = true;
            }
            status != WaitStatus::StillAlive
        });
        status
    }

    /// Lets it run until a system call begins or ends.
    #[track_caller]
    pub fn to_system_call(&self) -> SystemCall {
        ptrace::syscall(self.pid, None).expect("stopped");
        eventually("a system call", || {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)).expect("traced") {
                WaitStatus::PtraceSyscall(_) => return true,
                WaitStatus::StillAlive => {}
                WaitStatus::Stopped(_, signal) => ptrace::syscall(self.pid, signal).expect("stopped"),
                other => panic!("instead of a system call: {other:?}"),
            }
            false
        });
        let info = ptrace::syscall_info(self.pid).expect("stopped");
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return SystemCall::Exit;
        }
        // SAFETY: for this kind of stop the kernel fills in this part.
        let entry = unsafe { info.u.entry };
        SystemCall::Entry(entry.nr as i64, entry.args)
    }

    /// Lets it run until this system call begins, and returns its arguments.
    #[track_caller]
    pub fn to(&self, number: i64) -> [u64; 6] {
        for _ in 0..100 {
            match self.to_system_call() {
                SystemCall::Entry(other, arguments) if other == number => return arguments,
                _ => {}
            }
        }
        panic!("system call {number} is not among the next fifty");
    }

    /// At the beginning of a system call: has it not made, and end with an error.
    #[cfg(target_arch = "x86_64")]
    #[track_caller]
    pub fn answer(&self, error: i32) {
        let mut registers = ptrace::getregs(self.pid).expect("stopped");
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers).expect("stopped");
        assert_eq!(self.to_system_call(), SystemCall::Exit);
        registers.rax = i64::from(-error) as u64;
        ptrace::setregs(self.pid, registers).expect("stopped");
    }

    /// Lets it run.
    pub fn let_go(mut self) -> Pause {
        ptrace::detach(self.pid, None).expect("stopped");
        let (command, child) = self.started.take().expect("started");
        Pause::new(command, child, self.pid)
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if let Some((_, mut child)) = self.started.take() {
            signal::kill(self.pid, SIGKILL).ok();
            waitpid(self.pid, Some(WaitPidFlag::__WALL)).ok();
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Lets a traced `unshare` go and returns its child, stopped when it has just become pause.
fn follow_to_first_process(unshare: Pid) -> Pid {
    ptrace::setoptions(unshare, Options::PTRACE_O_TRACEFORK).expect("stopped");
    ptrace::cont(unshare, None).expect("stopped");
    let forked = waitpid(unshare, None).expect("traced");
    assert_eq!(forked, WaitStatus::PtraceEvent(unshare, SIGTRAP, libc::PTRACE_EVENT_FORK));
    let first = Pid::from_raw(ptrace::getevent(unshare).expect("stopped") as i32);
    ptrace::detach(unshare, None).expect("stopped");
    let program = shipped().canonicalize().expect("a file");
    loop {
        let signal = match waitpid(first, Some(WaitPidFlag::__WALL)).expect("traced from the start") {
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => {
                if Process::new(first.as_raw()).and_then(|process| process.exe()).is_ok_and(|exe| exe == program) {
                    return first;
                }
                None
            }
            WaitStatus::Stopped(_, SIGSTOP) => {
                ptrace::setoptions(first, Options::PTRACE_O_TRACEEXEC).expect("stopped");
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            other => panic!("the child of unshare: {other:?}"),
        };
        ptrace::cont(first, signal).expect("stopped");
    }
}
