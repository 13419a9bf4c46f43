//! What `cargo xtask verify IMAGE` promises: an image passes if what is in it is recorded, of any other it is told what it
//! is instead, and what was made to do harm gets a clear error in little memory.

use flate2::Compression;
use flate2::write::GzEncoder;
use oci_spec::image::{ANNOTATION_LICENSES, ANNOTATION_REVISION, ANNOTATION_SOURCE, ANNOTATION_VERSION, MediaType};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::LazyLock;
use tar::{Archive, Builder, EntryType, Header};
use xtask::build::Program;
use xtask::oci::{self, Annotations, Image, Times};
use xtask::platform::{PLATFORMS, Platform};
use xtask::release::{self, Content, Release};
use xtask::verify::check;

#[test]
fn a_recorded_image_passes_whatever_its_names_and_its_compiler_is_named() {
    for platforms in [0..1, 1..2, 0..3] {
        let found = check(&*archive(&image(&ours()[platforms.clone()])), &RECORDED).expect("it is recorded");
        for platform in &PLATFORMS[platforms] {
            assert!(found.contains(&format!("| {platform} ")), "{found}");
        }
        for said in ["| a compiler |", "a.example/pause:1\nb.example/pause:2\n", "Released as pause 1.0.0."] {
            assert!(found.contains(said), "{found}");
        }
    }
    let found = check(&*archive(&image(&ours())), &recorded(false)).expect("it is recorded");
    assert!(found.ends_with("Not a release: built between releases, towards pause 1.0.0.\n"), "{found}");
}

/// As skopeo and `tar` write it: another order, a directory of its own, one name or none, no `mediaType`.
#[test]
fn a_recorded_image_passes_as_others_archive_it() {
    let all = image(&ours());
    let mut files = files(&all);
    let index = json!({ "manifests": [all.index], "schemaVersion": 2 });
    files.insert("index.json".into(), serde_json::to_vec_pretty(&index).unwrap());
    let files = files.into_iter().map(|(name, content)| (format!("./{name}"), content)).rev();
    check(&*tar(files), &RECORDED).expect("it is recorded");
    // Of one platform alone there need not be an index.
    let one = image(&ours()[..1]);
    let mut files = self::files(&one);
    let index = json!({ "manifests": [one.platforms[0].manifest], "schemaVersion": 2 });
    files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
    files.remove("manifest.json");
    files.remove(&oci::path(one.index.digest()));
    check(&*tar(files), &RECORDED).expect("it is recorded");
}

#[test]
fn of_any_other_program_it_is_told_for_each_platform_what_it_is() {
    let [amd64, arm64, arm] = ours();
    let other = image(&[amd64, (arm64.0, b"\x7fELF/bin/true"), arm]);
    let complaints = check(&*archive(&other), &RECORDED).expect_err("it is another program");
    let digest = oci::sha256(b"\x7fELF/bin/true").unwrap();
    assert_eq!(
        complaints,
        [
            "linux/amd64: recorded, by a compiler".to_owned(),
            format!("linux/arm64: /pause is another program: {digest}, 13 bytes"),
            "linux/arm/v7: recorded, by a compiler".to_owned(),
        ]
    );
    // The program of one platform in the place of another's, and of another day.
    let swapped = archive(&image(&[(amd64.0, arm64.1)]));
    refused(&swapped, "linux/amd64: /pause is recorded, of linux/arm64 by a compiler, but its config is not");
    refused(
        &archive(&of_day("2001-01-01", &[amd64])),
        "linux/amd64: /pause is recorded, of linux/amd64 by a compiler, but its config is not",
    );
}

