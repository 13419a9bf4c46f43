//! Engines build the image from the Containerfile, and load the one the tool builds: either way the same file, mode,
//! owner and configuration.

use pause_tests::ROOT;
use pause_tests::sandbox::Sandbox;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs root and buildah: cargo test --test engines containerfile:: -- --ignored"]
fn buildah_builds_the_same_image() {
    let (folder, sandbox) = (tempfile::tempdir().expect("a folder"), Sandbox::new());
    let tools = Image::read(&pause_tests::sandbox::image(folder.path(), &[NAME]));
    make_the_file();
    sandbox.run(&["buildah", "build", "--tag", NAME, "."]);
    let archive = folder.path().join("built.tar");
    sandbox.run(&["buildah", "push", NAME, &format!("docker-archive:{}:{NAME}", archive.display())]);
    assert_eq!(Image::read(&archive), tools, "what buildah built, and the tool's image");
}

#[test]
#[ignore = "needs root and docker: cargo test --test engines containerfile:: -- --ignored"]
fn dockers_old_builder_builds_the_same_image() {
    docker_builds_the_same_image("DOCKER_BUILDKIT=0");
}

/// With a client that is newer than 20.10 this needs buildx as well.
#[test]
#[ignore = "needs root and docker: cargo test --test engines containerfile:: -- --ignored"]
fn dockers_buildkit_builds_the_same_image() {
    docker_builds_the_same_image("DOCKER_BUILDKIT=1");
}

fn docker_builds_the_same_image(builder: &str) {
    let (folder, sandbox) = (tempfile::tempdir().expect("a folder"), Sandbox::with_docker());
    let tools = Image::read(&pause_tests::sandbox::image(folder.path(), &[NAME]));
    make_the_file();
    sandbox.run(&["env", builder, "docker", "build", "--tag", NAME, "--file=Containerfile", "."]);
    let archive = folder.path().join("built.tar");
    sandbox.run(&["docker", "save", "--output", path(&archive), NAME]);
    assert_eq!(Image::read(&archive), tools, "what docker built, and the tool's image");
}

#[test]
#[ignore = "needs root and docker: cargo test --test engines containerfile:: -- --ignored"]
fn docker_loads_the_tools_image_under_all_its_names() {
    let (folder, sandbox) = (tempfile::tempdir().expect("a folder"), Sandbox::with_docker());
    let names = [NAME, "docker.io/rancher/mirrored-pause:3.6"];
    let archive = pause_tests::sandbox::image(folder.path(), &names);
    sandbox.run(&["docker", "load", "--input", path(&archive)]);
    for name in names {
        let saved = folder.path().join("saved.tar");
        sandbox.run(&["docker", "save", "--output", path(&saved), name]);
        assert_eq!(Image::read(&saved), Image::read(&archive), "{name} as docker has it, and the tool's image");
    }
}

const NAME: &str = "registry.k8s.io/pause:3.10";

/// Makes the file that the Containerfile copies.
fn make_the_file() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "build"]).current_dir(ROOT);
    pause_tests::sandbox::succeed(command);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What an image comes to: what is run, as whom, and every file in it. Engines add a search path for programs to the
/// environment, which a program that starts no other never reads.
#[derive(Debug, PartialEq)]
struct Image {
    os: String,
    architecture: String,
    user: String,
    entrypoint: Vec<String>,
    command: Option<Vec<String>>,
    files: Vec<Entry>,
}

#[derive(Debug, PartialEq)]
struct Entry {
    path: String,
    kind: tar::EntryType,
    mode: u32,
    owner: u64,
    group: u64,
    bytes: Bytes,
}

#[derive(PartialEq)]
struct Bytes(Vec<u8>);

/// Short enough to be compared by eye.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} with SHA-256 ", self.0.len())?;
        Sha256::digest(&self.0).iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Image {
    /// Reads what `docker save` writes, by the manifest.json in it.
    fn read(archive: &Path) -> Self {
        let open = File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
        let members: HashMap<String, Vec<u8>> =
            entries(open).into_iter().map(|entry| (entry.path, entry.bytes.0)).collect();
        let member = |name: &str| {
            members.get(name).unwrap_or_else(|| panic!("no {name} in {}: {:?}", archive.display(), members.keys()))
        };

        let manifest: Vec<Manifest> = serde_json::from_slice(member("manifest.json")).expect("a manifest.json");
        let [manifest] = &manifest[..] else { panic!("not one image in {}: {manifest:?}", archive.display()) };
        let Config { os, architecture, config } =
            serde_json::from_slice(member(&manifest.config)).expect("an image configuration");
        let files = manifest.layers.iter().flat_map(|layer| match &member(layer)[..] {
            gzip @ [0x1f, 0x8b, ..] => entries(flate2::read::GzDecoder::new(gzip)),
            tar => entries(tar),
        });
        let Run { user, entrypoint, cmd } = config;
        Self { os, architecture, user, entrypoint, command: cmd, files: files.collect() }
    }
}

fn entries(tar: impl Read) -> Vec<Entry> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        let header = entry.header();
        Entry {
            path: entry.path().expect("a path").display().to_string(),
            kind: header.entry_type(),
            // Engines put the file type beside it.
            mode: header.mode().expect("a mode") & 0o7777,
            owner: header.uid().expect("an owner"),
            group: header.gid().expect("a group"),
            bytes: Bytes(bytes),
        }
    });
    entries.collect()
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    config: String,
    layers: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Config {
    os: String,
    architecture: String,
    config: Run,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Run {
    user: String,
    entrypoint: Vec<String>,
    cmd: Option<Vec<String>>,
}
