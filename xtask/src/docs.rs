//! `cargo xtask docs`: the generated parts of the documents, from the data they show. Each stands between
//! `<!-- NAME:begin -->` and `<!-- NAME:end -->`; in deploy/seccomp.json it is `archMap`.

use crate::build;
use crate::distribution;
use crate::platform::{PLATFORMS, Platform};
use crate::release::Release;
use anyhow::{Context, Result};
use std::fs;

/// Write the generated parts of the documents, from deploy/names.toml, release.toml and the table of platforms
///
/// Those of the benchmarks are written by `cargo run -p bench -- --render`.
#[derive(clap::Args)]
pub struct Docs {}

impl Docs {
    pub fn run(self) -> Result<()> {
        write("README.md", "sizes", &Release::own()?.sizes()?)?;
        write("deploy/README.md", "distributions", &distribution::table())?;
        replace("deploy/seccomp.json", ["    \"archMap\": [\n", "    ],\n"], &seccomp_architectures()?)
    }
}

/// The profile's map of architectures. Whose kernel also runs another platform's programs names that as subordinate.
fn seccomp_architectures() -> Result<String> {
    let entry = |platform: &Platform| {
        let own = &platform.kernels[0];
        let others = PLATFORMS.iter().filter(|one| one.kernels[1..].contains(own));
        let others = serde_json::to_string(&others.map(|one| one.seccomp).collect::<Vec<_>>())?;
        let architecture = serde_json::to_string(&platform.seccomp)?;
        Ok(format!("        {{ \"architecture\": {architecture}, \"subArchitectures\": {others} }}"))
    };
    Ok(PLATFORMS.iter().map(entry).collect::<Result<Vec<_>>>()?.join(",\n"))
}

/// Replaces one part of a Markdown document.
pub fn write(file: &str, name: &str, content: &str) -> Result<()> {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {name}:{side} -->\n"));
    replace(file, [&begin, &end], content)
}

/// Replaces what stands between two lines of a file.
fn replace(file: &str, [begin, end]: [&str; 2], content: &str) -> Result<()> {
    let path = build::root()?.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let parts = text.split_once(begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1)));
    let (before, after) = parts.with_context(|| format!("{file} has no lines {begin}and {end}"))?;
    let text = format!("{before}{begin}{}\n{end}{after}", content.trim_end());
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
