//! Real clients read the image, from Debian's packages of several suites. Each that does is recorded below
//! target/clients: `cargo xtask clients` writes docs/clients.md from that.

use flate2::read::GzDecoder;
use pause_tests::clients;
use pause_tests::debian::Suite::{self, Bookworm, Sid, Trixie};
use pause_tests::sandbox::{self, REGISTRY, Sandbox};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use xtask::distribution;
use xtask::platform::PLATFORMS;
use xtask::release::Content;

/// Clients that unpack the image or its layer, each a test: in these suites, after this was started, the second command
/// leaves the program in the file named last. The first prints the client's version.
macro_rules! clients {
    ($($test:ident: $suites:expr, $start:expr, $client:literal, $version:literal, $command:literal, $file:literal;)*) => {
        $(
            #[test]
            #[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
            fn $test() {
                for suite in $suites {
                    let mut client = Client::new(suite, $client, $version);
                    $start(&client.sandbox);
                    client.sh($command);
                    client.finds_the_program($file);
                }
            }
        )*
    };
}

clients! {
    busybox: [Bookworm, Sid], nothing, "busybox tar", "busybox",
        "busybox tar xvf layer.tar -C x | grep -x pause", "x/pause";
    bsdtar: [Sid], nothing, "bsdtar", "bsdtar --version",
        "bsdtar -xf layer.tar -C x", "x/pause";
    python: [Sid], nothing, "Python's tarfile", "python3 --version",
        "python3 -m tarfile -e layer.tar x", "x/pause";
    node_tar: [Sid], nothing, "node-tar", "node -p 'require(\"tar/package.json\").version'",
        "node -e 'require(\"tar\").x({ file: \"layer.tar\", cwd: \"x\", sync: true, strict: true })'", "x/pause";
    tar_stream: [Sid], nothing, "tar-stream", "node -p 'require(\"tar-stream/package.json\").version'",
        "node -e 'const fs = require(\"fs\"), tar = require(\"tar-stream\").extract(); \
         tar.on(\"entry\", ({ name, mode }, entry, next) => \
         entry.pipe(fs.createWriteStream(\"x/\" + name, { mode })).on(\"close\", next)); \
         fs.createReadStream(\"layer.tar\").pipe(tar)'", "x/pause";
    mkfs_erofs: [Trixie, Sid], nothing, "mkfs.erofs", "mkfs.erofs -V",
        "mkfs.erofs --tar=f --aufs --quiet -Enoinline_data -b4096 x.erofs < layer.tar && mount x.erofs x", "x/pause";
    tar2sqfs: [Sid], nothing, "tar2sqfs", "tar2sqfs --version",
        "tar2sqfs --quiet x.sqfs < layer.tar && mount x.sqfs x", "x/pause";
    sqfstar: [Sid], nothing, "sqfstar", "sqfstar -version",
        "sqfstar -quiet x.sqfs < layer.tar && mount x.sqfs x", "x/pause";
    buildah: [Bookworm, Sid], nothing, "buildah", "buildah --version",
        "printf 'FROM oci-archive:pause.tar\\nLABEL a=b\\nCOPY marker /\\n' > Containerfile && \
         buildah bud --layers --tag derived . && mount --bind $(buildah mount $(buildah from derived)) x", "x/pause";
    skopeo: [Bookworm, Sid], nothing, "skopeo", "skopeo --version",
        "for format in v2s1 v2s2; do skopeo copy --format $format oci-archive:pause.tar dir:$format; \
         grep $LAYER $format/manifest.json; tar xzf $format/$LAYER -C x; done", "x/pause";
    umoci: [Sid], nothing, "umoci", "umoci --version",
        "umoci unpack --image layout:$NAME x", "x/rootfs/pause";
    // What its guest's root file system has of it: kata-containers/kata-containers, static-build/pause-image.
    kata: [Sid], nothing, "Kata Containers' pause bundle", "umoci --version",
        "skopeo copy oci-archive:pause.tar:$NAME oci:pause:0.1.0 && umoci unpack --rootless --image pause:0.1.0 x/bundle && \
         tr -d '[:space:]' < x/bundle/config.json | grep '\"args\":\\[\"/pause\"\\]'", "x/bundle/rootfs/pause";
    apptainer: [Sid], nothing, "Apptainer", "apptainer --version",
        "apptainer build pause.sif oci-archive:pause.tar && apptainer inspect --runscript pause.sif | grep /pause && \
         apptainer exec --no-privs pause.sif /pause -v | grep '^pause ' && \
         apptainer build --sandbox x/root oci-archive:foreign-first.tar", "x/root/pause";
    charliecloud: [Sid], start_registry_with_tls, "Charliecloud", "ch-image --version",
        "ch-image --tls-no-verify --storage $PWD/ch pull localhost:5000/pause:all", "ch/img/localhost+5000%pause+all/pause";
    crane: [Sid], start_registry, "crane", "grep ^crane /usr/packages",
        "crane validate --remote 127.0.0.1:5000/pause:all && \
         crane export --platform $PLATFORM 127.0.0.1:5000/pause:all - | tar x -C x", "x/pause";
    oras: [Sid], start_registry, "oras", "oras version",
        "oras copy --from-oci-layout-path layout $NAME --to-plain-http 127.0.0.1:5000/pause:oras && \
         oras blob fetch --plain-http --output - 127.0.0.1:5000/pause@sha256:$LAYER | tar xz -C x", "x/pause";
    containerd: [Bookworm, Sid], Sandbox::start_containerd, "ctr", "containerd --version",
        "ctr --namespace k8s.io images import foreign-first.tar && \
         ctr --namespace k8s.io images mount registry.k8s.io/pause:3.10 x", "x/pause";
    stargz: [Sid], Sandbox::start_containerd, "ctr-remote", "ctr-remote --version",
        "ctr images import pause.tar && ctr-remote images convert --estargz --oci $NAME localhost/estargz && \
         ctr images mount localhost/estargz x", "x/pause";
    soci: [Sid], Sandbox::start_containerd, "soci", "soci --version",
        "ctr images import pause.tar && soci create --min-layer-size 0 $NAME && ctr images mount $NAME x", "x/pause";
}

