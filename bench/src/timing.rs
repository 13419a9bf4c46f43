//! Exec to asleep and SIGTERM to gone, beside the baseline: A B A B. One CPU is kept for both sides by a real-time priority.
//! The program has a higher one than this tool, which so gets the CPU back when the program sleeps, and not before.

use crate::memory::asleep;
use crate::results::Figure;
use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::Process;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Clone, Copy)]
pub enum Interval {
    /// As PID 1 of a PID namespace.
    ExecToAsleep,
    /// Not as PID 1, whom a signal without a handler does not reach.
    TermToGone,
}

/// Whether it sleeps, and SIGTERM ends it: whoever owns a CPU and waits for that should know that it comes.
pub fn try_out(command: &Command) -> Result<()> {
    let process = command.start(CloneFlags::empty(), || Ok(()))?;
    asleep(process.0)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while waitpid(process.0, Some(WaitPidFlag::WNOHANG))? == WaitStatus::StillAlive {
        ensure!(Instant::now() < deadline, "SIGTERM does not end it");
        // Again, for an init may not have had anybody yet to pass it on to.
        kill(process.0, Signal::SIGTERM)?;
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// In microseconds, and of each round to the baseline's right before it.
pub fn beside(baseline: &Command, command: &Command, interval: Interval, rounds: usize) -> Result<[Figure; 2]> {
    let _cpu = OwnCpu::take()?;
    let (mut samples, mut ratios) = (Vec::new(), Vec::new());
    let mut discarded = 0;
    while samples.len() < rounds {
        let pair = (measure(baseline, interval)?, measure(command, interval)?);
        if let (Some(baseline), Some(sample)) = pair {
            samples.push(sample.as_secs_f64() * 1e6);
            ratios.push(sample.as_secs_f64() / baseline.as_secs_f64());
        } else {
            discarded += 1;
            ensure!(discarded <= rounds, "it is hardly ever asleep when it hands the CPU back");
        }
    }
    Ok([samples, ratios].map(Figure::of))
}

fn measure(command: &Command, interval: Interval) -> Result<Option<Duration>> {
    // What the kernel does later about the last one's end should not fall into this one's time, nor only into that of
    // every other.
    sleep(Duration::from_micros(200));
    let namespace = match interval {
        Interval::ExecToAsleep => CloneFlags::CLONE_NEWPID,
        Interval::TermToGone => CloneFlags::empty(),
    };
    let mut exec = None;
    // Sharing memory until exec, the process has none of its own that exec would have to give back.
    let process = command.start(CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | namespace, || {
        set_policy(libc::SCHED_FIFO, PRIORITY + 1)?;
        exec = Some(Instant::now());
        Ok(())
    })?;
    let asleep = Instant::now();
    let exec = exec.context("the program was not started")?;
    if !is_asleep(&process)? {
        return Ok(None);
    }
    match interval {
        Interval::ExecToAsleep => Ok(Some(asleep - exec)),
        Interval::TermToGone => {
            let term = Instant::now();
            kill(process.0, Signal::SIGTERM)?;
            waitpid(process.0, None)?;
            Ok(Some(term.elapsed()))
        }
    }
}

fn is_asleep(process: &RunningProcess) -> Result<bool> {
    let stat = Process::new(process.0.as_raw())?.stat()?;
    if stat.state == 'Z' {
        let status = waitpid(process.0, None)?;
        match status {
            WaitStatus::Exited(_, status) => bail!("it exits with {status} instead of sleeping"),
            status => bail!("it does not sleep: {status:?}"),
        }
    }
    Ok(stat.state == 'S')
}

const PRIORITY: i32 = 10;

/// The last of the CPUs this thread may use, until it goes out of scope.
struct OwnCpu(CpuSet);

impl OwnCpu {
    fn take() -> Result<Self> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this)?;
        let mut last = CpuSet::new();
        let cpu = (0..CpuSet::count()).rev().find(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        last.set(cpu.context("no CPU is allowed")?)?;
        sched_setaffinity(this, &last)?;
        let own = Self(allowed);
        set_policy(libc::SCHED_FIFO, PRIORITY).context("cannot get a real-time priority")?;
        Ok(own)
    }
}

impl Drop for OwnCpu {
    fn drop(&mut self) {
        let _ = set_policy(libc::SCHED_OTHER, 0);
        let _ = sched_setaffinity(Pid::from_raw(0), &self.0);
    }
}

fn set_policy(policy: i32, priority: i32) -> nix::Result<()> {
    // SAFETY: the type has no invalid values.
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = priority;
    // SAFETY: the pointer is to a value that lives during the call.
    Errno::result(unsafe { libc::sched_setscheduler(0, policy, &parameters) }).map(drop)
}
