//! Whether the files of a layout are a pause image. Each document is compared with the one this tool would write in its
//! place, so that whatever else is in it is found; all differences are collected, so that one run names them all.

use crate::elf::Elf;
use crate::layer;
use crate::oci;
use crate::platform::{PLATFORMS, Platform};
use crate::reader::{Files, LARGEST_FILE, read_at_most};
use anyhow::{Context, Result, bail, ensure};
use flate2::bufread::GzDecoder;
use oci_spec::image::{
    ANNOTATION_REF_NAME, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType,
    Platform as NamedPlatform,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::time::SystemTime;
use tar::EntryType;

/// What was found in an image.
#[derive(Default)]
pub struct Findings {
    pub parts: Vec<Part>,
    pub references: Vec<String>,
    pub differences: Vec<String>,
}

/// One platform's part of the image.
pub struct Part {
    pub platform: &'static Platform,
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layer: Descriptor,
    pub binary: u64,
}

/// More manifests than that are an attempt to keep the reader busy.
const MOST_MANIFESTS: usize = 64;

pub fn check(files: &Files) -> Findings {
    let mut check = Check { files, used: BTreeSet::new(), is_whole: true, findings: Findings::default() };
    if let Err(error) = check.layout() {
        check.differs(format!("{error:#}"));
    }
    check.findings
}

struct Check<'a> {
    files: &'a Files,
    used: BTreeSet<String>,
    /// Whether everything that refers to blobs could be read.
    is_whole: bool,
    findings: Findings,
}

impl<'a> Check<'a> {
    fn differs(&mut self, difference: String) {
        self.findings.differences.push(difference);
    }

    fn layout(&mut self) -> Result<()> {
        self.is_as_expected(oci::LAYOUT, self.file(oci::LAYOUT)?, &oci::layout()?)?;
        let top: ImageIndex = parse(oci::INDEX, self.file(oci::INDEX)?)?;
        ensure!(!top.manifests().is_empty(), "{} names no image", oci::INDEX);
        let mut images: Vec<&Descriptor> = Vec::new();
        for entry in top.manifests() {
            let annotations = entry.annotations().iter().flatten();
            let names =
                annotations.filter(|(key, _)| [oci::CONTAINERD_NAME, ANNOTATION_REF_NAME].contains(&key.as_str()));
            // The longest, for one of them may be the tag alone.
            let reference = names.map(|(_, name)| name).max_by_key(|name| name.len());
            self.findings.references.extend(reference.cloned());
            if !images.iter().any(|image| image.digest() == entry.digest()) {
                images.push(entry);
            }
        }
        ensure!(images.len() == 1, "{} names {} images, not one", oci::INDEX, images.len());
        self.image(images[0]);
        self.docker_document()?;
        let known = [oci::LAYOUT, oci::INDEX, oci::DOCKER_DOCUMENT];
        let extra = self.files.0.keys().filter(|name| !known.contains(&name.as_str()) && !self.used.contains(*name));
        // What hangs on a damaged document is not extra.
        let extra: Vec<String> = extra.filter(|name| self.is_whole || !name.starts_with("blobs/")).cloned().collect();
        extra.iter().for_each(|name| self.differs(format!("{name} is no part of the image")));
        Ok(())
    }

    fn image(&mut self, top: &Descriptor) {
        let checked = match top.media_type() {
            MediaType::ImageIndex => self.index(top),
            MediaType::ImageManifest => self.part(oci::INDEX, top, None),
            other => Err(anyhow::anyhow!("{} names an image of type {other}", oci::INDEX)),
        };
        self.note(checked);
    }

    fn note(&mut self, checked: Result<()>) {
        if let Err(error) = checked {
            self.is_whole = false;
            self.differs(format!("{error:#}"));
        }
    }

    fn index(&mut self, top: &Descriptor) -> Result<()> {
        let (name, bytes) = self.blob(oci::INDEX, top, &MediaType::ImageIndex)?;
        let index: ImageIndex = parse(&name, bytes)?;
        let entries = index.manifests();
        ensure!(entries.len() <= MOST_MANIFESTS, "{name} has {} manifests", entries.len());
        let mut expected = Vec::new();
        for entry in entries {
            let platform = entry.platform().as_ref().with_context(|| format!("{name}: a manifest has no platform"))?;
            let platform = known(platform).with_context(|| name.clone())?;
            expected.push((platform, oci::index_entry(&plain(entry, MediaType::ImageManifest), platform)?));
        }
        // In the order of the table, each once.
        expected.sort_by_key(|(platform, _)| PLATFORMS.iter().position(|known| std::ptr::eq(known, *platform)));
        let platforms: Vec<_> = expected.iter().map(|(platform, _)| *platform).collect();
        if let Some(twice) = platforms.windows(2).find(|pair| std::ptr::eq(pair[0], pair[1])) {
            bail!("{name} has {} twice", twice[0]);
        }
        let document = oci::index(expected.into_iter().map(|(_, entry)| entry).collect())?;
        self.is_as_expected(&name, bytes, &document)?;
        for (entry, platform) in document.manifests().iter().zip(platforms) {
            let checked = self.part(&name, entry, Some(platform));
            self.note(checked);
        }
        Ok(())
    }

