//! `cargo xtask size`: what pause costs, part by part, beside other pause programs.

use crate::build;
use crate::layer::layer;
use crate::output;
use crate::platform::Selection;
use anyhow::{Context, Result};
use comfy_table::{Table, presets};
use goblin::elf::{Elf, header::ET_DYN, program_header, section_header::SHT_PROGBITS};
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
        let peer = |path: &PathBuf| {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            column(path.display().to_string(), &bytes).with_context(|| format!("cannot measure {}", path.display()))
        };
        let peers = self.peers.iter().map(peer).collect::<Result<Vec<_>>>()?;
        let platforms = self.selection.platforms();
        let progress = output::progress(platforms.len())?;
        let programs = build::programs(&platforms, &progress)?;
        progress.finish_and_clear();
        let ours = programs.iter().map(|program| column(format!("pause, {}", program.platform), &program.bytes));
        let columns = ours.chain(peers.into_iter().map(Ok)).collect::<Result<Vec<_>>>()?;
        let mut rows = ROWS.iter().enumerate().map(|(at, name)| {
            [*name].into_iter().chain(columns.iter().map(move |column| column[at].as_str())).collect::<Vec<_>>()
        });
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_header(rows.next().context("titles")?).add_rows(rows);
        output::print(&format!("{table}\n"))
    }
}

const ROWS: [&str; 9] = [
    "",
    "file",
    "headers",
    "code",
    "texts and other constants",
    "layer, compressed",
    "loaded segments",
    "position-independent",
    "stack",
];

/// What is found out about one program, in the order of `ROWS`, below its title.
fn column(title: String, bytes: &[u8]) -> Result<[String; ROWS.len()]> {
    let elf = build::elf(bytes)?;
    let headers = usize::from(elf.header.e_ehsize) + elf.program_headers.len() * usize::from(elf.header.e_phentsize);
    let parts = parts(&elf, headers, bytes).map(|parts| parts.map(|part| part.to_string()));
    let [code, constants] = parts.unwrap_or(["?", "?"].map(str::to_owned));
    let of_kind = |kind| elf.program_headers.iter().filter(move |segment| segment.p_type == kind);
    let segments: Vec<_> = of_kind(program_header::PT_LOAD).map(|segment| letters(segment.p_flags)).collect();
    let is_independent = if elf.header.e_type == ET_DYN { "yes" } else { "no" };
    let stack = of_kind(program_header::PT_GNU_STACK).next();
    let stack = stack.map(|stack| if stack.is_executable() { "executable" } else { "not executable" });
    Ok([
        title,
        bytes.len().to_string(),
        headers.to_string(),
        code,
        constants,
        layer(bytes, 0)?.gzip.len().to_string(),
        format!("{}: {}", segments.len(), segments.join(" ")),
        format!("{is_independent}{}", if elf.interpreter.is_some() { ", with an interpreter" } else { "" }),
        stack.unwrap_or("the kernel's default").into(),
    ])
}

/// Bytes of code and of constants: by the section headers, or without them, as in the shipped file, by the first of
/// pause's texts, for linker.ld puts these behind the code.
fn parts(elf: &Elf, headers: usize, bytes: &[u8]) -> Option<[u64; 2]> {
    if !elf.section_headers.is_empty() {
        let constant = elf
            .section_headers
            .iter()
            .filter(|section| section.sh_type == SHT_PROGBITS && section.is_alloc() && !section.is_writable());
        let (code, others): (Vec<_>, Vec<_>) = constant.partition(|section| section.is_executable());
        return Some(
            [code, others].map(|sections| sections.iter().fold(0, |sum, one| one.sh_size.saturating_add(sum))),
        );
    }
    let texts =
        [concat!("pause ", env!("CARGO_PKG_VERSION"), "\n"), "Shutting down, got signal: ", "Warning: ", "Error: "];
    let start = (0..bytes.len()).find(|&at| texts.iter().any(|text| bytes[at..].starts_with(text.as_bytes())))?;
    let loaded = elf.program_headers.iter().filter(|segment| segment.p_type == program_header::PT_LOAD);
    let end = loaded.map(|segment| segment.p_offset + segment.p_filesz).max()?;
    Some([start.checked_sub(headers)? as u64, end.checked_sub(start as u64)?])
}

fn letters(flags: u32) -> String {
    use program_header::{PF_R, PF_W, PF_X};
    [(PF_R, 'R'), (PF_W, 'W'), (PF_X, 'X')]
        .map(|(flag, letter)| if flags & flag != 0 { letter } else { '-' })
        .iter()
        .collect()
}
