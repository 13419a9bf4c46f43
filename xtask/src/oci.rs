//! The documents of an OCI image, with every field that some client cannot do without, annotations that say whose image
//! it is, and nothing else: on a node they weigh more than the program. Registry clients want `mediaType` at the top of
//! manifests and indexes; buildah and skopeo want a `history` entry for each layer, Docker its `created`; cri-dockerd
//! wants the config's `created`.

use crate::layer::{self, Layer};
use crate::platform::Platform;
use crate::release::Content;
use anyhow::{Context, Result, ensure};
use oci_spec::image::{
    ANNOTATION_REF_NAME, ConfigBuilder, Descriptor, Digest, HistoryBuilder, ImageConfiguration,
    ImageConfigurationBuilder, ImageIndex, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayout,
    OciLayoutBuilder, Os, PlatformBuilder, RootFsBuilder,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::{Duration, SystemTime};
use tar::EntryType;

/// What one platform's part of the image consists of.
pub struct PlatformImage {
    pub platform: &'static Platform,
    pub program: Content,
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

/// What an index says of the image it is of:
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>.
pub type Annotations = BTreeMap<&'static str, String>;

/// Content by its path in the layout: in their order, and each once.
#[derive(Default)]
pub struct Blobs(pub BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: MediaType, content: Vec<u8>) -> Result<Descriptor> {
        let descriptor = Descriptor::new(media_type, content.len() as u64, sha256(&content)?);
        self.0.insert(path(descriptor.digest()), content);
        Ok(descriptor)
    }
}

pub fn sha256(content: &[u8]) -> Result<Digest> {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}").parse().context("not a digest")
}

pub fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

