//! What `cargo xtask image` promises: a small and valid image, the same bytes from everybody, and nothing left behind when
//! it fails.

use flate2::read::GzDecoder;
use oci_spec::image::Descriptor;
use pause_tests::Ended;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::oci::{Image, Times, sha256};
use xtask::platform::{PLATFORMS, Platform};
use xtask::release::Release;

// The image

#[test]
fn the_image_of_all_eight_is_small() {
    let release = &*RELEASE;
    // What an index says of its image comes on top.
    let index = release.index.size - serde_json::to_vec(&release.annotations(true)).unwrap().len() as u64;
    let mut blobs = index;
    for (row, platform) in release.images.iter().zip(*PLATFORMS) {
        assert_eq!(row.platform, platform.to_string());
        assert!(row.program.size <= platform.most_bytes, "the program for {platform} has {} bytes", row.program.size);
        let own = row.layer.size + row.config.size + row.manifest.size;
        assert!(index + own <= 3_060, "a node of {platform} pulls {} bytes", index + own);
        blobs += own;
    }
    assert!(release.images.len() > PLATFORMS.len(), "and this machine's by its own compiler");
    assert!(blobs <= 11_500, "the blobs, the index among them, have {blobs} bytes");
}

/// Of one platform, and of all; and each blob has the digest and the size that is said of it.
#[test]
fn an_archive_has_what_every_reader_wants_and_nothing_else() {
    let of_its_day = RELEASE.times();
    let asked_for = Times { created: "2023-11-14T22:13:20Z".into(), mtime: 1_700_000_000 };
    let cases = PLATFORMS.chunks(1).zip([&asked_for].into_iter().chain(std::iter::repeat(&of_its_day)));
    for (platforms, times) in cases.chain([(*PLATFORMS, &of_its_day)]) {
        let programs: Vec<_> = platforms.iter().map(|platform| (platform, platform.target.as_bytes())).collect();
        let image = Image::new(&programs, times, &RELEASE.annotations(false), || ()).unwrap();
        let mut files = unpacked(&image.archive(&NAMES.map(str::to_owned)).unwrap(), 0);
        for directory in ["blobs/", "blobs/sha256/"] {
            files.remove(directory).expect("Apptainer finds no blob in a directory that has no entry");
        }
        assert_eq!(json(&files.remove("oci-layout").unwrap()), json!({ "imageLayoutVersion": "1.0.0" }));
        // Registry clients look for `mediaType`; containerd and Podman for the first name, skopeo for the second.
        let mut blob = |descriptor: &Descriptor| {
            let content = files.remove(&path(descriptor)).expect("each blob is named once");
            assert_eq!((content.len() as u64, &sha256(&content).unwrap()), (descriptor.size(), descriptor.digest()));
            content
        };
        let index = json!({ "schemaVersion": 2, "mediaType": of_kind("index"),
            "annotations": { "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION") },
            "manifests": image.platforms.iter().map(|part| {
                let mut platform = json!({ "os": "linux", "architecture": part.platform.architecture });
                platform.as_object_mut().unwrap().extend(variant(part.platform));
                json!({ "mediaType": of_kind("manifest"), "digest": part.manifest.digest(),
                    "size": part.manifest.size(), "platform": platform })
            }).collect::<Vec<_>>() });
        assert_eq!(json(&blob(&image.index)), index);
        for (part, (_, program)) in image.platforms.iter().zip(&programs) {
            let layer = layer(&blob(&part.layer), program, times.mtime);
            let manifest = json!({ "schemaVersion": 2, "mediaType": of_kind("manifest"),
                "config": { "mediaType": of_kind("config"), "digest": part.config.digest(), "size": part.config.size() },
                "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": part.layer.digest(), "size": part.layer.size() }] });
            assert_eq!(json(&blob(&part.manifest)), manifest);
            // cri-dockerd parses `created`; buildah and skopeo want an entry of `history` for the one layer.
            let mut config = json!({ "created": times.created, "os": "linux", "architecture": part.platform.architecture,
                "config": { "User": "65535:65535", "Entrypoint": ["/pause"] },
                "rootfs": { "type": "layers", "diff_ids": [sha256(&layer).unwrap()] },
                "history": [{ "created": times.created }] });
            config.as_object_mut().unwrap().extend(variant(part.platform));
            assert_eq!(json(&blob(&part.config)), config);
        }
        let named = NAMES.map(|name| {
            json!({ "mediaType": of_kind("index"), "digest": image.index.digest(), "size": image.index.size(),
                "annotations": { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name } })
        });
        let top = json!({ "schemaVersion": 2, "mediaType": of_kind("index"), "manifests": named });
        assert_eq!(json(&files.remove("index.json").unwrap()), top);
        // Docker before 27 reads this alone. Of several platforms it would name one to hosts of all.
        if let [only] = &image.platforms[..] {
            let document = json!([{ "Config": path(&only.config), "Layers": [path(&only.layer)], "RepoTags": NAMES }]);
            assert_eq!(json(&files.remove("manifest.json").unwrap()), document);
        }
        assert!(files.is_empty(), "{:?}", files.keys());
    }
}

