//! What `cargo xtask image` promises: a small and valid image, the same bytes from everybody, and nothing left behind when
//! it fails.

use flate2::read::GzDecoder;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, OciLayout};
use pause_tests::Ended;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::oci::{Image, sha256};
use xtask::platform::{PLATFORMS, Platform};
use xtask::release::Release;

const PROJECT: &str = pause_tests::ROOT;

// The image

#[test]
fn the_image_of_all_eight_is_small() {
    let release = &*RELEASE;
    // What an index says of its image comes on top.
    let index = release.index.size - serde_json::to_vec(&release.annotations(true)).unwrap().len() as u64;
    let mut blobs = index;
    for (row, platform) in release.images.iter().zip(PLATFORMS) {
        assert_eq!(row.platform, platform.to_string());
        assert!(row.program.size <= platform.most_bytes, "the program for {platform} has {} bytes", row.program.size);
        let own = row.layer.size + row.config.size + row.manifest.size;
        assert!(index + own <= 3_060, "a node of {platform} pulls {} bytes", index + own);
        blobs += own;
    }
    assert!(release.images.len() > PLATFORMS.len(), "and this machine's by its own compiler");
    assert!(blobs <= 11_500, "the blobs, the index among them, have {blobs} bytes");
}

#[test]
fn an_archive_of_one_platform_is_what_every_reader_wants() {
    for platform in PLATFORMS {
        let archive = Archive::of(&[(platform, b"a program")]);
        let part = &archive.parts()[0];
        let document: Value = archive.parse("manifest.json");
        let expected = json!([{ "Config": path(part.manifest.config()), "Layers": [path(&part.manifest.layers()[0])],
            "RepoTags": NAMES }]);
        assert_eq!(document, expected, "Docker before 27 reads this alone");
        archive.is_sound(&[(platform, b"a program")]);
    }
}

#[test]
fn an_archive_of_all_platforms_is_what_every_reader_wants() {
    let programs: Vec<(&Platform, Vec<u8>)> =
        PLATFORMS.iter().map(|platform| (platform, format!("of {platform}").into_bytes())).collect();
    let programs: Vec<_> = programs.iter().map(|(platform, bytes)| (*platform, bytes.as_slice())).collect();
    let archive = Archive::of(&programs);
    assert!(!archive.files.contains_key("manifest.json"), "it would name one platform's program to hosts of all");
    archive.is_sound(&programs);
}

#[test]
fn source_date_epoch_is_the_time_of_everything_that_has_one() {
    let output = Directory::new();
    Ended::of(output.image().env("SOURCE_DATE_EPOCH", "1700000000")).succeeded();
    let part = &Archive::read(&fs::read(output.path("pause.tar")).unwrap()).parts()[0];
    let created = part.config.created().as_deref();
    let history = part.config.history().iter().flatten().map(|entry| entry.created().as_deref());
    assert_eq!([created].into_iter().chain(history).collect::<Vec<_>>(), [Some("2023-11-14T22:13:20Z"); 2]);
    assert_eq!(part.entry().0.mtime().unwrap(), 1_700_000_000);
}

