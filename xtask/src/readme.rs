//! The parts of README.md that are written by the tool: what stands between `<!-- NAME:begin -->` and
//! `<!-- NAME:end -->`.

use crate::build;
use crate::output::{StagedFile, uninterrupted};
use anyhow::{Context, Result, bail};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// README.md with one part as it should be.
pub struct Part {
    path: PathBuf,
    there: String,
    wanted: String,
}

impl Part {
    pub fn new(name: &str, content: &str) -> Result<Self> {
        let (path, there, range) = find(name)?;
        let mut wanted = there.clone();
        wanted.replace_range(range, &format!("{}\n", content.trim_end()));
        Ok(Self { path, there, wanted })
    }

    pub fn check(&self, command: &str) -> Result<()> {
        if self.there != self.wanted {
            bail!("the table in {} is out of date: run `{command}`", self.path.display());
        }
        Ok(())
    }

    pub fn write(&self) -> Result<()> {
        if self.there == self.wanted {
            return Ok(());
        }
        let mode = fs::metadata(&self.path)?.permissions().mode();
        uninterrupted(|| StagedFile::new(&self.path, self.wanted.as_bytes(), mode)?.put())
    }
}

/// What is there now.
pub fn read(name: &str) -> Result<String> {
    let (_, there, range) = find(name)?;
    Ok(there[range].to_owned())
}

/// README.md's path, all that is in it, and where in it the part is.
fn find(name: &str) -> Result<(PathBuf, String, Range<usize>)> {
    let path = build::root()?.join("README.md");
    let there = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let start = there.find(&begin).map(|at| at + begin.len());
    let range = start.and_then(|start| Some(start..start + there[start..].find(&end)?));
    let range = range.with_context(|| {
        format!("{} has no lines {} and {end}, between which the table belongs", path.display(), begin.trim_end())
    })?;
    Ok((path, there, range))
}
