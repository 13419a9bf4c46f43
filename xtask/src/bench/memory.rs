//! What a sandbox keeps of the machine's memory while it sleeps, as an average of many.

use super::cgroup::Cgroup;
use super::results::Memory;
use crate::start::{Command, RunningProcess};
use anyhow::{Context, Result, ensure};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use procfs::process::Process;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Started before it is counted: the first ones find tables and lists of the kernel too small.
const BEFORE: usize = 50;

pub fn measure(command: &Command, instances: usize) -> Result<Memory> {
    let cgroup = Cgroup::new("memory")?;
    let sandboxes = Sandboxes::default();
    let inside = cgroup.enter()?;
    let mut before = sandboxes;
    before.start(command, CloneFlags::CLONE_NEWPID, BEFORE)?;
    let charged_before = cgroup.charge()?;
    let mut counted = Sandboxes::default();
    counted.start(command, CloneFlags::CLONE_NEWPID, instances)?;
    let charged = cgroup.charge()?;
    drop(inside);

    let (mut resident, mut proportional, mut page_tables) = (0, 0, 0);
    for sandbox in &counted.0 {
        let process = Process::new(sandbox.0.as_raw())?;
        let status = process.status()?;
        let kib = |field: Option<u64>| field.context("the kernel does not tell its memory").map(|kib| kib * 1024);
        resident += kib(status.vmrss)?;
        page_tables += kib(status.vmpte)?;
        let rollup = process.smaps_rollup()?.memory_map_rollup;
        proportional += rollup.iter().filter_map(|map| map.extension.map.get("Pss")).sum::<u64>();
    }
    let average = |sum: u64| sum as f64 / instances as f64;
    Ok(Memory {
        instances,
        charged: average(charged.checked_sub(charged_before).context("the charge fell as sandboxes were started")?),
        resident: average(resident),
        proportional: average(proportional),
        page_tables: average(page_tables),
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
