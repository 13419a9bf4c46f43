//! The image's one layer: a tar archive with one file, compressed as far as gzip allows.

use anyhow::{Context, Result};
use std::num::NonZeroU64;
use tar::{EntryType, Header};
use zopfli::{Format, Options};

/// The path of the program in the image, which the entry point names from the root.
const PROGRAM: &str = "pause";
const MODE: u32 = 0o755;

pub struct Layer {
    pub tar: Vec<u8>,
    pub gzip: Vec<u8>,
}

pub fn layer(program: &[u8], mtime: u64) -> Result<Layer> {
    let tar = tar(program, mtime)?;
    let gzip = compress(&tar).context("cannot compress the layer")?;
    Ok(Layer { tar, gzip })
}

/// The entry has POSIX's header and its type flag for a file: EROFS refuses the one of V7 Unix, and leaves out an entry
/// whose type flag is NUL.
fn tar(program: &[u8], mtime: u64) -> Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path(PROGRAM)?;
    header.set_mode(MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(program.len() as u64);
    header.set_mtime(mtime);
    header.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&header, program)?;
    Ok(builder.into_inner()?)
}

/// Zopfli estimates, and searches at random from a fixed seed: a stream split into more blocks may end up longer. So a
/// few searches are made, and the shortest result is kept. Searches ten times as long gain a byte.
fn compress(tar: &[u8]) -> Result<Vec<u8>> {
    // A program of ordinary size takes seconds for each iteration and gains nothing a reader of the table would see.
    let searches: &[(u64, u16)] =
        if tar.len() > 64 * 1024 { &[(1, 15)] } else { &[(60, 1), (15, 2), (15, 15), (60, 15)] };
    let mut shortest: Option<Vec<u8>> = None;
    for &(iterations, maximum_block_splits) in searches {
        let iteration_count = NonZeroU64::new(iterations).context("no iteration")?;
        let options = Options { iteration_count, maximum_block_splits, ..Options::default() };
        let mut gzip = Vec::new();
        zopfli::compress(options, Format::Gzip, tar, &mut gzip)?;
        if shortest.as_ref().is_none_or(|shortest| gzip.len() < shortest.len()) {
            shortest = Some(gzip);
        }
    }
    shortest.context("nothing was tried")
}
