//! Real clients read the image, from Debian's packages of several suites. Each that does is recorded below
//! target/clients: `cargo xtask clients` writes docs/clients.md from that.

use pause_tests::debian::{BOOKWORM, SID, TRIXIE};
use pause_tests::sandbox::{self, REGISTRY, Sandbox};
use pause_tests::{Ended, clients, debian};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use xtask::distribution;
use xtask::platform::PLATFORMS;
use xtask::release::Content;

/// Clients that unpack the image or its layer, each a test.
static TABLE: LazyLock<toml::Table> = LazyLock::new(|| {
    let table: toml::Table = include_str!("clients.toml").parse().expect("TOML");
    assert!(table.keys().eq(TESTS.iter().copied().collect::<BTreeSet<_>>()), "a test for each, and each for a test");
    table
});

macro_rules! clients {
    ($($test:ident)*) => {
        const TESTS: &[&str] = &[$(stringify!($test)),*];
        $(
            #[test]
            #[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
            fn $test() {
                unpacks(&TABLE[stringify!($test)]);
            }
        )*
    };
}

clients! {
    busybox bsdtar python node_tar tar_stream mkfs_erofs tar2sqfs sqfstar buildah skopeo umoci
    kata apptainer charliecloud crane oras containerd stargz soci
}

/// In each suite the program is in the file, with its mode.
fn unpacks(row: &toml::Value) {
    let text = |key| row.get(key).and_then(toml::Value::as_str);
    let suites = row["suites"].as_array().expect("suites");
    for suite in [BOOKWORM, TRIXIE, SID].into_iter().filter(|suite| suites.contains(&(*suite).into())) {
        let mut client = Client::new(suite, text("client").expect("a name"), text("version").expect("a command"));
        match text("start") {
            Some("containerd") => client.sandbox.start_containerd(),
            Some(registry) => start_registry(&client.sandbox, registry.ends_with("TLS")),
            None => {}
        }
        client.sh(text("command").expect("a command").trim_start());
        let file = text("file").unwrap_or("x/pause");
        let found = client.run(&format!("stat --format=%a {file}; sha256sum {file}"));
        let (mode, hash) = found.split_once('\n').expect("two lines");
        assert!(mode == "755" && IMAGE.programs.iter().any(|it| hash.starts_with(it.digest.digest())), "{found}");
        client.held("the program's bytes and mode");
    }
}

/// With the image of all platforms; one client speaks nothing but TLS.
fn start_registry(sandbox: &Sandbox, has_tls: bool) {
    let certify = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /run/key -out /run/cert 2>&1";
    if has_tls {
        sandbox.sh(certify, &[]);
    }
    let variables = "REGISTRY_HTTP_TLS_CERTIFICATE=/run/cert REGISTRY_HTTP_TLS_KEY=/run/key";
    sandbox.start_registry(if has_tls { variables } else { "" });
    sandbox.push(Path::new("/run/image/all.tar"), NAMES[0], &format!("{REGISTRY}/pause:all"));
}

#[test]
#[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
fn docker_shows_dates_and_sizes_where_they_belong() {
    for suite in [BOOKWORM, SID] {
        let mut docker = Client::new(suite, "docker", "docker --version");
        docker.sandbox.start(sandbox::DOCKER, "docker version");
        docker.sh("docker load --input pause.tar");
        // cri-dockerd reads no image without.
        let created = docker.sh("docker image inspect --format '{{.Created}}' $NAME");
        assert_eq!(created, xtask::image::times().expect("a date").created);
        docker.sh("printf 'FROM %s\\nLABEL a=b\\nCOPY marker /\\n' $NAME > Dockerfile");
        for builder in 0..=1 {
            docker.sh(&format!("DOCKER_BUILDKIT={builder} docker build --tag derived ."));
            let sizes = docker.sh("docker history --human=false --format '{{.Size}}' derived");
            let program = IMAGE.programs[0].size;
            assert_eq!(sizes, format!("{MARKER}\n0\n{program}"), "{suite}'s Docker with BuildKit {builder}");
        }
        docker.held("the image's date, and each layer's size on its row");
    }
}