/// What is in an archive, by path.
struct Archive {
    entries: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

const NAMES: [&str; 2] = ["registry.k8s.io/pause:3.10", "localhost/pause:1"];

static RELEASE: LazyLock<Release> = LazyLock::new(|| Release::own().expect("release.toml"));

impl Archive {
    fn of(programs: &[(&'static Platform, &[u8])]) -> Self {
        let image = Image::new(programs, &RELEASE.times(), &RELEASE.annotations(false), || ()).unwrap();
        Self::read(&image.archive(&NAMES.map(str::to_owned)).unwrap())
    }

    fn read(archive: &[u8]) -> Self {
        let (mut entries, mut files) = (Vec::new(), BTreeMap::new());
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let kind = if name.ends_with('/') { b'5' } else { b'0' };
            assert_eq!((entry.header().as_bytes()[156], entry.header().mtime().unwrap()), (kind, 0), "{name}");
            entries.push(name.clone());
            files.insert(name, content);
        }
        Self { entries, files }
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&self.files[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The content of a blob that has the digest and the size that its descriptor says.
    fn blob(&self, descriptor: &Descriptor) -> &[u8] {
        let content = &self.files[&path(descriptor)];
        assert_eq!((content.len() as u64, &sha256(content).unwrap()), (descriptor.size(), descriptor.digest()));
        content
    }

    fn document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> T {
        serde_json::from_slice(self.blob(descriptor)).unwrap()
    }

    fn references(&self) -> Vec<String> {
        let top: ImageIndex = self.parse("index.json");
        let name = |entry: &Descriptor| {
            let names = entry.annotations().clone().expect("names");
            // skopeo looks for the first, containerd and Podman for the second.
            assert_eq!(names["org.opencontainers.image.ref.name"], names["io.containerd.image.name"]);
            names["io.containerd.image.name"].clone()
        };
        top.manifests().iter().map(name).collect()
    }

    fn index(&self) -> Descriptor {
        let top: ImageIndex = self.parse("index.json");
        assert!(top.manifests().iter().all(|entry| entry.digest() == top.manifests()[0].digest()), "one image");
        top.manifests()[0].clone()
    }

    fn parts(&self) -> Vec<Part> {
        let index: ImageIndex = self.document(&self.index());
        let part = |entry: &Descriptor| {
            let manifest: ImageManifest = self.document(entry);
            let mut layer = Vec::new();
            GzDecoder::new(self.blob(&manifest.layers()[0])).read_to_end(&mut layer).unwrap();
            Part { named: entry.clone(), config: self.document(manifest.config()), manifest, layer }
        };
        index.manifests().iter().map(part).collect()
    }

    fn is_sound(&self, programs: &[(&Platform, &[u8])]) {
        assert_eq!(self.references(), NAMES);
        // Apptainer finds no blob in a directory that has no entry.
        assert_eq!(self.entries[..2], ["blobs/", "blobs/sha256/"]);
        assert_eq!(self.parse::<OciLayout>("oci-layout").image_layout_version(), "1.0.0");
        let index: Value = self.document(&self.index());
        let annotations = json!({ "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION") });
        assert_eq!(index["annotations"], annotations, "no revision has made these programs");
        let parts = self.parts();
        assert_eq!(parts.len(), programs.len());
        let mut blobs = BTreeSet::from([path(&self.index())]);
        for (part, (platform, program)) in parts.iter().zip(programs) {
            part.is_sound(&platform.to_string(), program);
            blobs.extend([&part.named, part.manifest.config(), &part.manifest.layers()[0]].map(path));
            self.says_what_it_is(&path(&part.named), "manifest");
        }
        self.says_what_it_is("index.json", "index");
        self.says_what_it_is(&path(&self.index()), "index");
        let there = self.entries[2..].iter().filter(|name| name.starts_with("blobs/")).cloned();
        assert_eq!(there.collect::<BTreeSet<_>>(), blobs, "each blob is in a document");
    }

    fn says_what_it_is(&self, name: &str, kind: &str) {
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        assert_eq!(self.parse::<Value>(name)["mediaType"], kind, "registry clients look for it in {name}");
    }
}

/// One platform's part of an image.
struct Part {
    /// By the index.
    named: Descriptor,
    manifest: ImageManifest,
    config: ImageConfiguration,
    /// Decompressed.
    layer: Vec<u8>,
}

impl Part {
    /// The header and the content of the layer's one entry.
    fn entry(&self) -> (tar::Header, Vec<u8>) {
        assert!(self.layer.ends_with(&[0; 1024]), "a tar archive ends with two blocks of zeros");
        let mut archive = tar::Archive::new(self.layer.as_slice());
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().expect("an entry").unwrap();
        let mut program = Vec::new();
        entry.read_to_end(&mut program).unwrap();
        let header = entry.header().clone();
        assert!(entries.next().is_none(), "a second entry");
        (header, program)
    }

    fn is_sound(&self, platform: &str, program: &[u8]) {
        let (header, content) = self.entry();
        assert_eq!((header.path().unwrap().as_ref(), &*content), (Path::new("pause"), program));
        assert!(header.as_ustar().is_some(), "EROFS takes no other header");
        assert_eq!(header.as_bytes()[156], b'0', "EROFS leaves out what has no type flag");
        let (mode, owner) = (header.mode().unwrap(), (header.uid().unwrap(), header.gid().unwrap()));
        assert_eq!((mode, owner, header.mtime().unwrap()), (0o755, (0, 0), 0));

        let config = &self.config;
        let named = self.named.platform().clone().expect("a platform");
        for (os, architecture, variant) in [
            (config.os(), config.architecture(), config.variant()),
            (named.os(), named.architecture(), named.variant()),
        ] {
            let variant = variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
            assert_eq!(format!("{os}/{architecture}{variant}"), platform);
        }
        let execution = config.config().clone().expect("a config to run by");
        assert_eq!(execution.user().as_deref(), Some("65535:65535"));
        assert_eq!(execution.entrypoint().as_deref(), Some(["/pause".to_owned()].as_slice()));
        assert_eq!(config.rootfs().diff_ids(), &[sha256(&self.layer).unwrap().to_string()]);
        let created = config.created().as_ref().expect("cri-dockerd parses it");
        let history: Vec<_> = config.history().iter().flatten().map(|entry| entry.created().as_ref()).collect();
        assert_eq!(history, [Some(created)], "buildah and skopeo want an entry for the one layer");
        assert!(created.ends_with("T00:00:00Z"), "the version's day: {created}");
    }
}

fn path(descriptor: &Descriptor) -> String {
    xtask::oci::path(descriptor.digest())
}

// The command

#[test]
fn it_writes_the_image_of_the_shipped_file_and_reports_it() {
    let output = Directory::new();
    let done = Ended::of(&mut output.image()).succeeded();
    let program = fs::read(shipped()).unwrap();
    let programs = [(xtask::platform::host().unwrap(), &*program)];
    // A compiler that nothing is recorded of may give another program.
    let annotations = RELEASE.annotations(RELEASE.has(&programs).unwrap());
    let image = Image::new(&programs, &RELEASE.times(), &annotations, || ()).unwrap();
    let own = concat!("localhost/pause:", env!("CARGO_PKG_VERSION")).to_owned();
    let archive = image.archive(std::slice::from_ref(&own)).unwrap();
    assert!(fs::read(output.path("pause.tar")).unwrap() == archive, "another image");
    let sbom: Value = serde_json::from_slice(&fs::read(output.path("pause.cdx.json")).unwrap()).unwrap();
    let hash = sbom["metadata"]["component"]["hashes"][0]["content"].as_str();
    assert_eq!(hash, Some(image.index.digest().digest()), "a bill of materials of another image");
    let part = &image.platforms[0];
    let row = [part.layer.size().to_string(), part.manifest.size().to_string(), part.manifest.digest().to_string()];
    let has_row = done.stdout.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
    assert!(has_row, "no row with {row:?}\n{done}");
    let [archive, sbom] = ["pause.tar", "pause.cdx.json"].map(|file| output.path(file).display().to_string());
    for line in [own, archive, sbom] {
        assert!(done.stdout.lines().any(|printed| printed == line), "no line {line}\n{done}");
    }
    assert!(done.stdout.contains("release"), "whether this is one\n{done}");
    assert_eq!(done.stderr, "", "progress is for terminals");
}

#[test]
fn it_has_the_names_that_are_asked_for_and_those_of_the_distributions() {
    let names = |arguments: &[&str]| {
        let output = Directory::new();
        Ended::of(output.image().args(arguments)).succeeded();
        Archive::read(&fs::read(output.path("pause.tar")).unwrap()).references()
    };
    // In full, because containerd takes names as they stand; and each once.
    let tags = ["--tag=a.example:5000/a/pause:3.10", "--tag=pause:2", "--tag=docker.io/library/pause:2"];
    assert_eq!(names(&tags), ["a.example:5000/a/pause:3.10", "docker.io/library/pause:2"]);
    let own = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));
    let k3s = ["docker.io/rancher/mirrored-pause:3.10.2", "docker.io/rancher/mirrored-pause:3.6"];
    assert_eq!(names(&["--for=k3s"]), [k3s[0], k3s[1], own]);
    let others = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.7"];
    let asked_for = ["--for=microk8s", "--for=kind", "--for=k3s", "--tag=example.org/pause:1"];
    assert_eq!(names(&asked_for), [others[0], others[1], k3s[0], k3s[1], "example.org/pause:1"]);
}

#[test]
fn for_a_distribution_the_commands_that_load_it_and_go_back_are_shown() {
    let output = Directory::new();
    let done = Ended::of(output.image().args(["--for=kind", "--for=cri-o"])).succeeded();
    let own = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));
    let names = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", own];
    for command in [
        "kind load image-archive pause.tar",
        "podman pull oci-archive:pause.tar:registry.k8s.io/pause:3.10.1",
        &format!("podman rmi {}", names.join(" ")),
    ] {
        assert!(done.stdout.lines().any(|line| line == command), "no line {command}\n{done}");
    }
}

