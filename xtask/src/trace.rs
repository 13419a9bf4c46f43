//! Follows a program from exec until it sleeps: which system calls it makes, how many page faults it takes, and how many
//! instructions.

use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc::PTRACE_SYSCALL_INFO_ENTRY;
use nix::sched::CloneFlags;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::{Process, Stat};
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};
use syscalls::Sysno;

/// Blocked in one system call for so long, a program counts as asleep.
const QUIET: Duration = Duration::from_millis(100);
/// A program that does not sleep by then never will.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Run {
    pub calls: Vec<String>,
    pub faults: u64,
    pub end: End,
    /// Whether it ran as it does in a Pod, as PID 1 of a namespace of its own.
    pub is_first_process: bool,
}

pub enum End {
    Asleep,
    Exited(i32),
    Killed(Signal),
    StillRunning,
}

/// By system calls: the last of a few runs, with the median of their page faults, for exec aligns the stack at random.
/// A program that does not sleep is run no more.
pub fn follow(command: &Command) -> Result<Run> {
    const RUNS: usize = 5;
    let mut faults = Vec::new();
    loop {
        let run = follow_once(command)?;
        faults.push(run.faults);
        if faults.len() == RUNS || !matches!(run.end, End::Asleep) {
            faults.sort_unstable();
            return Ok(Run { faults: faults[faults.len() / 2], ..run });
        }
    }
}

fn follow_once(command: &Command) -> Result<Run> {
    let (tracee, is_first_process) = start(command)?;
    let pid = tracee.0;
    let faults_before = step_through_exec(pid)?;
    let mut calls = Vec::new();
    let end = step_until_asleep(pid, ptrace::syscall, PATIENCE, |status| {
        if matches!(status, WaitStatus::PtraceSyscall(_)) {
            let info = ptrace::syscall_info(pid)?;
            if info.op == PTRACE_SYSCALL_INFO_ENTRY {
                // SAFETY: `entry` is the part of the union that this `op` stands for.
                let number = unsafe { info.u.entry.nr } as usize;
                calls.push(Sysno::new(number).map_or_else(|| number.to_string(), |call| call.name().to_owned()));
            }
        }
        Ok(())
    })?;
    let faults = if matches!(end, End::Asleep) { page_faults(&stat(pid)?) - faults_before } else { 0 };
    Ok(Run { calls, faults, end, is_first_process })
}

/// By instructions, of which it returns the number. The process stops once before the first, on its way out of exec,
/// and does not stop after the last, which does not return.
pub fn count_instructions(command: &Command) -> Result<u64> {
    let (tracee, _) = start(command)?;
    step_through_exec(tracee.0)?;
    let mut instructions = 0;
    // A hundred thousand steps take seconds.
    let end = step_until_asleep(tracee.0, ptrace::step, 10 * PATIENCE, |status| {
        instructions += u64::from(matches!(status, WaitStatus::Stopped(_, Signal::SIGTRAP)));
        Ok(())
    })?;
    ensure!(matches!(end, End::Asleep), "it does not sleep when its instructions are counted");
    Ok(instructions)
}

/// Starts a process that is stopped and about to become the program.
fn start(command: &Command) -> Result<(RunningProcess, bool)> {
    let new_pid = CloneFlags::CLONE_NEWPID;
    // Root makes a PID namespace; another user may where user namespaces are allowed; else it has to go without.
    for flags in [new_pid, new_pid | CloneFlags::CLONE_NEWUSER, CloneFlags::empty()] {
        let stop = || {
            ptrace::traceme()?;
            raise(Signal::SIGSTOP)
        };
        match command.start(flags, stop) {
            Ok(process) => return Ok((process, flags.contains(new_pid))),
            Err(Errno::EPERM | Errno::ENOSPC | Errno::EINVAL) if !flags.is_empty() => {}
            Err(error) => return Err(error).context("cannot start a process"),
        }
    }
    unreachable!("the last attempt returns")
}

/// Returns the page faults counted before: the counter goes on from the process that the program replaces.
fn step_through_exec(pid: Pid) -> Result<u64> {
    waitpid(pid, None)?;
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL)?;
    let mut faults = 0;
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            // The last one before the event is the entry into execve.
            WaitStatus::PtraceSyscall(_) => faults = page_faults(&stat(pid)?),
            WaitStatus::PtraceEvent(..) => return Ok(faults),
            WaitStatus::Exited(_, error) => bail!("{}", Errno::from_raw(error)),
            status => bail!("{status:?} instead of exec"),
        }
    }
}

fn step_until_asleep(
    pid: Pid,
    step: impl Fn(Pid, Option<Signal>) -> nix::Result<()>,
    patience: Duration,
    mut seen: impl FnMut(WaitStatus) -> Result<()>,
) -> Result<End> {
    let start = Instant::now();
    let mut signal = None;
    loop {
        step(pid, signal.take())?;
        let resumed = Instant::now();
        let status = loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive if start.elapsed() > patience => return Ok(End::StillRunning),
                WaitStatus::StillAlive if resumed.elapsed() > QUIET && stat(pid)?.state == 'S' => {
                    return Ok(End::Asleep);
                }
                // A step takes microseconds.
                WaitStatus::StillAlive if resumed.elapsed() < Duration::from_millis(1) => yield_now(),
                WaitStatus::StillAlive => sleep(Duration::from_millis(1)),
                status => break status,
            }
        };
        match status {
            WaitStatus::PtraceSyscall(_) | WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, received) => signal = Some(received),
            WaitStatus::Exited(_, status) => return Ok(End::Exited(status)),
            WaitStatus::Signaled(_, signal, _) => return Ok(End::Killed(signal)),
            status => bail!("unexpected while tracing: {status:?}"),
        }
        seen(status)?;
    }
}

fn stat(pid: Pid) -> Result<Stat> {
    Ok(Process::new(pid.as_raw())?.stat()?)
}

fn page_faults(stat: &Stat) -> u64 {
    stat.minflt + stat.majflt
}
