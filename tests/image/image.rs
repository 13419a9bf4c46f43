//! What `cargo xtask image` promises: a small and valid image, the same bytes from everybody, and nothing left behind when
//! it fails.

use flate2::read::GzDecoder;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, OciLayout};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

const PROJECT: &str = pause_tests::ROOT;

// The image

#[test]
fn the_layer_is_at_most_540_bytes() {
    let size = IMAGE.manifest().layers()[0].size();
    assert!(size <= 540, "the layer has {size} bytes");
}

#[test]
fn the_layout_says_its_version() {
    let layout: OciLayout = IMAGE.parse("oci-layout");
    assert_eq!(layout.image_layout_version(), "1.0.0");
}

#[test]
fn every_blob_has_the_digest_it_is_named_by_and_is_referred_to() {
    expect_sound_blobs(&IMAGE);
}

fn expect_sound_blobs(image: &Image) {
    let mut referred = vec![blob_path(&image.reference())];
    for Part { entry, manifest, .. } in image.parts() {
        referred.extend([&entry, manifest.config(), &manifest.layers()[0]].map(blob_path));
    }
    let blobs: Vec<&String> = image.files.keys().filter(|name| name.starts_with("blobs/")).collect();
    for name in &blobs {
        assert_eq!(**name, format!("blobs/sha256/{}", sha256(&image.files[*name])));
        assert!(referred.contains(name), "{name} is in no document");
    }
    // `Image::blob` has compared the sizes.
    assert_eq!(blobs.len(), referred.len());
}

#[test]
fn the_layer_holds_the_shipped_file_and_nothing_else() {
    expect_layer_of(&IMAGE.parts()[0], shipped());
}

