//! What `cargo xtask verify IMAGE` promises: a pause image passes, what differs from one is named, and what was made to
//! do harm gets a clear error, in little memory and time.

use flate2::Compression;
use flate2::write::GzEncoder;
use pause_tests::Ended;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tar::{EntryType, Header};
use tempfile::TempDir;

// What passes

#[test]
fn the_image_passes_as_an_archive_and_as_a_folder() {
    let image = Image::build();
    for path in [image.0.path().join("pause.tar"), image.0.path().join("oci")] {
        let ended = verify(&path);
        assert_eq!(ended.status.code(), Some(0), "{ended}");
        for said in ["| linux/amd64 |", "sha256:", "localhost/pause:0.1.0"] {
            assert!(ended.stdout.contains(said), "{said} is not said\n{ended}");
        }
    }
}

#[test]
fn an_image_of_another_time_and_of_several_names_passes() {
    let image = Image::new(|command| {
        command.args(["--tag=1", "--tag=2"]).env("SOURCE_DATE_EPOCH", "1700000000");
    });
    passes(&fs::read(image.0.path().join("pause.tar")).unwrap());
}

#[test]
fn an_archive_that_tar_made_of_the_folder_passes() {
    let image = Image::build();
    let archive = image.0.path().join("other.tar");
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(image.0.path().join("oci")).arg(".");
    assert!(tar.status().expect("tar runs").success());
    passes(&fs::read(archive).unwrap());
}

#[test]
fn an_image_of_one_platform_without_an_index_passes() {
    let mut files = relinked(&|_, content| content);
    let (index, manifest) = (path_of(&PARTS.index), path_of(&PARTS.manifest));
    files.remove(&index);
    files.remove("manifest.json");
    let descriptor = format!(
        r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{}}}"#,
        sha256(&PARTS.manifest),
        files[&manifest].len()
    );
    files.insert("index.json".into(), format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#).into_bytes());
    passes(&archive(&files));
}

#[test]
fn what_the_other_tests_spoil_passes_unspoilt() {
    passes(&archive(&relinked(&|_, content| content)));
    // A layer compressed by somebody else.
    passes(&archive(&relinked(&|part, content| if part == "layer" { gzip(&PARTS.tar) } else { content })));
}

// What differs is named. The digests fit, so that it takes more than to compare them.

