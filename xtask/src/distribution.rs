//! What `--for` knows of distributions: the names their nodes ask for, and how a node loads the image. The table is
//! deploy/names.toml, where each name says where it comes from.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distribution {
    /// The command that loads `pause.tar`.
    load: String,
    /// The distribution to whose default it leaves the choice.
    runtime: Option<String>,
    asks_for: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    image: String,
    // For whoever reads the table; here so that no name goes without.
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "source")]
    _source: String,
}

static DISTRIBUTIONS: LazyLock<BTreeMap<String, Distribution>> = LazyLock::new(|| {
    let table = include_str!("../../deploy/names.toml");
    toml::from_str(table).unwrap_or_else(|error| panic!("deploy/names.toml: {error}"))
});

/// All of them, by name.
pub fn names() -> impl Iterator<Item = &'static str> {
    DISTRIBUTIONS.keys().map(String::as_str)
}

/// The distribution of a name out of [`names`].
pub fn named(name: &str) -> &'static Distribution {
    &DISTRIBUTIONS[name]
}

impl Distribution {
    /// Every name its nodes may ask for.
    pub fn images(&'static self) -> impl Iterator<Item = &'static str> {
        let runtime = self.runtime.as_deref().map(named);
        runtime
            .into_iter()
            .chain([self])
            .flat_map(|distribution| &distribution.asks_for)
            .map(|name| name.image.as_str())
    }

    /// The command that loads the archive, to be pasted into a shell.
    pub fn load(&self, archive: &str) -> Result<String> {
        let quoted =
            shlex::try_quote(archive).with_context(|| format!("no shell takes {archive:?} for a file name"))?;
        Ok(self.load.replace("pause.tar", &quoted))
    }
}
