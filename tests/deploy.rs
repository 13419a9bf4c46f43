//! The pages of deploy/ can be followed: they have one shape, their configuration is what the software they are for
//! documents, and where that software can be had, it reads the configuration and the commands do what the page says.

mod engines;
mod support;

use engines::Sandbox;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use tempfile::TempDir;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const OWN_NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

const LOAD: &str = "1. Load";
const USE: &str = "2. Use";
const CHECK: &str = "3. Check";
const UNDO: &str = "Undo";
const HOW: &str = "How this was checked";

// The shape

#[test]
fn every_page_has_the_same_sections_in_the_same_order() {
    for (name, page) in &*PAGES {
        let titles: Vec<&str> = page.sections.iter().map(|section| &*section.title).collect();
        assert_eq!(titles, [LOAD, USE, CHECK, UNDO, HOW], "deploy/{name}.md");
        for section in &page.sections {
            assert!(!section.text.is_empty(), "deploy/{name}.md says nothing under {}", section.title);
        }
        for title in [LOAD, CHECK, UNDO] {
            assert!(!page.commands(title).is_empty(), "deploy/{name}.md has no command under {title}");
        }
        let shown = support::VERSION.trim_end();
        assert!(page.section(CHECK).text.contains(shown), "deploy/{name}.md does not say that {shown} is to be seen");
    }
}

#[test]
fn every_page_says_how_it_was_checked_and_whence_it_has_its_names() {
    for (name, page) in &*PAGES {
        let how = page.section(HOW);
        let is_executed = ["containerd", "docker", "podman"].contains(&name.as_str());
        let first = if is_executed { "Executed by tests/deploy.rs" } else { "Not executed with" };
        assert!(how.text.starts_with(first), "deploy/{name}.md: {first} … is what it has to say first");
        assert!(how.text.contains("tests/deploy.rs"), "deploy/{name}.md does not say which test it was");
        for source in &how.items {
            let is_exact = [" at ", " pull request ", " issue "].iter().any(|word| source.contains(word));
            assert!(is_exact && source.contains('/'), "deploy/{name}.md: neither repository nor version in {source:?}");
        }
        for (_, configuration) in page.configurations() {
            for key in keys(&configuration) {
                let is_cited = how.items.iter().any(|source| source.contains(&key));
                assert!(is_cited, "deploy/{name}.md does not say where {key} is documented");
            }
        }
    }
}

#[test]
fn the_table_of_pages_leads_to_every_page() {
    for name in PAGES.keys() {
        assert!(README.source.contains(&format!("]({name}.md)")), "deploy/README.md does not lead to {name}.md");
    }
}

#[test]
fn every_page_loads_what_the_tool_names_for_it() {
    for (name, page) in &*PAGES {
        let commands = page.commands(LOAD);
        let Some(distribution) = DISTRIBUTIONS.get(name) else {
            assert_eq!(commands[0], "cargo xtask image", "deploy/{name}.md");
            continue;
        };
        assert_eq!(
            commands,
            [format!("cargo xtask image --for {name}"), distribution.load.clone()],
            "deploy/{name}.md"
        );
        for Name { image, version, source } in &distribution.asks_for {
            assert!(page.source.contains(image), "deploy/{name}.md does not say what asks for {image}");
            assert!(source.contains('/') && !version.is_empty(), "names.toml does not say where {image} comes from");
        }
    }
}

// The configuration

