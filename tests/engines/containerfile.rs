//! Engines build the image from the Containerfile, and load the one the tool builds: either way the same file, mode,
//! owner and configuration.

use crate::engine::Engine;
use pause_tests::{built, platform};

const NAME: &str = "registry.k8s.io/pause:3.10";

/// What is run, as whom, and every file there is.
const COMES_TO: &str = "
    $1 image inspect --format '{{.Os}} {{.Architecture}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}}' $2
    container=$($1 create --network=none $2)
    $1 export $container | tar --list --verbose --numeric-owner | awk '{ print $1, $2, $3, $6 }'
    $1 export $container | tar --extract --to-stdout pause | sha256sum
";

#[test]
#[ignore = "needs root, podman and buildah: cargo test --test engines containerfile:: -- --ignored"]
fn buildah_builds_the_same_image() {
    builds_the_same_image("podman", "buildah build --tag built .");
}

/// The old builder, and BuildKit, for which a client newer than 20.10 needs buildx as well.
#[test]
#[ignore = "needs root and docker: cargo test --test engines containerfile:: -- --ignored"]
fn dockers_builders_build_the_same_image() {
    for builder in 0..=1 {
        let build = format!("DOCKER_BUILDKIT={builder} docker build --no-cache --tag built --file=Containerfile .");
        builds_the_same_image("docker", &build);
    }
}

fn builds_the_same_image(program: &'static str, build: &str) {
    let engine = Engine::new(program, &[NAME]);
    // What the Containerfile copies.
    built(&[platform()]);
    engine.sandbox.sh(build, &[]);
    let [ours, others] = [NAME, "built"].map(|image| engine.sandbox.sh(COMES_TO, &[program, image]));
    assert!(ours.contains("-rwxr-xr-x 0/0 "), "the program is not in {ours}");
    assert_eq!(others, ours, "what {build} built, and the tool's image");
}
