//! `cargo xtask bench`: this program, the floor and every peer, measured side by side in one run.

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
use crate::image::version_times;
use crate::oci;
use crate::output::{self, StagedFile, uninterrupted};
use crate::platform;
use crate::readme;
use crate::start::Command;
use crate::trace::{End, count_instructions, follow};
use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use orphans::Cpu;
use peers::{C_GLIBC, FLOOR, OURS, Peer, Subject};
use results::{Machine, Results, Row};
use std::fs;
use std::path::Path;
use std::thread;
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
    /// Make the pictures and the table in README.md anew from bench/results.json, without measuring
    #[arg(long, conflicts_with_all = ["quick", "peers"])]
    render: bool,
    /// Fail if one of these is not what bench/results.json says
    #[arg(long, conflicts_with_all = ["quick", "peers", "render"])]
    check: bool,
}

/// How much of everything is done.
struct Extent {
    rounds: usize,
    batches: usize,
    orphans: u64,
    sandboxes: &'static [usize],
}

const FULL: Extent = Extent { rounds: 2_000, batches: 20, orphans: 100_000, sandboxes: &[10, 100, 1_000, 10_000] };
const QUICK: Extent = Extent { rounds: 20, batches: 2, orphans: 1_000, sandboxes: &[10, 100] };

impl Bench {
    pub fn run(self) -> Result<()> {
        let root = build::root()?;
        let kept = root.join("bench");
        if self.render || self.check {
            let path = kept.join(RESULTS);
            let json = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let results: Results =
                serde_json::from_slice(&json).with_context(|| format!("{} is damaged", path.display()))?;
            ensure!(
                !results.quick,
                "{} is of a quick run, which is nothing to show: run `cargo xtask bench`",
                path.display()
            );
            let files = files(&results)?;
            let part = readme::Part::new("bench", &readme_part(&results)?)?;
            if self.check {
                part.check(RENDER)?;
                return check(&kept, &files);
            }
            write(&kept, &files)?;
            return part.write();
        }
        ensure!(Uid::effective().is_root(), "a real-time priority, cgroups and namespaces need root: run it as root");
        // A quick run is nothing to keep.
        let (extent, folder) = if self.quick { (&QUICK, root.join("target/bench")) } else { (&FULL, kept) };
        let results = measure(extent, self.quick, &self.peers)?;
        // First, for what follows can be made again with --render.
        write(&folder, &[(RESULTS.to_owned(), json(&results)?)])?;
        write(&folder, &files(&results)?)?;
        if !self.quick {
            readme::Part::new("bench", &readme_part(&results)?)?.write()?;
        }
        output::print(&format!("{}\n\n{}\n", tables(&results)?, folder.join(RESULTS).display()))
    }
}

const RESULTS: &str = "results.json";
const RENDER: &str = "cargo xtask bench --render";

/// Everything that is made from the results, and they themselves, by name.
fn files(results: &Results) -> Result<Vec<(String, String)>> {
    let mut files = vec![(RESULTS.to_owned(), json(results)?)];
    for theme in &picture::THEMES {
        files.push((format!("programs-{}.svg", theme.name), picture::programs(results, theme)?));
        files.push((format!("density-{}.svg", theme.name), picture::density(results, theme)?));
    }
    Ok(files)
}

fn json(results: &Results) -> Result<String> {
    Ok(serde_json::to_string_pretty(results)? + "\n")
}

fn write(folder: &Path, files: &[(String, String)]) -> Result<()> {
    let staged: Vec<_> = files.iter().map(|(name, text)| (folder.join(name), text.as_bytes())).collect();
    uninterrupted(|| {
        let staged = staged.iter().map(|(path, bytes)| StagedFile::new(path, bytes, 0o644)).collect::<Result<Vec<_>>>();
        staged?.into_iter().try_for_each(StagedFile::put)
    })
}

fn check(folder: &Path, files: &[(String, String)]) -> Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let there = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(there == *text, "{} is not what {RESULTS} says: run `{RENDER}`", path.display());
    }
    Ok(())
}

fn readme_part(results: &Results) -> Result<String> {
    let picture = |name: &str, what: &str| {
        format!(
            "<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"bench/{name}-dark.svg\">\
             <img src=\"bench/{name}-light.svg\" alt=\"{what}\"></picture>\n\n"
        )
    };
    let mut part = picture("programs", "What a node pulls, exec to asleep, memory and wake-ups of each program");
    part += &picture("density", "Memory and start of a sandbox from 10 to 10,000 of them");
    Ok(part + &tables(results)?)
}

fn tables(results: &Results) -> Result<String> {
    let (goals, all) = (table::goals(results)?, table::all(results));
    Ok(format!("{goals}\n\n{all}\n{}", table::circumstances(results)))
}

fn measure(extent: &Extent, quick: bool, peers: &[Peer]) -> Result<Results> {
    let platform = platform::host()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the peers")?;
    let ours = build::programs(&[platform], &indicatif::ProgressBar::hidden())?.remove(0);
    let (subjects, missing) = peers::find(ours, peers, folder.path())?;
    let in_density: Vec<&Subject> =
        subjects.iter().filter(|subject| [OURS, FLOOR, C_GLIBC].contains(&&*subject.name)).collect();
    let progress = output::progress(subjects.len() * STEPS + in_density.len() + 1)?;
    let floor = subjects.iter().find(|subject| subject.name == FLOOR).context("no floor")?.command()?;
    for subject in &subjects {
        timing::try_out(&subject.command()?).with_context(|| format!("cannot measure {}", subject.name))?;
    }
    progress.set_message("compressing");
    let times = version_times()?;
    // Side by side, for it takes longest.
    let images = thread::scope(|scope| {
        let image = |subject: &Subject| {
            let program = subject.program.clone();
            scope.spawn(|| oci::Image::new(vec![program], &times, || ()))
        };
        let threads: Vec<_> = subjects.iter().map(image).collect();
        threads.into_iter().map(|thread| thread.join().expect("compressing does not panic")).collect::<Result<Vec<_>>>()
    })?;
    let mut rows = Vec::new();
    for (subject, image) in subjects.iter().zip(&images) {
        let say = |what: &str| {
            progress.set_message(format!("{}: {what}", subject.name));
            progress.inc(1);
        };
        rows.push(
            row(subject, image, &floor, extent, say).with_context(|| format!("cannot measure {}", subject.name))?,
        );
    }
    let mut density = Vec::new();
    // Not counted: a virtual machine may get from its host only now what many sandboxes need.
    progress.set_message("density: the machine's memory");
    density::measure(FLOOR, &floor, extent.sandboxes)?;
    progress.inc(1);
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
const STEPS: usize = 5;

fn row(subject: &Subject, image: &oci::Image, floor: &Command, extent: &Extent, say: impl Fn(&str)) -> Result<Row> {
    let command = subject.command()?;
    let part = &image.platforms[0];
    say("system calls and instructions");
    let run = follow(&command)?;
    ensure!(matches!(run.end, End::Asleep), "it does not sleep");
    let instructions = count_instructions(&command)?;
    say("times");
    let exec_to_asleep = timing::beside(floor, &command, Interval::ExecToAsleep, extent.rounds)?;
    let term_to_gone = timing::beside(floor, &command, Interval::TermToGone, extent.rounds)?;
    say("memory");
    let memory = memory::beside(floor, &command, extent.batches)?;
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
