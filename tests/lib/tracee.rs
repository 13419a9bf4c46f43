//! Pause executed instruction by instruction, with ptrace(2).

use crate::{eventually, is_asleep, shipped};
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal, Signal::*};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::{MMapPath, Process};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// A pause that is stopped before an instruction. Dropped, it is killed.
pub struct Tracee {
    pub pid: Pid,
    child: Option<Child>,
}

impl Tracee {
    /// Starts a command made by [`alone`](crate::alone) or [`sandboxed`](crate::sandboxed), up to the first instruction
    /// of pause.
    pub fn start(mut command: Command) -> Self {
        // SAFETY: only a system call is made between fork and exec.
        unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let mut tracee = Self { pid: Pid::from_raw(child.id() as i32), child: Some(child) };
        assert_eq!(waitpid(tracee.pid, None), Ok(WaitStatus::Stopped(tracee.pid, SIGTRAP)), "stopped at exec");
        if command.get_program() == "unshare" {
            tracee.pid = follow_to_first_process(tracee.pid);
        }
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

    /// Lets it run, and leaves waiting for it to the caller, who started the child.
    pub fn let_go(mut self) -> (Pid, Child) {
        ptrace::detach(self.pid, None).expect("stopped");
        (self.pid, self.child.take().expect("started"))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal::kill(self.pid, SIGKILL).ok();
            waitpid(self.pid, Some(WaitPidFlag::__WALL)).ok();
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Lets a traced `unshare` go and returns its child, stopped when it has just become pause.
fn follow_to_first_process(unshare: Pid) -> Pid {
    ptrace::setoptions(unshare, Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEEXEC).expect("stopped");
    ptrace::cont(unshare, None).expect("stopped");
    let forked = waitpid(unshare, None).expect("traced");
    assert_eq!(forked, WaitStatus::PtraceEvent(unshare, SIGTRAP, libc::PTRACE_EVENT_FORK));
    let first = Pid::from_raw(ptrace::getevent(unshare).expect("stopped") as i32);
    ptrace::detach(unshare, None).expect("stopped");
    loop {
        match waitpid(first, Some(WaitPidFlag::__WALL)).expect("traced from the start") {
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => return first,
            WaitStatus::Stopped(_, SIGSTOP) => ptrace::cont(first, None).expect("stopped"),
            other => panic!("the child of unshare: {other:?}"),
        }
    }
}
