//! What a sandbox keeps of the machine's memory while it sleeps, as an average of many.

use super::cgroup::Cgroup;
use super::results::{Memory, Spread};
use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, ensure};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use procfs::process::{MMapPath, Process};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Started before it is counted: the first ones find tables and lists of the kernel too small.
const BEFORE: usize = 50;

pub fn measure(command: &Command, instances: usize) -> Result<Memory> {
    let cgroup = Cgroup::new("memory")?;
    let mut before = Sandboxes::default();
    let inside = cgroup.enter()?;
    before.start(command, CloneFlags::CLONE_NEWPID, BEFORE)?;
    let charged_before = cgroup.charge()?;
    let mut counted = Sandboxes::default();
    counted.start(command, CloneFlags::CLONE_NEWPID, instances)?;
    let charged = cgroup.charge()?;
    drop(inside);

    let [mut files, mut stack, mut other, mut proportional] = [0; 4];
    let mut page_tables = Vec::new();
    for sandbox in &counted.0 {
        let process = Process::new(sandbox.0.as_raw())?;
        let tables = process.status()?.vmpte.context("the kernel does not tell the size of page tables")?;
        page_tables.push((tables * 1024) as f64);
        for map in process.smaps()? {
            let bytes = |field| map.extension.map.get(field).copied().unwrap_or_default();
            proportional += bytes("Pss");
            *match map.pathname {
                MMapPath::Path(_) => &mut files,
                MMapPath::Stack => &mut stack,
                _ => &mut other,
            } += bytes("Rss");
        }
    }
    let average = |sum: u64| sum as f64 / instances as f64;
    Ok(Memory {
        instances,
        charged: average(charged.checked_sub(charged_before).context("the charge fell as sandboxes were started")?),
        resident: average(files + stack + other),
        resident_files: average(files),
        resident_stack: average(stack),
        resident_other: average(other),
        proportional: average(proportional),
        page_tables: Spread::of(page_tables),
    })
}

/// Programs that run until this goes out of scope.
#[derive(Default)]
pub struct Sandboxes(pub Vec<RunningProcess>);

impl Sandboxes {
    /// Starts some and waits until the last one sleeps; returns how long each start took.
    pub fn start(&mut self, command: &Command, namespaces: CloneFlags, count: usize) -> Result<Vec<Duration>> {
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK | namespaces;
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            self.0.push(command.start(flags, || Ok(()))?);
            times.push(start.elapsed());
        }
        for sandbox in &self.0[self.0.len() - count..] {
            asleep(sandbox)?;
        }
        Ok(times)
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

pub fn asleep(process: &RunningProcess) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let its = Process::new(process.0.as_raw())?;
    while its.stat()?.state != 'S' {
        ensure!(Instant::now() < deadline, "process {} does not sleep", process.0);
        sleep(Duration::from_micros(100));
    }
    Ok(())
}
