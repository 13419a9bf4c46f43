//! The image does its job in Docker: others join its namespaces and share them, under the project's seccomp profile too;
//! it leaves no zombie, ends at once when it is told to, and is as small as it says.

use crate::engine::Engine;
use pause_tests::sandbox::{BUSYBOX, SERVE};
use pause_tests::shipped;
use std::fs;

const LOADED: &str = "localhost/pause:loaded";
const BUILT: &str = "localhost/pause:built";

#[test]
#[ignore = "needs root, docker.io and busybox-static: cargo test --test engines docker:: -- --ignored"]
fn others_join_the_namespaces_of_the_image() {
    let docker = Engine::new("docker", &[LOADED]);
    let size = fs::metadata(shipped()).expect("a file").len();
    assert!(size < 1000, "{size} bytes are not shown in full");
    assert_eq!(docker.run(&["images", "--format={{.Size}}", LOADED]), format!("{size}B"));
    docker.run(&["build", "--tag", BUILT, "--file=Containerfile", "."]);
    for (options, image) in [(&[][..], LOADED), (&[], BUILT), (&["--security-opt=seccomp=deploy/seccomp.json"], LOADED)]
    {
        println!("{image} {options:?}");
        holds_what_others_join(&docker, image, options);
        docker.run(&["rm", "--force", "sandbox", "server", "client"]);
    }
}

/// One that joins is given every namespace that Docker lets it join.
fn holds_what_others_join(docker: &Engine, image: &str, options: &[&str]) {
    docker.start("sandbox", &[&["--ipc=shareable"], options, &[image]].concat());
    let join = ["--net=container:sandbox", "--ipc=container:sandbox", "--pid=container:sandbox", BUSYBOX];
    docker.start("server", &[&join[..], &SERVE].concat());
    docker.start("client", &[&join[..], &["sleep", "1000"]].concat());
    for kind in ["net", "ipc", "pid"] {
        let held = docker.sandbox.run(&["readlink", &format!("/proc/{}/ns/{kind}", docker.pid("sandbox"))]);
        assert_eq!(docker.sh("client", &format!("readlink /proc/self/ns/{kind}")), held, "the client's namespace");
    }
    docker.holds_a_pod("net ipc pid", ["server", "client"]);
    docker.ends("sandbox");
}
