//! What a sandbox keeps of the machine's memory while it sleeps, beside the baseline: A B A B, a batch of each at a time.

use super::cgroup::Cgroup;
use super::results::{Memory, Spread};
use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, bail, ensure};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::{MMapPath, Process};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many are started between two looks at what is charged. The kernel keeps a few stacks of the dead for the next
/// to come, and exec aligns stacks and mappings at random: both average out.
const BATCH: usize = 50;

pub fn beside(baseline: &Command, command: &Command, batches: usize) -> Result<Memory> {
    let cgroup = Cgroup::new("memory")?;
    let (mut floors, mut sandboxes) = (Sandboxes::default(), Sandboxes::default());
    // Not counted: the first ones find tables and lists of the kernel too small.
    floors.start(baseline, CloneFlags::CLONE_NEWPID, BATCH, &cgroup)?;
    sandboxes.start(command, CloneFlags::CLONE_NEWPID, BATCH, &cgroup)?;
    let (mut charged, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..batches {
        let baseline = floors.start(baseline, CloneFlags::CLONE_NEWPID, BATCH, &cgroup)?.charged;
        let own = sandboxes.start(command, CloneFlags::CLONE_NEWPID, BATCH, &cgroup)?.charged;
        ensure!(baseline > 0.0 && own > 0.0, "the charge fell as sandboxes were started");
        charged.push(own);
        ratios.push(own / baseline);
    }

    let mut sum = Mapped::default();
    let mut page_tables = Vec::new();
    for sandbox in &sandboxes.0 {
        let process = Process::new(sandbox.0.as_raw())?;
        let tables = process.status()?.vmpte.context("the kernel does not tell the size of page tables")?;
        page_tables.push((tables * 1024) as f64);
        sum.add(&process)?;
    }
    let average = |sum: u64| sum as f64 / sandboxes.0.len() as f64;
    Ok(Memory {
        batches,
        batch: BATCH,
        charged: Spread::of(charged),
        ratio: Spread::of(ratios),
        resident: average(sum.files + sum.stack + sum.other),
        resident_files: average(sum.files),
        resident_stack: average(sum.stack),
        resident_other: average(sum.other),
        proportional: average(sum.proportional),
        page_tables: Spread::of(page_tables),
    })
}

/// Bytes of processes, by what they are mapped from.
#[derive(Default)]
struct Mapped {
    files: u64,
    stack: u64,
    other: u64,
    proportional: u64,
    anonymous: u64,
}

impl Mapped {
    fn add(&mut self, process: &Process) -> Result<()> {
        for map in process.smaps()? {
            let bytes = |field| map.extension.map.get(field).copied().unwrap_or_default();
            self.proportional += bytes("Pss");
            self.anonymous += bytes("Anonymous");
            *match map.pathname {
                MMapPath::Path(_) => &mut self.files,
                MMapPath::Stack => &mut self.stack,
                _ => &mut self.other,
            } += bytes("Rss");
        }
        Ok(())
    }
}

/// Programs that run until this goes out of scope.
#[derive(Default)]
pub struct Sandboxes(pub Vec<RunningProcess>);

/// What it took to start some.
pub struct Started {
    /// Bytes of one, as an average: the kernel's memory that their cgroup is charged, and the anonymous pages of them
    /// and their children. These are counted page by page, for the cgroup's own count of them lags behind. Pages of the
    /// file are charged to whoever reads it first, once.
    pub charged: f64,
    /// How long each took.
    pub times: Vec<Duration>,
}

impl Sandboxes {
    /// Starts some in the cgroup and waits until they and their children sleep.
    pub fn start(
        &mut self,
        command: &Command,
        namespaces: CloneFlags,
        count: usize,
        cgroup: &Cgroup,
    ) -> Result<Started> {
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | namespaces;
        let before = cgroup.kernel_memory()? as f64;
        let mut times = Vec::new();
        let inside = cgroup.enter()?;
        for _ in 0..count {
            let start = Instant::now();
            self.0.push(command.start(flags, || Ok(()))?);
            times.push(start.elapsed());
        }
        // What it takes to look at them is not charged to them.
        drop(inside);
        let mut sum = Mapped::default();
        for sandbox in &self.0[self.0.len() - count..] {
            let process = asleep(sandbox.0)?;
            sum.add(&process)?;
            // An init with a program to run for it.
            for child in process.task_main_thread()?.children()? {
                sum.add(&asleep(Pid::from_raw(child as i32))?)?;
            }
        }
        let kernel = cgroup.kernel_memory()? as f64 - before;
        Ok(Started { charged: (kernel + sum.anonymous as f64) / count as f64, times })
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
