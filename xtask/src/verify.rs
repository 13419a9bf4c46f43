//! `cargo xtask verify`: whether this source gives the image whose digests README.md states, and whether an image that
//! came from elsewhere is a pause image.

use crate::check::{self, Findings};
use crate::image::{build_image, version_times};
use crate::oci;
use crate::output;
use crate::platform::{PLATFORMS, Platform, Selection};
use crate::reader;
use crate::readme::{self, Part};
use anyhow::{Result, anyhow, bail, ensure};
use comfy_table::{CellAlignment, Table, presets};
use oci_spec::image::Digest;
use std::path::{Path, PathBuf};

/// Check an image, or without one that this source gives the image whose digests README.md states
///
/// An image is checked for its digests and sizes, for what is missing and what should not be there, for its
/// configuration, and for its layer: one file with its mode and owner. All that differs is named, and the exit code is 1.
/// Without an image every platform is built and its digest compared; the digests hold for the compilers stated with them.
#[derive(clap::Args)]
#[command(mut_arg("choices", |choices| choices.default_value("all")))]
pub struct Verify {
    /// Archive or folder with an OCI layout
    #[arg(value_name = "IMAGE", conflicts_with = "choices")]
    image: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Write the digests into README.md
    #[arg(long, conflicts_with_all = ["image", "choices"])]
    write_readme: bool,
}

impl Verify {
    pub fn run(self) -> Result<()> {
        match &self.image {
            Some(image) => verify(image),
            None if self.write_readme => write_readme(),
            None => rebuild(&self.selection.platforms()),
        }
    }
}

/// The part of README.md that states the digests.
const PART: &str = "digests";

/// What README.md states.
struct Stated(String);

impl Stated {
    fn read() -> Result<Self> {
        readme::read(PART).map(Self)
    }

    /// A platform's digest, and the compiler that gives it.
    fn of(&self, platform: &Platform) -> Option<(&str, &str)> {
        let rows = self.0.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        rows.into_iter().find_map(|row| match row[..] {
            ["", name, digest, compiler, ""] if name == platform.to_string() => Some((digest, compiler)),
            _ => None,
        })
    }

    fn has_index(&self, index: &Digest) -> bool {
        self.0.lines().any(|line| line == index_line(index))
    }
}

fn index_line(index: &Digest) -> String {
    format!("Image index of all platforms: `{index}`.")
}

fn write_readme() -> Result<()> {
    let image = build_image(&PLATFORMS.iter().collect::<Vec<_>>(), &version_times()?)?;
    Part::new(PART, &format!("{}\n\n{}", digests(&image), index_line(image.index.digest())))?.write()
}

fn digests(image: &oci::Image) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["platform", "digest of the manifest", "compiler"]);
    for part in &image.platforms {
        let (platform, digest) = (part.program.platform.to_string(), part.manifest.digest().to_string());
        table.add_row([&platform, &digest, &part.program.compiler]);
    }
    table
}

fn rebuild(platforms: &[&'static Platform]) -> Result<()> {
    let stated = Stated::read()?;
    let image = build_image(platforms, &version_times()?)?;
    let mut differences = Vec::new();
    for part in &image.platforms {
        let (platform, digest, compiler) = (part.program.platform, part.manifest.digest(), &part.program.compiler);
        match stated.of(platform) {
            Some((expected, _)) if expected == digest.as_ref() => {}
            Some((expected, its_compiler)) => differences.push(format!(
                "{platform} is {digest}, built by {compiler}; README.md states {expected}, built by {its_compiler}"
            )),
            None => differences.push(format!("{platform} is {digest}; README.md states nothing of it")),
        }
    }
    let index = image.index.digest();
    if differences.is_empty() && platforms.len() == PLATFORMS.len() && !stated.has_index(index) {
        differences.push(format!("the image index is {index}, which README.md does not state"));
    }
    report("what this source gives differs from what README.md states", &differences)?;
    output::print(&format!("{}\n\nAs README.md states.\n", digests(&image)))
}

fn verify(path: &Path) -> Result<()> {
    let files = reader::read(path).map_err(|error| anyhow!(printable(&format!("{error:#}"))))?;
    let Findings { parts, references, differences } = check::check(&files);
    report(&format!("{} differs from a pause image", path.display()), &differences)?;
    ensure!(!parts.is_empty(), "{} has no platform", path.display());
    let stated = Stated::read()?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "platform",
        "binary",
        "layer",
        "digest of the manifest",
        "in README.md",
    ]);
    for column in [1, 2] {
        table.column_mut(column).into_iter().for_each(|column| {
            column.set_cell_alignment(CellAlignment::Right);
        });
    }
    for part in parts {
        let digest = part.manifest.digest().to_string();
        let is_stated = stated.of(part.platform).is_some_and(|(stated, _)| stated == digest);
        let is_stated = if is_stated { "yes" } else { "no" };
        let (binary, layer) = (part.binary.to_string(), part.layer.size().to_string());
        table.add_row([part.platform.to_string(), binary, layer, digest, is_stated.into()]);
    }
    let references: String = references.iter().map(|reference| format!("{}\n", printable(reference))).collect();
    output::print(&format!("{table}\n\n{references}"))
}

/// Fails if there are differences, and names them.
fn report(summary: &str, differences: &[String]) -> Result<()> {
    const MOST: usize = 100;
    if differences.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = differences.iter().take(MOST).map(|difference| printable(difference)).collect();
    if differences.len() > MOST {
        lines.push(format!("and {} more", differences.len() - MOST));
    }
    bail!("{summary}:\n  {}", lines.join("\n  "))
}

/// What an image says of itself may be made to deceive whoever reads it on a terminal.
fn printable(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut printable = String::new();
    for (position, character) in text.chars().enumerate() {
        match character {
            _ if position == LONGEST => return printable + "…",
            ' '..='~' => printable.push(character),
            _ => printable.extend(character.escape_unicode()),
        }
    }
    printable
}
