//! Out of a registry, real clients pick the right one of the image's platforms: by architecture, with and without a
//! variant. What the image has no platform for they refuse, rather than take something that does not run.

use pause_tests::Ended;
use pause_tests::sandbox::Sandbox;
use std::path::PathBuf;
use std::sync::LazyLock;
use xtask::oci::{Image, PlatformImage};
use xtask::platform::PLATFORMS;

const NAME: &str = "localhost/pause:0.1.0";
const REFERENCE: &str = "127.0.0.1:5000/pause:0.1.0";

#[test]
#[ignore = "needs root, docker-registry, skopeo, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn skopeo_picks_the_platform_it_is_asked_for() {
    let pick = "set -- --override-os=linux --override-arch=$architecture ${variant:+--override-variant=$variant}
        skopeo \"$@\" inspect --config --raw --tls-verify=false docker://$reference > config
        sha256sum < config | sed 's/\\(.*\\)  -/sha256:\\1/'";
    picks(|_| (), pick, "no image found in image index for architecture", config);
}

/// Nothing of it may be left for the next platform.
#[test]
#[ignore = "needs root, docker-registry, skopeo, podman, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn podman_picks_the_platform_it_is_asked_for() {
    let pick = "set -- --quiet --tls-verify=false --os=linux --arch=$architecture ${variant:+--variant=$variant}
        id=$(podman pull \"$@\" $reference)
        podman rmi $id > removed
        echo sha256:$id";
    picks(|_| (), pick, "no image found in image index for architecture", config);
}

/// In a namespace of its own is what a pull has brought: index, manifest, config and layer.
#[test]
#[ignore = "needs root, docker-registry, skopeo, containerd, all toolchains: cargo test --test engines registry:: -- --ignored"]
fn containerd_picks_the_platform_it_is_asked_for_and_pulls_nothing_else() {
    let pick = "namespace=$architecture${variant:+-$variant}
        ctr --namespace $namespace images pull --plain-http --platform $asked $reference > pulled
        ctr --namespace $namespace content ls --quiet | sort | paste -sd ,";
    picks(Sandbox::start_containerd, pick, "no match for platform in manifest", |part| {
        let mut pulled = [&IMAGE.1.index, &part.manifest, &part.config, &part.layer].map(|it| it.digest().to_string());
        pulled.sort();
        pulled.join(",")
    });
}

fn config(part: &PlatformImage) -> String {
    part.config.digest().to_string()
}

/// The archive and the image of all platforms.
static IMAGE: LazyLock<(PathBuf, Image)> = LazyLock::new(|| {
    let directory = pause_tests::target().join("tmp/registry");
    pause_tests::archive(&directory, &PLATFORMS.iter().collect::<Vec<_>>(), &[NAME])
});

/// What clients ask for beside the eight, and which of the eight they have to get. arm/v6's processors are too old.
#[rustfmt::skip]
const ALSO_ASKED_FOR: [(&str, &str); 4] = [
    ("linux/arm64/v8", "linux/arm64"), ("linux/arm", "linux/arm/v7"), ("linux/mips64le", "none"), ("linux/arm/v6", "none"),
];

/// Asks for everything a client may ask for; `pick` prints what it got. A client may fail for many reasons: `refusal` is
/// the one it has to state for what is not there.
fn picks(prepare: impl Fn(&Sandbox), pick: &str, refusal: &str, expected: impl Fn(&PlatformImage) -> String) {
    let sandbox = Sandbox::new();
    sandbox.start_registry("");
    sandbox.push(&IMAGE.0, NAME, REFERENCE);
    prepare(&sandbox);
    let names: Vec<String> = PLATFORMS.iter().map(ToString::to_string).collect();
    for (asked, platform) in names.iter().map(|name| (&**name, &**name)).chain(ALSO_ASKED_FOR) {
        let (architecture, variant) = asked["linux/".len()..].split_once('/').unwrap_or((&asked["linux/".len()..], ""));
        let mut command = sandbox.command("env");
        command.args(["--chdir=/run", &format!("asked={asked}"), &format!("reference={REFERENCE}")]);
        command.args([&format!("architecture={architecture}"), &format!("variant={variant}"), "sh", "-euc", pick]);
        let ended = Ended::of(&mut command);
        match IMAGE.1.platforms.iter().find(|part| part.platform.to_string() == platform) {
            Some(part) => ended.exited(0, &(expected(part) + "\n"), &ended.stderr),
            None => assert!(!ended.status.success() && ended.stderr.contains(refusal), "asked for {asked}: {ended}"),
        }
    }
}
