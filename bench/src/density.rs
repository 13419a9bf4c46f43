//! Whether the thousandth sandbox costs what the first did: memory and time to start, as their number grows.

use crate::memory::{KIB, MemoryCgroup, Sandboxes};
use crate::results::*;
use crate::start::Command;
use anyhow::{Context, Result, ensure};
use nix::sched::CloneFlags;
use procfs::{Current, Meminfo};
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Started before any is counted.
const BEFORE: usize = 10;
/// With fewer, what the machine has less is mostly other business of the kernel.
const ENOUGH: usize = 500;
/// Into how many parts a step is divided, for the spread of what is charged.
const PARTS: usize = 10;

/// A row for each number of sandboxes, as far as there is room for them.
pub fn measure(program: &str, command: &Command, counts: &[usize]) -> Result<Vec<Row>> {
    let namespaces =
        CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    let mut rows = Vec::new();
    let mut memory = MemoryCgroup::new()?;
    let mut sandboxes = Sandboxes::default();
    sandboxes.start(command, namespaces, BEFORE, &mut memory)?;
    let mut each = 0.0;
    for &count in counts {
        let more = count + BEFORE - sandboxes.0.len();
        let available_before = available()?;
        // Some is left for everybody else.
        let is_enough = each * (more as f64) < available_before * 0.8;
        ensure!(is_enough, "{count} sandboxes of {program} need more memory than is available");
        let (mut charged, mut times) = (Vec::new(), Vec::new());
        for part in 0..PARTS {
            let some = more * (part + 1) / PARTS - more * part / PARTS;
            let started = sandboxes.start(command, namespaces, some, &mut memory)?;
            charged.push(started.charged / KIB);
            times.extend(started.times.iter().map(|time| time.as_secs_f64() * 1e6));
        }
        let charged = Figure::of(charged);
        let used = (available_before - available()?) / more as f64;
        each = used.max(charged.median() * KIB);
        let figures =
            [(SANDBOXES, Figure::number(count as u64)), (CHARGED_EACH, charged), (START_EACH, Figure::of(times))];
        let mut figures = BTreeMap::from(figures.map(|(name, figure)| (name.to_owned(), figure)));
        if more >= ENOUGH {
            figures.insert(USED_EACH.into(), Figure::Number(used / KIB));
        }
        rows.push(Row { program: program.into(), figures });
    }
    drop(sandboxes);
    wait_for_the_kernel()?;
    Ok(rows)
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
