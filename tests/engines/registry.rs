//! Out of a registry, real clients pick the right one of the image's platforms: by architecture, with and without a
//! variant. What the image has no platform for they refuse, rather than take something that does not run.

use oci_spec::image::ImageManifest;
use pause_tests::sandbox::Sandbox;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::oci::{Image, PlatformImage};
use xtask::platform::PLATFORMS;

/// What clients ask for beside the eight, and which of the eight they have to get.
const ALSO_ASKED_FOR: [(&str, &str); 2] = [("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7")];

/// What has to be refused: an architecture the image is not built for, and one whose processors are too old for it.
const NOT_IN_THE_IMAGE: [&str; 2] = ["linux/mips64le", "linux/arm/v6"];

#[test]
#[ignore = "needs root, docker-registry, skopeo, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn skopeo_picks_the_platform_it_is_asked_for() {
    let registry = Registry::new();
    registry.holds("no image found in image index for architecture", |asked| {
        let copy = registry.directory.path().join(asked.replace('/', "-"));
        let [architecture, variant] = options(asked);
        let words = format!(
            "skopeo --override-os=linux --override-arch={architecture} {} copy --src-tls-verify=false \
             docker://{REFERENCE} dir:{}",
            if variant.is_empty() { String::new() } else { format!("--override-variant={variant}") },
            copy.display()
        );
        registry.client(&words)?;
        let manifest = ImageManifest::from_file(copy.join("manifest.json")).expect("a manifest");
        Ok(manifest.config().digest().to_string())
    });
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, podman, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn podman_picks_the_platform_it_is_asked_for() {
    let registry = Registry::new();
    registry.holds("no image found in image index for architecture", |asked| {
        let [architecture, variant] = options(asked);
        let words = format!(
            "podman pull --quiet --tls-verify=false --os=linux --arch={architecture} {} {REFERENCE}",
            if variant.is_empty() { String::new() } else { format!("--variant={variant}") }
        );
        let id = registry.client(&words)?;
        // Nothing of it may be left for the next platform.
        registry.client(&format!("podman rmi {id}"))?;
        Ok(format!("sha256:{id}"))
    });
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, containerd, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn containerd_picks_the_platform_it_is_asked_for_and_pulls_nothing_else() {
    let registry = Registry::new();
    registry.sandbox.start_containerd();
    registry.holds("no match for platform in manifest", |asked| {
        // In a namespace of its own is what this pull has brought, and no more.
        let ctr = format!("ctr --namespace {}", asked.replace('/', "-"));
        registry.client(&format!("{ctr} images pull --plain-http --platform {asked} {REFERENCE}"))?;
        let pulled = registry.client(&format!("{ctr} content ls --quiet"))?;
        let pulled: BTreeSet<&str> = pulled.lines().collect();
        let manifest = |part: &&PlatformImage| pulled.contains(part.manifest.digest().as_ref());
        let part = IMAGE.1.platforms.iter().find(manifest).unwrap_or_else(|| panic!("no manifest in {pulled:?}"));
        let needed = [&IMAGE.1.index, &part.manifest, &part.config, &part.layer].map(|blob| blob.digest().as_ref());
        assert_eq!(pulled, BTreeSet::from(needed), "what was pulled for {asked}, and what is needed");
        Ok(part.config.digest().to_string())
    });
}

const NAME: &str = "localhost/pause:0.1.0";
const REFERENCE: &str = "127.0.0.1:5000/pause:0.1.0";

/// The archive and the image of all platforms.
static IMAGE: LazyLock<(PathBuf, Image)> = LazyLock::new(|| {
    let directory = pause_tests::target().join("tmp/registry");
    pause_tests::archive(&directory, &PLATFORMS.iter().collect::<Vec<_>>(), &[NAME])
});

/// A machine with a registry that has the image, and a directory for what is taken out of it.
struct Registry {
    sandbox: Sandbox,
    directory: TempDir,
}

impl Registry {
    fn new() -> Self {
        let registry = Self { sandbox: Sandbox::new(), directory: tempfile::tempdir().expect("a directory") };
        registry.sandbox.start_registry();
        registry.sandbox.push(&IMAGE.0, NAME, REFERENCE);
        registry
    }

    /// What a command prints, or how it failed.
    fn client(&self, words: &str) -> Result<String, String> {
        let ended = self.sandbox.try_run(&words.split_whitespace().collect::<Vec<_>>());
        if ended.status.success() { Ok(ended.stdout.trim_end().to_owned()) } else { Err(ended.to_string()) }
    }

    /// Asks for everything a client may ask for; `pick` gives the digest of the configuration it got. A client may fail for
    /// many reasons: `refusal` is the one it has to state for what is not there.
    #[track_caller]
    fn holds(&self, refusal: &str, pick: impl Fn(&str) -> Result<String, String>) {
        let names: Vec<String> = PLATFORMS.iter().map(ToString::to_string).collect();
        for (asked, platform) in names.iter().map(|name| (&**name, &**name)).chain(ALSO_ASKED_FOR) {
            let part =
                IMAGE.1.platforms.iter().find(|part| part.platform.to_string() == platform).expect("in the image");
            assert_eq!(pick(asked), Ok(part.config.digest().to_string()), "asked for {asked}");
        }
        for asked in NOT_IN_THE_IMAGE {
            let failure = pick(asked).expect_err(asked);
            assert!(failure.contains(refusal), "expected for {asked}: {refusal}, but\n{failure}");
        }
    }
}

/// Architecture and variant.
fn options(platform: &str) -> [&str; 2] {
    let rest = platform.strip_prefix("linux/").expect("a platform");
    let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
    [architecture, variant]
}