#[test]
fn a_document_that_says_something_else_is_named_with_what_it_says() {
    let more_manifests = |text: &str| {
        let (before, after) = text.split_once("[{").unwrap();
        let (entry, end) = after.rsplit_once("}]").unwrap();
        format!("{before}[{}{{{entry}}}]{end}", format!("{{{entry}}},").repeat(64))
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (document, from, to, complaint) in [
        ("config", r#""65535:65535""#, r#""0:0""#, r#"config: User is "0:0", not "65535:65535""#),
        ("config", r#""/pause""#, r#""/bin/sh""#, r#"Entrypoint[0] is "/bin/sh", not "/pause""#),
        ("config", r#""/pause""#, r#""/pause","-v""#, r#"Entrypoint is ["/pause","-v"]"#),
        ("config", r#""config":{"#, r#""config":{"Env":["LD_PRELOAD=x"],"#, "Env should not be there"),
        ("config", r#""User":"65535:65535","#, "", r#"User is missing; it should be "65535:65535""#),
        ("config", r#""User""#, r#""User":"0:0","User""#, "duplicate field"),
        ("config", r#""architecture":"amd64""#, r#""architecture":"arm64""#, r#"architecture is "arm64", not "amd64""#),
        ("config", r#""os":"linux""#, r#""os":"windows""#, r#"os is "windows""#),
        ("config", r#"{"created":""#, r#"{"created":"yesterday","x":""#, "no time since 1970"),
        ("config", r#"{"created""#, r#"{ "created""#, "in another way"),
        ("config", r#"{"created""#, r#"{"x":1,"created""#, "x should not be there"),
        ("config", r#"{"created""#, r#"["created""#, "cannot be understood"),
        ("config", "sha256:", "sha256:0", "diff_ids[0] is"),
        ("manifest", r#"{"schemaVersion""#, r#"{"subject":null,"schemaVersion""#, "subject should not be there"),
        ("manifest", r#""layers":["#, r#""layers":[],"x":["#, "has 0 layers"),
        ("manifest", "tar+gzip", "tar+zstd", "mediaType is"),
        ("index", r#""architecture":"amd64""#, r#""architecture":"arm64""#, r#"architecture is "amd64", not "arm64""#),
        ("index", r#""architecture":"amd64""#, r#""architecture":"vax""#, "not built for linux/vax"),
        ("index", r#""architecture":"amd64""#, r#""variant":"v9","architecture":"amd64""#, "linux/amd64/v9"),
        ("index", r#""platform""#, r#""x""#, "has no platform"),
        ("index", r#""size":"#, r#""size":1"#, "as blobs/sha256/"),
        ("index.json", r#""size":"#, r#""size":1"#, "as index.json says"),
        ("index.json", "sha256:", "sha512:", "cannot be understood"),
        ("index.json", "image.index", "image.other", "names an image of type"),
        ("manifest.json", "localhost/pause", "localhost/other", "RepoTags[0] is"),
        ("oci-layout", "1.0.0", "2.0.0", r#"imageLayoutVersion is "2.0.0""#),
    ] {
        let files = relinked(&|part, content| {
            if part != document {
                return content;
            }
            let text = String::from_utf8(content).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            text.replacen(from, to, 1).into_bytes()
        });
        refused(&archive(&files), complaint);
    }
    for (document, change, complaint) in [
        ("index", &more_manifests as &dyn Fn(&str) -> String, "has 65 manifests"),
        ("index", &|text| text.replacen("[{", "[],\"x\":[{", 1), "x should not be there"),
        ("index.json", &|text| text.replacen("[{", "[],\"x\":[{", 1), "names no image"),
        ("config", &|text| text.replacen('{', &format!("{{\"x\":{deep},"), 1), "recursion limit"),
        ("index.json", &|_| deep.clone(), "cannot be understood"),
        ("index.json", &|_| String::new(), "EOF"),
        ("index.json", &|text| format!("{text}{}", " ".repeat(1 << 20)), "no file of a pause image has more than"),
    ] {
        let files = relinked(&|part, content| {
            if part == document { change(str::from_utf8(&content).unwrap()).into_bytes() } else { content }
        });
        refused(&archive(&files), complaint);
    }
}

#[test]
fn a_platform_that_is_there_twice_is_named() {
    let files = relinked(&|part, content| match part {
        "index" => {
            let text = String::from_utf8(content).unwrap();
            let (before, after) = text.split_once('[').unwrap();
            let (entry, end) = after.rsplit_once(']').unwrap();
            format!("{before}[{entry},{entry}]{end}").into_bytes()
        }
        _ => content,
    });
    refused(&archive(&files), "has linux/amd64 twice");
}

#[test]
fn a_layer_that_holds_something_else_is_named_with_what_it_holds() {
    type Spoil = fn(&mut Header);
    for (spoil, complaint) in [
        ((|header| header.set_mode(0o644)) as Spoil, "pause has mode 0644, not 0755"),
        (|header| header.set_mode(0o4755), "pause has mode 4755, not 0755"),
        (|header| header.set_uid(1000), "pause belongs to user 1000, not 0"),
        (|header| header.set_gid(1000), "pause belongs to group 1000, not 0"),
        (|header| header.set_mtime(7), "pause was changed at 7, not "),
        (|header| header.set_path("sh").unwrap(), r#"has "sh" where "pause" should be"#),
        (|header| header.set_entry_type(EntryType::Symlink), "pause is no file but Symlink"),
        (|header| header.set_entry_type(EntryType::Char), "pause is no file but Char"),
        (|header| header.as_mut_bytes()[300] = b'x', "holds more than pause"),
    ] {
        let (mut header, program) = entry();
        spoil(&mut header);
        refused(&with_tar(&tar_of(&[(header, program)])), complaint);
    }
    let (header, program) = entry();
    let mut second = header.clone();
    second.set_path("etc/passwd").unwrap();
    refused(&with_tar(&tar_of(&[(header.clone(), program.clone()), (second, program.clone())])), r#"has "etc/passwd""#);
    let mut foreign = program.clone();
    foreign[18] = 0xb7;
    refused(&with_tar(&tar_of(&[(header.clone(), foreign)])), "is for ELF machine 183, not linux/amd64's 62");
    let mut script = program.clone();
    script[..2].copy_from_slice(b"#!");
    refused(&with_tar(&tar_of(&[(header.clone(), script)])), "not an ELF file");
    refused(&with_tar(&[&PARTS.tar[..], &[0; 512]].concat()), "holds more than pause");
    refused(&with_tar(&[0; 1024]), "is empty");
}

#[test]
fn a_layer_that_is_not_what_gzip_makes_of_a_tar_is_refused() {
    let bomb = gzip(&vec![0; 256 << 20]);
    assert!(bomb.len() < 1 << 20, "it has to be read before it bursts");
    for (layer, complaint) in [
        (bomb, "it has more than 1048576 bytes"),
        (PARTS.layer[..PARTS.layer.len() - 9].to_vec(), "what is compressed cannot be read"),
        ([&PARTS.layer[..], b"more"].concat(), "4 bytes follow what is compressed"),
        ([&PARTS.layer[..], &PARTS.layer[..]].concat(), "bytes follow what is compressed"),
        (PARTS.tar.clone(), "invalid gzip header"),
        (Vec::new(), "what is compressed cannot be read"),
    ] {
        let files = relinked(&|part, content| if part == "layer" { layer.clone() } else { content });
        refused(&archive(&files), complaint);
    }
}

#[test]
fn a_blob_that_is_changed_missing_or_too_much_is_named() {
    for content in [&PARTS.index, &PARTS.manifest, &PARTS.config, &PARTS.layer] {
        let name = path_of(content);
        let mut files = PARTS.files.clone();
        files.get_mut(&name).unwrap()[7] ^= 1;
        refused(&archive(&files), &format!("{name} has the digest sha256:"));
        files.remove(&name);
        refused(&archive(&files), &format!("{name} is missing"));
    }
    for name in ["blobs/sha256/extra", "thesis.txt", "blobs/sha256/0000"] {
        let mut files = PARTS.files.clone();
        files.insert(name.into(), Vec::new());
        refused(&archive(&files), &format!("{name} is no part of the image"));
    }
}

#[test]
fn all_that_differs_is_named_in_one_run() {
    let (mut header, program) = entry();
    header.set_mode(0o777);
    header.set_uid(3);
    let tar = tar_of(&[(header, program)]);
    let mut files = relinked(&|part, content| match part {
        "tar" => tar.clone(),
        "config" => String::from_utf8(content).unwrap().replace("65535", "1").into_bytes(),
        _ => content,
    });
    files.insert("extra".into(), Vec::new());
    let ended = refused(&archive(&files), "differs from a pause image");
    for complaint in ["mode 0777", "user 3", r#"User is "1:1""#, "extra is no part"] {
        assert!(ended.stderr.contains(complaint), "{complaint:?} is not said\n{ended}");
    }
}

// Archives and folders made to do harm

#[test]
fn an_archive_with_an_entry_that_is_no_file_of_a_layout_is_refused() {
    for (name, kind, complaint) in [
        ("../../etc/passwd", EntryType::Regular, "leads out of the layout"),
        ("/etc/passwd", EntryType::Regular, "leads out of the layout"),
        ("blobs/sha256/../../../x", EntryType::Regular, "leads out of the layout"),
        ("index.json", EntryType::Regular, "index.json is in it twice"),
        ("./index.json", EntryType::Regular, "index.json is in it twice"),
        ("link", EntryType::Symlink, "neither a file nor a folder but Symlink"),
        ("link", EntryType::Link, "neither a file nor a folder but Link"),
        ("pipe", EntryType::Fifo, "neither a file nor a folder but Fifo"),
        ("device", EntryType::Block, "neither a file nor a folder but Block"),
        ("sparse", EntryType::GNUSparse, "real_size"),
        ("more/", EntryType::Directory, "is no folder of a layout"),
        ("\u{1b}[2Jx", EntryType::Symlink, r#"\u{1b}[2Jx""#),
    ] {
        let mut header = Header::new_gnu();
        let field = &mut header.as_mut_bytes()[..name.len()];
        field.copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let ended = refused(&[header.as_bytes(), &*PARTS.archive].concat(), complaint);
        assert!(!ended.stderr.contains('\u{1b}'), "what moves the cursor is not printed");
    }
}

#[test]
fn an_archive_that_lies_about_its_size_or_has_no_end_is_refused() {
    let mut huge = Header::new_gnu();
    huge.set_path("index.json").unwrap();
    huge.set_entry_type(EntryType::Regular);
    for size in [2 << 20, 1 << 40, u64::MAX / 2, u64::MAX] {
        huge.set_size(size);
        huge.set_cksum();
        refused(&[huge.as_bytes(), &*PARTS.archive].concat(), "");
    }
    // A long name is read before it is known what it is the name of.
    huge.set_entry_type(EntryType::GNULongName);
    refused(&[huge.as_bytes(), &*PARTS.archive].concat(), "");
    let unended = PARTS.archive.len() - 1024;
    refused(&PARTS.archive[..unended], "cut short");
    refused(&PARTS.archive[..unended - 700], "");
    refused(&[&PARTS.archive[..], b"more"].concat(), "something behind its end");
    refused(&[&PARTS.archive[..], &PARTS.archive[..]].concat(), "something behind its end");
    refused(&vec![0; 17 << 20], "it has more than 16777216 bytes");
    refused(&gzip(&PARTS.archive), "");
    refused(b"", "cut short");
    refused(&[0; 10240], "has no oci-layout");
    let many: BTreeMap<String, Vec<u8>> = (0..1100).map(|number| (number.to_string(), Vec::new())).collect();
    refused(&archive(&many), "more than 1024 files");
}

#[test]
fn a_folder_with_a_link_a_pipe_or_another_folder_is_refused_and_nothing_waits_for_the_pipe() {
    type Spoil = fn(&Path);
    for (spoil, complaint) in [
        ((|oci| symlink("/etc/passwd", oci.join("passwd")).unwrap()) as Spoil, "neither a file nor a folder"),
        (
            |oci| {
                fs::rename(oci.join("index.json"), oci.join("../index.json")).unwrap();
                symlink("../index.json", oci.join("index.json")).unwrap();
            },
            "\"index.json\" is neither a file nor a folder",
        ),
        (|oci| symlink("/", oci.join("blobs/sha512")).unwrap(), "neither a file nor a folder"),
        (
            |oci| nix::unistd::mkfifo(&oci.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "neither a file nor a folder",
        ),
        (|oci| fs::create_dir(oci.join("blobs/sha256/deeper")).unwrap(), "no folder of a layout"),
        (|oci| fs::remove_dir_all(oci.join("blobs")).unwrap(), "is missing"),
        (|oci| fs::remove_file(oci.join("oci-layout")).unwrap(), "has no oci-layout"),
        (
            |oci| File::create(oci.join("index.json")).unwrap().set_len(1 << 40).unwrap(),
            "no file of a pause image has more than",
        ),
    ] {
        let image = Image::build();
        let oci = image.0.path().join("oci");
        spoil(&oci);
        expect_refusal(verify(&oci), complaint);
    }
}

#[test]
fn an_image_that_is_not_there_is_named() {
    expect_refusal(verify(Path::new("/no/such/image.tar")), "/no/such/image.tar");
}

// Whatever the bytes, the answer is yes or a reasoned no

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..4096)) {
        answered(&bytes);
    }

    #[test]
    fn a_damaged_archive_gets_an_answer(damages in vec(damage(), 1..8)) {
        answered(&damaged(&PARTS.archive, &damages));
    }

    #[test]
    fn damage_under_fitting_digests_is_found(part in 0..4usize, damages in vec(damage(), 1..4)) {
        let spoilt = ["tar", "config", "manifest", "index"][part];
        let original = [&PARTS.tar, &PARTS.config, &PARTS.manifest, &PARTS.index][part];
        prop_assume!(damaged(original, &damages) != *original);
        let files = relinked(&|part, content| if part == spoilt { damaged(&content, &damages) } else { content });
        let ended = verify_archive(&archive(&files));
        // Of another program, in the same header, no more can be said than that it is not the one README.md states.
        if !(spoilt == "tar" && ended.stdout.contains("| no ")) {
            expect_refusal(ended, "");
        }
    }

    #[test]
    fn damage_to_what_has_no_digest_gets_an_answer(part in 0..4usize, damages in vec(damage(), 1..4)) {
        let spoilt = ["layer", "index.json", "manifest.json", "oci-layout"][part];
        answered(&archive(&relinked(
            &|part, content| if part == spoilt { damaged(&content, &damages) } else { content },
        )));
    }

    #[test]
    fn an_archive_of_any_entries_gets_an_answer(entries in vec(any_entry(), 0..6)) {
        answered(&[entries.concat(), PARTS.archive.clone()].concat());
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 1..=u8::MAX).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), 1..600usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), 1..600usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (any::<usize>(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        // What JSON, tar and gzip take for structure, which bytes at random seldom hit.
        (any::<usize>(), "[\\[\\]{}\",:0-9\\\\ -]{1,6}").prop_map(|(at, text)| Damage::Insert(at, text.into_bytes())),
    ]
}

fn damaged(bytes: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for damage in damages {
        let place = |at: &usize| at % (bytes.len() + 1);
        let range = |at: &usize, length: &usize| place(at)..(place(at) + length).min(bytes.len());
        match damage {
            Damage::Flip(at, bits) if place(at) < bytes.len() => {
                let at = place(at);
                bytes[at] ^= bits;
            }
            Damage::Flip(..) => {}
            Damage::Cut(at) => bytes.truncate(place(at)),
            Damage::Remove(at, length) => drop(bytes.drain(range(at, length))),
            Damage::Repeat(at, length) => bytes.extend_from_within(range(at, length)),
            Damage::Insert(at, more) => {
                let at = place(at);
                bytes.splice(at..at, more.iter().copied());
            }
        }
    }
    bytes
}

/// A header that adds up, whatever it says, and as much content as pleases.
fn any_entry() -> impl Strategy<Value = Vec<u8>> {
    let names =
        prop_oneof!["[a-z./]{0,30}", Just("blobs/sha256/0".to_owned()), Just("index.json".to_owned()), ".{0,20}"];
    let kinds =
        prop_oneof![Just(b'0'), Just(b'5'), Just(b'L'), Just(b'K'), Just(b'x'), Just(b'g'), Just(b'S'), any::<u8>()];
    let sizes = prop_oneof![0..2000u64, any::<u64>()];
    (names, kinds, sizes, vec(any::<u8>(), 0..1500)).prop_map(|(name, kind, size, mut content)| {
        let mut header = Header::new_gnu();
        let length = name.len().min(100);
        header.as_mut_bytes()[..length].copy_from_slice(&name.as_bytes()[..length]);
        header.set_entry_type(EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        content.resize(content.len().next_multiple_of(512), 0);
        [header.as_bytes(), content.as_slice()].concat()
    })
}

// What the tests share

/// With the memory and the time of a small program, so that what takes more fails.
fn verify(image: &Path) -> Ended {
    let tool = pause_tests::tool();
    let mut command = Command::new("prlimit");
    command.args(["--as=268435456", "--cpu=20", "--core=0"]).arg(tool.get_program()).arg("verify").arg(image);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pause_tests::finish(command)
}

fn verify_archive(bytes: &[u8]) -> Ended {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    verify(file.path())
}

#[track_caller]
fn passes(archive: &[u8]) {
    let ended = verify_archive(archive);
    assert!(ended.status.success(), "it should pass\n{ended}");
}

/// Refused for this reason.
#[track_caller]
fn refused(archive: &[u8], complaint: &str) -> Ended {
    expect_refusal(verify_archive(archive), complaint)
}

#[track_caller]
fn expect_refusal(ended: Ended, complaint: &str) -> Ended {
    assert_eq!(ended.status.code(), Some(1), "it should be refused\n{ended}");
    assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(complaint), "expected {complaint:?}\n{ended}");
    assert_eq!(ended.stdout, "", "{ended}");
    ended
}

/// Yes, or no and why; a panic would end with another code.
#[track_caller]
fn answered(archive: &[u8]) {
    let ended = verify_archive(archive);
    if !ended.status.success() {
        expect_refusal(ended, "");
    }
}

/// The image of this machine's platform in a folder of its own.
struct Image(TempDir);

impl Image {
    fn build() -> Self {
        Self::new(|_| {})
    }

    fn new(change: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = pause_tests::tool();
        command.args(["image", "--platform=amd64", "--output"]).arg(folder.path()).stdout(Stdio::null());
        change(&mut command);
        assert!(command.status().expect("the tool runs").success(), "{command:?} failed");
        Self(folder)
    }
}

/// The image in its parts.
struct Parts {
    files: BTreeMap<String, Vec<u8>>,
    archive: Vec<u8>,
    index: Vec<u8>,
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
    tar: Vec<u8>,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let image = Image::build();
    let archive = fs::read(image.0.path().join("pause.tar")).expect("an archive");
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::copy(&mut entry, &mut content).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
    }
    let blob = |document: &[u8], pointer: &str| {
        let document: serde_json::Value = serde_json::from_slice(document).unwrap();
        let digest = document.pointer(pointer).unwrap().as_str().unwrap();
        files[&format!("blobs/{}", digest.replace(':', "/"))].clone()
    };
    let index = blob(&files["index.json"], "/manifests/0/digest");
    let manifest = blob(&index, "/manifests/0/digest");
    let (config, layer) = (blob(&manifest, "/config/digest"), blob(&manifest, "/layers/0/digest"));
    let mut tar = Vec::new();
    std::io::copy(&mut flate2::read::GzDecoder::new(layer.as_slice()), &mut tar).unwrap();
    Parts { files, archive, index, manifest, config, layer, tar }
});

/// The image with parts changed, and every digest and size of them corrected in what refers to them.
fn relinked(change: &dyn Fn(&str, Vec<u8>) -> Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let Parts { files, index, manifest, config, layer, tar, .. } = &*PARTS;
    let link = |document: &[u8], parts: &[(&[u8], &[u8])]| {
        let mut text = String::from_utf8(document.to_vec()).unwrap();
        for (old, new) in parts {
            text = text.replace(&sha256(old), &sha256(new));
            text = text.replace(&format!("\"size\":{}", old.len()), &format!("\"size\":{}", new.len()));
        }
        text.into_bytes()
    };
    let new_tar = change("tar", tar.clone());
    let new_layer = change("layer", if new_tar == *tar { layer.clone() } else { gzip(&new_tar) });
    let new_config = change("config", link(config, &[(tar, &new_tar)]));
    let new_manifest = change("manifest", link(manifest, &[(config, &new_config), (layer, &new_layer)]));
    let new_index = change("index", link(index, &[(manifest, &new_manifest)]));
    let mut new = BTreeMap::new();
    for blob in [&new_layer, &new_config, &new_manifest, &new_index] {
        new.insert(path_of(blob), blob.clone());
    }
    for (name, parts) in [
        ("oci-layout", &[][..]),
        ("index.json", &[(&index[..], &new_index[..])]),
        ("manifest.json", &[(&config[..], &new_config[..]), (layer, &new_layer)]),
    ] {
        new.insert(name.into(), change(name, link(&files[name], parts)));
    }
    new
}

fn with_tar(tar: &[u8]) -> Vec<u8> {
    archive(&relinked(&|part, content| if part == "tar" { tar.to_vec() } else { content }))
}

/// The header and the content of the layer's one file.
fn entry() -> (Header, Vec<u8>) {
    let mut archive = tar::Archive::new(PARTS.tar.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let header = entry.header().clone();
    let mut program = Vec::new();
    std::io::copy(&mut entry, &mut program).unwrap();
    (header, program)
}

fn tar_of(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (header, content) in entries {
        let mut header = header.clone();
        header.set_cksum();
        builder.append(&header, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn path_of(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", sha256(blob))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