#[test]
fn every_configuration_has_the_documented_keys() {
    let mut found: Vec<(&str, Value)> = Vec::new();
    for (name, page) in &*PAGES {
        found.extend(page.configurations().into_iter().map(|(_, configuration)| (name.as_str(), configuration)));
    }
    let patch = PAGES["kind"].configurations()[0].1["containerdConfigPatches"][0].clone();
    let unit = "/usr/bin/cri-dockerd --container-runtime-endpoint fd:// --pod-infra-container-image";
    let containerd_1 = json!({ "version": 2, "plugins": { CRI_1: { "sandbox_image": OWN_NAME } } });
    let images_2 = "io.containerd.cri.v1.images";
    let expected = [
        ("containerd", json!({ "version": 3, "plugins": { images_2: { "pinned_images": { "sandbox": OWN_NAME } } } })),
        ("containerd", containerd_1.clone()),
        ("cri-dockerd", json!({ "Service": { "ExecStart": ["", format!("{unit} {OWN_NAME}")] } })),
        (
            "cri-o",
            json!({ "crio": {
                "image": { "pause_image": OWN_NAME, "pause_command": "/pause" },
                "runtime": { "drop_infra_ctr": false }
            } }),
        ),
        (
            "k0s",
            json!({
                "apiVersion": "k0s.k0sproject.io/v1beta1",
                "kind": "ClusterConfig",
                "metadata": { "name": "k0s" },
                "spec": { "images": { "pause": {
                    "image": "localhost/pause", "version": env!("CARGO_PKG_VERSION")
                } } }
            }),
        ),
        ("k3s", json!({ "pause-image": OWN_NAME })),
        (
            "kind",
            json!({ "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "containerdConfigPatches": [patch] }),
        ),
        ("microk8s", containerd_1),
        ("podman", json!({ "engine": { "infra_image": OWN_NAME, "infra_command": "/pause" } })),
        ("rke2", json!({ "pause-image": OWN_NAME })),
    ];
    assert_eq!(found, expected);
    let patch = parse("toml", patch.as_str().expect("a text"));
    assert_eq!(patch, json!({ "version": 2, "plugins": { CRI_1: { "sandbox_image": ELSEWHERE } } }), "kind's patch");
}

#[test]
#[ignore = "needs containerd: cargo test --test deploy -- --ignored"]
fn containerd_1_takes_its_sandbox_image_from_the_configuration() {
    let patch = &PAGES["kind"].configurations()[0].1["containerdConfigPatches"][0];
    let configurations = [
        (&*PAGES["containerd"].configurations()[1].0, OWN_NAME),
        (&*PAGES["microk8s"].configurations()[0].0, OWN_NAME),
        (patch.as_str().expect("a text"), ELSEWHERE),
    ];
    for (configuration, image) in configurations {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(containerd_1(folder.path(), configuration)["sandbox_image"], image, "{configuration}");
    }
}

/// Why the page says where to put the lines.
#[test]
#[ignore = "needs containerd: cargo test --test deploy -- --ignored"]
fn in_containerd_1_an_imported_file_replaces_the_section() {
    let (ours, _) = &PAGES["containerd"].configurations()[1];
    let theirs = format!("[plugins.\"{CRI_1}\"]\nenable_unprivileged_ports = true\n");
    let folder = tempfile::tempdir().expect("a folder");
    let imported = folder.path().join("pause.toml");
    fs::write(&imported, ours).expect("writable");
    let dumped = containerd_1(folder.path(), &format!("version = 2\nimports = [{imported:?}]\n{theirs}"));
    assert_eq!(dumped["sandbox_image"], OWN_NAME);
    assert_eq!(dumped["enable_unprivileged_ports"], false, "what the section had before");
    let line = format!("sandbox_image = {OWN_NAME:?}\n");
    let dumped = containerd_1(folder.path(), &format!("version = 2\n{theirs}{line}"));
    assert_eq!(dumped["sandbox_image"], OWN_NAME);
    assert_eq!(dumped["enable_unprivileged_ports"], true, "beside a line that was put into the section");
}

/// The section that the kubelet's requests are served by, in containerd 1.
const CRI_1: &str = "io.containerd.grpc.v1.cri";
/// What kind's page has in place of the reader's own registry.
const ELSEWHERE: &str = concat!("registry.example.com/pause:", env!("CARGO_PKG_VERSION"));

/// That section, as containerd completes this configuration.
fn containerd_1(folder: &Path, configuration: &str) -> Value {
    let file = folder.join("config.toml");
    fs::write(&file, configuration).expect("writable");
    let mut command = Command::new("containerd");
    command.arg("--config").arg(&file).args(["config", "dump"]);
    parse("toml", &engines::succeed(command))["plugins"][CRI_1].clone()
}

// The commands

#[test]
#[ignore = "needs root, containerd and runc: cargo test --test deploy -- --ignored"]
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
    let kept = README.commands("Before you start");
    node.run(&kept[0]);
    node.undo();
    assert_eq!(node.images(), [""; 0]);
    node.run(&kept[1]);
    assert_eq!(node.images(), ["registry.k8s.io/pause:3.10"]);
}

#[test]
#[ignore = "needs root, containerd, docker.io and podman: cargo test --test deploy -- --ignored"]
fn a_node_of_every_distribution_finds_the_image_under_the_name_it_asks_for() {
    let containerd = Sandbox::new();
    containerd.start_containerd();
    for name in DISTRIBUTIONS.keys() {
        match name.as_str() {
            "cri-dockerd" | "cri-o" => {
                let is_docker = name == "cri-dockerd";
                let sandbox = if is_docker { Sandbox::with_docker() } else { Sandbox::new() };
                let image = if is_docker { "docker image" } else { "podman image" };
                let node = Node::new(name, sandbox);
                node.load();
                node.run(&format!("{image} inspect {}", node.asked_for().join(" ")));
                node.undo();
                assert_eq!(node.run(&format!("{image} ls --quiet")), "");
            }
            _ => {
                let folder = archive(name);
                let archive = folder.path().join("pause.tar");
                // A namespace each, as if it were a node each.
                let ctr = format!("ctr --namespace {name} images");
                containerd.run(&["sh", "-euc", &format!("{ctr} import {}", archive.display())]);
                let found = containerd.run(&["sh", "-euc", &format!("{ctr} ls --quiet")]);
                assert_eq!(lines(&found), asked_for(name), "on a node of {name}");
            }
        }
    }
}

/// What deploy/README.md says is to be seen then.
#[test]
#[ignore = "needs root, containerd, all toolchains: cargo test --test deploy -- --ignored"]
fn containerd_does_not_load_an_image_for_another_platform() {
    let message = "no match for platform in manifest";
    assert!(README.source.contains(message), "deploy/README.md does not know {message:?}");
    let foreign = if std::env::consts::ARCH == "s390x" { "amd64" } else { "s390x" };
    let sandbox = Sandbox::new();
    sandbox.start_containerd();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "image", "--platform", foreign, "--output"]).arg(folder.path());
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::null()).status();
    assert!(status.expect("cargo runs").success(), "{command:?}");
    let archive = folder.path().join("pause.tar").display().to_string();
    let ended = sandbox.try_run(&["ctr", "--namespace", "k8s.io", "images", "import", &archive]);
    assert!(!ended.status.success() && ended.to_string().contains(message), "{ended}");
}