#[test]
fn what_is_around_recorded_manifests_has_to_be_what_the_tool_writes() {
    let (one, all) = (image(&ours()[..1]), image(&ours()));
    let [mut amd64, arm64, arm] = [0, 1, 2].map(|at| (&PLATFORMS[at], all.platforms[at].manifest.clone()));
    let with_index = |index: Vec<u8>| {
        let (mut files, content) = (files(&all), Content::new(&index).unwrap());
        files.remove(&oci::path(all.index.digest()));
        files.insert(oci::path(&content.digest), index);
        let top = json!({ "schemaVersion": 2, "manifests": [content.descriptor(MediaType::ImageIndex)] });
        files.insert("index.json".into(), top.to_string().into_bytes());
        tar(files)
    };
    let index = |entries: &[_]| with_index(oci::index(entries.iter().cloned(), &annotations()).unwrap());
    check(&*index(&[amd64.clone(), arm64.clone(), arm.clone()]), &RECORDED).expect("it is recorded");
    refused(&index(&[arm64.clone(), amd64.clone(), arm.clone()]), "its index is not as");
    refused(&index(&[amd64.clone(), amd64.clone(), arm64.clone(), arm.clone()]), "its index is not as");
    refused(&index(&[amd64.clone(), arm64.clone()]), "is too much");
    refused(&index(&vec![amd64.clone(); 65]), "its index has 65 manifests");
    refused(&index(&[]), "its index has 0 manifests");
    refused(&index(&[(&PLATFORMS[7], amd64.1.clone())]), "linux/loong64: it is what is recorded of linux/amd64");
    amd64.1.set_size(1);
    refused(&index(&[amd64, arm64, arm]), "its index is not as");
    let text = String::from_utf8(files(&all)[&oci::path(all.index.digest())].clone()).unwrap();
    refused(&with_index(text.replacen('{', "{\"Manifests\":[],", 1).into_bytes()), "its index is not as");
    refused(&with_index(text.replacen("\"platform\"", "\"x\"", 1).into_bytes()), "no platform: ");
    let annotated = |change: fn(&mut Annotations)| {
        let mut annotations = annotations();
        change(&mut annotations);
        let manifests = all.platforms.iter().map(|part| (part.platform, part.manifest.clone()));
        with_index(oci::index(manifests, &annotations).unwrap())
    };
    let found = check(&*annotated(|annotations| drop(annotations.remove(ANNOTATION_REVISION))), &RECORDED);
    found.expect("made before its commit was recorded");
    refused(&annotated(|found| drop(found.insert(ANNOTATION_REVISION, "other".into()))), "its index is not as");
    refused(&annotated(|found| drop(found.insert(ANNOTATION_SOURCE, "other".into()))), "its index is not as");
    refused(&annotated(Annotations::clear), "its index is not as");

    for (file, from, to, complaint) in [
        ("index.json", "{", "{\"Manifests\":[],", "index.json is not as"),
        ("index.json", "\"size\":", "\"size\":1", "index.json is not as"),
        ("index.json", "{\"annotations\"", "{\"urls\":[\"x\"],\"annotations\"", "index.json is not as"),
        ("index.json", "io.containerd", "io.other", "index.json is not as"),
        ("index.json", "image.index", "image.other", "index.json is not as"),
        ("index.json", "\"manifests\":[", "\"manifests\":[],\"x\":[", "index.json has no image"),
        ("index.json", "}", "", "index.json cannot be understood"),
        ("manifest.json", "blobs/sha256/", "blobs/sha256/0", "manifest.json is not as"),
        ("manifest.json", "[{", "[{\"layers\":[],", "manifest.json cannot be understood"),
        ("manifest.json", "[{", "[{\"Layers\":[],", "manifest.json cannot be understood"),
        ("oci-layout", "}", ",\"x\":1}", "oci-layout is not as"),
        ("index.json", "application/vnd.oci.image.index", "application/vnd.docker.distribution.manifest.list", ""),
        ("oci-layout", "1.0.0", "2.0.0", "oci-layout is not as"),
    ] {
        let mut files = files(&one);
        let text = String::from_utf8(files[file].clone()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
        refused(&tar(files), complaint);
    }
    let mut extra = files(&one);
    extra.insert(oci::path(&oci::sha256(b"x").unwrap()), b"x".to_vec());
    refused(&tar(extra), "is too much");
    let mut several = files(&all);
    several.insert("manifest.json".into(), files(&one)["manifest.json"].clone());
    refused(&tar(several), "manifest.json is not as");
    for name in files(&one).keys().filter(|name| *name != "manifest.json") {
        let mut without = files(&one);
        without.remove(name);
        refused(&tar(without), &format!("{name} is missing"));
        let mut changed = files(&one);
        changed.get_mut(name).unwrap().push(b'x');
        refused(&tar(changed), name);
    }
}

#[test]
fn what_was_made_to_do_harm_is_refused() {
    let ours = archive(&image(&ours()[..1]));
    let with = |name: &str, kind: EntryType, size: u64| {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        [header.as_bytes(), &*ours].concat()
    };
    for (name, kind, complaint) in [
        ("../../etc/passwd", EntryType::Regular, "../../etc/passwd is too much"),
        ("./index.json", EntryType::Regular, "index.json is in it twice"),
        ("link", EntryType::Symlink, "neither a file nor a directory"),
        ("link", EntryType::Link, "neither a file nor a directory"),
        ("device", EntryType::Block, "neither a file nor a directory"),
        ("\x1b[2J", EntryType::Fifo, "\\u{1b}[2J"),
    ] {
        assert!(!refused(&with(name, kind, 0), complaint).contains('\x1b'), "it would reach the terminal");
    }
    // A directory may hide files from a reader that believes its size, and lie where it should not.
    for (name, size, complaint) in [
        ("blobs/", 512, "blobs/ is no directory of an OCI layout"),
        ("blobs/sha256/", ours.len() as u64, "no directory of an OCI layout"),
        ("../etc/", 0, "../etc/ is no directory of an OCI layout"),
        ("index.json/", 0, "index.json/ is no directory of an OCI layout"),
    ] {
        refused(&with(name, EntryType::Directory, size), complaint);
    }
    let changed = |at: usize, to: &[u8]| {
        let mut archive = ours.clone();
        let start = archive.len() - 1024 - 1024; // of the last file, oci-layout
        archive[start + at..start + at + to.len()].copy_from_slice(to);
        let mut header = Header::from_byte_slice(&archive[start..start + 512]).clone();
        header.set_cksum();
        archive[start..start + 512].copy_from_slice(header.as_bytes());
        archive
    };
    check(&*changed(0, b"oci-layout"), &RECORDED).expect("it is unchanged");
    for (at, to) in
        [(124, &b"+"[..]), (124, b" "), (124, b"\x80"), (156, b"\0"), (156, b"7"), (257, b"USTAR"), (345, b"x")]
    {
        refused(&changed(at, to), "");
    }
    for size in [2 << 20, 1 << 40, u64::MAX / 2, u64::MAX] {
        for kind in [EntryType::Regular, EntryType::GNULongName, EntryType::GNUSparse, EntryType::XHeader] {
            refused(&with("index.json", kind, size), "");
        }
    }
    assert!(check(io::repeat(0), &RECORDED).unwrap_err()[0].contains("more than 16777216 bytes"));
    refused(&tar((0..1100).map(|number| (number.to_string(), Vec::new()))), "more than 1024 files");
    refused(&[&ours[..], &ours[..]].concat(), "something behind its end");

    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&vec![0; 9 << 20]).unwrap();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    for (layer, complaint) in [(bomb.finish().unwrap(), "more than 8388608 bytes"), (b"no gzip".to_vec(), "its layer")]
    {
        refused(&with_layer(&layer), complaint);
    }
    refused(&tar([("oci-layout".to_owned(), b"{}".to_vec()), ("index.json".to_owned(), deep)]), "cannot be understood");
}

