//! `cargo xtask docs`: the generated parts of the documents, from the data they show. Each stands between
//! `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

use crate::bench;
use crate::build;
use crate::distribution;
use crate::release::Release;
use anyhow::{Context, Result};
use std::fs;

/// Write the generated parts of the documents: tables and figures, from deploy/names.toml, bench/results.json and
/// release.toml
#[derive(clap::Args)]
pub struct Docs {}

impl Docs {
    pub fn run(self) -> Result<()> {
        let bench::Shown { figures, tables } = bench::show()?;
        write("README.md", "figures", &figures)?;
        write("README.md", "sizes", &Release::own()?.sizes()?)?;
        write("docs/benchmarks.md", "bench", &tables)?;
        write("deploy/README.md", "distributions", &distribution::table())
    }
}

/// Replaces one part of a document.
fn write(file: &str, name: &str, content: &str) -> Result<()> {
    let path = build::root()?.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {name}:{side} -->\n"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.with_context(|| format!("{file} has no lines {begin}and {end}"))?;
    let text = format!("{before}{begin}{}\n{end}{after}", content.trim_end());
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
