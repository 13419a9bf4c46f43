//! The parts of README.md that are written by the tool: what stands between `<!-- NAME:begin -->` and
//! `<!-- NAME:end -->`.

use crate::build;
use crate::output::{StagedFile, uninterrupted};
use anyhow::{Context, Result, bail};
use std::fs;
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
        let path = build::root()?.join("README.md");
        let there = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
        let around = there.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
        let Some((before, after)) = around else {
            bail!("{} has no lines {} and {end}, between which the table belongs", path.display(), begin.trim_end());
        };
        let wanted = format!("{before}{begin}{}\n{end}{after}", content.trim_end());
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