fn of_kind(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}.v1+json")
}

fn variant(platform: &Platform) -> Option<(String, Value)> {
    platform.variant.as_ref().map(|variant| ("variant".to_owned(), json!(variant)))
}

/// The layer decompressed: a tar archive of the program alone.
fn layer(gzip: &[u8], program: &[u8], mtime: u64) -> Vec<u8> {
    let mut layer = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut layer).unwrap();
    assert!(layer.ends_with(&[0; 1024]), "a tar archive ends with two blocks of zeros");
    let header = tar::Header::from_byte_slice(&layer[..512]);
    assert!(header.as_ustar().is_some(), "EROFS takes no other header");
    assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o755, 0, 0));
    assert_eq!(unpacked(&layer, mtime), BTreeMap::from([("pause".to_owned(), program.to_vec())]));
    layer
}

const NAMES: [&str; 2] = ["registry.k8s.io/pause:3.10", "localhost/pause:1"];
const OWN_NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

static RELEASE: LazyLock<Release> = LazyLock::new(|| Release::own().expect("release.toml"));

/// The image of the shipped file. A compiler that nothing is recorded of may give another program.
fn of_this_platform(times: &Times) -> Image {
    let program = fs::read(shipped()).unwrap();
    let programs = [(xtask::platform::host().unwrap(), &*program)];
    Image::new(&programs, times, &RELEASE.annotations(RELEASE.has(&programs).unwrap()), || ()).unwrap()
}

/// What is in an archive, by path, all of that time. EROFS leaves out what has no type flag.
fn unpacked(archive: &[u8], mtime: u64) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let kind = if name.ends_with('/') { b'5' } else { b'0' };
        assert_eq!((entry.header().as_bytes()[156], entry.header().mtime().unwrap()), (kind, mtime), "{name}");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

fn json(document: &[u8]) -> Value {
    serde_json::from_slice(document).expect("JSON")
}

fn path(descriptor: &Descriptor) -> String {
    xtask::oci::path(descriptor.digest())
}

// The command

#[test]
fn it_writes_the_image_of_the_shipped_file_and_reports_it() {
    let output = Directory::new();
    let done = Ended::of(&mut output.image()).succeeded();
    let image = of_this_platform(&RELEASE.times());
    let sbom = json(&output.everything()["pause.cdx.json"].1);
    let hash = sbom["metadata"]["component"]["hashes"][0]["content"].as_str();
    assert_eq!(hash, Some(image.index.digest().digest()), "a bill of materials of another image");
    let part = &image.platforms[0];
    let row = [part.layer.size().to_string(), part.manifest.size().to_string(), part.manifest.digest().to_string()];
    let has_row = done.stdout.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
    assert!(has_row, "no row with {row:?}\n{done}");
    let [archive, sbom] = ["pause.tar", "pause.cdx.json"].map(|file| output.path(file).display().to_string());
    printed(&done, &[OWN_NAME, &archive, &sbom]);
    assert!(done.stdout.contains("release"), "whether this is one\n{done}");
    assert_eq!(done.stderr, "", "progress is for terminals");
}

/// Whatever was there before, and with a platform that is named thrice; each with its own times and names.
#[test]
fn the_archive_is_of_the_time_and_has_the_names_that_are_asked_for() {
    let asked_for = Times { created: "2023-11-14T22:13:20Z".into(), mtime: 1_700_000_000 };
    let k3s = ["docker.io/rancher/mirrored-pause:3.10.2", "docker.io/rancher/mirrored-pause:3.6"];
    let others = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.7"];
    for (epoch, arguments, names) in [
        (None, &[][..], &[OWN_NAME][..]),
        (Some("1700000000"), &["--platform=amd64", "--platform=host", "--platform=linux/amd64"], &[OWN_NAME]),
        // In full, because containerd takes names as they stand; and each once.
        (
            None,
            &["--tag=a.example:5000/a/pause:3.10", "--tag=pause:2", "--tag=docker.io/library/pause:2"],
            &["a.example:5000/a/pause:3.10", "docker.io/library/pause:2"],
        ),
        (None, &["--for=k3s"], &[k3s[0], k3s[1], OWN_NAME]),
        (
            None,
            &["--for=microk8s", "--for=kind", "--for=k3s", "--tag=example.org/pause:1"],
            &[others[0], others[1], k3s[0], k3s[1], "example.org/pause:1"],
        ),
    ] {
        let output = Directory::new();
        fs::write(output.path("pause.tar"), "older").unwrap();
        let mut command = output.image();
        command.args(arguments).envs(epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch)));
        Ended::of(&mut command).succeeded();
        let image = of_this_platform(&if epoch.is_some() { asked_for.clone() } else { RELEASE.times() });
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        let (mut files, archive) = (output.everything(), (0o100_644, image.archive(&names).unwrap()));
        assert!(files.remove("pause.tar") == Some(archive), "{arguments:?}");
        assert_eq!(files.into_keys().collect::<Vec<_>>(), ["pause.cdx.json"]);
    }
}

