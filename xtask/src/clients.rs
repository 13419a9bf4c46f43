//! `cargo xtask clients`: docs/clients.md, from what the tests recorded.

use crate::{build, output};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Write docs/clients.md from what the tests of this checkout recorded when they ran: all of those that need root
///
/// Versions move with Debian's suites, so CI compares everything but their list.
#[derive(clap::Args)]
pub struct Clients {}

const HEAD: &str = "\
# Clients that read the image

Each of these was run by a test, in a machine within the machine, with Debian's packages: bookworm's are the system's own,
those of other suites are unpacked beside it. The directory has `pause.tar` of this platform; `layout`, the same
unpacked; `layer.tar`, its layer; `all.tar` of all platforms; `foreign-first.tar` of another platform and this one;
`foreign.tar` of two others. `$NAME` is the image's name, `$LAYER` the hash of its layer, `$PLATFORM` this platform.

`cargo xtask clients` writes this page from what the tests recorded.

| client | Debian | command | what held |
|---|---|---|---|
";

/// What a test recorded below target/clients.
#[derive(Deserialize)]
struct Record {
    client: String,
    suite: String,
    version: String,
    command: String,
    held: String,
}

const NOT_RUN: [(&str, &str); 6] = [
    ("CRI-O", "in no suite of Debian; Podman, skopeo and buildah read images with the same library"),
    ("cri-dockerd, crictl, nerdctl", "in no suite of Debian"),
    ("k3s, RKE2, k0s, MicroK8s, minikube, Bottlerocket", "in no suite of Debian"),
    ("kind", "in Debian, but not the image of its nodes"),
    ("Trivy, Grype, Syft", "in no suite of Debian"),
    ("Nydus, regclient, the registry clients of .NET and Bazel", "in no suite of Debian"),
];

impl Clients {
    pub fn run(self) -> Result<()> {
        let root = build::root()?;
        let directory = root.join("target/clients");
        let mut rows: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in fs::read_dir(&directory).context("no test has recorded anything below target/clients")? {
            let Record { client, suite, version, command, held } = serde_json::from_slice(&fs::read(entry?.path())?)?;
            versions.entry(suite.clone()).or_default().insert(format!("{client} {version}"));
            rows.entry((client, command, held)).or_default().insert(suite);
        }
        let mut page = String::from(HEAD);
        for ((client, command, held), suites) in rows {
            let suites = Vec::from_iter(suites).join(", ");
            page += &format!("| {client} | {suites} | `{}` | {held} |\n", command.replace('|', "\\|"));
        }
        page += "\n## Versions, as each says itself\n\n";
        page.extend(
            versions
                .into_iter()
                .map(|(suite, versions)| format!("- {suite}: {}\n", Vec::from_iter(versions).join(", "))),
        );
        page += "\n## Not run\n\n| client | why |\n|---|---|\n";
        page.extend(NOT_RUN.map(|(client, why)| format!("| {client} | {why} |\n")));
        output::write(&root.join("docs/clients.md"), page.as_bytes(), 0o644)
    }
}
