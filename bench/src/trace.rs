//! Follows a program from exec until it sleeps, as PID 1 of a PID namespace: how many system calls it makes, how many page
//! faults it takes, and how many instructions.

use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::Process;
use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

/// Blocked in one system call for so long, a program counts as asleep.
const QUIET: Duration = Duration::from_millis(100);
/// A program that does not sleep by then never will. A hundred thousand single steps take seconds.
const PATIENCE: Duration = Duration::from_secs(50);

/// The number of system calls, and the median of the page faults of a few runs, for exec aligns the stack at random.
pub fn count_calls_and_faults(command: &Command) -> Result<(u64, u64)> {
    let mut runs = [(0, 0); 5];
    for (calls, faults) in &mut runs {
        let (tracee, faults_before) = start(command)?;
        let mut stops = 0;
        step_until_asleep(tracee.0, ptrace::syscall, |status| {
            stops += u64::from(matches!(status, WaitStatus::PtraceSyscall(_)));
        })?;
        // It stops on its way out of exec, on its way into each call and out of all but the last.
        *calls = stops / 2;
        *faults = page_faults(tracee.0)? - faults_before;
    }
    runs.sort_unstable_by_key(|(_, faults)| *faults);
    Ok(runs[runs.len() / 2])
}

/// The process stops once before its first instruction, on its way out of exec, and does not stop after the last, which does
/// not return.
pub fn count_instructions(command: &Command) -> Result<u64> {
    let (tracee, _) = start(command)?;
    let mut instructions = 0;
    step_until_asleep(tracee.0, ptrace::step, |status| {
        instructions += u64::from(matches!(status, WaitStatus::Stopped(_, Signal::SIGTRAP)));
    })?;
    Ok(instructions)
}

/// Starts a process that has become the program and is stopped. Beside it are the page faults counted before: the counter
/// goes on from the process that the program replaces.
fn start(command: &Command) -> Result<(RunningProcess, u64)> {
    let stop = || {
        ptrace::traceme()?;
        raise(Signal::SIGSTOP)
    };
    let process = command.start(CloneFlags::CLONE_NEWPID, stop).context("cannot start a process")?;
    let pid = process.0;
    waitpid(pid, None)?;
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL)?;
    let mut faults = 0;
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            // The last one before the event is the entry into execve.
            WaitStatus::PtraceSyscall(_) => faults = page_faults(pid)?,
            WaitStatus::PtraceEvent(..) => return Ok((process, faults)),
            WaitStatus::Exited(_, error) => bail!("{}", Errno::from_raw(error)),
            status => bail!("{status:?} instead of exec"),
        }
    }
}

fn step_until_asleep(
    pid: Pid,
    step: impl Fn(Pid, Option<Signal>) -> nix::Result<()>,
    mut seen: impl FnMut(WaitStatus),
) -> Result<()> {
    let start = Instant::now();
    let mut signal = None;
    loop {
        step(pid, signal.take())?;
        let resumed = Instant::now();
        let status = loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive if resumed.elapsed() > QUIET && is_blocked(pid)? => return Ok(()),
                // A step takes microseconds.
                WaitStatus::StillAlive if resumed.elapsed() < Duration::from_millis(1) => yield_now(),
                WaitStatus::StillAlive => sleep(Duration::from_millis(1)),
                status => break status,
            }
            ensure!(start.elapsed() < PATIENCE, "it does not sleep");
        };
        match status {
            WaitStatus::PtraceSyscall(_) | WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, received) => signal = Some(received),
            status => bail!("{status:?} instead of sleep"),
        }
        seen(status);
    }
}

fn is_blocked(pid: Pid) -> Result<bool> {
    Ok(Process::new(pid.as_raw())?.stat()?.state == 'S')
}

fn page_faults(pid: Pid) -> Result<u64> {
    let stat = Process::new(pid.as_raw())?.stat()?;
    Ok(stat.minflt + stat.majflt)
}
