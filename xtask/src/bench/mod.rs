//! `cargo xtask bench`: this program, the baseline and the others, measured side by side in one run.

mod cgroup;
mod density;
mod memory;
mod orphans;
mod peers;
mod picture;
mod results;
mod table;
mod timing;

use crate::build;
use crate::oci;
use crate::output;
use crate::platform;
use crate::release::Release;
use crate::start::Command;
use crate::trace::{End, count_instructions, follow};
use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use orphans::Cpu;
use peers::{BASELINE, C_GLIBC, OURS, Peer, Subject};
use results::{Machine, Results, Row};
use std::fs;
use std::path::Path;
use std::thread;
use timing::Interval;

/// Measure the program beside the baseline and every other that is there, and write bench/results.json
///
/// The baseline is a few instructions that only sleep. Needs root, for a real-time priority, cgroups and namespaces, and a
/// quiet machine. `cargo xtask docs` shows the results in the documents.
#[derive(clap::Args)]
pub struct Bench {
    /// A smoke test of a minute, not a measurement; what it finds goes to target/bench
    #[arg(long)]
    quick: bool,
    /// Another program to measure, such as a pause.c of your own; repeat it for several
    #[arg(long = "peer", value_name = "NAME=FILE", value_parser = peers::parse)]
    peers: Vec<Peer>,
}

/// How much of everything is done.
struct Amounts {
    rounds: usize,
    batches: usize,
    orphans: u64,
    sandboxes: &'static [usize],
}

const FULL: Amounts = Amounts { rounds: 2_000, batches: 20, orphans: 100_000, sandboxes: &[10, 100, 1_000, 10_000] };
const QUICK: Amounts = Amounts { rounds: 20, batches: 2, orphans: 1_000, sandboxes: &[10, 100] };

impl Bench {
    pub fn run(self) -> Result<()> {
        ensure!(Uid::effective().is_root(), "a real-time priority, cgroups and namespaces need root: run it as root");
        let (amounts, directory) = if self.quick { (&QUICK, "target/bench") } else { (&FULL, DIRECTORY) };
        let path = build::root()?.join(directory).join(RESULTS);
        let results = measure(amounts, self.quick, &self.peers)?;
        write(&path, &(serde_json::to_string_pretty(&results)? + "\n"))?;
        output::print(&format!("{}\n\n{}\n", tables(&results)?, path.display()))
    }
}

const DIRECTORY: &str = "bench";
const RESULTS: &str = "results.json";

/// What documents show of the last full run.
pub struct Shown {
    /// For README.md.
    pub figures: String,
    /// For docs/benchmarks.md.
    pub tables: String,
}