#[test]
fn for_a_distribution_the_commands_that_load_it_and_go_back_are_shown() {
    let output = Directory::new();
    let done = Ended::of(output.image().args(["--for=kind", "--for=cri-o"])).succeeded();
    let back = format!("podman rmi registry.k8s.io/pause:3.10 registry.k8s.io/pause:3.10.1 {OWN_NAME}");
    let load = "podman pull oci-archive:pause.tar:registry.k8s.io/pause:3.10.1";
    printed(&done, &["kind load image-archive pause.tar", load, &back]);
}

#[test]
fn what_has_not_changed_is_not_built_again() {
    shipped();
    let directory = Directory::new();
    let (compiler, log) = logging_compiler(directory.0.path());
    Ended::of(xtask(&["build", "--platform=amd64"]).env("RUSTC", compiler)).succeeded();
    let log = fs::read_to_string(log).expect("cargo asks the compiler for its version");
    let compiled: Vec<_> = log.lines().filter(|line| line.contains("--crate-name ") && !line.contains("___")).collect();
    assert_eq!(compiled, [""; 0]);
}

/// With a compiler that says its libraries are in an empty directory.
#[test]
fn what_is_missing_to_build_is_named() {
    let directory = Directory::new();
    write_script(&directory.path("rustc"), &format!("echo '{}'", directory.path("lib").display()));
    let build = || {
        let mut build = xtask(&["build", "--platform=s390x", "--platform=arm64"]);
        Ended::of(build.env("RUSTC", directory.path("rustc")).env("PATH", "")).failed(1)
    };
    let (done, own) = (build(), directory.path("bin/rust-lld"));
    assert!(done.stderr.contains(own.to_str().unwrap()) && done.stderr.contains("ld.lld-22"), "{done}");
    fs::create_dir(directory.path("bin")).unwrap();
    fs::write(own, "").unwrap();
    let done = build();
    let targets = "`rustup target add aarch64-unknown-linux-gnu s390x-unknown-linux-gnu`";
    for remedy in [targets, "`apt-get install rustc-web cargo-web rust-web-src`"] {
        assert!(done.stderr.contains(remedy) && done.stdout.is_empty(), "{done}");
    }
}

/// A compiler that keeps a list of what it is told.
pub fn logging_compiler(directory: &Path) -> (PathBuf, PathBuf) {
    let [log, logging] = ["log", "rustc"].map(|name| directory.join(name));
    let compiler = Path::new(env!("CARGO")).with_file_name("rustc");
    write_script(&logging, &format!("echo \"$*\" >> '{}'; exec '{}' \"$@\"", log.display(), compiler.display()));
    (logging, log)
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

// The same bytes from everybody: see also reproducible.rs

#[test]
fn neither_the_caller_s_flags_nor_the_umask_reach_the_program_and_unchanged_it_is_not_written() {
    let bytes = fs::read(shipped()).unwrap();
    fs::set_permissions(shipped(), fs::Permissions::from_mode(0o600)).unwrap();
    let build = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 077 && exec \"$0\" build"]).arg(pause_tests::tool().get_program());
        shell.current_dir(pause_tests::ROOT).env("CARGO", env!("CARGO"));
        shell.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
        shell.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Copt-level=1").env("RUSTFLAGS", "-Copt-level=1");
        Ended::of(&mut shell).succeeded();
        fs::metadata(shipped()).unwrap()
    };
    let built = build();
    assert_eq!((built.permissions().mode() & 0o7777, fs::read(shipped()).unwrap()), (0o755, bytes));
    assert_eq!(build().modified().unwrap(), built.modified().unwrap());
}

// What is printed

#[test]
fn the_command_line_is_as_it_is_shown() {
    shipped();
    let cases = trycmd::TestCases::new();
    cases.register_bin("xtask", Path::new(pause_tests::tool().get_program()).to_owned());
    cases.case("image/cmd/*.trycmd");
}

// What the tests share

/// The file `cargo xtask build` made.
fn shipped() -> &'static Path {
    static SHIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
        let done = Ended::of(&mut xtask(&["build", "--platform", "amd64"])).succeeded();
        done.stdout.trim_end().into()
    });
    &SHIPPED
}

/// Each is a line of what was printed.
#[track_caller]
fn printed(done: &Ended, lines: &[&str]) {
    for line in lines {
        assert!(done.stdout.lines().any(|printed| printed == *line), "no line {line}\n{done}");
    }
}

/// Every file in a directory by name: its mode and what is in it.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// A directory to write an image to, which goes when the test ends.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `cargo xtask image` into this directory.
    fn image(&self) -> Command {
        let mut command = xtask(&["image", "--output"]);
        command.arg(self.0.path());
        command
    }

    fn everything(&self) -> Files {
        let file = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, (entry.metadata().unwrap().permissions().mode(), fs::read(entry.path()).unwrap()))
        };
        fs::read_dir(self.0.path()).unwrap().map(|entry| file(entry.unwrap())).collect()
    }
}

/// `cargo xtask …`
fn xtask(arguments: &[&str]) -> Command {
    let mut command = pause_tests::tool();
    command.args(arguments);
    command
}