fn expect_layer_of(part: &Part, shipped: &Path) {
    assert!(part.layer.ends_with(&[0; 1024]), "a tar archive ends with two blocks of zeros");
    let mut archive = tar::Archive::new(part.layer.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut entry = entries.next().expect("one entry").unwrap();
    let header = entry.header().clone();
    assert_eq!(entry.path().unwrap(), Path::new("pause"));
    assert!(header.as_ustar().is_some(), "EROFS takes no other header");
    assert_eq!(header.as_bytes()[156], b'0', "EROFS leaves out what has no type flag");
    assert_eq!(header.mode().unwrap(), 0o755);
    assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
    assert_eq!(header.mtime().unwrap(), 0);
    let mut program = Vec::new();
    entry.read_to_end(&mut program).unwrap();
    assert_eq!(program, fs::read(shipped).unwrap(), "{} is another program", shipped.display());
    assert!(entries.next().is_none(), "a second entry");
}

#[test]
fn the_config_says_what_runs_and_as_whom() {
    expect_config(&IMAGE.parts()[0], "linux/amd64");
}

fn expect_config(part: &Part, platform: &str) {
    let config = &part.config;
    let execution = config.config().clone().expect("a config to run by");
    let variant = config.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    assert_eq!(format!("{}/{}{variant}", config.os(), config.architecture()), platform);
    assert_eq!(execution.user().as_deref(), Some("65535:65535"));
    assert_eq!(execution.entrypoint().as_deref(), Some(["/pause".to_owned()].as_slice()));
    assert_eq!(config.rootfs().diff_ids(), &[format!("sha256:{}", sha256(&part.layer))]);
    let created = config.created().as_ref().expect("a date");
    let history: Vec<_> = config.history().iter().flatten().map(|entry| entry.created().as_ref()).collect();
    assert_eq!(history, [Some(created)], "one entry for the one layer");
}

#[test]
fn the_index_says_which_platform_a_manifest_is_for() {
    assert_eq!(IMAGE.parts().iter().map(Part::platform).collect::<Vec<_>>(), ["linux/amd64"]);
}

#[test]
fn every_document_says_what_it_is() {
    let index = IMAGE.checked(&IMAGE.reference());
    let manifest = IMAGE.checked(&IMAGE.index().manifests()[0]);
    for (name, kind) in [("index.json", "index"), (&index, "index"), (&manifest, "manifest")] {
        let document: serde_json::Value = IMAGE.parse(name);
        assert_eq!(document["mediaType"], format!("application/vnd.oci.image.{kind}.v1+json"), "{name}");
    }
}

#[test]
fn the_archive_holds_its_folders_and_the_document_docker_reads() {
    let mut entries: Vec<_> = IMAGE.entries.iter().map(String::as_str).collect();
    entries.retain(|name| name.ends_with('/') || !name.contains('/'));
    // Apptainer finds no blob in a folder that has no entry.
    assert_eq!(entries, ["blobs/", "blobs/sha256/", "index.json", "manifest.json", "oci-layout"]);
    let document: serde_json::Value = IMAGE.parse("manifest.json");
    assert_eq!(document[0]["Config"], blob_path(IMAGE.manifest().config()));
    assert_eq!(document[0]["Layers"], serde_json::json!([blob_path(&IMAGE.manifest().layers()[0])]));
}

#[test]
fn the_default_reference_is_the_version_of_the_program() {
    assert_eq!(IMAGE.references(), [concat!("localhost/pause:", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn every_tag_is_found_by_every_engine() {
    let tags = ["registry.k8s.io/pause:3.10", "docker.io/rancher/mirrored-pause:3.6", "pause:2", "localhost:5000/a:1"];
    let image = Image::build(|command| {
        command.args(tags.iter().chain(&tags[..1]).flat_map(|tag| ["--tag", tag]));
    });
    // In full, because containerd takes names as they stand; and each once.
    expect_names(&image, &[tags[0], tags[1], "docker.io/library/pause:2", tags[3]]);
}

/// The names, in each place where some engine looks for them.
fn expect_names(image: &Image, names: &[&str]) {
    assert_eq!(image.references(), names, "io.containerd.image.name");
    let document: serde_json::Value = image.parse("manifest.json");
    assert_eq!(document[0]["RepoTags"], serde_json::json!(names), "manifest.json");
    let index: ImageIndex = image.parse("index.json");
    for entry in index.manifests() {
        let names = entry.annotations().as_ref().expect("names");
        assert_eq!(names["org.opencontainers.image.ref.name"], names["io.containerd.image.name"]);
        assert_eq!(entry.digest(), IMAGE.reference().digest(), "another name makes no other image");
    }
}

#[test]
fn for_a_distribution_it_has_the_names_its_nodes_ask_for_and_its_own() {
    let own = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));
    let k3s = ["docker.io/rancher/mirrored-pause:3.10.2", "docker.io/rancher/mirrored-pause:3.6"];
    let image = Image::build(|command| {
        command.args(["--for=k3s"]);
    });
    expect_names(&image, &[k3s[0], k3s[1], own]);
    // What two ask for is in it once, and what is asked for besides is not lost.
    let image = Image::build(|command| {
        command.args(["--for=microk8s", "--for=kind", "--for=k3s", "--tag=example.org/pause:1"]);
    });
    let others = ["registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.7"];
    expect_names(&image, &[others[0], others[1], k3s[0], k3s[1], "example.org/pause:1"]);
}

#[test]
fn for_every_distribution_it_has_the_names_of_the_table() {
    let table = fs::read_to_string(Path::new(PROJECT).join("deploy/names.toml")).unwrap();
    let table: BTreeMap<String, serde_json::Value> = toml::from_str(&table).unwrap();
    let help = run(&mut xtask(&["image", "--help"])).expect_success();
    for (name, distribution) in table {
        assert!(help.stdout.contains(&name), "{name} is not in the help\n{help}");
        let image = Image::build(|command| {
            command.args(["--for", &name]);
        });
        let references = image.references();
        let names = distribution["asks-for"].as_array().unwrap().iter();
        for asked_for in names.map(|name| name["image"].as_str().unwrap()) {
            assert!(
                references.iter().any(|reference| reference == asked_for),
                "{name}: no {asked_for}: {references:?}"
            );
        }
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        expect_names(&image, &references);
    }
}

#[test]
fn for_a_distribution_the_commands_that_load_it_and_go_back_are_shown() {
    let output = Folder::new();
    let done = run(output.image().args(["--for=kind", "--for=cri-o"])).expect_success();
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
fn a_distribution_nobody_knows_is_a_usage_error_with_those_that_are() {
    for unknown in ["k9s", "K3s", ""] {
        let output = Folder::new();
        let done = run(output.image().arg(format!("--for={unknown}"))).expect_failure(2);
        for known in ["--for <DISTRIBUTION>", "containerd", "k3s", "kubeadm", "rke2"] {
            assert!(done.stderr.contains(known), "{done}");
        }
        output.expect_empty();
    }
}

#[test]
fn the_report_shows_sizes_digest_paths_and_references() {
    let output = Folder::new();
    let done = run(&mut output.image()).expect_success();
    let (manifest, layer) = (IMAGE.index().manifests()[0].clone(), IMAGE.manifest().layers()[0].clone());
    let row = ["linux/amd64", &layer.size().to_string(), &manifest.size().to_string(), manifest.digest().as_ref()];
    let has_row = done.stdout.lines().any(|line| row.iter().all(|cell| line.contains(cell)));
    assert!(has_row, "no row with {row:?}\n{done}");
    for file in ["pause.tar", "pause.cdx.json"] {
        let line = output.path(file).display().to_string();
        assert!(done.stdout.lines().any(|printed| printed == line), "no line {line}\n{done}");
    }
    assert!(done.stdout.contains("localhost/pause:"), "{done}");
    assert_eq!(done.stderr, "", "progress is for terminals");
}

// All platforms in one image

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): cargo test --test image image:: -- --ignored"]
fn the_image_of_all_eight_is_small() {
    for (platform, path) in &*ALL_SHIPPED {
        let limit = match *platform {
            "linux/amd64" => 640,
            "linux/ppc64le" => 1_024,
            _ => 896,
        };
        let size = fs::metadata(path).unwrap().len();
        assert!(size <= limit, "the program for {platform} has {size} bytes");
    }
    let blobs = ALL.files.iter().filter(|(name, _)| name.starts_with("blobs/"));
    let total: usize = blobs.map(|(_, content)| content.len()).sum();
    assert!(total <= 11_500, "the blobs, the index among them, have {total} bytes");
    for part in ALL.parts() {
        let blobs = [&ALL.reference(), &part.entry, part.manifest.config(), &part.manifest.layers()[0]];
        let pulled: u64 = blobs.into_iter().map(Descriptor::size).sum();
        assert!(pulled <= 3_060, "a node of {} pulls {pulled} bytes", part.platform());
    }
}

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): cargo test --test image image:: -- --ignored"]
fn the_image_of_all_eight_is_what_each_platform_s_own_is() {
    expect_sound_blobs(&ALL);
    let parts = ALL.parts();
    assert_eq!(parts.iter().map(Part::platform).collect::<Vec<_>>(), PLATFORMS);
    for (part, (platform, path)) in parts.iter().zip(&*ALL_SHIPPED) {
        expect_layer_of(part, path);
        expect_config(part, platform);
    }
    assert!(!ALL.files.contains_key("manifest.json"), "it would name the program of one platform to hosts of all");
}

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): cargo test --test image image:: -- --ignored"]
fn of_all_eight_only_what_has_changed_is_built_again() {
    LazyLock::force(&ALL_SHIPPED);
    expect_nothing_compiled("all");
}

#[test]
fn a_platform_asked_for_thrice_is_in_the_image_once() {
    let image = Image::build(|command| {
        command.args(["--platform=amd64", "--platform=host", "--platform=linux/amd64"]);
    });
    assert!(image.files == IMAGE.files, "the same platform, named thrice");
}

#[test]
fn what_has_not_changed_is_not_built_again() {
    shipped();
    expect_nothing_compiled("amd64");
}

/// Builds through a compiler that keeps a list of what it is told.
fn expect_nothing_compiled(platform: &str) {
    let folder = Folder::new();
    let (wrapper, log) = (folder.path("wrapper"), folder.path("log"));
    write_script(&wrapper, &format!("echo \"$*\" >> '{}'; exec \"$@\"", log.display()));
    run(xtask(&["build", "--platform", platform]).env("RUSTC_WRAPPER", &wrapper)).expect_success();
    let log = fs::read_to_string(log).expect("cargo asks the compiler for its version");
    let compiled: Vec<_> = log.lines().filter(|line| line.contains("--crate-name ") && !line.contains("___")).collect();
    assert_eq!(compiled, [""; 0]);
}

#[test]
fn a_platform_that_cannot_be_built_is_named_with_what_is_missing() {
    let bare = BareToolchain::new();
    let folder = bare.0.path("bin");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("rust-lld"), "").unwrap();
    let done = run(bare.xtask(&["build", "--platform=s390x", "--platform=arm64"]).env("PATH", "")).expect_failure(1);
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
    let done = run(bare.xtask(&["build"]).env("PATH", "")).expect_failure(1);
    let own = bare.0.path("bin/rust-lld");
    assert!(done.stderr.contains(own.to_str().unwrap()) && done.stderr.contains("ld.lld-22"), "{done}");
}

