//! `cargo xtask size`: what pause costs, part by part, beside other pause programs.

use crate::build::{self, Program};
use crate::elf::Elf;
use crate::layer::layer;
use crate::output;
use crate::platform::{PLATFORMS, Selection};
use crate::start::Command;
use crate::trace::{End, Run, follow};
use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use indicatif::ProgressBar;
use object::elf::{ET_DYN, PF_R, PF_W, PF_X, ProgramFlags};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure the program, and other pause programs beside it
///
/// Sizes are in bytes. A program made for this machine is also run, as the first process of a PID namespace where that
/// is allowed, and followed from exec until it sleeps.
#[derive(clap::Args)]
pub struct Size {
    #[command(flatten)]
    selection: Selection,
    /// Another program to measure, such as a pause.c of your own; repeat it for several
    #[arg(long = "peer", value_name = "FILE")]
    peers: Vec<PathBuf>,
}

impl Size {
    pub fn run(self) -> Result<()> {
        // A wrong path should not have to wait for a build.
        let peers: Vec<(Vec<u8>, Elf)> = self.peers.iter().map(|path| read(path)).collect::<Result<_>>()?;
        let progress = ProgressBar::new_spinner();
        progress.enable_steady_tick(Duration::from_millis(100));
        let mut columns = Vec::new();
        for Program { platform, path, bytes, .. } in build::programs(&self.selection.platforms(), &progress)? {
            let title = format!("pause, {platform}");
            progress.set_message(title.clone());
            columns.push(Column::new(title, &path, &bytes, &Elf::parse(&bytes)?)?);
        }
        for (path, (bytes, elf)) in self.peers.iter().zip(&peers) {
            let title = path.display().to_string();
            progress.set_message(title.clone());
            columns.push(Column::new(title, path, bytes, elf)?);
        }
        progress.finish_and_clear();
        let mut report = format!("{}\n", compare(&columns));
        for column in &columns {
            if let Some(calls) = &column.calls {
                report += &format!("\nSystem calls of {}, {calls}\n", column.title);
            }
        }
        output::print(&report)
    }
}

fn read(path: &Path) -> Result<(Vec<u8>, Elf)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("cannot measure {}", path.display()))?;
    Ok((bytes, elf))
}

/// One program and what was found out about it, in the order of `ROWS`.
struct Column {
    title: String,
    cells: [String; ROWS.len()],
    calls: Option<String>,
}

const ROWS: [&str; 10] = [
    "file",
    "headers",
    "code",
    "texts and other constants",
    "layer, compressed",
    "loaded segments",
    "position-independent",
    "stack",
    "system calls until asleep",
    "page faults, from exec until asleep",
];

impl Column {
    fn new(title: String, path: &Path, bytes: &[u8], elf: &Elf) -> Result<Self> {
        let (code, constants) = match parts(elf, bytes) {
            Some((code, constants)) => (code.to_string(), constants.to_string()),
            None => ("?".into(), "?".into()),
        };
        let segments: Vec<String> = elf.loads.iter().map(|load| letters(load.flags)).collect();
        let is_independent = elf.kind == ET_DYN;
        let stack = match elf.stack_flags {
            Some(flags) if !flags.contains(PF_X) => "not executable",
            Some(_) => "executable",
            None => "the kernel's default",
        };
        let behaviour = if runs_here(elf)? { Behaviour::of(path)? } else { Behaviour::of_a_stranger(elf) };
        let cells = [
            bytes.len().to_string(),
            elf.headers.to_string(),
            code,
            constants,
            layer(bytes, 0)?.gzip.len().to_string(),
            format!("{}: {}", segments.len(), segments.join(" ")),
            match (is_independent, elf.interpreted) {
                (true, true) => "yes, with an interpreter",
                (true, false) => "yes",
                (false, true) => "no, with an interpreter",
                (false, false) => "no",
            }
            .into(),
            stack.into(),
            behaviour.calls,
            behaviour.faults,
        ];
        Ok(Self { title, cells, calls: behaviour.list })
    }
}

/// Bytes of code and of constants: by the section headers, or without them, as in the shipped file, by the first of
/// pause's texts, for linker.ld puts these behind the code.
fn parts(elf: &Elf, bytes: &[u8]) -> Option<(u64, u64)> {
    if elf.has_sections {
        return Some((elf.code, elf.constants));
    }
    let texts =
        [concat!("pause ", env!("CARGO_PKG_VERSION"), "\n"), "Shutting down, got signal: ", "Warning: ", "Error: "];
    let start = (0..bytes.len()).find(|&at| texts.iter().any(|text| bytes[at..].starts_with(text.as_bytes())))? as u64;
    Some((start.checked_sub(elf.headers)?, elf.end_of_loads().checked_sub(start)?))
}

fn letters(flags: ProgramFlags) -> String {
    [(PF_R, 'R'), (PF_W, 'W'), (PF_X, 'X')]
        .map(|(flag, letter)| if flags.contains(flag) { letter } else { '-' })
        .iter()
        .collect()
}

/// Whether this machine's kernel runs it with the system calls of this program.
fn runs_here(elf: &Elf) -> Result<bool> {
    let own = Elf::of_this_program()?;
    Ok((own.machine, own.is_64) == (elf.machine, elf.is_64))
}

/// What a program does until it sleeps: for the table, and its system calls in full.
struct Behaviour {
    calls: String,
    faults: String,
    list: Option<String>,
}

impl Behaviour {
    fn of(program: &Path) -> Result<Self> {
        let command = Command::new([program])?;
        let run = follow(&command).with_context(|| format!("cannot run {}", program.display()))?;
        let failure = match run.end {
            End::Asleep => {
                let (calls, faults) = (run.calls.len().to_string(), run.faults.to_string());
                return Ok(Self { calls, faults, list: Some(list(&run)) });
            }
            End::Exited(status) => format!("exits with {status} instead"),
            End::Killed(signal) => format!("killed by {signal} instead"),
            End::StillRunning => "does not sleep".into(),
        };
        Ok(Self { calls: failure, faults: String::new(), list: None })
    }

    fn of_a_stranger(elf: &Elf) -> Self {
        let platform = PLATFORMS.iter().find(|platform| platform.machine == elf.machine);
        let emulator = platform.map_or("another machine", |platform| platform.emulator);
        Self { calls: format!("needs {emulator}"), faults: String::new(), list: None }
    }
}

/// `as PID 1: getpid, 3 rt_sigaction, wait4, pause`: the same call several times in a row is counted.
fn list(run: &Run) -> String {
    let as_whom = if run.is_first_process { "as PID 1" } else { "not as PID 1" };
    let groups: Vec<String> = run
        .calls
        .chunk_by(|a, b| a == b)
        .map(|group| if group.len() == 1 { group[0].clone() } else { format!("{} {}", group.len(), group[0]) })
        .collect();
    format!("{as_whom}: {}", groups.join(", "))
}

fn compare(columns: &[Column]) -> Table {
    let mut table = Table::new();
    let titles = columns.iter().map(|column| column.title.as_str());
    table.load_style(presets::ASCII_MARKDOWN).set_header([""].into_iter().chain(titles));
    for (row, name) in ROWS.iter().enumerate() {
        table.add_row([*name].into_iter().chain(columns.iter().map(|column| column.cells[row].as_str())));
    }
    table
}