fn nothing(_: &Sandbox) {}

fn start_registry(sandbox: &Sandbox) {
    sandbox.start_registry();
    push(sandbox);
}

/// For a client that speaks nothing else.
fn start_registry_with_tls(sandbox: &Sandbox) {
    let certify = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /run/key -out /run/cert 2>&1";
    sandbox.sh(certify, &[]);
    sandbox.start_registry_with("REGISTRY_HTTP_TLS_CERTIFICATE=/run/cert REGISTRY_HTTP_TLS_KEY=/run/key");
    push(sandbox);
}

fn push(sandbox: &Sandbox) {
    sandbox.push(Path::new("/run/image/all.tar"), NAMES[0], &format!("{REGISTRY}/pause:all"));
}

#[test]
#[ignore = "needs root and the packages of .ci/run: cargo test --test engines clients:: -- --ignored"]
fn docker_shows_dates_and_sizes_where_they_belong() {
    for suite in [Bookworm, Sid] {
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
            assert_eq!(sizes, format!("{MARKER}\n0\n{program}"), "{suite:?}'s Docker with BuildKit {builder}");
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
    for suite in [Bookworm, Sid] {
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
        Client::new(Sid, "OCI's JSON schemas", "grep ^golang-github-opencontainers-image-spec-dev /usr/packages");
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
    suite: Suite,
    name: &'static str,
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
    fn new(suite: Suite, name: &'static str, version: &str) -> Self {
        let sandbox = Sandbox::new();
        if suite != Bookworm {
            sandbox.lay_over(suite);
        }
        let mut client = Self { sandbox, suite, name, version: String::new(), commands: Vec::new() };
        client.sandbox.run(&["cp", "--recursive", IMAGE.directory.to_str().expect("UTF-8"), "/run/image"]);
        if suite == Sid {
            let configure = "cp -r $1/etc/apptainer /etc && mkdir -p /var/lib/apptainer/mnt/session";
            client.sandbox.sh(configure, &[suite.files().to_str().expect("UTF-8")]);
        }
        client.version = client.run(version);
        client
    }

    /// Runs a command that has to succeed.
    #[track_caller]
    fn sh(&mut self, command: &str) -> String {
        self.commands.push(command.into());
        self.run(command)
    }

    /// Runs a command that may load images, and returns their architectures; none of them is left.
    #[track_caller]
    fn loads(&mut self, command: &str) -> Vec<String> {
        self.commands.push(command.into());
        let engine = self.name;
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
        let mut shell = self.sandbox.command("sh");
        let set_up = "cd /run/image; NAME=$1 LAYER=$2 PLATFORM=$3; export NODE_PATH=/usr/share/nodejs";
        let platform = pause_tests::platform().to_string();
        shell.args(["-euc", &format!("{set_up}; {command}"), "sh", NAME, &IMAGE.layer, &platform]);
        sandbox::succeed(shell)
    }

    /// The program is in this file, with its mode.
    #[track_caller]
    fn finds_the_program(self, file: &str) {
        let path = self.sandbox.path("/run/image").join(file.trim_start_matches("/run/image/"));
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let found = Content::new(&found).expect("a digest");
        assert!(IMAGE.programs.contains(&found), "{} has another file", self.name);
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o7777, 0o755, "the mode of {}'s", self.name);
        self.held("the program's bytes and mode");
    }

    /// Records what was run.
    fn held(self, what: &str) {
        clients::record(self.name, self.suite, &self.version, &self.commands, what);
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
    fs::create_dir_all(directory.join("x")).expect("writable");
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
    for (name, archive) in [("layout", "pause.tar"), ("all", "all.tar")] {
        let archive = fs::File::open(directory.join(archive)).expect("readable");
        tar::Archive::new(archive).unpack(directory.join(name)).expect("an archive");
    }
    let layer = image.platforms[0].layer.digest();
    let gzip = fs::File::open(directory.join("layout").join(xtask::oci::path(layer))).expect("readable");
    let mut tar = fs::File::create(directory.join("layer.tar")).expect("writable");
    std::io::copy(&mut GzDecoder::new(gzip), &mut tar).expect("a layer");
    fs::write(directory.join("marker"), vec![0; MARKER]).expect("writable");
    let its = all.platforms.iter().find(|part| std::ptr::eq(part.platform, own)).expect("this platform");
    let programs = [image.platforms[0].program.clone(), its.program.clone()];
    Image { directory, layer: layer.digest().to_owned(), programs }
});