/// A compiler that says its libraries are in an empty folder.
struct BareToolchain(Folder);

impl BareToolchain {
    fn new() -> Self {
        let folder = Folder::new();
        write_script(&folder.path("rustc"), &format!("echo '{}'", folder.path("lib").display()));
        Self(folder)
    }

    fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = xtask(arguments);
        command.env("RUSTC", self.0.path("rustc"));
        command
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

// The same bytes from everybody

#[test]
fn the_image_is_the_same_whoever_builds_it_wherever_and_whenever() {
    let output = Folder::new();
    let somewhere = TempDir::new().unwrap();
    let mut command = with_umask("077", &output.image());
    command.env("TZ", "America/Los_Angeles").env("LC_ALL", "tr_TR.UTF-8").env("USER", "somebody");
    // Cargo and rustup are somewhere in the home folder; a test cannot take them away.
    for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
        if std::env::var_os(variable).is_none() {
            command.env(variable, Path::new(&std::env::var_os("HOME").unwrap()).join(folder));
        }
    }
    command.env("HOME", somewhere.path());
    run(&mut command).expect_success();
    assert!(output.everything() == IMAGE.written, "another umask, time zone, locale, home and user make another image");
}

#[test]
fn the_caller_s_compiler_flags_do_not_reach_the_program() {
    let before = fs::read(shipped()).unwrap();
    let mut command = xtask(&["build"]);
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Copt-level=1").env("RUSTFLAGS", "-Copt-level=1");
    run(&mut command).expect_success();
    assert_eq!(fs::read(shipped()).unwrap(), before);
}

