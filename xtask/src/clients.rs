//! `cargo xtask clients`: the generated parts of docs/clients.md, from what the tests recorded.

use crate::{build, docs};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Write docs/clients.md from what the tests of this checkout recorded when they ran: all of those that need root
///
/// Versions move with Debian's suites, so CI compares everything but their list.
#[derive(clap::Args)]
pub struct Clients {}

impl Clients {
    pub fn run(self) -> Result<()> {
        let mut rows: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let records = fs::read_dir(build::root()?.join("target/clients"));
        for entry in records.context("no test has recorded anything below target/clients")? {
            // As tests/lib/clients.rs writes it.
            let record = fs::read_to_string(entry?.path())?;
            let [client, suite, version, command, held] = &*record.split('\t').collect::<Vec<_>>() else {
                bail!("no record of a client: {record:?}")
            };
            versions.entry(suite.to_string()).or_default().insert(format!("{client} {version}"));
            let row = (client.to_string(), command.replace('|', "\\|"), held.to_string());
            rows.entry(row).or_default().insert(suite.to_string());
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
