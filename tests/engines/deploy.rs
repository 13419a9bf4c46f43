//! The pages of deploy/ can be followed: the commands do what the page says, and the image has the names that each
//! distribution asks for.

use pause_tests::debian::Suite;
use pause_tests::sandbox::{REGISTRY, Sandbox};
use pause_tests::{Ended, blocks, tool};
use std::collections::{BTreeMap, BTreeSet};
use tempfile::TempDir;
use xtask::distribution;

const OWN_NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

const LOAD: &str = "1. Load";
const USE: &str = "2. Use";
const CHECK: &str = "3. Check";
const UNDO: &str = "Undo";

#[test]
#[ignore = "needs root, containerd and runc: cargo test --test engines deploy:: -- --ignored"]
fn the_commands_for_containerd_do_what_the_page_says() {
    let node = Node::new("containerd", Sandbox::new());
    node.sandbox.start_containerd();
    node.load();
    assert_eq!(node.images(), node.asked_for());
    // In place of the kubelet's first Pod.
    let name = &node.asked_for()[0];
    node.run(&format!("ctr --namespace k8s.io run --detach --cgroup {}/pod {name} pod", node.sandbox.cgroup));
    node.check("65535");
    node.run("ctr --namespace k8s.io task rm --force pod && ctr --namespace k8s.io container rm pod");
    // What deploy/README.md says to do before, here with the only image there is.
    let kept = blocks("deploy/README.md", "Before you start", "sh");
    node.run(&kept[0]);
    assert_eq!(node.run(&kept[1]).trim_end(), "oci-layout");
    // Of the page's name with a digest: the image has that name, too.
    node.run(node.commands(USE).last().expect("a command"));
    let tagged = node.images().into_iter().find(|name| name.starts_with("localhost/pause@sha256:"));
    node.run(&format!("ctr --namespace k8s.io images rm {}", tagged.expect("a name with a digest")));
    node.undo();
    assert_eq!(node.images(), [""; 0]);
    node.run(&kept[2]);
    assert_eq!(node.images(), ["registry.k8s.io/pause:3.10"]);
}

#[test]
#[ignore = "needs root, containerd, docker.io and podman: cargo test --test engines deploy:: -- --ignored"]
fn a_node_of_every_distribution_finds_the_image_under_the_name_it_asks_for() {
    let containerd = Sandbox::new();
    containerd.start_containerd();
    for name in distribution::names() {
        let (directory, distribution, names) = (archive(name), distribution::named(name), asked_for(name));
        if let Some(engine) = BTreeMap::from([("cri-dockerd", "docker"), ("cri-o", "podman")]).get(name) {
            let sandbox = if *engine == "docker" { Sandbox::with_docker() } else { Sandbox::new() };
            let run = |command: &str| sandbox.sh(&format!("cd {}; {command}", directory.path().display()), &[]);
            run(&distribution.load(&names));
            run(&format!("{engine} image inspect {}", names.join(" ")));
            run(&distribution.remove(&names));
            assert_eq!(run(&format!("{engine} image ls --quiet")), "");
        } else {
            // A namespace each, as if it were a node each.
            let ctr = format!("ctr --namespace {name} images");
            containerd.sh(&format!("{ctr} import {}/pause.tar", directory.path().display()), &[]);
            assert_eq!(lines(&containerd.sh(&format!("{ctr} ls --quiet"), &[])), names, "on a node of {name}");
        }
    }
}

#[test]
#[ignore = "needs root, docker-registry and Debian's archive: cargo test --test engines deploy:: -- --ignored"]
fn with_windows_parts_appended_each_kind_of_node_gets_its_own() {
    let sandbox = Sandbox::new();
    sandbox.lay_over(Suite::Sid);
    sandbox.start_registry();
    let name = format!("{REGISTRY}/pause:0.1.0");
    sandbox.push(&archive("pause").path().join("pause.tar"), OWN_NAME, &name);
    // Upstream's image has a part for each version of Windows, and Linux's.
    let upstream = format!("{REGISTRY}/upstream:3.10");
    sandbox.sh(UPSTREAM, &[&upstream]);
    let recipe = blocks("deploy/README.md", "Clusters with Windows nodes", "sh").remove(0);
    let recipe = recipe.replace("registry.example/pause:0.1.0", &name).replace("registry.k8s.io/pause:3.10", &upstream);
    let gets = sandbox.sh(&recipe.replace("skopeo inspect", "skopeo inspect --tls-verify=false"), &[]);
    let layer = |name: &str, platform: &str| {
        let manifest = sandbox.run(&["crane", "manifest", "--platform", platform, name]);
        let manifest: oci_spec::image::ImageManifest = serde_json::from_str(&manifest).expect("a manifest");
        manifest.layers()[0].digest().to_string()
    };
    let [linux, windows] = [layer(&name, "linux/amd64"), layer(&upstream, "windows/amd64")];
    assert_eq!(
        gets.lines().skip_while(|line| !line.starts_with("linux")).collect::<Vec<_>>(),
        [format!("linux [{linux}]"), format!("windows [{windows}]")]
    );
    let platforms = sandbox.run(&["crane", "manifest", &format!("{name}-all")]);
    assert_eq!(platforms.matches("os.version").count(), 2, "Windows' parts: {platforms}");
    assert_eq!(platforms.matches("\"linux\"").count(), 1, "Linux' parts: {platforms}");
}