impl Image {
    /// `compressed` is called for each platform.
    pub fn new(
        programs: &[(&'static Platform, &[u8])],
        times: &Times,
        annotations: &Annotations,
        compressed: impl Fn() + Sync,
    ) -> Result<Self> {
        ensure!(!programs.is_empty(), "an image needs a platform");
        // Side by side, for it takes longest.
        let layers = thread::scope(|scope| {
            let layer = |&(_, program)| {
                let layer = layer::layer(program, times.mtime);
                compressed();
                layer
            };
            let threads: Vec<_> = programs.iter().map(|program| scope.spawn(move || layer(program))).collect();
            threads.into_iter().map(|thread| thread.join().expect("compressing does not panic")).collect::<Vec<_>>()
        });
        let mut blobs = Blobs::default();
        let mut platforms = Vec::new();
        for (&(platform, program), layer) in programs.iter().zip(layers) {
            platforms.push(PlatformImage::new(platform, program, layer?, times, &mut blobs)?);
        }
        let entries = platforms.iter().map(|part| (part.platform, part.manifest.clone()));
        let index = blobs.add(MediaType::ImageIndex, index(entries, annotations)?)?;
        Ok(Self { platforms, index, blobs })
    }

    /// What a node of that platform downloads: index, manifest, config and layer.
    pub fn pulled(&self, part: &PlatformImage) -> u64 {
        self.index.size() + part.manifest.size() + part.config.size() + part.layer.size()
    }

    /// An OCI layout in one file, in which the image has these references.
    pub fn archive(&self, references: &[String]) -> Result<Vec<u8>> {
        let mut files = self.blobs.0.clone();
        files.insert(INDEX.into(), top(&self.index, references)?);
        files.insert(LAYOUT.into(), serde_json::to_vec(&layout()?)?);
        // Docker's classic image store reads this alone, and its format knows nothing of platforms. Of several it could
        // name but one, which Docker, and Podman 4 where there are several references, would run on a host of any other.
        if let [only] = &self.platforms[..] {
            let document = docker_document(only.config.digest(), only.layer.digest(), references);
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
        // Apptainer finds no blob in a directory that has no entry.
        for directory in FOLDERS {
            builder.append_data(&mut header(EntryType::Directory, 0o755, 0), directory, &[][..])?;
        }
        for (name, content) in files {
            builder.append_data(&mut header(EntryType::Regular, 0o644, content.len()), name, content.as_slice())?;
        }
        Ok(builder.into_inner()?)
    }
}

/// The annotations that have a name. containerd and Podman look for the first, skopeo for the second, and where both are
/// read the first has priority. OCI would have but the tag in the second, which then names nothing without the first.
pub const NAMES: [&str; 2] = ["io.containerd.image.name", ANNOTATION_REF_NAME];

/// The directories of a layout, as entries of an archive are named.
const FOLDERS: [&str; 2] = ["blobs/", "blobs/sha256/"];

/// The files of a layout that are no blobs, and what Docker reads.
pub const LAYOUT: &str = "oci-layout";
pub const INDEX: &str = "index.json";
pub const DOCKER_DOCUMENT: &str = "manifest.json";

impl PlatformImage {
    fn new(
        platform: &'static Platform,
        program: &[u8],
        layer: Layer,
        times: &Times,
        blobs: &mut Blobs,
    ) -> Result<Self> {
        let config = configuration(platform, sha256(&layer.tar)?, &times.created)?;
        let config = blobs.add(MediaType::ImageConfig, serde_json::to_vec(&config)?)?;
        let layer = blobs.add(MediaType::ImageLayerGzip, layer.gzip)?;
        let manifest = ImageManifestBuilder::default().schema_version(2u32).media_type(MediaType::ImageManifest);
        let manifest = manifest.config(config.clone()).layers([layer.clone()]).build()?;
        let manifest = blobs.add(MediaType::ImageManifest, serde_json::to_vec(&manifest)?)?;
        Ok(Self { platform, program: Content::new(program)?, layer, config, manifest })
    }
}

pub fn layout() -> Result<OciLayout> {
    Ok(OciLayoutBuilder::default().image_layout_version("1.0.0").build()?)
}

/// The index by which a client finds its platform's manifest.
pub fn index(
    manifests: impl IntoIterator<Item = (&'static Platform, Descriptor)>,
    annotations: &Annotations,
) -> Result<Vec<u8>> {
    let entries = manifests.into_iter().map(|(platform, mut entry)| {
        let mut named = PlatformBuilder::default().architecture(platform.architecture.clone()).os(Os::Linux);
        if let Some(variant) = &platform.variant {
            named = named.variant(variant.as_str());
        }
        entry.set_platform(Some(named.build()?));
        Ok(entry)
    });
    let mut index = index_of(entries.collect::<Result<_>>()?)?;
    index.set_annotations(Some(annotations.iter().map(|(&key, value)| (key.into(), value.clone())).collect()));
    in_order(&index)
}

/// The layout's own index, in which an image has its references.
fn top(image: &Descriptor, references: &[String]) -> Result<Vec<u8>> {
    let entries = references.iter().map(|reference| {
        let mut entry = image.clone();
        let names = NAMES.map(|key| (key.into(), reference.clone()));
        entry.set_annotations(Some(HashMap::from(names)));
        entry
    });
    in_order(&index_of(entries.collect())?)
}

/// By way of a `Value`, which unlike a hash map of annotations has an order.
fn in_order(index: &ImageIndex) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&serde_json::to_value(index)?)?)
}

pub fn index_of(entries: Vec<Descriptor>) -> Result<ImageIndex> {
    let index = ImageIndexBuilder::default().schema_version(2u32).media_type(MediaType::ImageIndex);
    Ok(index.manifests(entries).build()?)
}

/// What Docker's classic image store reads.
pub fn docker_document(config: &Digest, layer: &Digest, references: &[String]) -> Value {
    json!([{ "Config": path(config), "RepoTags": references, "Layers": [path(layer)] }])
}

fn configuration(platform: &Platform, diff_id: Digest, created: &str) -> Result<ImageConfiguration> {
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids([diff_id.to_string()]).build()?;
    let mut config = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(platform.architecture.clone())
        .os(Os::Linux)
        // The user is upstream's: nobody's, and no name that a file in the image would have to resolve.
        .config(ConfigBuilder::default().user("65535:65535").entrypoint(["/pause".to_owned()]).build()?)
        .rootfs(rootfs)
        .history([HistoryBuilder::default().created(created).build()?]);
    if let Some(variant) = &platform.variant {
        config = config.variant(variant.as_str());
    }
    Ok(config.build()?)
}

pub fn date(time: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + time).to_string()
}
