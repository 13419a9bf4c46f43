//! The documents of an OCI image, with every field that some client cannot do without, and no other: on a node they
//! weigh more than the program. Registry clients want `mediaType` at the top of manifests and indexes; buildah and skopeo
//! want a `history` entry for each layer, Docker its `created`; cri-dockerd wants the config's `created`.

use crate::build::Program;
use crate::layer;
use crate::platform::Platform;
use anyhow::{Context, Result};
use oci_spec::image::{
    ANNOTATION_REF_NAME, Config, ConfigBuilder, Descriptor, Digest, HistoryBuilder, ImageConfiguration,
    ImageConfigurationBuilder, ImageIndex, ImageIndexBuilder, ImageManifest, ImageManifestBuilder, MediaType,
    OciLayout, OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};
use tar::EntryType;

/// What one platform's part of the image consists of.
pub struct PlatformImage {
    pub program: Program,
    pub layer: Descriptor,
    pub config: Descriptor,
    pub manifest: Descriptor,
}

/// An image for one or more platforms.
pub struct Image {
    pub platforms: Vec<PlatformImage>,
    pub index: Descriptor,
    pub blobs: Blobs,
}

/// When the image was made, and when its program was changed.
#[derive(Clone)]
pub struct Times {
    pub created: String,
    /// 0 unless a time was asked for: an unchanged program keeps its layer from version to version.
    pub mtime: u64,
}

/// Content by its path in the layout: in their order, and each once.
#[derive(Default)]
pub struct Blobs(pub BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, content.len() as u64, sha256(&content)?);
        self.0.insert(path(&descriptor), content);
        Ok(descriptor)
    }
}

pub fn sha256(content: &[u8]) -> Result<Digest> {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}").parse().context("not a digest")
}

pub fn path(descriptor: &Descriptor) -> String {
    format!("blobs/{}/{}", descriptor.digest().algorithm(), descriptor.digest().digest())
}

impl Image {
    /// `built` is called after each platform.
    pub fn new(programs: Vec<Program>, times: &Times, mut built: impl FnMut()) -> Result<Self> {
        let mut blobs = Blobs::default();
        let mut platforms = Vec::new();
        for program in programs {
            platforms.push(PlatformImage::new(program, times, &mut blobs)?);
            built();
        }
        let entries = platforms.iter().map(|part| index_entry(&part.manifest, part.program.platform));
        let index = index(entries.collect::<Result<_>>()?)?;
        let index = blobs.add(MediaType::ImageIndex, serde_json::to_vec(&index)?)?;
        Ok(Self { platforms, index, blobs })
    }

    /// What a node of that platform downloads: index, manifest, config and layer.
    pub fn pulled(&self, part: &PlatformImage) -> u64 {
        self.index.size() + part.manifest.size() + part.config.size() + part.layer.size()
    }

    /// The files of an OCI layout in which the image has these references.
    pub fn layout(&self, references: &[String]) -> Result<BTreeMap<String, Vec<u8>>> {
        let entries = references
            .iter()
            .map(|reference| {
                let mut entry = self.index.clone();
                // containerd and Podman look for the first, skopeo for the second, and where both are read the first
                // has priority. OCI would have but the tag in the second, which then names nothing without the first.
                let names = [CONTAINERD_NAME, ANNOTATION_REF_NAME].map(|key| (key.into(), reference.clone()));
                entry.set_annotations(Some(HashMap::from(names)));
                entry
            })
            .collect();
        let mut files = self.blobs.0.clone();
        // By way of a `Value`, which unlike a hash map of annotations has an order.
        files.insert(INDEX.into(), serde_json::to_vec(&serde_json::to_value(index(entries)?)?)?);
        files.insert(LAYOUT.into(), serde_json::to_vec(&layout()?)?);
        Ok(files)
    }