/// Of an archive of several platforms, whichever comes first.
#[test]
#[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
fn a_host_loads_its_own_platform_or_nothing() {
    let own = pause_tests::platform().to_string();
    let (own, none) = ([own.trim_start_matches("linux/")], [""; 0]);
    for suite in [BOOKWORM, SID] {
        let mut podman = Client::new(suite, "podman", "podman --version");
        assert_eq!(podman.loads("podman load --input foreign.tar"), none);
        assert_eq!(podman.loads("podman load --input foreign-first.tar"), own);
        // It takes one name alone. What the tool prints takes as many as there are.
        assert_eq!(podman.loads("podman load --input all.tar"), none);
        for command in distribution::named("cri-o").load(&NAMES.map(str::to_owned)).lines() {
            assert_eq!(podman.loads(&command.replace("pause.tar", "all.tar")), own);
            assert_eq!(podman.loads(&command.replace("pause.tar", "foreign.tar")), none);
        }
        podman.held("of several platforms the host's is loaded, or none");

        let mut docker = Client::new(suite, "docker", "docker --version");
        docker.sandbox.start(sandbox::DOCKER, "docker version");
        for archive in ["foreign", "foreign-first", "all"] {
            let command = distribution::named("cri-dockerd").load(&[]);
            assert_eq!(docker.loads(&command.replace("pause", archive)), none);
        }
        docker.held("of several platforms none is loaded");
    }
}

/// A schema's parts lie beside it, whatever the addresses it gives them.
const SCHEMAS: &str = r#"
import json, jsonschema, pathlib, referencing.jsonschema

layout = pathlib.Path("all")
schemas = pathlib.Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")

def retrieve(uri):
    part = json.loads((schemas / uri.rsplit("/", 1)[1]).read_bytes())
    return referencing.jsonschema.DRAFT4.create_resource(part)

def accepted(schema, path):
    document = json.loads((layout / path).read_bytes())
    validator = jsonschema.Draft4Validator(
        json.loads((schemas / f"{schema}-schema.json").read_bytes()),
        format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER,
        registry=referencing.Registry(retrieve=retrieve),
    )
    validator.validate(document)
    print(path)
    return document

