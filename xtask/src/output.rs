//! What is written appears whole or not at all: made under another name beside its place, then renamed. A signal that
//! comes meanwhile waits the few milliseconds until it is in place.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};

/// Held while anything is being written that a signal must not leave behind.
static WRITING: Mutex<()> = Mutex::new(());

/// Runs `write`, and lets no signal end the process before it has returned and cleaned up. It should only write:
/// whatever takes long belongs before it.
pub fn uninterrupted<T>(write: impl FnOnce() -> T) -> T {
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    write()
}

/// From here on SIGINT, SIGTERM and SIGHUP end the process as a shell expects, with 128 and their number, but never
/// in the middle of a write.
pub fn exit_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            uninterrupted(|| std::process::exit(128 + signal));
        }
    });
    Ok(())
}

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

/// A file that is finished but not yet in its place.
pub struct StagedFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl StagedFile {
    /// The mode is what was asked for, whatever the umask: it is part of what is shipped.
    pub fn new(path: &Path, bytes: &[u8], mode: u32) -> Result<Self> {
        let stage = || -> Result<_> {
            let mut file = prefixed().tempfile_in(parent(path)?)?;
            file.write_all(bytes)?;
            file.as_file().set_permissions(Permissions::from_mode(mode))?;
            Ok(file)
        };
        let file = stage().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub fn put(self) -> Result<()> {
        self.file.persist(&self.path).with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(())
    }
}

/// A folder that is finished but not yet in its place.
pub struct StagedFolder {
    folder: TempDir,
    path: PathBuf,
}

impl StagedFolder {
    /// `files` are named by their paths below the folder.
    pub fn new<'a>(path: &Path, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self> {
        let stage = || -> Result<_> {
            let folder = prefixed().tempdir_in(parent(path)?)?;
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
            for (name, bytes) in files {
                let file = folder.path().join(name);
                let mut above = folder.path().to_owned();
                for part in Path::new(name).parent().into_iter().flatten() {
                    above.push(part);
                    if !above.exists() {
                        fs::create_dir(&above)?;
                        fs::set_permissions(&above, Permissions::from_mode(0o755))?;
                    }
                }
                fs::write(&file, bytes)?;
                fs::set_permissions(&file, Permissions::from_mode(0o644))?;
            }
            Ok(folder)
        };
        let folder = stage().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { folder, path: path.to_owned() })
    }

    /// Whoever looks sees the old folder or the new one: the two change places in one step, and the old one is removed
    /// under the other name. Only a file system that cannot swap shows neither for a moment.
    pub fn put(self) -> Result<()> {
        let from = self.folder.path();
        let to = &self.path;
        let put = || -> Result<()> {
            if !to.exists() {
                fs::rename(from, to)?;
            } else if let Err(error) = renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_EXCHANGE) {
                if !matches!(error, Errno::EINVAL | Errno::ENOSYS) {
                    bail!(error);
                }
                fs::rename(to, from.with_extension("old"))?;
                fs::rename(from, to)?;
                fs::rename(from.with_extension("old"), from)?;
            }
            Ok(())
        };
        put().with_context(|| format!("cannot put the new folder into place as {}", to.display()))
    }
}

/// The folder a file goes to, made if it is missing.
fn parent(path: &Path) -> Result<&Path> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))?;
    Ok(parent)
}

fn prefixed() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    builder
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