    /// The layout in one file, with the document beside it by which Docker before 27 finds an image.
    pub fn archive(&self, references: &[String]) -> Result<Vec<u8>> {
        let mut files = self.layout(references)?;
        // Its format knows nothing of platforms. Of several it could name but one, which Docker before 27, and Podman 4
        // where there are several references, would run on a host of any other.
        if let [only] = &self.platforms[..] {
            let document = docker_document(&only.config, &only.layer, references);
            files.insert(DOCKER_DOCUMENT.into(), serde_json::to_vec(&document)?);
        }
        let mut builder = tar::Builder::new(Vec::new());
        let header = |kind, mode, size: usize| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_mode(mode);
            // Left empty, some readers take these for no number.
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(size as u64);
            header
        };
        // Apptainer finds no blob in a folder that has no entry.
        for folder in FOLDERS {
            builder.append_data(&mut header(EntryType::Directory, 0o755, 0), folder, &[][..])?;
        }
        for (name, content) in files {
            builder.append_data(&mut header(EntryType::Regular, 0o644, content.len()), name, content.as_slice())?;
        }
        Ok(builder.into_inner()?)
    }
}

pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The folders of a layout, as entries of an archive are named.
const FOLDERS: [&str; 2] = ["blobs/", "blobs/sha256/"];

/// The files of a layout that are no blobs, and what Docker reads.
pub const LAYOUT: &str = "oci-layout";
pub const INDEX: &str = "index.json";
pub const DOCKER_DOCUMENT: &str = "manifest.json";

impl PlatformImage {
    fn new(program: Program, times: &Times, blobs: &mut Blobs) -> Result<Self> {
        let platform = program.platform;
        let layer = layer::layer(&program.bytes, times.mtime)?;
        let config = configuration(platform, sha256(&layer.tar)?, &times.created)?;
        let config = blobs.add(MediaType::ImageConfig, serde_json::to_vec(&config)?)?;
        let layer = blobs.add(MediaType::ImageLayerGzip, layer.gzip)?;
        let manifest = manifest(config.clone(), layer.clone())?;
        let manifest = blobs.add(MediaType::ImageManifest, serde_json::to_vec(&manifest)?)?;
        Ok(Self { program, layer, config, manifest })
    }
}

pub fn layout() -> Result<OciLayout> {
    Ok(OciLayoutBuilder::default().image_layout_version("1.0.0").build()?)
}

pub fn index(entries: Vec<Descriptor>) -> Result<ImageIndex> {
    Ok(ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(entries)
        .build()?)
}

pub fn index_entry(manifest: &Descriptor, platform: &Platform) -> Result<Descriptor> {
    let mut named = PlatformBuilder::default().architecture(platform.architecture.clone()).os(Os::Linux);
    if let Some(variant) = platform.variant {
        named = named.variant(variant);
    }
    let mut entry = manifest.clone();
    entry.set_platform(Some(named.build()?));
    Ok(entry)
}

pub fn manifest(config: Descriptor, layer: Descriptor) -> Result<ImageManifest> {
    let manifest = ImageManifestBuilder::default().schema_version(2u32).media_type(MediaType::ImageManifest);
    Ok(manifest.config(config).layers([layer]).build()?)
}

pub fn configuration(platform: &Platform, diff_id: Digest, created: &str) -> Result<ImageConfiguration> {
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids([diff_id.to_string()]).build()?;
    let mut config = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(platform.architecture.clone())
        .os(Os::Linux)
        .config(execution()?)
        .rootfs(rootfs)
        .history([HistoryBuilder::default().created(created).build()?]);
    if let Some(variant) = platform.variant {
        config = config.variant(variant);
    }
    Ok(config.build()?)
}

pub fn docker_document(config: &Descriptor, layer: &Descriptor, references: &[String]) -> Value {
    json!([{ "Config": path(config), "RepoTags": references, "Layers": [path(layer)] }])
}

pub fn date(time: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + time).to_string()
}

/// The user is upstream's: nobody's, and no name that a file in the image would have to resolve.
fn execution() -> Result<Config> {
    Ok(ConfigBuilder::default().user("65535:65535").entrypoint(["/pause".to_owned()]).build()?)
}
