//! Engines build the image from the Containerfile, and load the one the tool builds: either way the same file, mode,
//! owner and configuration.

use oci_spec::image::{Arch, ImageConfiguration, Os};
use pause_tests::sandbox::Sandbox;
use pause_tests::{archive, built, platform};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tar::{EntryType, Header};

#[test]
#[ignore = "needs root and buildah: cargo test --test engines containerfile:: -- --ignored"]
fn buildah_builds_the_same_image() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a directory"), Sandbox::new());
    let tools = Image::read(&archive(directory.path(), &[platform()], &[NAME]).0);
    // What the Containerfile copies.
    built(&[platform()]);
    sandbox.run(&["buildah", "build", "--tag", NAME, "."]);
    let archive = directory.path().join("built.tar");
    sandbox.run(&["buildah", "push", NAME, &format!("docker-archive:{}:{NAME}", archive.display())]);
    assert_eq!(Image::read(&archive), tools, "what buildah built, and the tool's image");
}

/// The old builder, and BuildKit, for which a client newer than 20.10 needs buildx as well.
#[test]
#[ignore = "needs root and docker: cargo test --test engines containerfile:: -- --ignored"]
fn dockers_builders_build_the_same_image() {
    let (directory, sandbox) = (tempfile::tempdir().expect("a directory"), Sandbox::with_docker());
    let tools = Image::read(&archive(directory.path(), &[platform()], &[NAME]).0);
    built(&[platform()]);
    for builder in ["DOCKER_BUILDKIT=0", "DOCKER_BUILDKIT=1"] {
        sandbox.run(&["env", builder, "docker", "build", "--no-cache", "--tag", NAME, "--file=Containerfile", "."]);
        let archive = directory.path().join("built.tar");
        sandbox.run(&["docker", "save", "--output", archive.to_str().expect("UTF-8"), NAME]);
        assert_eq!(Image::read(&archive), tools, "what docker built with {builder}, and the tool's image");
    }
}

const NAME: &str = "registry.k8s.io/pause:3.10";

/// What an image comes to: what is run, as whom, and every file in it. Engines add a search path for programs to the
/// environment, which a program that starts no other never reads.
#[derive(Debug, PartialEq)]
struct Image {
    platform: (Os, Arch),
    user: Option<String>,
    command: [Option<Vec<String>>; 2],
    /// Path, kind, mode, owner, group and digest.
    files: Vec<(String, EntryType, u32, u64, u64, String)>,
}

impl Image {
    /// Reads what `docker save` writes, by the manifest.json in it.
    fn read(archive: &Path) -> Self {
        let open = File::open(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
        let members: HashMap<String, Vec<u8>> =
            entries(open).into_iter().map(|(header, bytes)| (path_in(&header), bytes)).collect();
        let manifest: Value = serde_json::from_slice(&members["manifest.json"]).expect("a manifest.json");
        assert_eq!(manifest.as_array().map(Vec::len), Some(1), "one image in {}: {manifest}", archive.display());
        let member = |name: &Value| &members[name.as_str().expect("a name")];
        let config: ImageConfiguration = serde_json::from_slice(member(&manifest[0]["Config"])).expect("a config");
        let run = config.config().as_ref().expect("what is run");
        let layers = manifest[0]["Layers"].as_array().expect("layers").iter().map(member);
        let files = layers.flat_map(|layer| match &layer[..] {
            gzip @ [0x1f, 0x8b, ..] => entries(flate2::read::GzDecoder::new(gzip)),
            tar => entries(tar),
        });
        let file = |(header, bytes): (Header, Vec<u8>)| {
            // Engines put the file type beside the mode.
            let mode = header.mode().expect("a mode") & 0o7777;
            let (owner, group) = (header.uid().expect("an owner"), header.gid().expect("a group"));
            let digest = xtask::oci::sha256(&bytes).expect("a digest").to_string();
            (path_in(&header), header.entry_type(), mode, owner, group, digest)
        };
        Self {
            platform: (config.os().clone(), config.architecture().clone()),
            user: run.user().clone(),
            command: [run.entrypoint().clone(), run.cmd().clone()],
            files: files.map(file).collect(),
        }
    }
}

fn entries(tar: impl Read) -> Vec<(Header, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        (entry.header().clone(), bytes)
    });
    entries.collect()
}

fn path_in(header: &Header) -> String {
    header.path().expect("a path").display().to_string()
}
