//! Measures this program, the baseline and others side by side in one run: `cargo run -p bench`.

mod memory;
mod orphans;
mod peers;
mod picture;
mod results;
mod start;
mod table;
mod timing;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::utsname::uname;
use nix::unistd::Uid;
use peers::{BASELINE, Subject};
use procfs::{CpuInfo, Current, Meminfo};
use results::*;
use start::Command;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use timing::Interval;
use xtask::release::Release;
use xtask::{build, docs, oci, output, platform};

/// Measure the program beside the baseline and every other that is there, and show it in the documents
///
/// The baseline is a few instructions that only sleep. Needs root, for a real-time priority, cgroups and namespaces, and a
/// quiet machine.
#[derive(Parser)]
#[command(bin_name = "cargo run -p bench --")]
struct Bench {
    /// A smoke test of a minute, not a measurement; what it finds goes to target/bench
    #[arg(long)]
    quick: bool,
    /// Another program to measure, such as a pause.c of your own; repeat it for several
    #[arg(long = "peer", value_name = "NAME=FILE", value_parser = peers::parse)]
    peers: Vec<(String, PathBuf)>,
    /// Measure nothing: show the last results in the documents again
    #[arg(long, conflicts_with_all = ["quick", "peers"])]
    render: bool,
}

/// How much of everything is done.
struct Amounts {
    rounds: usize,
    batches: usize,
    orphans: u64,
}

const FULL: Amounts = Amounts { rounds: 2_000, batches: 20, orphans: 100_000 };
const QUICK: Amounts = Amounts { rounds: 20, batches: 2, orphans: 1_000 };

const RESULTS: &str = "results.toml";

fn main() -> ExitCode {
    match run(Bench::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Bench { quick, peers, render }: Bench) -> Result<()> {
    let directory = build::root()?.join(if quick { "target/bench" } else { "bench" });
    let path = directory.join(RESULTS);
    if !render {
        ensure!(Uid::effective().is_root(), "a real-time priority, cgroups and namespaces need root: run it as root");
        let results = measure(if quick { &QUICK } else { &FULL }, &peers)?;
        output::write(&path, toml::to_string(&results)?.as_bytes(), 0o644)?;
        output::print(&format!("{}\n{}\n", table::all(&results)?, path.display()))?;
    }
    if quick { Ok(()) } else { show(&directory) }
}

/// Draws the picture, and writes the parts of documents that are generated from the results.
fn show(directory: &Path) -> Result<()> {
    let path = directory.join(RESULTS);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let results: Results = toml::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    for theme in &picture::THEMES {
        let picture = picture::draw(&results, theme)?;
        output::write(&directory.join(format!("programs-{}.svg", theme.0)), picture.as_bytes(), 0o644)?;
    }
    docs::write("README.md", "figures", &format!("{}\n\n{PICTURE}", table::figures(&results)?))?;
    docs::write("docs/benchmarks.md", "bench", &table::all(&results)?)
}

const PICTURE: &str = r#"<picture><source media="(prefers-color-scheme: dark)" srcset="bench/programs-dark.svg">
<img src="bench/programs-light.svg" alt="What a node pulls, exec to asleep, memory and wake-ups of each program"></picture>"#;

fn measure(amounts: &Amounts, peers: &[(String, PathBuf)]) -> Result<Results> {
    let platform = platform::host()?;
    let directory = tempfile::tempdir().context("cannot make a directory for the peers")?;
    let ours = build::programs(&[platform], &indicatif::ProgressBar::hidden())?.remove(0);
    let (subjects, missing) = peers::find(ours, peers, directory.path())?;
    let progress = output::progress(subjects.len() * STEPS)?;
    let baseline = subjects.iter().find(|subject| subject.name == BASELINE).context("no baseline")?.command()?;
    for subject in &subjects {
        timing::try_out(&subject.command()?).with_context(|| format!("cannot measure {}", subject.name))?;
    }
    let mut rows = Vec::new();
    for subject in &subjects {
        let say = |what: &str| {
            progress.set_message(format!("{}: {what}", subject.name));
            progress.inc(1);
        };
        let figures = figures(subject, &baseline, amounts, say);
        let figures = figures.with_context(|| format!("cannot measure {}", subject.name))?;
        rows.push(Row { program: subject.name.clone(), figures });
    }
    progress.finish_and_clear();
    Ok(Results { circumstances: circumstances(&platform.to_string())?, missing, rows })
}

/// How often `figures` says what it does.
const STEPS: usize = 5;

fn figures(
    subject: &Subject,
    baseline: &Command,
    amounts: &Amounts,
    say: impl Fn(&str),
) -> Result<BTreeMap<String, Figure>> {
    let (command, release) = (subject.command()?, Release::own()?);
    say("image");
    // Each says as much of itself as ours.
    let program = [(subject.program.platform, subject.program.bytes.as_slice())];
    let image = oci::Image::new(&program, &release.times(), &release.annotations(true), || ())?;
    let part = &image.platforms[0];
    let numbers = [(FILE, part.program.size), (LAYER, part.layer.size()), (PULLED, image.pulled(part))];
    let mut figures: Vec<_> = numbers.map(|(name, number)| (name, Figure::number(number))).into();
    say("times");
    for (names, interval) in [([EXEC, EXEC_RATIO], Interval::ExecToAsleep), ([TERM, TERM_RATIO], Interval::TermToGone)]
    {
        figures.extend(names.into_iter().zip(timing::beside(baseline, &command, interval, amounts.rounds)?));
    }
    say("memory");
    figures.extend(memory::beside(baseline, &command, amounts.batches)?);
    say("orphans");
    figures.extend(orphans::measure(&command, amounts.orphans, false)?);
    say("orphans, CPU-starved");
    figures.extend(orphans::measure(&command, amounts.orphans, true)?);
    Ok(figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect())
}

fn circumstances(platform: &str) -> Result<String> {
    let (cpu, kernel) = (CpuInfo::current()?, uname()?);
    let day = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    Ok(format!(
        "Measured on {}: {platform}, {} CPUs of {}, {:.0} GiB, Linux {}.",
        day.split('T').next().unwrap_or_default(),
        cpu.num_cores(),
        // Not every architecture has it.
        cpu.model_name(0).unwrap_or("unknown"),
        Meminfo::current()?.mem_total as f64 / f64::from(1 << 30),
        kernel.release().to_string_lossy(),
    ))
}
