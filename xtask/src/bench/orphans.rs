//! What orphans cost whoever is PID 1: how often they wake it, how much CPU time it spends on them, and how many zombies
//! there are at once.

use super::cgroup::Cgroup;
use super::memory::asleep;
use super::results::Reaping;
use crate::start::{Command, RunningProcess, spawn};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::{Process, Task};
use std::fs::File;
use std::hint::spin_loop;
use std::num::NonZero;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

/// With so many zombies a reaper is as good as none, and a process table might soon be full.
const TOO_MANY: u64 = 10_000;
/// How long a reaper is given for the next of those that are left.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq)]
pub enum Cpu {
    Idle,
    /// Every CPU is busy, and the reaper has the smallest share of them.
    Starved,
}

pub fn measure(command: &Command, orphans: u64, cpu: Cpu) -> Result<Reaping> {
    let cgroup = if cpu == Cpu::Starved { Some(Cgroup::new("cpu")?) } else { None };
    let reaper = command.start(CloneFlags::CLONE_NEWPID, || Ok(()))?;
    let process = asleep(reaper.0)?;
    let mut load = Vec::new();
    if let Some(cgroup) = &cgroup {
        cgroup.starve()?;
        cgroup.add(reaper.0)?;
        for _ in 0..available_parallelism().map_or(1, NonZero::get) {
            load.push(spawn(CloneFlags::empty(), || {
                loop {
                    spin_loop();
                }
            })?);
        }
    }
    let task = process.task_main_thread()?;
    let before = Cost::of(&process)?;
    let made = Shared::new()?;
    let mut maker = Some(start_maker(reaper.0, orphans, made.get())?);
    let (mut most_zombies, mut fewest_zombies, mut stopped) = (0, u64::MAX, false);
    let mut deadline = None;
    loop {
        let zombies = zombies(&task)?;
        most_zombies = most_zombies.max(zombies);
        if deadline.is_some() && zombies < fewest_zombies {
            fewest_zombies = zombies;
            deadline = Some(Instant::now() + PATIENCE);
        }
        if let Some(running) = &maker {
            stopped |= zombies >= TOO_MANY;
            let has_ended = match waitpid(running.0, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive => false,
                WaitStatus::Exited(_, 0) => true,
                // No number is left for another process.
                WaitStatus::Exited(_, error) if Errno::from_raw(error) == Errno::EAGAIN => {
                    stopped = true;
                    true
                }
                WaitStatus::Exited(_, error) => bail!("cannot make orphans: {}", Errno::from_raw(error)),
                status => bail!("cannot make orphans: {status:?}"),
            };
            if stopped || has_ended {
                maker = None;
                deadline = Some(Instant::now() + PATIENCE);
            }
        }
        if deadline.is_some_and(|deadline| zombies == 0 || Instant::now() > deadline) {
            break;
        }
        sleep(Duration::from_millis(1));
    }
    let after = Cost::of(&process)?;
    Ok(Reaping {
        orphans: made.get().load(Ordering::Relaxed),
        stopped,
        wake_ups: after.wake_ups - before.wake_ups,
        cpu_ticks: after.cpu_ticks - before.cpu_ticks,
        most_zombies,
    })
}

struct Cost {
    wake_ups: u64,
    cpu_ticks: u64,
}

impl Cost {
    fn of(process: &Process) -> Result<Self> {
        let (stat, status) = (process.stat()?, process.status()?);
        let voluntary = status.voluntary_ctxt_switches.context("the kernel does not count context switches")?;
        Ok(Self {
            wake_ups: voluntary + status.nonvoluntary_ctxt_switches.unwrap_or_default(),
            cpu_ticks: stat.utime + stat.stime,
        })
    }
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

/// Starts a process that makes orphans in the reaper's PID namespace, one after the other, and counts them.
fn start_maker(reaper: Pid, orphans: u64, made: &AtomicU64) -> Result<RunningProcess> {
    let path = format!("/proc/{reaper}/ns/pid");
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let mut orphan_stack = vec![0u8; 64 * 1024];
    let orphan = Orphan {
        stack: orphan_stack.as_mut_ptr_range().end.cast(),
        is_orphan: AtomicI32::new(0),
        is_there: AtomicI32::new(0),
    };
    let mut parent_stack = vec![0u8; 64 * 1024];
    let parent_stack: *mut c_void = parent_stack.as_mut_ptr_range().end.cast();
    let make = || -> nix::Result<()> {
        // Not to be among those who wait where the machine is busy.
        // SAFETY: it takes nothing but numbers.
        Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -10) })?;
        setns(&namespace, CloneFlags::CLONE_NEWPID)?;
        while made.load(Ordering::Relaxed) < orphans {
            orphan.is_orphan.store(0, Ordering::Relaxed);
            orphan.is_there.store(1, Ordering::Relaxed);
            // SAFETY: the parent has a stack of its own, and this process waits until it has ended.
            let parent = Errno::result(unsafe {
                libc::clone(
                    become_parent,
                    parent_stack,
                    libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                    ptr::from_ref(&orphan).cast_mut().cast(),
                )
            })?;
            match waitpid(Pid::from_raw(parent), None)? {
                WaitStatus::Exited(_, 0) => {}
                _ => return Err(Errno::EAGAIN),
            }
            made.fetch_add(1, Ordering::Relaxed);
            orphan.is_orphan.store(1, Ordering::Relaxed);
            wake(&orphan.is_orphan);
            // The next one gets its stack.
            wait_while(&orphan.is_there, 1);
        }
        Ok(())
    };
    spawn(CloneFlags::empty(), make).context("cannot start what makes orphans")
}

struct Orphan {
    stack: *mut c_void,
    /// Set when its parent is gone, which is when it may go too.
    is_orphan: AtomicI32,
    /// Cleared by the kernel when the orphan has left its stack.
    is_there: AtomicI32,
}

extern "C" fn become_parent(orphan: *mut c_void) -> c_int {
    // SAFETY: it is the one `make` keeps, and its stack is in nobody's use.
    let child = unsafe {
        let Orphan { stack, is_there, .. } = &*orphan.cast::<Orphan>();
        let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
        let unused = ptr::null_mut::<c_void>();
        libc::clone(live_as_orphan, *stack, flags, orphan, unused, unused, is_there.as_ptr())
    };
    c_int::from(child < 0)
}

extern "C" fn live_as_orphan(orphan: *mut c_void) -> c_int {
    // SAFETY: as above.
    wait_while(unsafe { &(*orphan.cast::<Orphan>()).is_orphan }, 0);
    0
}

/// By the kernel's futex: whoever asks again and again would only be made to wait longer where the machine is busy.
fn wait_while(word: &AtomicI32, value: c_int) {
    while word.load(Ordering::Acquire) == value {
        // SAFETY: the word outlives the call.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, ptr::null::<c_void>()) };
    }
}

fn wake(word: &AtomicI32) {
    // SAFETY: the word outlives the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}

/// A counter that two processes see.
struct Shared(ptr::NonNull<c_void>);

impl Shared {
    const LENGTH: NonZero<usize> = NonZero::new(size_of::<AtomicU64>()).unwrap();

    fn new() -> Result<Self> {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: it is mapped where nothing is.
        Ok(Self(unsafe { mmap_anonymous(None, Self::LENGTH, access, MapFlags::MAP_SHARED) }?))
    }

    fn get(&self) -> &AtomicU64 {
        // SAFETY: it is mapped, zero, and as aligned as a page.
        unsafe { self.0.cast().as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: no reference outlives this.
        let _ = unsafe { nix::sys::mman::munmap(self.0, Self::LENGTH.get()) };
    }
}
