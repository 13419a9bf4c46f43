//! What the tool prints and writes.

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

pub fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

/// How far the work is, for whoever looks at a terminal.
pub fn progress(steps: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {wide_msg}")?;
    let progress = ProgressBar::new(steps as u64).with_style(style);
    progress.enable_steady_tick(Duration::from_millis(100));
    Ok(progress)
}

/// Writes a file whole or not at all, with the mode that was asked for, whatever the umask: it is part of what is shipped.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> Result<()> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".unfinished-").tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// A table, as README.md has them, whose columns are aligned as numbers except the first.
pub fn table_of_numbers<T: Into<Cell>>(header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header.into_iter().collect::<Vec<_>>());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
