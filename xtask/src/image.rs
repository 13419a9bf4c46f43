//! `cargo xtask image`: from source to an image that any engine loads.

use crate::build::{self, Program};
use crate::distribution;
use crate::oci::{self, Times};
use crate::output;
use crate::platform::{Platform, Selection};
use crate::release::Release;
use crate::sbom;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use comfy_table::Table;
use oci_spec::distribution::Reference;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Build the image, an OCI archive: pause.tar
///
/// Beside it lies the bill of materials of the image (CycloneDX): pause.cdx.json. The same source gives the same bytes,
/// whoever builds it, wherever and whenever. Its date is the version's, unless SOURCE_DATE_EPOCH is set.
#[derive(clap::Args)]
pub struct Image {
    /// Name of the image, such as registry.k8s.io/pause:3.10; repeat it for several
    #[arg(long = "tag", value_name = "REFERENCE", default_value = NAME, value_parser = parse_reference)]
    tags: Vec<String>,
    /// Name the image as the nodes of this distribution ask for it, besides --tag, and print the command that loads it;
    /// repeat it for several
    #[arg(long = "for", value_name = "DISTRIBUTION", value_parser = PossibleValuesParser::new(distribution::names()))]
    distributions: Vec<String>,
    /// Directory to write to [default: target/image of the project]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
}

const NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));
const ARCHIVE: &str = "pause.tar";

/// In full, because containerd takes a name as it stands where Docker and Podman would complete it.
fn parse_reference(text: &str) -> Result<String, String> {
    let full = |text: &str| text.parse().map(|reference: Reference| (reference.whole(), reference.tag().is_some()));
    // Completed with Docker's defaults, a name in capitals gets past the grammar the first time. And the parser takes
    // letters of any script for those of a tag.
    match full(text).and_then(|(whole, _)| full(&whole)) {
        Ok((whole, true)) if text.is_ascii() && whole.ends_with(text) && !text.contains('@') => Ok(whole),
        _ => Err("not a name and a tag, such as registry.k8s.io/pause:3.10".into()),
    }
}

impl Image {
    pub fn run(self) -> Result<()> {
        let (release, times) = (Release::own()?, times()?);
        let output = match self.output {
            Some(output) => std::path::absolute(&output).context("--output names no directory")?,
            None => build::root()?.join("target/image"),
        };
        let (archive, sbom) = (output.join(ARCHIVE), output.join("pause.cdx.json"));
        let mut references: Vec<String> = Vec::new();
        let asked_for = self.distributions.iter().flat_map(|name| distribution::named(name).images());
        for reference in asked_for.map(str::to_owned).chain(self.tags) {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }

        let (programs, image) = build_image(&self.selection.platforms(), &times, &release)?;
        output::write(&sbom, &sbom::document(&programs, image.index.digest(), &times)?, 0o644)?;
        output::write(&archive, &image.archive(&references)?, 0o644)?;

        let manifests = image.platforms.iter().map(|part| part.manifest.digest().clone());
        let mut report = format!("{}\n\n{}\n{}\n\n", table(&image), totals(&image), release.status(manifests));
        report.extend([&archive, &sbom].map(|path| format!("{}\n", path.display())));
        if let [only] = &image.platforms[..] {
            report += &format!("\nIt is for {} alone, and Docker does not refuse it on others.\n", only.platform);
        }
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
pub fn build_image(
    platforms: &[&'static Platform],
    times: &Times,
    release: &Release,
) -> Result<(Vec<Program>, oci::Image)> {
    let progress = output::progress(2 * platforms.len())?;
    let programs = build::programs(platforms, &progress)?;
    progress.set_message("compressing");
    let parts: Vec<_> = programs.iter().map(|program| (program.platform, program.bytes.as_slice())).collect();
    let image = oci::Image::new(&parts, times, &release.annotations(release.has(&parts)?), || progress.inc(1))?;
    progress.finish_and_clear();
    Ok((programs, image))
}

/// The version's, or those that SOURCE_DATE_EPOCH asks for.
pub fn times() -> Result<Times> {
    match source_date_epoch()? {
        Some(time) => Ok(Times { created: oci::date(time), mtime: time.as_secs() }),
        None => Ok(Release::own()?.times()),
    }
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

/// The sizes of an image, platform by platform, in bytes.
fn table(image: &oci::Image) -> Table {
    let mut table = output::table_of_numbers(["platform", "binary", "layer", "config", "manifest", "digest"]);
    for part in &image.platforms {
        let sizes = [part.program.size, part.layer.size(), part.config.size(), part.manifest.size()];
        let mut row = vec![part.platform.to_string()];
        row.extend(sizes.map(|size| size.to_string()));
        row.push(part.manifest.digest().to_string());
        table.add_row(row);
    }
    table
}

/// The line below that table.
fn totals(image: &oci::Image) -> String {
    let blobs: usize = image.blobs.0.values().map(Vec::len).sum();
    let pulled = image.platforms.iter().map(|part| image.pulled(part)).max();
    format!(
        "Image index {} B; all blobs together {blobs} B; what one node pulls (index, manifest, config, layer) at most \
         {} B.",
        image.index.size(),
        pulled.unwrap_or_default(),
    )
}