def blob(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")

accepted("image-layout", "oci-layout")
index = accepted("image-index", blob(accepted("image-index", "index.json")["manifests"][0]))
for entry in index["manifests"]:
    accepted("config", blob(accepted("image-manifest", blob(entry))["config"]))
"#;

#[test]
#[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
fn the_schemas_of_oci_accept_every_document() {
    let mut client =
        Client::new(SID, "OCI's JSON schemas", "grep ^golang-github-opencontainers-image-spec-dev /usr/packages");
    fs::write(client.sandbox.path("/run/image/schemas.py"), SCHEMAS).expect("writable");
    let accepted = client.sh("python3 schemas.py");
    let documents = fs::read_dir(IMAGE.directory.join("all/blobs/sha256")).expect("a directory").count();
    // Every blob but the layers, of which there are as many as configurations and as manifests, and two files beside.
    assert_eq!(accepted.lines().count(), (documents - 1) / 3 * 2 + 1 + 2, "{accepted}");
    client.held("every document of all platforms is accepted");
}

/// A client in a sandbox with the packages of a suite, in a directory with the image in every form.
struct Client {
    sandbox: Sandbox,
    suite: &'static str,
    name: String,
    version: String,
    commands: Vec<String>,
}

/// What the tool names the image.
const NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// The names of the images of several platforms.
const NAMES: [&str; 2] = ["registry.k8s.io/pause:3.10", "docker.io/rancher/mirrored-pause:3.6"];

/// The size of a file to be added.
const MARKER: usize = 12345;

impl Client {
    fn new(suite: &'static str, name: &str, version: &str) -> Self {
        let sandbox = Sandbox::new();
        if suite != BOOKWORM {
            sandbox.lay_over(suite);
        }
        let mut client = Self { sandbox, suite, name: name.to_owned(), version: String::new(), commands: Vec::new() };
        client.sandbox.run(&["cp", "--recursive", IMAGE.directory.to_str().expect("UTF-8"), "/run/image"]);
        if suite == SID {
            let configure = "cp -r $1/etc/apptainer /etc && mkdir -p /var/lib/apptainer/mnt/session";
            client.sandbox.sh(configure, &[debian::files(suite).to_str().expect("UTF-8")]);
        }
        client.version = client.run(version);
        client
    }

    /// Runs a command that has to succeed.
    #[track_caller]
    fn sh(&mut self, command: &str) -> String {
        self.commands.push(command.replace('\n', " "));
        self.run(command)
    }

    /// Runs a command that may load images, and returns their architectures; none of them is left.
    #[track_caller]
    fn loads(&mut self, command: &str) -> Vec<String> {
        self.commands.push(command.into());
        let engine = &self.name;
        let loaded = self.run(&format!(
            "{command} > load.log 2>&1 || cat load.log >&2
             for id in $({engine} images --quiet | sort --unique); do
                 {engine} image inspect --format '{{{{.Architecture}}}}' $id
                 {engine} rmi --force $id > removed
             done"
        ));
        loaded.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn run(&self, command: &str) -> String {
        let set_up = "cd /run/image; NAME=$1 LAYER=$2 PLATFORM=$3; export NODE_PATH=/usr/share/nodejs";
        let platform = pause_tests::platform().to_string();
        self.sandbox.sh(&format!("{set_up}; {command}"), &[NAME, &IMAGE.layer, &platform])
    }

    /// Records what was run.
    fn held(self, what: &str) {
        clients::record(&self.name, self.suite, &self.version, &self.commands, what);
    }
}

/// The image as clients are given it, which the tests share: it is the same every time.
struct Image {
    directory: PathBuf,
    /// The hash of the layer in pause.tar.
    layer: String,
    /// This platform's program in it, and in the others: they may come from another compiler.
    programs: [Content; 2],
}

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let built = pause_tests::target().join("tmp/clients");
    let directory = built.join("image");
    fs::remove_dir_all(&directory).ok();
    fs::create_dir_all(&directory).expect("writable");
    let own = pause_tests::platform();
    let foreign = ["linux/arm64", "linux/riscv64", "linux/amd64"].map(pause_tests::named);
    let foreign: Vec<_> = foreign.into_iter().filter(|platform| !std::ptr::eq(*platform, own)).take(2).collect();
    let make = |name: &str, platforms: &[_], names: &[&str]| {
        let (path, image) = pause_tests::archive(&built, platforms, names);
        fs::copy(path, directory.join(name).with_extension("tar")).expect("writable");
        image
    };
    let image = make("pause", &[own], &[NAME]);
    make("foreign", &foreign, &NAMES);
    make("foreign-first", &[foreign[0], own], &NAMES[..1]);
    let all = make("all", &PLATFORMS.iter().collect::<Vec<_>>(), &NAMES);
    let layer = image.platforms[0].layer.digest();
    let script = "cd $1; mkdir x layout all; tar -xf pause.tar -C layout; tar -xf all.tar -C all
        gunzip < layout/blobs/sha256/$2 > layer.tar; head -c $3 /dev/zero > marker";
    let mut unpack = Command::new("sh");
    unpack.args(["-euc", script, "sh"]).arg(&directory).args([layer.digest(), &MARKER.to_string()]);
    Ended::of(&mut unpack).succeeded();
    let its = all.platforms.iter().find(|part| std::ptr::eq(part.platform, own)).expect("this platform");
    let programs = [image.platforms[0].program.clone(), its.program.clone()];
    Image { directory, layer: layer.digest().to_owned(), programs }
});
