//! The parts of README.md that this tool writes, each between two comments that name it.

use crate::build;
use crate::output::{StagedFile, uninterrupted};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub struct Section {
    path: PathBuf,
    before: String,
    pub text: String,
    after: String,
}

impl Section {
    pub fn read(name: &str) -> Result<Self> {
        let path = build::root()?.join("README.md");
        let all = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
        let parts = all.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
        let (before, (text, after)) = parts.with_context(|| {
            format!("{} has no lines {} and {end}, between which this belongs", path.display(), begin.trim_end())
        })?;
        let (before, after) = (format!("{before}{begin}"), format!("{end}{after}"));
        Ok(Self { before, text: text.to_owned(), after, path })
    }

    pub fn write(&self, text: &str) -> Result<()> {
        if self.text == text {
            return Ok(());
        }
        let all = format!("{}{text}{}", self.before, self.after);
        let mode = fs::metadata(&self.path)?.permissions().mode();
        uninterrupted(|| StagedFile::new(&self.path, all.as_bytes(), mode)?.put())
    }
}