#[test]
fn the_program_is_the_same_built_in_another_folder() {
    let elsewhere = TempDir::new().unwrap();
    let copy = elsewhere.path().join("a longer name than before");
    for name in ["Cargo.toml", "Cargo.lock", "build.rs", "linker.ld", ".cargo", "src", "tests", "xtask"] {
        copy_all(&Path::new(PROJECT).join(name), &copy.join(name));
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--package=pause", "--bin=pause", "--target=x86_64-unknown-linux-gnu"]);
    cargo.current_dir(&copy).env("CARGO_TARGET_DIR", copy.join("target"));
    run(&mut cargo).expect_success();
    let built = fs::read(copy.join("target/x86_64-unknown-linux-gnu/release/pause")).unwrap();
    let (program, padding) = built.split_at(fs::metadata(shipped()).unwrap().len() as usize);
    assert_eq!(program, fs::read(shipped()).unwrap());
    assert!(padding.iter().all(|&byte| byte == 0), "more than lld's padding");
}

#[test]
fn the_shipped_file_is_executable_whatever_the_umask_and_stays_untouched_when_it_is_unchanged() {
    let before = fs::metadata(shipped()).unwrap();
    run(&mut with_umask("077", &xtask(&["build"]))).expect_success();
    let after = fs::metadata(shipped()).unwrap();
    assert_eq!(after.permissions().mode() & 0o7777, 0o755);
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
}

#[test]
fn source_date_epoch_is_the_time_of_everything_that_has_one() {
    let image = Image::build(|command| {
        command.env("SOURCE_DATE_EPOCH", "1700000000");
    });
    let part = &image.parts()[0];
    let created = part.config.created().as_deref();
    let history = part.config.history().iter().flatten().map(|entry| entry.created().as_deref());
    assert_eq!([created].into_iter().chain(history).collect::<Vec<_>>(), [Some("2023-11-14T22:13:20Z"); 2]);
    let mut layer = tar::Archive::new(part.layer.as_slice());
    let entry = layer.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.header().mtime().unwrap(), 1_700_000_000);
}

