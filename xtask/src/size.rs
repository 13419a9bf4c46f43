//! `cargo xtask size`: what pause costs, part by part, beside other pause programs.

use crate::build;
use crate::elf::Elf;
use crate::layer::layer;
use crate::output;
use crate::platform::Selection;
use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use object::elf::{ET_DYN, PF_R, PF_W, PF_X, ProgramFlags};
use std::fs;
use std::path::PathBuf;

/// Measure the program, and other pause programs beside it
///
/// Sizes are in bytes. Nothing is run: for what a program does there is `cargo run -p bench`.
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
        let peers: Vec<Column> = self.peers.iter().map(Column::of_file).collect::<Result<_>>()?;
        let platforms = self.selection.platforms();
        let progress = output::progress(platforms.len())?;
        let programs = build::programs(&platforms, &progress)?;
        progress.finish_and_clear();
        let ours = programs.iter().map(|program| Column::new(format!("pause, {}", program.platform), &program.bytes));
        let columns: Vec<Column> = ours.chain(peers.into_iter().map(Ok)).collect::<Result<_>>()?;
        output::print(&format!("{}\n", compare(&columns)))
    }
}

/// One program and what was found out about it, in the order of `ROWS`.
struct Column {
    title: String,
    cells: [String; ROWS.len()],
}

const ROWS: [&str; 8] = [
    "file",
    "headers",
    "code",
    "texts and other constants",
    "layer, compressed",
    "loaded segments",
    "position-independent",
    "stack",
];

impl Column {
    fn of_file(path: &PathBuf) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::new(path.display().to_string(), &bytes).with_context(|| format!("cannot measure {}", path.display()))
    }

    fn new(title: String, bytes: &[u8]) -> Result<Self> {
        let elf = Elf::parse(bytes)?;
        let (code, constants) = match parts(&elf, bytes) {
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
        ];
        Ok(Self { title, cells })
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

fn compare(columns: &[Column]) -> Table {
    let mut table = Table::new();
    let titles = columns.iter().map(|column| column.title.as_str());
    table.load_style(presets::ASCII_MARKDOWN).set_header([""].into_iter().chain(titles));
    for (row, name) in ROWS.iter().enumerate() {
        table.add_row([*name].into_iter().chain(columns.iter().map(|column| column.cells[row].as_str())));
    }
    table
}
