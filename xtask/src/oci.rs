//! The documents of an OCI image, as short as they can be: on a node they weigh more than the program. `mediaType` at
//! the top of manifests and indexes is left out, as images from before OCI 1.0.2 have it: whoever reads one was told
//! the type by the descriptor or the registry that led there.

use crate::build::Program;
use crate::layer;
use crate::platform::Platform;
use anyhow::{Context, Result};
use oci_spec::image::{
    ANNOTATION_REF_NAME, Config, ConfigBuilder, Descriptor, Digest, ImageConfiguration, ImageConfigurationBuilder,
    ImageIndex, ImageIndexBuilder, ImageManifest, ImageManifestBuilder, MediaType, OciLayout, OciLayoutBuilder, Os,
    PlatformBuilder, RootFsBuilder,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

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
    /// `built` is called after each platform. Only a time that was asked for is recorded.
    pub fn new(programs: Vec<Program>, time: Option<Duration>, mut built: impl FnMut()) -> Result<Self> {
        let mut blobs = Blobs::default();
        let mut platforms = Vec::new();
        for program in programs {
            platforms.push(PlatformImage::new(program, time, &mut blobs)?);
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
        // Its format knows nothing of platforms: the first one it is.
        let first = self.platforms.first().context("an image needs a platform")?;
        let document = docker_document(&first.config, &first.layer, references);
        files.insert(DOCKER_DOCUMENT.into(), serde_json::to_vec(&document)?);
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            // Left empty, some readers take these for no number.
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_slice())?;
        }
        Ok(builder.into_inner()?)
    }
}

pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The files of a layout that are no blobs, and what Docker reads.
pub const LAYOUT: &str = "oci-layout";
pub const INDEX: &str = "index.json";
pub const DOCKER_DOCUMENT: &str = "manifest.json";

impl PlatformImage {
    fn new(program: Program, time: Option<Duration>, blobs: &mut Blobs) -> Result<Self> {
        let platform = program.platform;
        let layer = layer::layer(&program.bytes, time.unwrap_or_default().as_secs())?;
        let config = configuration(platform, sha256(&layer.tar)?, time.map(date))?;
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
    Ok(ImageIndexBuilder::default().schema_version(2u32).manifests(entries).build()?)
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
    Ok(ImageManifestBuilder::default().schema_version(2u32).config(config).layers([layer]).build()?)
}

pub fn configuration(platform: &Platform, diff_id: Digest, created: Option<String>) -> Result<ImageConfiguration> {
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids([diff_id.to_string()]).build()?;
    let mut config = ImageConfigurationBuilder::default()
        .architecture(platform.architecture.clone())
        .os(Os::Linux)
        .config(execution()?)
        .rootfs(rootfs);
    if let Some(variant) = platform.variant {
        config = config.variant(variant);
    }
    if let Some(created) = created {
        config = config.created(created);
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