#[test]
#[ignore = "needs root and docker.io: cargo test --test deploy -- --ignored"]
fn the_commands_for_docker_do_what_the_page_says() {
    let node = Node::new("docker", Sandbox::with_docker());
    node.load();
    let run = node.page.commands(USE).join("\n");
    node.run(&run.replace("docker run", &format!("docker run --cgroup-parent={}", node.sandbox.cgroup)));
    node.check("65535");
    node.undo();
    assert_eq!(node.run("docker container ls --all --quiet; docker image ls --quiet"), "");
}

#[test]
#[ignore = "needs root, podman and crun: cargo test --test deploy -- --ignored"]
fn the_configuration_and_the_commands_for_podman_do_what_the_page_says() {
    let node = Node::new("podman", Sandbox::new());
    node.load();
    let folder = "/etc/containers/containers.conf.d";
    let (configuration, _) = &node.page.configurations()[0];
    node.run(&format!("mkdir -p {folder}; cat > {folder}/pause.conf << 'end'\n{configuration}\nend"));
    let run = node.page.commands(USE).join("\n");
    node.run(&run.replace("pod create", &format!("pod create --cgroup-parent={}", node.sandbox.cgroup)));
    node.check("0");
    node.undo();
    assert_eq!(node.run("podman pod ls --quiet; podman container ls --all --quiet; podman image ls --quiet"), "");
}

