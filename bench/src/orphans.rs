//! What orphans cost whoever is PID 1: how often they wake it, how much CPU time it spends on them, and how many zombies
//! there are at once.

use crate::memory::asleep;
use crate::results::{Figure, ORPHANS, TICKS, WAKE_UPS, ZOMBIES};
use crate::start::{Command, RunningProcess, spawn};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use pause_contract::cgroup::Cgroup;
use procfs::process::{Process, Task};
use std::fs::File;
use std::hint::spin_loop;
use std::io::Write;
use std::mem::forget;
use std::num::NonZero;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

/// With so many zombies a reaper is as good as none, and a process table might soon be full.
const TOO_MANY: u64 = 10_000;
/// How long a reaper is given for the next of those that are left.
const PATIENCE: Duration = Duration::from_secs(1);

/// On an idle machine; and where every CPU is busy, and the reaper has the smallest share of them.
pub fn measure(command: &Command, orphans: u64, is_starved: bool) -> Result<[(&'static str, Figure); 4]> {
    let cgroup = if is_starved { Some(Cgroup::new("cpu")?) } else { None };
    let reaper = command.start(CloneFlags::CLONE_NEWPID, || Ok(()))?;
    let process = asleep(reaper.0)?;
    let mut load = Vec::new();
    if let Some(cgroup) = &cgroup {
        cgroup.set(["cpu.shares", "cpu.weight"], ["2", "1"][cgroup.version - 1])?;
        cgroup.take(reaper.0)?;
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            load.push(spawn(CloneFlags::empty(), || {
                loop {
                    spin_loop();
                }
            })?);
        }
    }
    let task = process.task_main_thread()?;
    let before = cost(&process)?;
    let made = tempfile::tempfile()?;
    let mut maker = Some(start_maker(reaper.0, orphans, &made)?);
    let (mut most_zombies, mut fewest_zombies) = (0, u64::MAX);
    let mut deadline = None;
    loop {
        let zombies = zombies(&task)?;
        most_zombies = most_zombies.max(zombies);
        if deadline.is_some() && zombies < fewest_zombies {
            fewest_zombies = zombies;
            deadline = Some(Instant::now() + PATIENCE);
        }
        if let Some(running) = &maker {
            let has_ended = match waitpid(running.0, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive => false,
                // Or no number is left for another process.
                WaitStatus::Exited(_, 0 | libc::EAGAIN) => true,
                WaitStatus::Exited(_, error) => bail!("cannot make orphans: {}", Errno::from_raw(error)),
                status => bail!("cannot make orphans: {status:?}"),
            };
            if has_ended || zombies >= TOO_MANY {
                maker = None;
                deadline = Some(Instant::now() + PATIENCE);
            }
        }
        if deadline.is_some_and(|deadline| zombies == 0 || Instant::now() > deadline) {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    let after = cost(&process)?;
    let numbers = [made.metadata()?.len(), after[0] - before[0], after[1] - before[1], most_zombies];
    let names = [ORPHANS, WAKE_UPS, TICKS, ZOMBIES].map(|names| names[usize::from(is_starved)]);
    Ok([0, 1, 2, 3].map(|at| (names[at], Figure::number(numbers[at]))))
}

/// How often it was switched to and away from, and the ticks of CPU time it took.
fn cost(process: &Process) -> Result<[u64; 2]> {
    let (stat, status) = (process.stat()?, process.status()?);
    let voluntary = status.voluntary_ctxt_switches.context("the kernel does not count context switches")?;
    Ok([voluntary + status.nonvoluntary_ctxt_switches.unwrap_or_default(), stat.utime + stat.stime])
}

fn zombies(reaper: &Task) -> Result<u64> {
    let is_zombie = |child: &u32| {
        // It may be gone by now.
        let stat = Process::new(*child as i32).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.state == 'Z')
    };
    let children = reaper.children()?;
    // Asking so many takes long, and meanwhile there would be far more; none of them lives for long.
    if children.len() as u64 >= TOO_MANY {
        return Ok(children.len() as u64);
    }
    Ok(children.iter().filter(|child| is_zombie(child)).count() as u64)
}

/// Starts a process that makes orphans in the reaper's PID namespace, one after the other, and writes a byte for each.
fn start_maker(reaper: Pid, orphans: u64, mut made: &File) -> Result<RunningProcess> {
    let path = format!("/proc/{reaper}/ns/pid");
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let mut make = || -> nix::Result<()> {
        // Not to be among those who wait where the machine is busy.
        // SAFETY: it takes nothing but numbers.
        Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) })?;
        setns(&namespace, CloneFlags::CLONE_NEWPID)?;
        for _ in 0..orphans {
            let at_once = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
            // The child is dead when its parent goes on, and an orphan when that has ended.
            let parent = spawn(at_once, || spawn(at_once, || Ok(())).map(forget))?;
            match waitpid(parent.0, None)? {
                WaitStatus::Exited(_, 0) => forget(parent),
                _ => return Err(Errno::EAGAIN),
            }
            made.write_all(b".").map_err(|_| Errno::EIO)?;
        }
        Ok(())
    };
    // SAFETY: glibc lets the child of a fork allocate memory, and that is all it does but system calls.
    match unsafe { fork() }.context("cannot start what makes orphans")? {
        ForkResult::Parent { child } => Ok(RunningProcess(child)),
        // SAFETY: it ends without doing what this process does at its end.
        ForkResult::Child => unsafe { libc::_exit(make().err().map_or(0, |error| error as i32)) },
    }
}