#[test]
fn no_cut_and_no_damage_passes_or_panics() {
    let archive = archive(&image(&ours()[..1]));
    for end in (0..archive.len()).step_by(17) {
        refused(&archive[..end], "");
    }
    let intact = files(&image(&ours()[..1]));
    for at in (0..archive.len()).step_by(17) {
        let mut damaged = archive.clone();
        damaged[at] ^= 1 << (at % 8);
        if check(&*damaged, &RECORDED).is_ok() {
            // Only where it makes no difference: in what fills a block up, and in the names.
            for (name, content) in contents(&damaged) {
                assert!(name.ends_with(".json") || intact.get(&name) == Some(&content), "{name}, changed at {at}");
            }
        }
    }
}

// What the tests share

type Part = (&'static Platform, &'static [u8]);

/// Three programs for the first three platforms.
fn ours() -> [Part; 3] {
    [(&PLATFORMS[0], b"\x7fELF ours"), (&PLATFORMS[1], b"\x7fELF ours too"), (&PLATFORMS[2], b"\x7fELF ours as well")]
}

static RECORDED: LazyLock<Release> = LazyLock::new(|| recorded(true));

fn recorded(released: bool) -> Release {
    let image = image(&ours());
    let program = |(platform, bytes): Part| {
        let (path, compiler, crates) = (PathBuf::new(), "a compiler".into(), Vec::new());
        Program { platform, path, bytes: bytes.to_vec(), compiler, crates }
    };
    Release {
        version: "1.0.0".into(),
        date: "2026-01-01".parse().unwrap(),
        released,
        commit: Some("a commit".into()),
        source: None,
        index: Content::of(&image.index),
        images: release::rows(&ours().map(program), &image),
    }
}

fn image(programs: &[Part]) -> Image {
    of_day("2026-01-01", programs)
}

fn of_day(day: &str, programs: &[Part]) -> Image {
    let times = Times { created: format!("{day}T00:00:00Z"), mtime: 0 };
    Image::new(programs, &times, &annotations(), || ()).unwrap()
}

fn annotations() -> Annotations {
    Annotations::from([
        (ANNOTATION_LICENSES, "MIT OR Apache-2.0".into()),
        (ANNOTATION_REVISION, "a commit".into()),
        (ANNOTATION_VERSION, "1.0.0".into()),
    ])
}

fn archive(image: &Image) -> Vec<u8> {
    image.archive(&["a.example/pause:1", "b.example/pause:2"].map(str::to_owned)).unwrap()
}

fn files(image: &Image) -> BTreeMap<String, Vec<u8>> {
    contents(&archive(image))
}

fn contents(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(archive);
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    });
    files.filter(|(name, _)| !name.ends_with('/')).collect()
}

fn tar(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_entry_type(EntryType::Regular);
        builder.append_data(&mut header, name, &*content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An archive of an image with that for a layer.
fn with_layer(layer: &[u8]) -> Vec<u8> {
    let blob = |kind, bytes: &[u8]| {
        let content = Content::new(bytes).unwrap();
        ((oci::path(&content.digest), bytes.to_vec()), content.descriptor(kind))
    };
    let (layer, named) = blob(MediaType::ImageLayerGzip, layer);
    let manifest = json!({ "schemaVersion": 2, "config": named, "layers": [named] }).to_string();
    let (manifest, named) = blob(MediaType::ImageManifest, manifest.as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [named] }).to_string().into_bytes();
    tar([layer, manifest, ("index.json".to_owned(), index)])
}

/// Refused for this reason.
#[track_caller]
fn refused(archive: &[u8], complaint: &str) -> String {
    let complaints = check(archive, &RECORDED).expect_err("it should be refused").join("\n");
    assert!(complaints.contains(complaint), "expected {complaint:?}:\n{complaints}");
    complaints
}