#[test]
fn a_platform_asked_for_thrice_is_in_the_image_once() {
    let output = Directory::new();
    Ended::of(output.image().args(["--platform=amd64", "--platform=host", "--platform=linux/amd64"])).succeeded();
    assert!(output.everything() == *WRITTEN, "the same platform, named thrice");
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

#[test]
fn a_platform_that_cannot_be_built_is_named_with_what_is_missing() {
    let bare = BareToolchain::new();
    let directory = bare.0.path("bin");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("rust-lld"), "").unwrap();
    let done = Ended::of(bare.xtask(&["build", "--platform=s390x", "--platform=arm64"]).env("PATH", "")).failed(1);
    let targets = "aarch64-unknown-linux-gnu s390x-unknown-linux-gnu";
    for remedy in
        [format!("`rustup target add {targets}`"), "`apt-get install rustc-web cargo-web rust-web-src`".into()]
    {
        assert!(done.stderr.contains(&remedy), "{done}");
    }
    assert_eq!(done.stdout, "");
}

#[test]
fn a_missing_linker_is_named() {
    let bare = BareToolchain::new();
    let done = Ended::of(bare.xtask(&["build"]).env("PATH", "")).failed(1);
    let own = bare.0.path("bin/rust-lld");
    assert!(done.stderr.contains(own.to_str().unwrap()) && done.stderr.contains("ld.lld-22"), "{done}");
}

