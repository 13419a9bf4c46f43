//! Programs that the tool runs for what they print.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::process::Command;

/// What a command prints, or what it says of its failure.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} {} failed: {}", program.display(), words.join(" "), said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed what is not UTF-8", program.display()))
}
