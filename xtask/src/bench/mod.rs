//! `cargo xtask bench`: this program, the floor and every peer, measured side by side in one run.

mod cgroup;
mod density;
mod memory;
mod orphans;
mod peers;
mod results;
mod timing;

use crate::build;
use crate::oci;
use crate::output;
use crate::platform;
use crate::trace::{End, count_instructions, follow};
use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use orphans::Cpu;
use peers::{C_GLIBC, FLOOR, OURS, Peer, Subject};
use results::{Machine, Results, Row};
use std::path::PathBuf;
use timing::Interval;

/// Measure the program beside the floor and every peer there is, and write what was seen
///
/// The floor is a few instructions that only sleep. Needs root, for a real-time priority, cgroups and namespaces, and a
/// quiet machine.
#[derive(clap::Args)]
pub struct Bench {
    /// A minute's run, for whether everything can be measured: its figures are not to be relied on
    #[arg(long)]
    quick: bool,
    /// Another program to measure, such as a pause.c of your own; repeat it for several
    #[arg(long = "peer", value_name = "NAME=FILE", value_parser = peers::parse)]
    peers: Vec<Peer>,
    /// Folder to write to [default: bench of the project, or target/bench with --quick]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// How much of everything is done.
struct Extent {
    rounds: usize,
    instances: usize,
    orphans: u64,
    sandboxes: &'static [usize],
}

const FULL: Extent = Extent { rounds: 500, instances: 500, orphans: 100_000, sandboxes: &[10, 100, 1_000, 10_000] };
const QUICK: Extent = Extent { rounds: 20, instances: 50, orphans: 1_000, sandboxes: &[10, 100] };

impl Bench {
    pub fn run(self) -> Result<()> {
        ensure!(Uid::effective().is_root(), "a real-time priority, cgroups and namespaces need root: run it as root");
        let results = measure(if self.quick { &QUICK } else { &FULL }, self.quick, &self.peers)?;
        output::print(&serde_json::to_string_pretty(&results)?)
    }
}

fn measure(extent: &Extent, quick: bool, peers: &[Peer]) -> Result<Results> {
    let platform = platform::host()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the peers")?;
    let ours = build::programs(&[platform], &indicatif::ProgressBar::hidden())?.remove(0);
    let (subjects, missing) = peers::find(ours, peers, folder.path())?;
    let in_density: Vec<&Subject> =
        subjects.iter().filter(|subject| [OURS, FLOOR, C_GLIBC].contains(&&*subject.name)).collect();
    let progress = output::progress(subjects.len() * STEPS + in_density.len())?;
    let floor = subjects.iter().find(|subject| subject.name == FLOOR).context("no floor")?.command()?;
    let mut rows = Vec::new();
    for subject in &subjects {
        let say = |what: &str| {
            progress.set_message(format!("{}: {what}", subject.name));
            progress.inc(1);
        };
        rows.push(row(subject, &floor, extent, say).with_context(|| format!("cannot measure {}", subject.name))?);
    }
    let mut density = Vec::new();
    for subject in in_density {
        progress.set_message(format!("{}: density", subject.name));
        density.push(density::measure(&subject.name, &subject.command()?, extent.sandboxes)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let machine = Machine::this(&platform.to_string())?;
    Ok(Results { date: results::now(), quick, machine, orphans: extent.orphans, rows, missing, density })
}

/// How often `row` says what it does.
const STEPS: usize = 6;

fn row(subject: &Subject, floor: &crate::start::Command, extent: &Extent, say: impl Fn(&str)) -> Result<Row> {
    let command = subject.command()?;
    say("size");
    let image = oci::Image::new(vec![subject.program.clone()], None, || ())?;
    let part = &image.platforms[0];
    say("system calls and instructions");
    let run = follow(&command)?;
    ensure!(matches!(run.end, End::Asleep), "it does not sleep");
    let instructions = count_instructions(&command)?;
    say("times");
    let exec_to_asleep = timing::beside(floor, &command, Interval::ExecToAsleep, extent.rounds)?;
    let term_to_gone = timing::beside(floor, &command, Interval::TermToGone, extent.rounds)?;
    say("memory");
    let memory = memory::measure(&command, extent.instances)?;
    say("orphans");
    let reaping = orphans::measure(&command, extent.orphans, Cpu::Idle)?;
    say("orphans, starved");
    let starved = orphans::measure(&command, extent.orphans, Cpu::Starved)?;
    Ok(Row {
        name: subject.name.clone(),
        arguments: subject.arguments.clone(),
        file_bytes: part.program.bytes.len() as u64,
        layer_bytes: part.layer.size(),
        pulled_bytes: image.pulled(part),
        system_calls: run.calls.len() as u64,
        page_faults: run.faults,
        instructions,
        exec_to_asleep,
        term_to_gone,
        memory,
        reaping,
        starved,
    })
}
