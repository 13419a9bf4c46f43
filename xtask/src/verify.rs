//! `cargo xtask verify`: whether this source gives what is recorded in release.toml, and whether an image is recorded
//! there. What it is given may be made to do harm: it is read into little memory, nothing is unpacked, and no size it
//! states is believed.

use crate::build::{self, Program};
use crate::image::{build_image, times};
use crate::oci::{self, Times};
use crate::output;
use crate::platform::{self, PLATFORMS, Selection};
use crate::release::{self, Release, Row};
use anyhow::{Context, Result, bail, ensure};
use comfy_table::{Table, presets};
use flate2::bufread::GzDecoder;
use oci_spec::image::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use tar::EntryType;

/// Tell by its digests whether an image is pause, or without one whether this source gives what was recorded
///
/// An image passes if every manifest in it is recorded and nothing else is in it; its names are free. Of any other it is
/// told, for each platform, what it is instead, and the exit code is 1. Without an image the program's sources have to be
/// those of the recorded commit, every platform is built, and its digests are compared.
#[derive(clap::Args)]
#[command(mut_arg("choices", |choices| choices.default_value("all")))]
pub struct Verify {
    /// OCI archive, as `cargo xtask image` and skopeo write it
    #[arg(value_name = "IMAGE", conflicts_with = "choices")]
    image: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// What is recorded, for an image of another date or of sources changed on purpose [default: release.toml]
    #[arg(long, value_name = "FILE")]
    digests: Option<PathBuf>,
    /// Record what this source gives, by the compilers that are here
    #[arg(long, conflicts_with_all = ["image", "choices"])]
    write: bool,
}

impl Verify {
    pub fn run(self) -> Result<()> {
        let recorded = match &self.digests {
            Some(path) if !self.write => Release::read(path)?,
            _ => Release::own()?,
        };
        // A version has its own date, whatever the caller's images have.
        let times = if self.digests.is_some() { times()? } else { recorded.times() };
        let name = self.digests.unwrap_or(build::root()?.join(release::FILE));
        if self.write {
            let mut release = written(&recorded, &times)?;
            // What somebody records of a build of their own is no release.
            release.released &= name == build::root()?.join(release::FILE);
            return output::write(&name, release.to_string().as_bytes(), 0o644);
        }
        let name = name.display().to_string();
        let Some(path) = &self.image else {
            let sources = recorded.check_sources()?;
            let (programs, image) = build_image(&self.selection.platforms(), &times, &recorded)?;
            let found = compare(&recorded, &name, &programs, &image)?;
            return output::print(&format!(
                "{found}\n\nAs {name} records. {sources}\n{}\n",
                recorded.status(manifests(&image))
            ));
        };
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        match check(file, &recorded) {
            Ok(found) => output::print(&found),
            Err(complaints) => bail!("{} is not what {name} records:\n  {}", path.display(), complaints.join("\n  ")),
        }
    }
}

/// All platforms in one image, as the release ships it, and this machine's by its own compiler.
fn written(recorded: &Release, times: &Times) -> Result<Release> {
    let sets = [PLATFORMS.iter().collect(), vec![platform::host()?]];
    let built: Vec<_> = sets.iter().map(|platforms| build_image(platforms, times, recorded)).collect::<Result<_>>()?;
    recorded.of(&built)
}

/// What was built, a row for each platform, if all of it is recorded.
fn compare(recorded: &Release, name: &str, programs: &[Program], image: &oci::Image) -> Result<Table> {
    let mut table = table();
    let mut differences = Vec::new();
    for row in release::rows(programs, image) {
        table.add_row([&row.platform, &row.compiler, &row.manifest.digest.to_string()]);
        if recorded.with_manifest(&row.manifest.digest).is_none() {
            differences.push(format!("\n  {} by {}: {}", row.platform, row.compiler, other(recorded, &row)));
        }
    }
    if differences.is_empty() && programs.len() == PLATFORMS.len() && recorded.index.digest != *image.index.digest() {
        differences.push(format!("\n  the index of all platforms is {}", image.index.digest()));
    }
    ensure!(differences.is_empty(), "what this source gives is not what {name} records:{}", differences.concat());
    Ok(table)
}

fn manifests(image: &oci::Image) -> impl Iterator<Item = Digest> {
    image.platforms.iter().map(|part| part.manifest.digest().clone())
}

