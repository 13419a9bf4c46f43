//! `cargo xtask clients`: the generated parts of docs/clients.md, from what the tests recorded.

use crate::{build, docs};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Write docs/clients.md from what the tests of this checkout recorded when they ran: all of those that need root
///
/// Versions move with Debian's suites, so CI compares everything but their list.
#[derive(clap::Args)]
pub struct Clients {}

/// What a test records in a file below target/clients.
#[derive(Deserialize, Serialize)]
pub struct Record {
    pub client: String,
    pub suite: String,
    pub version: String,
    pub command: String,
    /// What has held.
    pub held: String,
}

impl Clients {
    pub fn run(self) -> Result<()> {
        let mut rows: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let records = fs::read_dir(build::root()?.join("target/clients"));
        for entry in records.context("no test has recorded anything below target/clients")? {
            let Record { client, suite, version, command, held } = serde_json::from_slice(&fs::read(entry?.path())?)?;
            versions.entry(suite.clone()).or_default().insert(format!("{client} {version}"));
            rows.entry((client, command.replace('|', "\\|"), held)).or_default().insert(suite);
        }
        let list = |texts: BTreeSet<String>| Vec::from_iter(texts).join(", ");
        let mut table = String::from("| client | Debian | command | what held |\n|---|---|---|---|\n");
        table.extend(rows.into_iter().map(|((client, command, held), suites)| {
            format!("| {client} | {} | `{command}` | {held} |\n", list(suites))
        }));
        docs::write("docs/clients.md", "clients", &table)?;
        let versions = versions.into_iter().map(|(suite, versions)| format!("- {suite}: {}\n", list(versions)));
        docs::write("docs/clients.md", "versions", &versions.collect::<String>())
    }
}
