//! `cargo xtask image`: from source to an image that any engine loads.

use crate::build;
use crate::distribution;
use crate::oci::{self, Times};
use crate::output::{self, StagedFile, StagedFolder, uninterrupted};
use crate::platform::{Platform, Selection};
use crate::reference::{self, Tag};
use crate::release::Release;
use crate::sbom;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use comfy_table::Table;
use oci_spec::distribution::Reference;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Build the image: an OCI layout in a folder, and a tar that Docker, Podman and containerd load
///
/// Beside the tar lies the bill of materials of the image (CycloneDX), named alike but for its end: .cdx.json.
/// The same source gives the same bytes, whoever builds it, wherever and whenever. Its date is the version's, unless
/// SOURCE_DATE_EPOCH is set.
#[derive(clap::Args)]
pub struct Image {
    /// Name of the image, to which --tag adds
    #[arg(long, value_name = "NAME", default_value = "localhost/pause", value_parser = reference::parse_name)]
    name: Reference,
    /// Tag of the image, such as 3.10, or a full reference, such as registry.k8s.io/pause:3.10; repeat it for several
    #[arg(long = "tag", value_name = "TAG", default_value = VERSION, value_parser = reference::parse_tag)]
    tags: Vec<Tag>,
    /// Name the image as the nodes of this distribution ask for it, besides --tag, and print the command that loads it;
    /// repeat it for several
    #[arg(long = "for", value_name = "DISTRIBUTION", value_parser = PossibleValuesParser::new(distribution::names()))]
    distributions: Vec<String>,
    /// Folder to write to: the layout is its subfolder `oci` [default: target/image of the project]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// File name of the tar in that folder
    #[arg(long, value_name = "FILE", default_value = "pause.tar", value_parser = parse_file_name)]
    archive: String,
    #[command(flatten)]
    selection: Selection,
}