/// One with a row for each platform.
fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["platform", "compiler", "digest of the manifest"]);
    table
}

/// What is recorded instead of this.
fn other(recorded: &Release, row: &Row) -> String {
    let of_it = |other: &&Row| (&other.platform, &other.compiler) == (&row.platform, &row.compiler);
    match recorded.images.iter().find(of_it) {
        None => "nothing is recorded of this compiler".into(),
        Some(other) if other.program != row.program => {
            format!("the program is {}, and {} is recorded", row.program.digest, other.program.digest)
        }
        Some(_) => "the program is as recorded, but not its layer or its config: is it of another date?".into(),
    }
}

/// Far more than anything in a pause image has, and more manifests than anybody has to be told of.
const LARGEST: u64 = 8 << 20;
const LARGEST_ARCHIVE: u64 = 16 << 20;
const MOST_FILES: usize = 1024;
const MOST_MANIFESTS: usize = 64;

/// What is to be said of a recorded image, or else line by line of one that is not.
pub fn check(archive: impl Read, recorded: &Release) -> Result<String, Vec<String>> {
    let found = found(archive, recorded).unwrap_or_else(|error| Err(vec![format!("{error:#}")]));
    found.map_err(|complaints| complaints.iter().map(|complaint| printable(complaint)).collect())
}

fn found(archive: impl Read, recorded: &Release) -> Result<Result<String, Vec<String>>> {
    let image = Image { files: files(archive)?, recorded };
    let top: ImageIndex = image.parse(oci::INDEX)?;
    let parts = image.parts(&top)?;
    let rows: Vec<&Row> = parts.iter().filter_map(|(_, part)| part.as_ref().ok().copied()).collect();
    if rows.len() < parts.len() {
        let line = |(platform, part): &(String, Result<&Row>)| match part {
            Ok(row) => format!("{platform}: recorded, by {}", row.compiler),
            Err(error) => format!("{platform}: {error:#}"),
        };
        return Ok(Err(parts.iter().map(line).collect()));
    }
    let complaints = image.others(&top, &rows)?;
    if !complaints.is_empty() {
        return Ok(Err(complaints));
    }
    let mut table = table();
    for row in &rows {
        let of_it = recorded.images.iter().filter(|other| other.manifest == row.manifest);
        let compilers = of_it.map(|row| row.compiler.as_str()).collect::<Vec<_>>().join(", or ");
        table.add_row([&row.platform, &compilers, &row.manifest.digest.to_string()]);
    }
    let names: String = image.names(&top)?.iter().map(|name| printable(name) + "\n").collect();
    let status = recorded.status(rows.iter().map(|row| row.manifest.digest.clone()));
    Ok(Ok(format!("{table}\n\n{names}\n{status}\n")))
}

struct Image<'a> {
    files: BTreeMap<String, Vec<u8>>,
    recorded: &'a Release,
}

impl<'a> Image<'a> {
    /// Each platform by the name the image gives it, and what is recorded of it, or else what it is.
    fn parts(&self, top: &ImageIndex) -> Result<Vec<(String, Result<&'a Row>)>> {
        let image = top.manifests().first().with_context(|| format!("{} has no image", oci::INDEX))?;
        if *image.media_type() == MediaType::ImageManifest {
            let part = self.part(image.digest(), None);
            return Ok(vec![(part.as_ref().map_or("its one platform", |row| &row.platform).to_owned(), part)]);
        }
        let index: ImageIndex = self.blob(image.digest())?;
        let entries = index.manifests();
        ensure!((1..=MOST_MANIFESTS).contains(&entries.len()), "its index has {} manifests", entries.len());
        let part = |entry: &Descriptor| {
            let platform = entry.platform().as_ref().map_or("no platform".into(), |platform| {
                let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
                format!("{}/{}{variant}", platform.os(), platform.architecture())
            });
            let part = self.part(entry.digest(), Some(&platform));
            (platform, part)
        };
        Ok(entries.iter().map(part).collect())
    }

