//! Reads an image somebody else made, as an archive or as an OCI layout in a folder, into memory and nowhere else. What
//! it is given may be made to do harm: nothing is unpacked, no link is followed, and no size it states is believed.

use crate::oci;
use anyhow::{Context, Result, bail, ensure};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};
use tar::EntryType;

/// Far more than any file of a pause image has: the largest is the index, with some 2 KB.
pub const LARGEST_FILE: u64 = 1 << 20;
const LARGEST_ARCHIVE: u64 = 16 << 20;
const MOST_FILES: usize = 1024;

/// The folders of a layout.
const FOLDERS: [&str; 2] = ["blobs", "blobs/sha256"];

/// Files by their path in the layout.
#[derive(Default)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

pub fn read(path: &Path) -> Result<Files> {
    let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let files = if metadata.is_dir() { read_folder(path) } else { read_archive(path) };
    let files = files.with_context(|| format!("{} is no image that can be checked", path.display()))?;
    for name in [oci::LAYOUT, oci::INDEX] {
        ensure!(
            files.0.contains_key(name),
            "{} has no {name}: it is neither an OCI layout nor an archive of one; images from before Docker 25 have to \
             be converted, as by `skopeo copy docker-archive:FILE oci:FOLDER`",
            path.display()
        );
    }
    Ok(files)
}

impl Files {
    fn add(&mut self, name: &str, size: u64, content: impl Read) -> Result<()> {
        let is_plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(is_plain && !name.is_empty(), "{name:?} leads out of the layout");
        ensure!(self.0.len() < MOST_FILES, "it has more than {MOST_FILES} files");
        ensure!(size <= LARGEST_FILE, "{name} has {size} bytes; no file of a pause image has more than {LARGEST_FILE}");
        let content = read_at_most(LARGEST_FILE, content).with_context(|| format!("cannot read {name}"))?;
        ensure!(content.len() as u64 == size, "{name} ends after {} of {size} bytes", content.len());
        ensure!(self.0.insert(name.to_owned(), content).is_none(), "{name} is in it twice");
        Ok(())
    }
}

/// Everything there is to read, unless it is more than that.
pub fn read_at_most(limit: u64, content: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes");
    Ok(bytes)
}

fn read_archive(path: &Path) -> Result<Files> {
    let bytes = read_at_most(LARGEST_ARCHIVE, File::open(path)?)?;
    let mut files = Files::default();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut end = 0;
    for entry in archive.entries()? {
        let entry = entry?;
        let name = str::from_utf8(&entry.path_bytes()).context("the name of an entry is not UTF-8")?.to_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        let size = entry.size();
        end = entry.raw_file_position().saturating_add(size.next_multiple_of(512));
        match entry.header().entry_type() {
            EntryType::Regular => files.add(name, size, entry)?,
            EntryType::Directory => {
                let folder = name.trim_end_matches('/');
                ensure!(folder.is_empty() || FOLDERS.contains(&folder), "{name:?} is no folder of a layout");
            }
            other => bail!("{name:?} is neither a file nor a folder but {other:?}"),
        }
    }
    let rest = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    ensure!(rest.len() >= 1024, "the archive is cut short: two blocks of zeros should end it");
    ensure!(rest.iter().all(|&byte| byte == 0), "the archive has something behind its end, at {end}");
    Ok(files)
}

fn read_folder(path: &Path) -> Result<Files> {
    let mut files = Files::default();
    for folder in [""].iter().chain(&FOLDERS) {
        let entries = match fs::read_dir(path.join(folder)) {
            Ok(entries) => entries,
            // What should have been in it will be missed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read the folder {folder:?}")),
        };
        for entry in entries {
            let entry = entry?;
            let name = Path::new(folder).join(entry.file_name());
            let name = name.to_str().with_context(|| format!("the name of {name:?} is not UTF-8"))?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                ensure!(FOLDERS.contains(&name), "{name:?} is no folder of a layout");
                continue;
            }
            ensure!(kind.is_file(), "{name:?} is neither a file nor a folder");
            // It may have become something else since.
            let file = File::options().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(entry.path());
            let file = file.with_context(|| format!("cannot read {name}"))?;
            let metadata = file.metadata()?;
            ensure!(metadata.is_file(), "{name:?} is neither a file nor a folder");
            files.add(name, metadata.len(), file)?;
        }
    }
    Ok(files)
}