fn parse_file_name(text: &str) -> Result<String, String> {
    match text {
        "" | "." | ".." | LAYOUT => Err("not a name for a file beside the layout".into()),
        _ if text.ends_with(SBOM) => Err(format!("what ends with {SBOM} is the bill of materials")),
        _ if text.contains('/') => Err("a file name, not a path; the folder is chosen with --output".into()),
        _ => Ok(text.to_owned()),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const LAYOUT: &str = "oci";
/// How the names of CycloneDX files end.
const SBOM: &str = ".cdx.json";

impl Image {
    pub fn run(self) -> Result<()> {
        let times = times()?;
        let output = match self.output {
            Some(output) => std::path::absolute(&output).context("--output names no folder")?,
            None => build::root()?.join("target/image"),
        };
        let sbom = output.join(format!("{}{SBOM}", self.archive.trim_end_matches(".tar")));
        let (layout, archive) = (output.join(LAYOUT), output.join(&self.archive));
        // What can be wrong with the folder is better found before the work than after it.
        check_replaceable(&layout)?;
        fs::create_dir_all(&output).with_context(|| format!("cannot make the folder {}", output.display()))?;
        let mut references: Vec<String> = Vec::new();
        let asked_for = self.distributions.iter().flat_map(|name| distribution::named(name).images());
        for reference in asked_for.map(str::to_owned).chain(self.tags.iter().map(|tag| tag.of(&self.name))) {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
        let image = build_image(&self.selection.platforms(), &times)?;
        let files = image.layout(&references)?;
        let tar = image.archive(&references)?;
        let materials = sbom::document(&image, &times)?;
        uninterrupted(|| {
            let archive = StagedFile::new(&archive, &tar, 0o644)?;
            let files = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
            let sbom = StagedFile::new(&sbom, &materials, 0o644)?;
            StagedFolder::new(&layout, files)?.put()?;
            sbom.put()?;
            archive.put()
        })?;

        let mut report = table(&image).to_string();
        report += &format!("\n\n{}\n\n", totals(&image));
        report.extend([&layout, &archive, &sbom].map(|path| format!("{}\n", path.display())));
        report += "\n";
        report.extend(references.iter().map(|reference| format!("{reference}\n")));
        for name in &self.distributions {
            let distribution = distribution::named(name);
            if !distribution.loads(image.platforms.len()) {
                report += &format!(
                    "\n{name} loads an archive of one platform alone. Make that of the node:\n\
                     cargo xtask image --for {name} --platform PLATFORM\n"
                );
            }
            let (load, remove) = (distribution.load(&references), distribution.remove(&references));
            report += &format!("\n{name} loads it (deploy/README.md):\n{load}\nand goes back:\n{remove}\n");
        }
        output::print(&report)
    }
}

/// Builds every platform's program and the image of them all, showing how far it is.
pub fn build_image(platforms: &[&'static Platform], times: &Times) -> Result<oci::Image> {
    let progress = output::progress(2 * platforms.len())?;
    let programs = build::programs(platforms, &progress)?;
    progress.set_message("compressing");
    let image = oci::Image::new(programs, times, || progress.inc(1))?;
    progress.finish_and_clear();
    Ok(image)
}

/// The version's, or those that SOURCE_DATE_EPOCH asks for.
fn times() -> Result<Times> {
    match source_date_epoch()? {
        Some(time) => Ok(Times { created: oci::date(time), mtime: time.as_secs() }),
        None => version_times(),
    }
}

pub fn version_times() -> Result<Times> {
    let release = Release::read(&build::root()?.join("release.toml"))?;
    Ok(Times { created: release.created(), mtime: 0 })
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>, as far as a tar header can hold it.
fn source_date_epoch() -> Result<Option<Duration>> {
    const VARIABLE: &str = "SOURCE_DATE_EPOCH";
    const MAXIMUM: u64 = 0o777_7777_7777;
    let Some(value) = env::var_os(VARIABLE) else { return Ok(None) };
    let seconds = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match seconds.and_then(|text| text.parse().ok()) {
        Some(seconds @ 0..=MAXIMUM) => Ok(Some(Duration::from_secs(seconds))),
        _ => bail!(
            "{VARIABLE} is {value:?}, but has to be the seconds since 1970 in digits, at most {MAXIMUM}; correct it or \
             unset it"
        ),
    }
}

/// Only a layout, or nothing, is replaced: whatever else is there is somebody's.
fn check_replaceable(layout: &Path) -> Result<()> {
    let advice = "move it away or choose another folder with --output";
    let kind = match fs::symlink_metadata(layout) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata.with_context(|| format!("cannot look at {}", layout.display()))?.file_type(),
    };
    if !kind.is_dir() {
        bail!("{} is not a folder; {advice}", layout.display());
    }
    let mut is_layout = false;
    for entry in fs::read_dir(layout).with_context(|| format!("cannot look into {}", layout.display()))? {
        match entry?.file_name().to_str() {
            Some("oci-layout") => is_layout = true,
            Some("index.json" | "blobs") => {}
            _ => bail!("{} holds more than an OCI layout; {advice}", layout.display()),
        }
    }
    if !is_layout {
        bail!("{} is not an OCI layout; {advice}", layout.display());
    }
    Ok(())
}

/// The sizes of an image, platform by platform, in bytes.
fn table(image: &oci::Image) -> Table {
    let mut table = output::table_of_numbers(["platform", "binary", "layer", "config", "manifest", "digest"]);
    for part in &image.platforms {
        let sizes = [part.program.bytes.len() as u64, part.layer.size(), part.config.size(), part.manifest.size()];
        let mut row = vec![part.program.platform.to_string()];
        row.extend(sizes.map(|size| size.to_string()));
        row.push(part.manifest.digest().to_string());
        table.add_row(row);
    }
    table
}

/// The line below that table.
pub fn totals(image: &oci::Image) -> String {
    let blobs: usize = image.blobs.0.values().map(Vec::len).sum();
    let pulled = image.platforms.iter().map(|part| image.pulled(part)).max();
    format!(
        "Image index {} B; all blobs together {blobs} B; what one node pulls (index, manifest, config, layer) at most \
         {} B.",
        image.index.size(),
        pulled.unwrap_or_default(),
    )
}
