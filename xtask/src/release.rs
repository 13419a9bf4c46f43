//! What release.toml records of the version.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use toml::value::Datetime;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    version: String,
    date: Datetime,
}

impl Release {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let release: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let is_date = release.date.date.is_some() && release.date.time.is_none();
        ensure!(is_date, "{}: {} is no date", path.display(), release.date);
        let version = env!("CARGO_PKG_VERSION");
        ensure!(release.version == version, "{} is of {}, not {version}", path.display(), release.version);
        Ok(release)
    }

    /// The first second of the version's day.
    pub fn created(&self) -> String {
        format!("{}T00:00:00Z", self.date)
    }
}