/// A machine on which one page is followed, in the folder where the archive is.
struct Node {
    page: &'static Page,
    name: String,
    sandbox: Sandbox,
    folder: TempDir,
}

impl Node {
    fn new(name: &str, sandbox: Sandbox) -> Self {
        Self { page: &PAGES[name], name: name.into(), sandbox, folder: archive(name) }
    }

    #[track_caller]
    fn run(&self, script: &str) -> String {
        let script = format!("cd {}\n{script}", self.folder.path().display());
        self.sandbox.run(&["bash", "-euo", "pipefail", "-c", &script])
    }

    /// The command after the one that makes the archive.
    #[track_caller]
    fn load(&self) {
        self.run(&self.page.commands(LOAD)[1..].join("\n"));
    }

    /// What the page has checked, and what deploy/README.md says of the process.
    #[track_caller]
    fn check(&self, user: &str) {
        assert_eq!(self.run(&self.page.commands(CHECK).join("\n")), support::VERSION.trim_end());
        let seen = self.run("pid=$(pgrep -n -x pause); stat --format=%u /proc/$pid; tr '\\0' ' ' < /proc/$pid/cmdline");
        assert_eq!(seen.trim_end(), format!("{user}\n/pause"), "user and command line");
        let memory = self.run("awk '/^VmRSS:/ { print $2 }' /proc/$(pgrep -n -x pause)/status");
        let memory: u32 = memory.trim_end().parse().expect("a number of KB");
        let limit = 64;
        assert!(
            README.source.contains(&format!("`VmRSS` is below {limit} KB")),
            "deploy/README.md names another limit"
        );
        assert!(memory < limit, "{memory} KB");
    }

    #[track_caller]
    fn undo(&self) {
        self.run(&self.page.commands(UNDO).join("\n"));
    }

    fn asked_for(&self) -> Vec<String> {
        asked_for(&self.name)
    }

    fn images(&self) -> Vec<String> {
        lines(&self.run("ctr --namespace k8s.io images ls --quiet"))
    }
}

/// Makes the archive with the command of the page, in a folder of its own.
fn archive(name: &str) -> TempDir {
    // Building the tool may take longer than a command is given.
    support::shipped();
    let folder = tempfile::tempdir().expect("a folder");
    let words = shlex::split(&PAGES[name].commands(LOAD)[0]).expect("a command");
    let mut command = Command::new(env!("CARGO"));
    command.args(&words[1..]).arg("--output").arg(folder.path()).current_dir(env!("CARGO_MANIFEST_DIR"));
    engines::succeed(command);
    folder
}