    fn part(&self, manifest: &Digest, platform: Option<&str>) -> Result<&'a Row> {
        let Some(row) = self.recorded.with_manifest(manifest) else { return self.describe(manifest) };
        let is_named_so = platform.is_none_or(|platform| platform == row.platform);
        ensure!(is_named_so, "it is what is recorded of {}, by {}", row.platform, row.compiler);
        for part in [&row.manifest, &row.config, &row.layer] {
            self.bytes(&part.digest)?;
        }
        Ok(row)
    }

    /// What a manifest that is not recorded leads to.
    fn describe(&self, digest: &Digest) -> Result<&'a Row> {
        let manifest: ImageManifest = self.blob(digest)?;
        let [layer] = manifest.layers().as_slice() else { bail!("it has {} layers", manifest.layers().len()) };
        let tar = read_at_most(LARGEST, GzDecoder::new(self.bytes(layer.digest())?)).context("its layer")?;
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut entry = archive.entries()?.next().context("its layer is empty")?.context("its layer")?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let program = release::Content::new(&read_at_most(LARGEST, &mut entry).context("its layer")?)?;
        let Some(row) = self.recorded.images.iter().find(|row| row.program == program) else {
            bail!("/{path} is another program: {}, {} bytes", program.digest, program.size)
        };
        let other = match () {
            () if row.layer.digest != *layer.digest() => "its layer",
            () if row.config.digest != *manifest.config().digest() => "its config",
            () => "its manifest",
        };
        bail!("/{path} is recorded, of {} by {}, but {other} is not", row.platform, row.compiler)
    }

    /// What is not as the tool writes it around the parts, which are all recorded.
    fn others(&self, top: &ImageIndex, rows: &[&Row]) -> Result<Vec<String>> {
        let parts = rows.iter().flat_map(|row| [&row.manifest, &row.config, &row.layer]);
        let mut used: BTreeSet<String> = parts.map(|part| oci::path(&part.digest)).collect();
        let mut complaints = Vec::new();
        used.extend([oci::LAYOUT, oci::INDEX].map(str::to_owned));
        let mut expect = |what: &str, is_met: bool| {
            if !is_met {
                complaints.push(format!("{what} is not as `cargo xtask image` writes it"));
            }
        };
        expect(oci::LAYOUT, self.parse::<Value>(oci::LAYOUT)? == serde_json::to_value(oci::layout()?)?);

        let mut image = rows[0].manifest.descriptor(MediaType::ImageManifest);
        let named = &top.manifests()[0];
        if *named.media_type() == MediaType::ImageIndex {
            let manifests = PLATFORMS.iter().filter_map(|platform| {
                let row = rows.iter().find(|row| row.platform == platform.to_string())?;
                Some((platform, row.manifest.descriptor(MediaType::ImageManifest)))
            });
            let found = self.bytes(named.digest())?;
            // A revision is named by whoever had it recorded when he made the image.
            let of = |has_revision| oci::index(manifests.clone(), &self.recorded.annotations(has_revision));
            expect("its index", found == of(true)? || found == of(false)?);
            used.insert(oci::path(named.digest()));
            image = release::Content::new(found)?.descriptor(MediaType::ImageIndex);
        }
        // Others write it in another order, with one name or none, and without its type.
        let mut bare = top.clone();
        bare.set_manifests(Vec::new()).set_media_type(Some(MediaType::ImageIndex));
        let is_image = |entry: &Descriptor| {
            let are_names = entry.annotations().iter().flatten().all(|(key, _)| oci::NAMES.contains(&key.as_str()));
            let mut bare = entry.clone();
            bare.set_annotations(None);
            are_names && bare == image
        };
        let is_understood = self.parse::<Value>(oci::INDEX)? == serde_json::to_value(top)?;
        let is_index = top.media_type().as_ref().is_none_or(|media_type| *media_type == MediaType::ImageIndex);
        let is_bare = bare == oci::index_of(Vec::new())?;
        expect(oci::INDEX, is_understood && is_index && is_bare && top.manifests().iter().all(is_image));

        if let Some(found) = self.docker_images()? {
            let is_the_same = matches!((&*found, rows), ([image], [row])
                if image.config == oci::path(&row.config.digest) && image.layers == [oci::path(&row.layer.digest)]);
            expect(oci::DOCKER_DOCUMENT, is_the_same);
            used.insert(oci::DOCKER_DOCUMENT.into());
        }
        let too_much = self.files.keys().filter(|name| !used.contains(*name));
        complaints.extend(too_much.map(|name| format!("{name} is too much")));
        Ok(complaints)
    }

    /// Every name that some engine would give the image.
    fn names(&self, top: &ImageIndex) -> Result<BTreeSet<String>> {
        let annotations = top.manifests().iter().flat_map(|entry| entry.annotations().iter().flatten());
        let mut names: BTreeSet<String> = annotations.map(|(_, name)| name.clone()).collect();
        let images = self.docker_images()?.unwrap_or_default();
        names.extend(images.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()));
        Ok(names)
    }

    /// What Docker's document lists, if there is one.
    fn docker_images(&self) -> Result<Option<Vec<DockerImage>>> {
        self.files.contains_key(oci::DOCKER_DOCUMENT).then(|| self.parse(oci::DOCKER_DOCUMENT)).transpose()
    }

    fn file(&self, name: &str) -> Result<&[u8]> {
        self.files.get(name).map(Vec::as_slice).with_context(|| format!("{name} is missing"))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_slice(self.file(name)?).with_context(|| format!("{name} cannot be understood"))
    }

    /// What has that digest.
    fn bytes(&self, digest: &Digest) -> Result<&[u8]> {
        let bytes = self.file(&oci::path(digest))?;
        let found = oci::sha256(bytes)?;
        ensure!(found == *digest, "{} has the digest {found}", oci::path(digest));
        Ok(bytes)
    }

    fn blob<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T> {
        self.bytes(digest)?;
        self.parse(&oci::path(digest))
    }
}