/// A compiler that says its libraries are in an empty directory.
struct BareToolchain(Directory);

impl BareToolchain {
    fn new() -> Self {
        let directory = Directory::new();
        write_script(&directory.path("rustc"), &format!("echo '{}'", directory.path("lib").display()));
        Self(directory)
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = xtask(arguments);
        command.env("RUSTC", self.0.path("rustc"));
        command
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
fn the_caller_s_compiler_flags_do_not_reach_the_program() {
    let before = fs::read(shipped()).unwrap();
    let mut command = xtask(&["build"]);
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Copt-level=1").env("RUSTFLAGS", "-Copt-level=1");
    Ended::of(&mut command).succeeded();
    assert_eq!(fs::read(shipped()).unwrap(), before);
}

#[test]
fn the_shipped_file_is_executable_whatever_the_umask_and_stays_untouched_when_it_is_unchanged() {
    let before = fs::metadata(shipped()).unwrap();
    Ended::of(&mut with_umask("077", &xtask(&["build"]))).succeeded();
    let after = fs::metadata(shipped()).unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o755);
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
}

// Bad input

/// Each ends with this status, says these things, and leaves nothing behind.
#[test]
fn bad_input_gets_a_clear_error_and_leaves_nothing() {
    let digest = format!("registry.k8s.io/pause:1@sha256:{}", "0".repeat(64));
    let long = format!("pause:{}", "a".repeat(129));
    #[rustfmt::skip]
    let references = [
        "", "3.10", "pause", "registry.k8s.io/pause", "localhost:5000/pause", "Registry/pause:1", "a/Pause:1", "a//pause:1",
        "a/pause:", "a/pause:é", "../pause:1", "pause:-1", "pause:1 ", &digest, &long,
    ];
    let refused = |option: &str, values: &[&str], code: i32, said: &[&str]| {
        for value in values {
            let output = Directory::new();
            let mut command = output.image();
            match option.strip_prefix("--") {
                Some(_) => command.arg(format!("{option}={value}")),
                None => command.env(option, value),
            };
            let ended = Ended::of(&mut command).failed(code);
            assert!(said.iter().all(|said| ended.stderr.contains(&said.replace("{}", value))), "{ended}");
            assert!(output.everything().is_empty(), "files were left behind by {option}={value}");
        }
    };
    refused("--tag", &references, 2, &["such as registry.k8s.io/pause:3.10"]);
    refused("--for", &["k9s", "K3s", ""], 2, &["--for <DISTRIBUTION>", "containerd", "k3s", "rke2"]);
    refused("--platform", &["linux/vax", "windows/amd64", "amd64/v3", ""], 2, &["'{}'", "linux/amd64"]);
    let no_times = ["", "tomorrow", "-1", "+1", "1.5", "8589934592"];
    refused("SOURCE_DATE_EPOCH", &no_times, 1, &["SOURCE_DATE_EPOCH is \"{}\""]);
}

#[test]
fn an_output_directory_that_cannot_be_written_to_is_named() {
    let directory = Directory::new();
    let file = directory.path("file");
    fs::write(&file, "kept").unwrap();
    for output in [file.join("below"), "/proc/pause".into()] {
        let ended = Ended::of(xtask(&["image", "--output"]).arg(&output)).failed(1);
        assert!(ended.stderr.contains(output.to_str().unwrap()), "{ended}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn an_older_image_is_replaced_as_a_whole() {
    let output = Directory::new();
    fs::write(output.path("pause.tar"), "older").unwrap();
    Ended::of(&mut output.image()).succeeded();
    assert!(output.everything() == *WRITTEN, "{:?}", output.everything().keys());
}

#[test]
fn a_file_that_cannot_be_verified_or_measured_is_named() {
    for (arguments, complaint) in [
        (&["verify", "README.md"][..], "it is no archive"),
        (&["verify", "no/such/file"], "cannot read no/such/file"),
        (&["verify", "--published", "127.0.0.1:1/pause"], "whose signature? --key or --identity says it"),
        (&["release", "a/b", "--identity=c", "--source=d", "--builder=e"], "does not say `released = true`"),
        (&["size", "--peer", "no/such/file"], "No such file"),
        (&["size", "--peer", "README.md"], "not an ELF file"),
    ] {
        let ended = Ended::of(&mut xtask(arguments)).failed(1);
        assert!(ended.stderr.contains(complaint) && ended.stdout.is_empty(), "{ended}");
    }
}

/// Beside itself, so that what must be said of the other program is known.
#[test]
fn another_program_is_measured_beside_it() {
    let ended = Ended::of(xtask(&["size", "--peer"]).arg(shipped())).succeeded();
    let size = fs::metadata(shipped()).unwrap().len().to_string();
    for (row, expected) in [
        ("| file", &*size),
        ("loaded segments", "1: R-X"),
        ("position-independent", "yes"),
        ("stack", "not executable"),
    ] {
        let line = ended.stdout.lines().find(|line| line.contains(row)).unwrap_or_else(|| panic!("no {row}\n{ended}"));
        let cells: Vec<_> = line.trim_matches('|').split('|').skip(1).map(str::trim).collect();
        assert_eq!(cells, [expected; 2], "{row}");
    }
}

// What the tests share

/// What `cargo xtask image` writes.
static WRITTEN: LazyLock<Files> = LazyLock::new(|| {
    let output = Directory::new();
    Ended::of(&mut output.image()).succeeded();
    output.everything()
});

/// The file `cargo xtask build` made.
fn shipped() -> &'static Path {
    static SHIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
        let done = Ended::of(&mut xtask(&["build", "--platform", "amd64"])).succeeded();
        done.stdout.trim_end().into()
    });
    &SHIPPED
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

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn everything(&self) -> Files {
        let file = |name: String| {
            let path = self.path(&name);
            (name, (fs::metadata(&path).unwrap().permissions().mode(), fs::read(path).unwrap()))
        };
        self.names().into_iter().map(file).collect()
    }
}

/// `cargo xtask …`
fn xtask(arguments: &[&str]) -> Command {
    let mut command = pause_tests::tool();
    command.args(arguments);
    command
}

/// The same command, started with this umask.
fn with_umask(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask "$0" && exec "$@""#, umask]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(PROJECT).env("CARGO", env!("CARGO")).env_remove("SOURCE_DATE_EPOCH");
    shell
}