/// Draws the pictures anew, too.
pub fn show() -> Result<Shown> {
    let directory = build::root()?.join(DIRECTORY);
    let path = directory.join(RESULTS);
    let json = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results = serde_json::from_slice(&json).with_context(|| format!("{} is damaged", path.display()))?;
    ensure!(!results.quick, "{} is of a quick run: run `cargo xtask bench`", path.display());
    for theme in &picture::THEMES {
        write(&directory.join(format!("programs-{}.svg", theme.name)), &picture::programs(&results, theme)?)?;
        write(&directory.join(format!("density-{}.svg", theme.name)), &picture::density(&results, theme)?)?;
    }
    let programs = "What a node pulls, exec to asleep, memory and wake-ups of each program";
    let density = "Memory and start of a sandbox from 10 to 10,000 of them";
    let (figures, tables) = (table::figures(&results)?, tables(&results)?);
    Ok(Shown {
        figures: format!("{figures}\n\n{}", picture("bench/programs", programs)),
        tables: format!("{tables}\n\n{}\n", picture("../bench/density", density)),
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    output::write(path, text.as_bytes(), 0o644)
}

fn picture(path: &str, what: &str) -> String {
    format!(
        "<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"{path}-dark.svg\">\n\
         <img src=\"{path}-light.svg\" alt=\"{what}\"></picture>"
    )
}

fn tables(results: &Results) -> Result<String> {
    let (goals, all) = (table::goals(results)?, table::all(results));
    Ok(format!("{}\n\n{goals}\n\n{}", table::circumstances(results), all.trim_end()))
}

fn measure(amounts: &Amounts, quick: bool, peers: &[Peer]) -> Result<Results> {
    let platform = platform::host()?;
    let directory = tempfile::tempdir().context("cannot make a directory for the peers")?;
    let ours = build::programs(&[platform], &indicatif::ProgressBar::hidden())?.remove(0);
    let (subjects, missing) = peers::find(ours, peers, directory.path())?;
    let in_density: Vec<&Subject> =
        subjects.iter().filter(|subject| [OURS, BASELINE, C_GLIBC].contains(&&*subject.name)).collect();
    let progress = output::progress(subjects.len() * STEPS + in_density.len() + 1)?;
    let baseline = subjects.iter().find(|subject| subject.name == BASELINE).context("no baseline")?.command()?;
    for subject in &subjects {
        timing::try_out(&subject.command()?).with_context(|| format!("cannot measure {}", subject.name))?;
    }
    progress.set_message("compressing");
    let release = Release::own()?;
    // Every program's image says as much of itself as ours.
    let (times, annotations) = (&release.times(), &release.annotations(true));
    // Side by side, for it takes longest.
    let images = thread::scope(|scope| {
        let programs = subjects.iter().map(|subject| (subject.program.platform, subject.program.bytes.as_slice()));
        let threads: Vec<_> = programs
            .map(|program| scope.spawn(move || oci::Image::new(&[program], times, annotations, || ())))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("compressing does not panic")).collect::<Result<Vec<_>>>()
    })?;
    let mut rows = Vec::new();
    for (subject, image) in subjects.iter().zip(&images) {
        let say = |what: &str| {
            progress.set_message(format!("{}: {what}", subject.name));
            progress.inc(1);
        };
        rows.push(
            row(subject, image, &baseline, amounts, say).with_context(|| format!("cannot measure {}", subject.name))?,
        );
    }
    let mut density = Vec::new();
    // Not counted: a virtual machine may get from its host only now what many sandboxes need.
    progress.set_message("density: the machine's memory");
    density::measure(BASELINE, &baseline, amounts.sandboxes)?;
    progress.inc(1);
    for subject in in_density {
        progress.set_message(format!("{}: density", subject.name));
        density.push(density::measure(&subject.name, &subject.command()?, amounts.sandboxes)?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let machine = Machine::this(&platform.to_string())?;
    Ok(Results { date: results::now(), quick, machine, orphans: amounts.orphans, rows, missing, density })
}

/// How often `row` says what it does.
const STEPS: usize = 5;

fn row(
    subject: &Subject,
    image: &oci::Image,
    baseline: &Command,
    amounts: &Amounts,
    say: impl Fn(&str),
) -> Result<Row> {
    let command = subject.command()?;
    let part = &image.platforms[0];
    say("system calls and instructions");
    let run = follow(&command)?;
    ensure!(matches!(run.end, End::Asleep), "it does not sleep");
    let instructions = count_instructions(&command)?;
    say("times");
    let exec_to_asleep = timing::beside(baseline, &command, Interval::ExecToAsleep, amounts.rounds)?;
    let term_to_gone = timing::beside(baseline, &command, Interval::TermToGone, amounts.rounds)?;
    say("memory");
    let memory = memory::beside(baseline, &command, amounts.batches)?;
    say("orphans");
    let reaping = orphans::measure(&command, amounts.orphans, Cpu::Idle)?;
    say("orphans, CPU-starved");
    let cpu_starved = orphans::measure(&command, amounts.orphans, Cpu::Starved)?;
    Ok(Row {
        name: subject.name.clone(),
        arguments: subject.arguments.clone(),
        file_bytes: part.program.size,
        layer_bytes: part.layer.size(),
        pulled_bytes: image.pulled(part),
        system_calls: run.calls.len() as u64,
        page_faults: run.faults,
        instructions,
        exec_to_asleep,
        term_to_gone,
        memory,
        reaping,
        cpu_starved,
    })
}
