//! Whether the thousandth sandbox costs what the first did: memory and time to start, as their number grows.

use super::cgroup::Cgroup;
use super::memory::Sandboxes;
use super::results::{Density, Spread, Step};
use crate::start::Command;
use anyhow::{Context, Result};
use nix::sched::CloneFlags;
use procfs::{Current, Meminfo};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Started before any is counted.
const BEFORE: usize = 10;
/// With fewer, what the machine has less is mostly other business of the kernel.
const ENOUGH: usize = 500;
/// Into how many parts a step is divided, for the spread of what is charged.
const PARTS: usize = 10;

pub fn measure(name: &str, command: &Command, counts: &[usize]) -> Result<Density> {
    let namespaces =
        CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let mut density = Density { name: name.to_owned(), steps: Vec::new(), stopped: None };
    let cgroup = Cgroup::new("memory")?;
    let mut sandboxes = Sandboxes::default();
    sandboxes.start(command, namespaces, BEFORE, &cgroup)?;
    for &count in counts {
        let more = count + BEFORE - sandboxes.0.len();
        let available_before = available()?;
        if let Some(last) = density.steps.last() {
            let needed = last.used_bytes.unwrap_or_default().max(last.charged_bytes.median) * more as f64;
            // Some is left for everybody else.
            if needed > available_before * 0.8 {
                let mib = |bytes: f64| bytes / f64::from(1 << 20);
                density.stopped = Some(format!(
                    "{count} sandboxes need about {:.0} MiB more, and {:.0} MiB are available",
                    mib(needed),
                    mib(available_before)
                ));
                break;
            }
        }
        let mut start = || -> Result<Step> {
            let (mut charged, mut times) = (Vec::new(), Vec::new());
            for part in 0..PARTS {
                let some = more * (part + 1) / PARTS - more * part / PARTS;
                let started = sandboxes.start(command, namespaces, some, &cgroup)?;
                charged.push(started.charged);
                times.extend(started.times.iter().map(|time| time.as_secs_f64() * 1e6));
            }
            Ok(Step {
                sandboxes: count,
                charged_bytes: Spread::of(charged),
                used_bytes: if more < ENOUGH { None } else { Some((available_before - available()?) / more as f64) },
                start_microseconds: Spread::of(times),
            })
        };
        match start() {
            Ok(step) => density.steps.push(step),
            Err(error) if !density.steps.is_empty() => {
                density.stopped = Some(format!("at {} sandboxes: {error:#}", sandboxes.0.len()));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    drop(sandboxes);
    wait_for_the_kernel()?;
    Ok(density)
}

fn available() -> Result<f64> {
    let meminfo = Meminfo::current()?;
    Ok(meminfo.mem_available.context("the kernel does not tell how much memory is available")? as f64)
}

/// It takes networks apart in the background, and is no quicker to make new ones meanwhile: until it gives nothing back
/// for a second.
fn wait_for_the_kernel() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut before = available()?;
    while Instant::now() < deadline {
        sleep(Duration::from_secs(1));
        let now = available()?;
        if now < before + f64::from(4 << 20) {
            break;
        }
        before = now;
    }
    Ok(())
}