/// An image in Docker's manifest.json.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The files of an archive by their names, in no more memory than the limits add up to.
fn files(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>> {
    let bytes = read_at_most(LARGEST_ARCHIVE, archive)?;
    let mut files = BTreeMap::new();
    let (mut end, mut entries) = (0, 0);
    // Raw: without the extensions for long names, other sizes and holes, in which readers differ.
    for entry in tar::Archive::new(bytes.as_slice()).entries()?.raw(true) {
        let entry = entry.context("it is no archive, or a damaged one")?;
        let name = String::from_utf8(entry.path_bytes().into_owned()).context("the name of an entry is not UTF-8")?;
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let size = entry.size();
        end = entry.raw_file_position().saturating_add(size.next_multiple_of(512));
        entries += 1;
        ensure!(entries <= MOST_FILES, "it has more than {MOST_FILES} files");
        match entry.header().entry_type() {
            EntryType::Directory => {
                let is_expected = ["", ".", "blobs", "blobs/sha256"].contains(&name.trim_end_matches('/'));
                ensure!(
                    is_expected && size == 0 && is_plain(entry.header()),
                    "{name} is no directory of an OCI layout"
                );
                continue;
            }
            EntryType::Regular => {
                ensure!(is_plain(entry.header()), "{name} has a header that readers take in many ways")
            }
            other => bail!("{name} is neither a file nor a directory but {other:?}"),
        }
        let content = read_at_most(LARGEST, entry).with_context(|| name.clone())?;
        ensure!(content.len() as u64 == size, "{name} ends after {} of {size} bytes", content.len());
        ensure!(files.insert(name.clone(), content).is_none(), "{name} is in it twice");
    }
    let rest = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    ensure!(rest.len() >= 1024, "the archive is cut short: two blocks of zeros should end it");
    ensure!(rest.iter().all(|&byte| byte == 0), "the archive has something behind its end, at {end}");
    Ok(files)
}

/// Whether every reader takes a header alike: POSIX's or GNU's, a type that is written, a size in digits, nothing where
/// some have the rest of the name.
fn is_plain(header: &tar::Header) -> bool {
    let header = header.as_bytes();
    let (size, kind, magic, rest) = (&header[124..136], header[156], &header[257..265], &header[345..]);
    let digits = size.trim_ascii_end().split(|&byte| byte == 0).next().unwrap_or_default();
    [b"ustar\x0000", b"ustar  \0"].contains(&magic.first_chunk().unwrap_or(&[0; 8]))
        && b"05".contains(&kind)
        && digits.iter().all(|byte| (b'0'..=b'7').contains(byte))
        && size[digits.len()..].iter().all(|byte| b" \0".contains(byte))
        && rest.iter().all(|&byte| byte == 0)
}

/// Everything there is to read, unless it is more than that.
fn read_at_most(limit: u64, content: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes, which nothing in a pause image has");
    Ok(bytes)
}

/// What an image says of itself may be made to deceive whoever reads it on a terminal.
fn printable(text: &str) -> String {
    const LONGEST: usize = 500;
    let printable = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => character.escape_unicode().to_string(),
    };
    text.chars().take(LONGEST).map(printable).collect()
}