    fn part(&mut self, from: &str, entry: &Descriptor, platform: Option<&'static Platform>) -> Result<()> {
        let (name, bytes) = self.blob(from, entry, &MediaType::ImageManifest)?;
        let manifest: ImageManifest = parse(&name, bytes)?;
        let [layer] = manifest.layers().as_slice() else { bail!("{name} has {} layers", manifest.layers().len()) };
        let (config, layer) =
            (plain(manifest.config(), MediaType::ImageConfig), plain(layer, MediaType::ImageLayerGzip));
        self.is_as_expected(&name, bytes, &oci::manifest(config.clone(), layer.clone())?)?;

        let (config_name, config_bytes) = self.blob(&name, &config, &MediaType::ImageConfig)?;
        let (layer_name, gzip) = self.blob(&name, &layer, &MediaType::ImageLayerGzip)?;
        let found: ImageConfiguration = parse(&config_name, config_bytes)?;
        let platform = match platform {
            Some(platform) => platform,
            None => of_config(&found).with_context(|| config_name.clone())?,
        };
        let tar = decompress(gzip).with_context(|| layer_name.clone())?;
        let expected =
            oci::configuration(platform, oci::sha256(&tar)?, found.created().as_deref().unwrap_or_default())?;
        self.is_as_expected(&config_name, config_bytes, &expected)?;
        let created = seconds(found.created().as_deref().unwrap_or_default()).with_context(|| config_name.clone())?;
        let binary = self.layer(&layer_name, &tar, platform, created)?;
        self.findings.parts.push(Part {
            platform,
            manifest: plain(entry, MediaType::ImageManifest),
            config,
            layer,
            binary,
        });
        Ok(())
    }

    /// Returns the size of the program.
    fn layer(&mut self, name: &str, tar: &[u8], platform: &Platform, created: u64) -> Result<u64> {
        let mut archive = tar::Archive::new(tar);
        let mut entries = archive.entries()?;
        let mut entry = entries.next().with_context(|| format!("{name} is empty"))?.context(name.to_owned())?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        ensure!(path == layer::PROGRAM, "{name} has {path:?} where {:?} should be", layer::PROGRAM);
        let header = entry.header().clone();
        ensure!(header.entry_type() == EntryType::Regular, "{name}: {path} is no file but {:?}", header.entry_type());
        let program = read_at_most(LARGEST_FILE, &mut entry).with_context(|| format!("{name}: {path}"))?;
        let before = self.findings.differences.len();
        let mode = header.mode().context(name.to_owned())?;
        if mode != layer::MODE {
            self.differs(format!("{name}: {path} has mode {mode:04o}, not {:04o}", layer::MODE));
        }
        for (whose, number) in [("user", header.uid()), ("group", header.gid())] {
            let number = number.context(name.to_owned())?;
            if number != 0 {
                self.differs(format!("{name}: {path} belongs to {whose} {number}, not 0"));
            }
        }
        let mtime = header.mtime().context(name.to_owned())?;
        if ![0, created].contains(&mtime) {
            self.differs(format!(
                "{name}: {path} was changed at {mtime}, not {created} as the config's `created` says"
            ));
        }
        match Elf::parse(&program) {
            Ok(elf) if elf.machine == platform.machine => {}
            Ok(elf) => {
                let (found, expected) = (elf.machine.0, platform.machine.0);
                self.differs(format!("{name}: {path} is for ELF machine {found}, not {platform}'s {expected}"));
            }
            Err(error) => self.differs(format!("{name}: {path}: {error:#}")),
        }
        if let Some(second) = entries.next() {
            let second = second.with_context(|| format!("{name}, behind {path}"))?;
            self.differs(format!("{name} has {:?} beside {path}", String::from_utf8_lossy(&second.path_bytes())));
        }
        let is_all = layer::tar(&program, mtime)? == tar;
        if !is_all && self.findings.differences.len() == before {
            self.differs(format!("{name} holds more than {path} and what this tool writes in its header"));
        }
        Ok(program.len() as u64)
    }

