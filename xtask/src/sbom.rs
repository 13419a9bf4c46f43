//! The bill of materials of an image, in CycloneDX: its programs with their hashes, and what the compiler linked into
//! each, as cargo reported it. Its time is the image's, and it has no serial number, so that it is the same from everybody.

use crate::build::{Crate, Program};
use crate::oci::{self, Times};
use anyhow::{Context, Result, ensure};
use cargo_metadata::MetadataCommand;
use cyclonedx_bom::external_models::date_time::DateTime;
use cyclonedx_bom::external_models::normalized_string::NormalizedString;
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::models::property::{Properties, Property};
use cyclonedx_bom::prelude::{Bom, Validate};
use oci_spec::image::Digest;
use std::collections::BTreeMap;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LICENCE: &str = env!("CARGO_PKG_LICENSE");
const IMAGE: &str = "image";

pub fn document(programs: &[Program], index: &Digest, times: &Times) -> Result<Vec<u8>> {
    // By their reference: several programs share most of them.
    let mut libraries: BTreeMap<String, Component> = BTreeMap::new();
    let mut applications = Vec::new();
    let mut dependencies = Vec::new();
    for Program { platform, bytes, compiler, crates, .. } in programs {
        let mut linked = Vec::new();
        for library in [core(compiler)?].into_iter().chain(crates.iter().map(of_crate).collect::<Result<Vec<_>>>()?) {
            let reference = library.bom_ref.clone().context("a library without a reference")?;
            linked.push(reference.clone());
            libraries.insert(reference, library);
        }
        let reference = platform.to_string();
        let mut program = component(Classification::Application, "pause", VERSION, reference.clone(), LICENCE);
        program.hashes = Some(hash(&oci::sha256(bytes)?));
        program.properties = Some(Properties(vec![
            Property::new("platform", &platform.to_string()),
            Property::new("target", &platform.target),
            Property::new("compiler", compiler),
        ]));
        applications.push(program);
        dependencies.push(Dependency { dependency_ref: reference, dependencies: linked });
    }
    let parts = dependencies.iter().map(|program| program.dependency_ref.clone()).collect();
    dependencies.insert(0, Dependency { dependency_ref: IMAGE.into(), dependencies: parts });

    let mut container = component(Classification::Container, "pause", VERSION, IMAGE.into(), LICENCE);
    container.hashes = Some(hash(index));
    container.purl = Some(Purl::new("oci", "pause", index.as_ref())?);
    let bom = Bom {
        serial_number: None,
        metadata: Some(Metadata {
            timestamp: Some(DateTime::try_from(times.created.clone())?),
            component: Some(container),
            ..Metadata::default()
        }),
        components: Some(Components(applications.into_iter().chain(libraries.into_values()).collect())),
        dependencies: Some(Dependencies(dependencies)),
        ..Bom::default()
    };
    let validity = bom.validate();
    ensure!(validity.passed(), "the bill of materials is not valid CycloneDX: {validity:?}");
    let mut json = Vec::new();
    bom.output_as_json_v1_5(&mut json)?;
    json.push(b'\n');
    Ok(json)
}

fn component(kind: Classification, name: &str, version: &str, reference: String, licence: &str) -> Component {
    let mut component = Component::new(kind, name, version, Some(reference));
    component.licenses = Some(Licenses(vec![LicenseChoice::expression(licence)]));
    component
}

fn hash(digest: &Digest) -> Hashes {
    Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content: HashValue(digest.digest().to_owned()) }])
}

fn of_crate(library: &Crate) -> Result<Component> {
    let Crate { name, version, manifest } = library;
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().other_options(["--offline".into()]).exec();
    let metadata = metadata.with_context(|| format!("cannot read what {} says of itself", manifest.display()))?;
    let package = metadata.packages.first().with_context(|| format!("{} is of no package", manifest.display()))?;
    let licence = package.license.as_deref().with_context(|| format!("{name} has no licence"))?;
    let purl = Purl::new("cargo", name, version)?;
    let mut component = component(Classification::Library, name, version, purl.to_string(), licence);
    component.purl = Some(purl);
    Ok(component)
}

/// Rust's core library, which comes with the compiler and has its version.
fn core(compiler: &str) -> Result<Component> {
    let version = compiler.split(' ').nth(1).with_context(|| format!("{compiler:?} has no version"))?;
    let purl = Purl::new("generic", "rust-core", version)?;
    let mut component = component(Classification::Library, "core", version, purl.to_string(), "MIT OR Apache-2.0");
    component.description = Some(NormalizedString::new(&format!("Rust's core library, of {compiler}")));
    component.purl = Some(purl);
    Ok(component)
}