// Bad input

#[test]
fn a_source_date_epoch_that_is_no_number_of_seconds_is_refused() {
    for value in ["", "tomorrow", "-1", "+1", "1.5", "8589934592"] {
        let output = Folder::new();
        let done = run(output.image().env("SOURCE_DATE_EPOCH", value)).expect_failure(1);
        assert!(done.stderr.contains(&format!("SOURCE_DATE_EPOCH is {value:?}")), "{done}");
        output.expect_empty();
    }
}

#[test]
fn an_unknown_platform_is_a_usage_error_that_names_the_known_ones() {
    for platform in ["linux/vax", "windows/amd64", "amd64/v3", ""] {
        let output = Folder::new();
        let done = run(output.image().args(["--platform", platform])).expect_failure(2);
        assert!(done.stderr.contains(&format!("'{platform}'")) && done.stderr.contains("linux/amd64"), "{done}");
        output.expect_empty();
    }
}

#[test]
fn an_invalid_reference_is_a_usage_error() {
    let digest = format!("registry.k8s.io/pause:1@sha256:{}", "0".repeat(64));
    let long = format!("pause:{}", "a".repeat(129));
    for tag in [
        "",
        "3.10",
        "pause",
        "registry.k8s.io/pause",
        "localhost:5000/pause",
        "Registry/pause:1",
        "a/Pause:1",
        "a//pause:1",
        "a/pause:",
        "a/pause:é",
        "../pause:1",
        "pause:-1",
        "pause:1 ",
        &digest,
        &long,
    ] {
        let output = Folder::new();
        let done = run(output.image().arg(format!("--tag={tag}"))).expect_failure(2);
        assert!(done.stderr.contains("such as registry.k8s.io/pause:3.10"), "{tag:?}\n{done}");
        output.expect_empty();
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_to_is_named() {
    let folder = Folder::new();
    let file = folder.path("file");
    fs::write(&file, "kept").unwrap();
    for output in [file.join("below"), "/proc/pause".into()] {
        let done = run(xtask(&["image", "--output"]).arg(&output)).expect_failure(1);
        assert!(done.stderr.contains(output.to_str().unwrap()), "{done}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[test]
fn an_older_image_is_replaced_as_a_whole() {
    let output = Folder::new();
    fs::write(output.path("pause.tar"), "older").unwrap();
    run(&mut output.image()).expect_success();
    assert!(output.everything() == IMAGE.written, "{:?}", output.everything().keys());
}

#[test]
fn what_is_no_recorded_image_fails_and_says_why() {
    for (file, complaint) in [("README.md", "it is no archive"), ("no/such/file", "cannot read no/such/file")] {
        let done = run(&mut xtask(&["verify", file])).expect_failure(1);
        assert!(done.stderr.contains(complaint) && done.stdout.is_empty(), "{done}");
    }
}

// What the tests share

/// The image of this program, built once for the tests that only look at it.
static IMAGE: LazyLock<Image> = LazyLock::new(|| Image::build(|_| {}));

/// The image of all platforms.
static ALL: LazyLock<Image> = LazyLock::new(|| {
    Image::build(|command| {
        command.args(["--platform", "all"]);
    })
});

/// What clients look for, in the order of the index. That arm64 has no variant is what makes it match with and without.
const PLATFORMS: [&str; 8] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/386",
    "linux/loong64",
];

/// The files `cargo xtask build` made, by platform.
static ALL_SHIPPED: LazyLock<Vec<(&str, PathBuf)>> = LazyLock::new(|| {
    let done = run(&mut xtask(&["build", "--platform", "all"])).expect_success();
    let paths: Vec<PathBuf> = done.stdout.lines().map(PathBuf::from).collect();
    assert_eq!(paths.len(), PLATFORMS.len(), "{done}");
    PLATFORMS.into_iter().zip(paths).collect()
});

/// What `cargo xtask image` wrote, and what is in the archive, by path.
struct Image {
    written: Files,
    entries: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    fn build(change: impl FnOnce(&mut Command)) -> Self {
        let output = Folder::new();
        let mut command = output.image();
        change(&mut command);
        run(&mut command).expect_success();
        let (mut entries, mut files) = (Vec::new(), BTreeMap::new());
        for entry in tar::Archive::new(fs::File::open(output.path("pause.tar")).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            entries.push(entry.path().unwrap().to_str().unwrap().to_owned());
            assert!(entry.header().as_bytes()[156] != 0, "a type flag");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            if entry.header().entry_type().is_file() {
                files.insert(entries.last().unwrap().clone(), content);
            }
        }
        Self { written: output.everything(), entries, files }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_slice(&self.files[name]).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn blob<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor) -> T {
        self.parse(&self.checked(descriptor))
    }

    /// The path of a blob that is there and has the size its descriptor says.
    fn checked(&self, descriptor: &Descriptor) -> String {
        let path = blob_path(descriptor);
        assert_eq!(self.files[&path].len() as u64, descriptor.size(), "size of {path}");
        path
    }

    /// What the references of the layout stand for.
    fn reference(&self) -> Descriptor {
        self.parse::<ImageIndex>("index.json").manifests()[0].clone()
    }

    fn references(&self) -> Vec<String> {
        let name = |entry: &Descriptor| entry.annotations().as_ref().unwrap()["io.containerd.image.name"].clone();
        self.parse::<ImageIndex>("index.json").manifests().iter().map(name).collect()
    }

    fn index(&self) -> ImageIndex {
        self.blob(&self.reference())
    }

    fn manifest(&self) -> ImageManifest {
        self.blob(&self.index().manifests()[0])
    }

    fn parts(&self) -> Vec<Part> {
        let part = |entry: &Descriptor| {
            let manifest: ImageManifest = self.blob(entry);
            let config = self.blob(manifest.config());
            let mut layer = Vec::new();
            let path = self.checked(&manifest.layers()[0]);
            GzDecoder::new(self.files[&path].as_slice()).read_to_end(&mut layer).unwrap();
            Part { entry: entry.clone(), manifest, config, layer }
        };
        self.index().manifests().iter().map(part).collect()
    }
}

/// One platform's part of an image.
struct Part {
    entry: Descriptor,
    manifest: ImageManifest,
    config: ImageConfiguration,
    /// Decompressed.
    layer: Vec<u8>,
}

impl Part {
    /// As the index says.
    fn platform(&self) -> String {
        let platform = self.entry.platform().as_ref().expect("a platform");
        let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", platform.os(), platform.architecture())
    }
}

fn blob_path(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest().algorithm(), descriptor.digest().digest())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file `cargo xtask build` made.
fn shipped() -> &'static Path {
    static SHIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
        let done = run(&mut xtask(&["build", "--platform", "amd64"])).expect_success();
        done.stdout.trim_end().into()
    });
    &SHIPPED
}

/// Every file in a folder by name: its mode and what is in it.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

/// A folder to write an image to, which goes when the test ends.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `cargo xtask image` into this folder.
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

    #[track_caller]
    fn expect_empty(&self) {
        assert_eq!(self.names(), [""; 0], "files were left behind");
    }
}

fn copy_all(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_all(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
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

/// A command that has ended. Shown, it is everything one needs to know of it.
struct Done {
    command: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn run(command: &mut Command) -> Done {
    let output = command.stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes| String::from_utf8(bytes).expect("output in UTF-8");
    Done { command: format!("{command:?}"), status, stdout: text(stdout), stderr: text(stderr) }
}

impl Done {
    #[track_caller]
    fn expect_success(self) -> Self {
        assert!(self.status.success(), "it should have succeeded\n{self}");
        self
    }

    #[track_caller]
    fn expect_failure(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "it should have failed with {code}\n{self}");
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "command: {command}\n{status}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}
