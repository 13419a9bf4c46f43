//! What `verify --statement` writes of a build: from which sources and crates, by which compiler, which digests came.

use crate::build::{self, Program};
use crate::command::run;
use crate::oci::{self, Image};
use crate::release;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// What the provenance states of a build.
#[derive(clap::Args)]
pub struct Origin {
    /// Where the sources are, for the provenance: an https address of a git repository
    #[arg(long, value_name = "URL", required = false, requires = "builder")]
    source: String,
    /// Who builds, for the provenance: <https://slsa.dev/spec/v1.0/provenance#builder.id>
    #[arg(long, value_name = "URI", required = false, requires = "source")]
    builder: String,
}

impl Origin {
    /// <https://slsa.dev/spec/v1.0/provenance>, as a statement: <https://in-toto.io/Statement/v1>.
    pub fn provenance(&self, programs: &[Program], image: &Image, version: &str) -> Result<Vec<u8>> {
        let head = run(&mut release::git(["rev-parse", "HEAD"]));
        let head = head.context("the provenance names the commit: build in a clone of the repository")?;
        let head = head.trim_end();
        let subject = |name: &str, digest: &str| json!({ "name": name, "digest": { "sha256": digest } });
        let mut subjects = vec![subject("pause", image.index.digest().digest())];
        subjects.extend(image.platforms.iter().map(|part| subject("pause", part.manifest.digest().digest())));
        for program in programs {
            let name = format!("pause-{}", program.platform.to_string().replace('/', "-"));
            subjects.push(subject(&name, oci::sha256(&program.bytes)?.digest()));
        }
        let mut materials = vec![json!({ "uri": format!("git+{}", self.source), "digest": { "gitCommit": head } })];
        materials.extend(linked_crates(programs)?);
        let compilers: BTreeMap<String, &str> =
            programs.iter().map(|program| (program.platform.to_string(), program.compiler.as_str())).collect();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": format!("{}/blob/{head}/docs/release.md", self.source),
                    "externalParameters": { "version": version },
                    "internalParameters": { "compilers": compilers },
                    "resolvedDependencies": materials,
                },
                "runDetails": { "builder": { "id": self.builder } },
            },
        });
        Ok(serde_json::to_vec_pretty(&statement)?)
    }
}

/// Crates that are in the program, with the sums that Cargo.lock has.
fn linked_crates(programs: &[Program]) -> Result<Vec<Value>> {
    let lock: toml::Table = toml::from_str(&fs::read_to_string(build::root()?.join("Cargo.lock"))?)?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("Cargo.lock has no packages")?;
    let mut linked = BTreeMap::new();
    for library in programs.iter().flat_map(|program| &program.crates) {
        let text =
            |package: &toml::Value, key: &str| package.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        let is_it = |package: &&toml::Value| {
            text(package, "name").as_ref() == Some(&library.name)
                && text(package, "version").as_ref() == Some(&library.version)
        };
        let sum = packages.iter().find(is_it).and_then(|package| text(package, "checksum"));
        let uri = format!("pkg:cargo/{}@{}", library.name, library.version);
        let sum = sum.with_context(|| format!("Cargo.lock has no checksum of {uri}"))?;
        linked.insert(uri, sum);
    }
    Ok(linked.into_iter().map(|(uri, sum)| json!({ "uri": uri, "digest": { "sha256": sum } })).collect())
}