/// In the order that lists of images have.
fn asked_for(name: &str) -> Vec<String> {
    let distribution = &DISTRIBUTIONS[name];
    let runtime = distribution.runtime.iter().map(|runtime| &DISTRIBUTIONS[runtime]);
    let mut names: Vec<String> =
        runtime.chain([distribution]).flat_map(|one| &one.asks_for).map(|name| name.image.clone()).collect();
    names.push(OWN_NAME.into());
    names.sort();
    names.dedup();
    names
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

// What the tests share

static PAGES: LazyLock<BTreeMap<String, Page>> = LazyLock::new(|| {
    let names = DISTRIBUTIONS.keys().cloned().chain(["docker".into(), "podman".into()]);
    names.map(|name| (name.clone(), Page::read(&Path::new(DEPLOY).join(name).with_extension("md")))).collect()
});

static README: LazyLock<Page> = LazyLock::new(|| Page::read(&Path::new(DEPLOY).join("README.md")));

static DISTRIBUTIONS: LazyLock<BTreeMap<String, Distribution>> = LazyLock::new(|| {
    let text = fs::read_to_string(Path::new(DEPLOY).join("names.toml")).expect("a table of names");
    toml::from_str(&text).unwrap_or_else(|error| panic!("names.toml: {error}"))
});

/// That there is nothing else in the table is seen to by the tool.
#[derive(Deserialize)]
struct Distribution {
    load: String,
    runtime: Option<String>,
    #[serde(rename = "asks-for")]
    asks_for: Vec<Name>,
}

#[derive(Deserialize)]
struct Name {
    image: String,
    version: String,
    source: String,
}

struct Page {
    path: PathBuf,
    source: String,
    sections: Vec<Section>,
}

/// What stands under a heading of the second level.
#[derive(Default)]
struct Section {
    title: String,
    text: String,
    items: Vec<String>,
    /// Language and content.
    blocks: Vec<(String, String)>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut sections: Vec<Section> = Vec::new();
        let (mut heading, mut block, mut in_item) = (None, None, false);
        for event in Parser::new(&source) {
            match event {
                Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
                Event::End(TagEnd::Heading(_)) => {
                    if let Some((HeadingLevel::H2, title)) = heading.take() {
                        sections.push(Section { title, ..Section::default() });
                    }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    block = Some((language.into_string(), String::new()));
                }
                Event::End(TagEnd::CodeBlock) => {
                    let section = sections.last_mut().expect("a section around every block");
                    section.blocks.push(block.take().expect("a fence around every block"));
                }
                Event::Start(Tag::Item) => {
                    in_item = true;
                    sections.last_mut().expect("a section around every list").items.push(String::new());
                }
                Event::End(TagEnd::Item) => in_item = false,
                Event::Text(_) | Event::Code(_) | Event::SoftBreak => {
                    let text = match &event {
                        Event::Text(text) | Event::Code(text) => text,
                        _ => " ",
                    };
                    if let Some((_, content)) = &mut heading {
                        content.push_str(text);
                    } else if let Some((_, content)) = &mut block {
                        content.push_str(text);
                    } else if let Some(section) = sections.last_mut() {
                        let item = section.items.last_mut().filter(|_| in_item);
                        item.unwrap_or(&mut section.text).push_str(text);
                    }
                }
                _ => {}
            }
        }
        Self { path: path.into(), source, sections }
    }

    fn section(&self, title: &str) -> &Section {
        let found = self.sections.iter().find(|section| section.title == title);
        found.unwrap_or_else(|| panic!("{} has no section {title}", self.path.display()))
    }

    /// The blocks of shell commands in a section.
    fn commands(&self, title: &str) -> Vec<String> {
        let blocks = self.section(title).blocks.iter().filter(|(language, _)| language == "sh");
        blocks.map(|(_, content)| content.trim_end().to_owned()).collect()
    }

    /// The other blocks, as they stand there and parsed.
    fn configurations(&self) -> Vec<(String, Value)> {
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        let blocks = blocks.filter(|(language, _)| language != "sh");
        blocks.map(|(language, content)| (content.clone(), parse(language, content))).collect()
    }
}

fn parse(language: &str, text: &str) -> Value {
    let parsed: Result<Value, String> = match language {
        "toml" => toml::from_str(text).map_err(|error| error.to_string()),
        "yaml" => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
        "ini" => ini::Ini::load_from_str(text).map_err(|error| error.to_string()).map(|unit| {
            let values = |section: &ini::Properties| -> BTreeMap<String, Value> {
                section.iter().map(|(key, _)| (key.to_owned(), section.get_all(key).collect())).collect()
            };
            let sections = unit.iter().filter(|(_, section)| !section.is_empty());
            sections.map(|(name, section)| (name.unwrap_or_default().to_owned(), json!(values(section)))).collect()
        }),
        other => panic!("no test knows {other:?}: {text}"),
    };
    parsed.unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// What is set, at whatever depth, and is not the same in every document of its kind.
fn keys(configuration: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in configuration.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => found.extend(keys(value)),
            _ if ["version", "kind", "apiVersion", "name"].contains(&key.as_str()) => {}
            _ => found.push(key.clone()),
        }
    }
    found
}
