//! Out of a registry, real clients pick the right one of the image's platforms: by architecture, with and without a
//! variant. What the image has no platform for they refuse, rather than take something that does not run.

use oci_spec::image::{Digest, ImageManifest};
use pause_tests::sandbox::Sandbox;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;
use xtask::image::{build_image, times};
use xtask::oci::{Image, PlatformImage, sha256};
use xtask::platform::PLATFORMS;

/// What clients ask for beside the eight, and which of the eight they have to get.
const ALSO_ASKED_FOR: [(&str, &str); 2] = [("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7")];

/// What has to be refused: an architecture the image is not built for, and one whose processors are too old for it.
const NOT_IN_THE_IMAGE: [&str; 2] = ["linux/mips64le", "linux/arm/v6"];

#[test]
#[ignore = "needs root, docker-registry, skopeo, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn skopeo_picks_the_platform_it_is_asked_for() {
    let registry = Registry::new(&[]);
    registry.picks_what_is_asked_for(|asked| {
        let copy = registry.directory.path().join(asked.replace('/', "-"));
        registry.skopeo(asked, &copy).map(|()| {
            // A copy to a directory: the manifest as it came, and blobs named by their hash alone.
            let manifest = ImageManifest::from_file(copy.join("manifest.json")).expect("a manifest");
            let layer = copy.join(manifest.layers()[0].digest().digest());
            Picked::new(manifest.config().digest().clone(), &layer)
        })
    });
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn skopeo_refuses_a_platform_that_is_not_there() {
    let registry = Registry::new(&[]);
    for platform in NOT_IN_THE_IMAGE {
        let refusal = format!("no image found in image index for {}", containers_image_calls_it(platform));
        refused(registry.skopeo(platform, &registry.directory.path().join("copy")), platform, &refusal);
    }
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, podman, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn podman_picks_the_platform_it_is_asked_for() {
    let registry = Registry::new(&["podman"]);
    registry.picks_what_is_asked_for(|asked| {
        registry.podman(asked).map(|id| {
            let program = registry.directory.path().join("pause");
            // Nothing of it may be left for the next platform.
            let take_out = "
                cp \"$(podman image mount $1)/pause\" $2
                podman image unmount $1
                podman rmi $1
            ";
            registry.sandbox.run(&["sh", "-euc", take_out, "sh", &id, path(&program)]);
            // Podman names an image by its configuration.
            Picked { config: format!("sha256:{id}").parse().expect("a digest"), program: program_digest(&program) }
        })
    });
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, podman, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn podman_refuses_a_platform_that_is_not_there() {
    let registry = Registry::new(&["podman"]);
    for platform in NOT_IN_THE_IMAGE {
        let refusal = format!("no image found in image index for {}", containers_image_calls_it(platform));
        refused(registry.podman(platform), platform, &refusal);
    }
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, containerd, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn containerd_picks_the_platform_it_is_asked_for_and_pulls_nothing_else() {
    let registry = Registry::with_containerd();
    registry.picks_what_is_asked_for(|asked| {
        registry.containerd(asked).map(|namespace| {
            let ctr = |words: &str| format!("ctr --namespace {namespace} {words}");
            let pulled = registry.sandbox.run(&["sh", "-euc", &ctr("content ls --quiet")]);
            let pulled: BTreeSet<&str> = pulled.lines().collect();
            let manifest = |part: &&PlatformImage| pulled.contains(part.manifest.digest().as_ref());
            let part = IMAGE.platforms.iter().find(manifest);
            let part = part.unwrap_or_else(|| panic!("for {asked} containerd pulled no manifest: {pulled:?}"));
            let needed = [&IMAGE.index, &part.manifest, &part.config, &part.layer].map(|blob| blob.digest().as_ref());
            assert_eq!(pulled, BTreeSet::from(needed), "what containerd pulled for {asked}, and what it needs");
            let layer = registry.directory.path().join("layer");
            let get = ctr(&format!("content get {} > {}", part.layer.digest(), path(&layer)));
            registry.sandbox.run(&["sh", "-euc", &get]);
            Picked::new(part.config.digest().clone(), &layer)
        })
    });
}

#[test]
#[ignore = "needs root, docker-registry, skopeo, containerd, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn containerd_refuses_a_platform_that_is_not_there() {
    let registry = Registry::with_containerd();
    for platform in NOT_IN_THE_IMAGE {
        refused(registry.containerd(platform), platform, "no match for platform in manifest");
    }
}

const REFERENCE: &str = "127.0.0.1:5000/pause:0.1.0";

/// A machine with a registry that has the image, and a directory for what is taken out of it.
struct Registry {
    sandbox: Sandbox,
    directory: TempDir,
}

/// What a client that did not succeed printed, and how it ended.
type Failure = String;

impl Registry {
    /// `packages` are needed beside the registry and what fills it; Debian's are named like the programs in them.
    fn new(packages: &[&str]) -> Self {
        let sandbox = Sandbox::new();
        for package in ["docker-registry", "skopeo"].iter().chain(packages) {
            let found = sandbox.try_run(&["sh", "-c", "command -v $0", package]);
            assert!(found.status.success(), "{package} is missing: apt-get install {package}");
        }
        let registry = Self { sandbox, directory: tempfile::tempdir().expect("a directory") };
        registry.sandbox.start_registry();
        let archive = registry.directory.path().join("pause.tar");
        fs::write(&archive, IMAGE.archive(&[NAME.to_owned()]).expect("an archive")).expect("written");
        registry.sandbox.push(&archive, NAME, REFERENCE);
        registry
    }

    fn with_containerd() -> Self {
        let registry = Self::new(&["containerd"]);
        registry.sandbox.start_containerd();
        registry
    }

    /// Copies the platform's part of the image to a directory.
    fn skopeo(&self, platform: &str, copy: &Path) -> Result<(), Failure> {
        let (architecture, variant) = parse(platform);
        let mut words = vec!["skopeo", "--override-os=linux", "--override-arch", architecture];
        words.extend(variant.iter().flat_map(|variant| ["--override-variant", variant]));
        let (source, destination) = (format!("docker://{REFERENCE}"), format!("dir:{}", path(copy)));
        words.extend(["copy", "--src-tls-verify=false", &source, &destination]);
        self.client(&words).map(drop)
    }

    /// Pulls, and returns the image's id.
    fn podman(&self, platform: &str) -> Result<String, Failure> {
        let (architecture, variant) = parse(platform);
        let mut words = vec!["podman", "pull", "--quiet", "--tls-verify=false", "--os=linux", "--arch", architecture];
        words.extend(variant.iter().flat_map(|variant| ["--variant", variant]));
        words.push(REFERENCE);
        let id = self.client(&words)?;
        // It is what the name then stands for.
        let named = self.client(&["podman", "image", "inspect", "--format={{.Id}}", REFERENCE])?;
        assert_eq!(named, id, "the image of the name, and the one that was pulled for {platform}");
        Ok(id)
    }

    /// Pulls into a namespace of containerd's, which it returns: in it is what this pull has brought, and no more.
    fn containerd(&self, platform: &str) -> Result<String, Failure> {
        let namespace = platform.replace('/', "-");
        let words = ["ctr", "--namespace", &namespace, "images", "pull", "--plain-http", "--platform", platform];
        self.client(&[&words[..], &[REFERENCE]].concat())?;
        Ok(namespace)
    }

    fn client(&self, words: &[&str]) -> Result<String, Failure> {
        let ended = self.sandbox.try_run(words);
        if ended.status.success() { Ok(ended.stdout.trim_end().to_owned()) } else { Err(ended.to_string()) }
    }

    /// Asks for everything a client may ask for, and says of all that went wrong what it was.
    #[track_caller]
    fn picks_what_is_asked_for(&self, pick: impl Fn(&str) -> Result<Picked, Failure>) {
        let names: Vec<String> = PLATFORMS.iter().map(ToString::to_string).collect();
        let themselves = names.iter().map(|name| (name.as_str(), name.as_str()));
        let wrong: Vec<String> = themselves
            .chain(ALSO_ASKED_FOR)
            .filter_map(|(asked, platform)| {
                let part = IMAGE.platforms.iter().find(|part| part.platform.to_string() == platform);
                let expected = Picked::of(part.expect("it is in the image"));
                let picked = match pick(asked) {
                    Ok(picked) if picked == expected => return None,
                    Ok(picked) => match IMAGE.platforms.iter().find(|part| Picked::of(part) == picked) {
                        Some(part) => format!("what is for {}", part.platform),
                        None => format!("{picked:?}, which the image does not have"),
                    },
                    Err(failure) => failure,
                };
                Some(format!("asked for {asked}\nexpected: {platform}\npicked: {picked}\n"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A client may fail for many reasons; `refusal` is the one it has to state.
#[track_caller]
fn refused<T>(result: Result<T, Failure>, platform: &str, refusal: &str) {
    match result {
        Ok(_) => panic!("{platform} is not in the image, and yet something was picked for it"),
        Err(failure) => assert!(failure.contains(refusal), "expected for {platform}: {refusal}, but\n{failure}"),
    }
}

/// How the library of skopeo and Podman words it, in a message that [`pause_tests::Ended`] shows escaped once and skopeo's
/// log once more: without the quotes around the variant.
fn containers_image_calls_it(platform: &str) -> String {
    format!("architecture {}, variant", parse(platform).0)
}

/// Architecture and variant.
fn parse(platform: &str) -> (&str, Option<&str>) {
    let rest = platform.strip_prefix("linux/").expect("a platform");
    rest.split_once('/').map_or((rest, None), |(architecture, variant)| (architecture, Some(variant)))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// What a client brought, by digests: the configuration, and the program in the layer.
#[derive(Debug, PartialEq)]
struct Picked {
    config: Digest,
    program: Digest,
}

impl Picked {
    fn of(part: &PlatformImage) -> Self {
        Self { config: part.config.digest().clone(), program: part.program.digest.clone() }
    }

    fn new(config: Digest, layer: &Path) -> Self {
        let layer = fs::File::open(layer).unwrap_or_else(|error| panic!("{}: {error}", layer.display()));
        let directory = tempfile::tempdir().expect("a directory");
        tar::Archive::new(flate2::read::GzDecoder::new(layer)).unpack(&directory).expect("a layer");
        Self { config, program: program_digest(&directory.path().join("pause")) }
    }
}

fn program_digest(program: &Path) -> Digest {
    sha256(&fs::read(program).expect("a program")).expect("a digest")
}

const NAME: &str = "localhost/pause:0.1.0";

/// The image of all platforms.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let platforms: Vec<_> = PLATFORMS.iter().collect();
    build_image(&platforms, &times().expect("a date")).expect("an image").1
});