/// Makes the image `$1` of two parts for Windows and one for Linux.
const UPSTREAM: &str = r#"
    cd /run
    for platform in windows/amd64:10.0.17763.1 windows/amd64:10.0.20348.1 linux/amd64; do
        echo $platform > part
        tar -cf part.tar part
        crane append --new_layer part.tar --new_tag $1-part
        parts="${parts:-} --manifest $(crane mutate $1-part --set-platform $platform --tag $1-part)"
    done
    crane index append $parts --tag $1
"#;

#[test]
#[ignore = "needs root and docker.io: cargo test --test engines deploy:: -- --ignored"]
fn the_commands_for_docker_do_what_the_page_says() {
    let node = Node::new("docker", Sandbox::with_docker());
    node.load();
    let run = node.commands(USE).join("\n");
    node.run(&run.replace("docker run", &format!("docker run --cgroup-parent={}", node.sandbox.cgroup)));
    node.check("65535");
    node.undo();
    assert_eq!(node.run("docker container ls --all --quiet; docker image ls --quiet"), "");
}

#[test]
#[ignore = "needs root, podman and crun: cargo test --test engines deploy:: -- --ignored"]
fn the_configuration_and_the_commands_for_podman_do_what_the_page_says() {
    let node = Node::new("podman", Sandbox::new());
    node.load();
    let directory = "/etc/containers/containers.conf.d";
    let configuration = &blocks("deploy/podman.md", USE, "toml")[0];
    node.run(&format!("mkdir -p {directory}; cat > {directory}/pause.conf << 'end'\n{configuration}\nend"));
    let run = node.commands(USE).join("\n");
    node.run(&run.replace("pod create", &format!("pod create --cgroup-parent={}", node.sandbox.cgroup)));
    node.check("0");
    node.undo();
    assert_eq!(node.run("podman pod ls --quiet; podman container ls --all --quiet; podman image ls --quiet"), "");
}

/// A machine on which one page is followed, in the directory where the archive is.
struct Node {
    name: String,
    sandbox: Sandbox,
    directory: TempDir,
}

impl Node {
    fn new(name: &str, sandbox: Sandbox) -> Self {
        Self { name: name.into(), sandbox, directory: archive(name) }
    }

    #[track_caller]
    fn commands(&self, title: &str) -> Vec<String> {
        blocks(&format!("deploy/{}.md", self.name), title, "sh")
    }

    #[track_caller]
    fn run(&self, script: &str) -> String {
        let script = format!("cd {}\n{script}", self.directory.path().display());
        self.sandbox.run(&["bash", "-euo", "pipefail", "-c", &script])
    }

    /// The command after the one that makes the archive.
    #[track_caller]
    fn load(&self) {
        self.run(&self.commands(LOAD)[1..].join("\n"));
    }

    /// What the page has checked, and what deploy/README.md says of the process.
    #[track_caller]
    fn check(&self, user: &str) {
        assert_eq!(self.run(&self.commands(CHECK).join("\n")), pause_tests::VERSION.trim_end());
        let seen = self.run("pid=$(pgrep -n -x pause); stat --format=%u /proc/$pid; tr '\\0' ' ' < /proc/$pid/cmdline");
        assert_eq!(seen.trim_end(), format!("{user}\n/pause"), "user and command line");
        let memory = self.run("awk '/^VmRSS:/ { print $2 }' /proc/$(pgrep -n -x pause)/status");
        let memory: u32 = memory.trim_end().parse().expect("a number of KB");
        let limit = 64;
        assert!(memory < limit, "{memory} KB");
    }

    #[track_caller]
    fn undo(&self) {
        self.run(&self.commands(UNDO).join("\n"));
    }

    fn asked_for(&self) -> Vec<String> {
        asked_for(&self.name)
    }

    fn images(&self) -> Vec<String> {
        lines(&self.run("ctr --namespace k8s.io images ls --quiet"))
    }
}

/// Makes the archive for a distribution, in a directory of its own.
fn archive(name: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = tool();
    command.args(["image", "--output"]).arg(directory.path());
    if distribution::names().any(|one| one == name) {
        command.args(["--for", name]);
    }
    Ended::of(&mut command).succeeded();
    directory
}

/// In the order that lists of images have.
fn asked_for(name: &str) -> Vec<String> {
    let names: BTreeSet<_> = distribution::named(name).images().chain([OWN_NAME]).map(str::to_owned).collect();
    names.into_iter().collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