    fn docker_document(&mut self) -> Result<()> {
        let Ok(bytes) = self.file(oci::DOCKER_DOCUMENT) else { return Ok(()) };
        // Without a first part there is nothing to compare with, and a difference that says why.
        let Some(first) = self.findings.parts.first() else { return Ok(()) };
        let expected = oci::docker_document(&first.config, &first.layer, &self.findings.references);
        self.is_as_expected(oci::DOCKER_DOCUMENT, bytes, &expected)
    }

    fn file(&self, name: &str) -> Result<&'a [u8]> {
        self.files.0.get(name).map(Vec::as_slice).with_context(|| format!("{name} is missing"))
    }

    /// A blob's path and what is in it, which is what the descriptor says.
    fn blob(&mut self, from: &str, descriptor: &Descriptor, media_type: &MediaType) -> Result<(String, &'a [u8])> {
        let name = oci::path(descriptor);
        let found = descriptor.media_type();
        ensure!(found == media_type, "{from} says that {name} is {found}, not {media_type}");
        let content = self.file(&name).with_context(|| format!("{from} refers to a blob"))?;
        self.used.insert(name.clone());
        let digest = oci::sha256(content)?;
        ensure!(*descriptor.digest() == digest, "{name} has the digest {digest}");
        let (size, stated) = (content.len() as u64, descriptor.size());
        ensure!(size == stated, "{name} has {size} bytes, not {stated} as {from} says");
        Ok((name, content))
    }

    /// Compares a document with the one this tool would have written.
    fn is_as_expected(&mut self, name: &str, bytes: &[u8], expected: &impl Serialize) -> Result<()> {
        let (found, value) = (parse(name, bytes)?, serde_json::to_value(expected)?);
        let before = self.findings.differences.len();
        diff(name, &found, &value, &mut self.findings.differences);
        let is_blob = name.starts_with("blobs/");
        if is_blob && self.findings.differences.len() == before && bytes != serde_json::to_vec(expected)? {
            self.differs(format!(
                "{name} says the right things but in another way: other spaces or order, or one twice"
            ));
        }
        Ok(())
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).with_context(|| format!("{name} cannot be understood"))
}

/// The same without anything that needs not be there.
fn plain(descriptor: &Descriptor, media_type: MediaType) -> Descriptor {
    Descriptor::new(media_type, descriptor.size(), descriptor.digest().clone())
}

fn known(named: &NamedPlatform) -> Result<&'static Platform> {
    let (architecture, variant) = (named.architecture(), named.variant().as_deref());
    let found = PLATFORMS.iter().find(|known| (&known.architecture, known.variant) == (architecture, variant));
    found.with_context(|| {
        let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("pause is not built for {}/{architecture}{variant}", named.os())
    })
}

fn of_config(config: &ImageConfiguration) -> Result<&'static Platform> {
    let mut named = NamedPlatform::default();
    named.set_architecture(config.architecture().clone());
    named.set_os(config.os().clone());
    named.set_variant(config.variant().clone());
    known(&named)
}

fn decompress(gzip: &[u8]) -> Result<Vec<u8>> {
    let mut decoder = GzDecoder::new(gzip);
    // A program that is itself of the largest size would have a header and an end beside it.
    let tar = read_at_most(LARGEST_FILE, decoder.by_ref()).context("what is compressed cannot be read")?;
    let rest = decoder.into_inner();
    ensure!(rest.is_empty(), "{} bytes follow what is compressed", rest.len());
    Ok(tar)
}

fn seconds(created: &str) -> Result<u64> {
    let time = humantime::parse_rfc3339(created).ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    Ok(time.with_context(|| format!("`created` is {created:?}, which is no time since 1970"))?.as_secs())
}

/// Names each place in which `found` is not as expected.
fn diff(at: &str, found: &Value, expected: &Value, differences: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (key, expected) in expected {
                let at = format!("{at}: {key}");
                match found.get(key) {
                    Some(found) => diff(&at, found, expected, differences),
                    None => differences.push(format!("{at} is missing; it should be {expected}")),
                }
            }
            let extra = found.iter().filter(|(key, _)| !expected.contains_key(*key));
            differences.extend(extra.map(|(key, value)| format!("{at}: {key} should not be there; it is {value}")));
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
                diff(&format!("{at}[{position}]"), found, expected, differences);
            }
        }
        _ if found == expected => {}
        _ => differences.push(format!("{at} is {found}, not {expected}")),
    }
}
