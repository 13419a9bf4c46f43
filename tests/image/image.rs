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

/// Of one platform, and of all; and each blob has the digest and the size that is said of it.
#[test]
fn an_archive_has_what_every_reader_wants_and_nothing_else() {
    for platforms in PLATFORMS.chunks(1).chain([PLATFORMS]) {
        let programs: Vec<_> = platforms.iter().map(|platform| (platform, platform.target.as_bytes())).collect();
        let image = Image::new(&programs, &RELEASE.times(), &RELEASE.annotations(false), || ()).unwrap();
        let mut files = unpacked(&image.archive(&NAMES.map(str::to_owned)).unwrap());
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
            let layer = layer(&blob(&part.layer), program);
            let manifest = json!({ "schemaVersion": 2, "mediaType": of_kind("manifest"),
                "config": { "mediaType": of_kind("config"), "digest": part.config.digest(), "size": part.config.size() },
                "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": part.layer.digest(), "size": part.layer.size() }] });
            assert_eq!(json(&blob(&part.manifest)), manifest);
            // cri-dockerd parses `created`; buildah and skopeo want an entry of `history` for the one layer.
            let created = format!("{}T00:00:00Z", RELEASE.date);
            let mut config = json!({ "created": created, "os": "linux", "architecture": part.platform.architecture,
                "config": { "User": "65535:65535", "Entrypoint": ["/pause"] },
                "rootfs": { "type": "layers", "diff_ids": [sha256(&layer).unwrap()] },
                "history": [{ "created": created }] });
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
    platform.variant.map(|variant| ("variant".to_owned(), json!(variant)))
}

/// The layer decompressed: a tar archive of the program alone.
fn layer(gzip: &[u8], program: &[u8]) -> Vec<u8> {
    let mut layer = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut layer).unwrap();
    assert!(layer.ends_with(&[0; 1024]), "a tar archive ends with two blocks of zeros");
    let header = tar::Header::from_byte_slice(&layer[..512]);
    assert!(header.as_ustar().is_some(), "EROFS takes no other header");
    assert_eq!((header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0o755, 0, 0));
    assert_eq!(unpacked(&layer), BTreeMap::from([("pause".to_owned(), program.to_vec())]));
    layer
}

#[test]
fn source_date_epoch_is_the_time_of_everything_that_has_one() {
    let output = Directory::new();
    Ended::of(output.image().env("SOURCE_DATE_EPOCH", "1700000000")).succeeded();
    let times = Times { created: "2023-11-14T22:13:20Z".into(), mtime: 1_700_000_000 };
    let image = of_this_platform(&times);
    assert!(fs::read(output.path("pause.tar")).unwrap() == image.archive(&[OWN_NAME.to_owned()]).unwrap());
    let layer = &image.blobs.0[&path(&image.platforms[0].layer)];
    let mut header = [0; 512];
    GzDecoder::new(&**layer).read_exact(&mut header).unwrap();
    assert_eq!(tar::Header::from_byte_slice(&header).mtime().unwrap(), times.mtime);
    let config = json(&image.blobs.0[&path(&image.platforms[0].config)]);
    assert_eq!([&config["created"], &config["history"][0]["created"]], [&*times.created; 2]);
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

/// What is in an archive, by path. EROFS leaves out what has no type flag.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let kind = if name.ends_with('/') { b'5' } else { b'0' };
        assert_eq!((entry.header().as_bytes()[156], entry.header().mtime().unwrap()), (kind, 0), "{name}");
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
    let archive = image.archive(&[OWN_NAME.to_owned()]).unwrap();
    assert!(fs::read(output.path("pause.tar")).unwrap() == archive, "another image");
    let sbom: Value = serde_json::from_slice(&fs::read(output.path("pause.cdx.json")).unwrap()).unwrap();
    let hash = sbom["metadata"]["component"]["hashes"][0]["content"].as_str();
    assert_eq!(hash, Some(image.index.digest().digest()), "a bill of materials of another image");
    let part = &image.platforms[0];
    let row = [part.layer.size().to_string(), part.manifest.size().to_string(), part.manifest.digest().to_string()];
    let has_row = done.stdout.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
    assert!(has_row, "no row with {row:?}\n{done}");
    let [archive, sbom] = ["pause.tar", "pause.cdx.json"].map(|file| output.path(file).display().to_string());
    for line in [OWN_NAME, &*archive, &*sbom] {
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
        let top = json(&unpacked(&fs::read(output.path("pause.tar")).unwrap())["index.json"]);
        let names = top["manifests"].as_array().unwrap().iter();
        names
            .map(|entry| entry["annotations"]["io.containerd.image.name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    // In full, because containerd takes names as they stand; and each once.
    let tags = ["--tag=a.example:5000/a/pause:3.10", "--tag=pause:2", "--tag=docker.io/library/pause:2"];
    assert_eq!(names(&tags), ["a.example:5000/a/pause:3.10", "docker.io/library/pause:2"]);
    let k3s = ["docker.io/rancher/mirrored-pause:3.10.2", "docker.io/rancher/mirrored-pause:3.6"];
    assert_eq!(names(&["--for=k3s"]), [k3s[0], k3s[1], OWN_NAME]);
    let others = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.7"];
    let asked_for = ["--for=microk8s", "--for=kind", "--for=k3s", "--tag=example.org/pause:1"];
    assert_eq!(names(&asked_for), [others[0], others[1], k3s[0], k3s[1], "example.org/pause:1"]);
}

#[test]
fn for_a_distribution_the_commands_that_load_it_and_go_back_are_shown() {
    let output = Directory::new();
    let done = Ended::of(output.image().args(["--for=kind", "--for=cri-o"])).succeeded();
    let names = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10.1", OWN_NAME];
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

/// The same command, started with this umask.
fn with_umask(umask: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask "$0" && exec "$@""#, umask]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(PROJECT).env("CARGO", env!("CARGO")).env_remove("SOURCE_DATE_EPOCH");
    shell
}
