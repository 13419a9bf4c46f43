//! An image for the containers of a Pod: busybox, the file and a link for each program it can be.

use oci_spec::image::{
    ANNOTATION_REF_NAME, Arch, Descriptor, Digest, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, OciLayoutBuilder, Os, RootFsBuilder,
};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use tar::{Builder, EntryType, Header};

const BUSYBOX: &str = "/bin/busybox";

/// Writes the image as an archive of an OCI layout, under the name given.
pub fn write_image(path: &Path, name: &str) {
    let mut archive = Archive(Builder::new(File::create(path).expect("a file")));
    let layer = archive.blob(MediaType::ImageLayer, layer());
    let config = ImageConfigurationBuilder::default()
        .architecture(Arch::default())
        .os(Os::Linux)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids([layer.digest().to_string()]).build().expect("whole"))
        .build();
    let config = archive.blob(MediaType::ImageConfig, json(config));
    let manifest = ImageManifestBuilder::default().schema_version(2u32).config(config).layers([layer]).build();
    let mut manifest = archive.blob(MediaType::ImageManifest, json(manifest));
    manifest.set_annotations(Some(HashMap::from([(ANNOTATION_REF_NAME.to_owned(), name.to_owned())])));
    let index = ImageIndexBuilder::default().schema_version(2u32).manifests([manifest]).build();
    append(&mut archive.0, "index.json", &json(index));
    append(&mut archive.0, "oci-layout", &json(OciLayoutBuilder::default().image_layout_version("1.0.0").build()));
    archive.0.finish().expect("writable");
}

struct Archive(Builder<File>);

impl Archive {
    fn blob(&mut self, media_type: MediaType, content: Vec<u8>) -> Descriptor {
        let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        append(&mut self.0, &format!("blobs/sha256/{hash}"), &content);
        let digest: Digest = format!("sha256:{hash}").parse().expect("a digest");
        Descriptor::new(media_type, content.len() as u64, digest)
    }
}

fn json<T: serde::Serialize, E: std::fmt::Debug>(document: Result<T, E>) -> Vec<u8> {
    serde_json::to_vec(&document.expect("whole")).expect("JSON")
}

fn append(archive: &mut Builder<impl std::io::Write>, name: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content).expect("writable");
}

fn layer() -> Vec<u8> {
    let mut layer = Builder::new(Vec::new());
    let busybox = std::fs::read(BUSYBOX).unwrap_or_else(|error| panic!("{BUSYBOX}: {error}: install busybox-static"));
    append(&mut layer, "bin/busybox", &busybox);
    let programs = Command::new(BUSYBOX).arg("--list").output().expect("busybox runs");
    for program in String::from_utf8(programs.stdout).expect("text").lines().filter(|program| *program != "busybox") {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{program}"), "busybox").expect("writable");
    }
    layer.into_inner().expect("writable")
}
