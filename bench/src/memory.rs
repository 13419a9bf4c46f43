//! What a sandbox keeps of the machine's memory while it sleeps, beside the baseline: A B A B, a batch of each at a time.

use crate::results::*;
use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, bail, ensure};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pause_contract::cgroup::Cgroup;
use procfs::process::Process;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many are started between two looks at what is charged. The kernel keeps a few stacks of the dead for the next
/// to come, and exec aligns stacks and mappings at random: both average out.
const BATCH: usize = 50;
const KIB: f64 = 1024.0;

pub fn beside(baseline: &Command, command: &Command, batches: usize) -> Result<[(&'static str, Figure); 2]> {
    let mut memory = MemoryCgroup::new()?;
    let mut sandboxes = Sandboxes(Vec::new());
    let mut start = |command| -> Result<f64> {
        let charged = sandboxes.start(command, &mut memory)?;
        ensure!(charged > 0.0, "the charge fell as sandboxes were started");
        Ok(charged)
    };
    // Not counted: the first ones find tables and lists of the kernel too small.
    start(baseline)?;
    start(command)?;
    let (mut charged, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..batches {
        let (baseline, own) = (start(baseline)?, start(command)?);
        charged.push(own / KIB);
        ratios.push(own / baseline);
    }
    Ok([(CHARGED, Figure::of(charged)), (CHARGED_RATIO, Figure::of(ratios))])
}

/// A memory cgroup, and the bytes of kernel memory it was charged when it was last asked: stacks, page tables and objects.
struct MemoryCgroup {
    cgroup: Cgroup,
    charged: u64,
}

impl MemoryCgroup {
    fn new() -> Result<Self> {
        Ok(Self { cgroup: Cgroup::new("memory")?, charged: 0 })
    }

    /// What has been charged since the last time. Some is given back only a grace period (RCU) later, such as tables of the
    /// stack that exec has moved: as soon as it stays the same for a while.
    fn growth(&mut self) -> Result<f64> {
        // Of version 2 the kernel adds up every two seconds what each CPU counted (FLUSH_TIME in mm/memcontrol.c).
        let a_while = Duration::from_millis([30, 2_500][self.cgroup.version - 1]);
        let deadline = Instant::now() + 4 * a_while;
        let (mut before, last) = (u64::MAX, self.charged);
        while self.charged != before && Instant::now() < deadline {
            before = self.charged;
            sleep(a_while);
            let text = self.cgroup.get(["memory.kmem.usage_in_bytes", "memory.stat"])?;
            let number = text.lines().find_map(|line| line.strip_prefix("kernel ")).unwrap_or(&text);
            self.charged = number.trim().parse().context("no number of what the kernel has charged")?;
        }
        Ok(self.charged as f64 - last as f64)
    }
}

/// Bytes of the pages that are a process's own.
fn anonymous(process: &Process) -> Result<u64> {
    let maps = process.smaps()?;
    Ok(maps.iter().filter_map(|map| map.extension.map.get("Anonymous")).sum())
}

/// Programs that run until this goes out of scope.
struct Sandboxes(Vec<RunningProcess>);

impl Sandboxes {
    /// Starts a batch in the cgroup and waits until they and their children sleep. Returns the bytes of one, as an average:
    /// the kernel's memory that their cgroup is charged, and the anonymous pages of them and their children. These are
    /// counted page by page, for the cgroup's own count of them lags behind. Pages of the file are charged to whoever reads
    /// it first, once.
    fn start(&mut self, command: &Command, memory: &mut MemoryCgroup) -> Result<f64> {
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | CloneFlags::CLONE_NEWPID;
        // What this process starts in the group is charged to it from its first byte on.
        memory.cgroup.take(Pid::this())?;
        let all: nix::Result<()> = (0..BATCH).try_for_each(|_| {
            self.0.push(command.start(flags, || Ok(()))?);
            Ok(())
        });
        // What it takes to look at them is not charged to them.
        memory.cgroup.release(Pid::this())?;
        all.with_context(|| format!("{} sandboxes were started, and no more can be", self.0.len()))?;
        let mut own = 0;
        for sandbox in &self.0[self.0.len() - BATCH..] {
            let process = asleep(sandbox.0)?;
            own += anonymous(&process)?;
            // An init with a program to run for it.
            for child in process.task_main_thread()?.children()? {
                own += anonymous(&asleep(Pid::from_raw(child as i32))?)?;
            }
        }
        Ok((memory.growth()? + own as f64) / BATCH as f64)
    }
}

impl Drop for Sandboxes {
    fn drop(&mut self) {
        // All at once, before any is waited for.
        for sandbox in &self.0 {
            let _ = kill(sandbox.0, Signal::SIGKILL);
        }
    }
}

/// Waits until the process sleeps.
pub fn asleep(process: Pid) -> Result<Process> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let its = Process::new(process.as_raw())?;
    loop {
        match its.stat()?.state {
            'S' => return Ok(its),
            'Z' => bail!("process {process} ends instead of sleeping"),
            _ => ensure!(Instant::now() < deadline, "process {process} does not sleep"),
        }
        sleep(Duration::from_micros(100));
    }
}
