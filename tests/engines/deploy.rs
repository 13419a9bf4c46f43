//! The pages of deploy/ can be followed: the commands do what the page says, and the image has the names that each
//! distribution asks for.

use pause_tests::debian::SID;
use pause_tests::sandbox::{REGISTRY, Sandbox};
use pause_tests::{Ended, VERSION, blocks, tool};
use std::collections::BTreeSet;
use tempfile::TempDir;
use xtask::distribution;

const OWN_NAME: &str = concat!("localhost/pause:", env!("CARGO_PKG_VERSION"));

/// What deploy/README.md says of the process, beside what the page has checked.
const SEEN: &str = r#"
    set -x
    seen() {
        [ "$(check)" = "$version" ]
        process=/proc/$(pgrep -n -x pause)
        [ "$(stat --format=%u $process)" = "$1" ]
        [ "$(tr '\0' ' ' < $process/cmdline)" = "/pause " ]
        [ "$(awk '/^VmRSS:/ { print $2 }' $process/status)" -lt 64 ]
    }
"#;

/// Follows a page, in the directory where the archive is: its blocks are functions of bash, and what is to be replaced in
/// those that use the image is given.
#[track_caller]
fn follow(name: &str, sandbox: &Sandbox, replaced: [&str; 2], scenario: &str) {
    let directory = archive(name);
    let page = |title| blocks(&format!("deploy/{name}.md"), title, "sh");
    let used = page("2. Use").join("\n").replace(replaced[0], &replaced.join(" "));
    // The first command there makes the archive.
    let load = page("1. Load")[1..].join("\n");
    let [check, undo] = ["3. Check", "Undo"].map(|title| page(title).join("\n"));
    let functions = [("load", load), ("used", used), ("check", check), ("undo", undo)];
    let functions = functions.map(|(name, commands)| format!("{name}() {{\n{commands}\n}}\n")).concat();
    let set_up = format!("cd {}; version='{}'", directory.path().display(), VERSION.trim_end());
    let script = format!("{set_up}\n{functions}\n{SEEN}\n{scenario}");
    sandbox.run(&["bash", "-euo", "pipefail", "-c", &script]);
}

#[test]
#[ignore = "needs root, containerd and runc: cargo test --test engines deploy:: -- --ignored"]
fn the_commands_for_containerd_do_what_the_page_says() {
    let sandbox = Sandbox::new();
    sandbox.start_containerd();
    let names = asked_for("containerd");
    let [export, check, import] = &blocks("deploy/README.md", "Before you start", "sh")[..] else { panic!("others") };
    let (cgroup, asked_for, first) = (&sandbox.cgroup, names.join("\n"), &names[0]);
    let scenario = format!(
        r#"images() {{ ctr --namespace k8s.io images ls --quiet; }}
        load
        [ "$(images)" = '{asked_for}' ]
        # In place of the kubelet's first Pod.
        ctr --namespace k8s.io run --detach --cgroup {cgroup}/pod {first} pod
        seen 65535
        ctr --namespace k8s.io task rm --force pod
        ctr --namespace k8s.io container rm pod
        # What is said to be done before, here with the only image there is.
        {export}
        [ "$({check})" = oci-layout ]
        # The page's name with a digest: the image has that name, too.
        used
        ctr --namespace k8s.io images rm "$(images | grep ^localhost/pause@sha256:)"
        undo
        [ -z "$(images)" ]
        {import}
        [ "$(images)" = registry.k8s.io/pause:3.10 ]"#
    );
    follow("containerd", &sandbox, ["ctr", ""], &scenario);
}

#[test]
#[ignore = "needs root and docker.io: cargo test --test engines deploy:: -- --ignored"]
fn the_commands_for_docker_do_what_the_page_says() {
    let sandbox = Sandbox::with_docker();
    let cgroup = format!("--cgroup-parent={}", sandbox.cgroup);
    let scenario = r#"load; used; seen 65535; undo
        [ -z "$(docker container ls --all --quiet; docker image ls --quiet)" ]"#;
    follow("docker", &sandbox, ["docker run", &cgroup], scenario);
}

#[test]
#[ignore = "needs root, podman and crun: cargo test --test engines deploy:: -- --ignored"]
fn the_configuration_and_the_commands_for_podman_do_what_the_page_says() {
    let sandbox = Sandbox::new();
    let cgroup = format!("--cgroup-parent={}", sandbox.cgroup);
    let configuration = &blocks("deploy/podman.md", "2. Use", "toml")[0];
    let scenario = format!(
        "load
        mkdir -p /etc/containers/containers.conf.d
        cat > /etc/containers/containers.conf.d/pause.conf << 'end'\n{configuration}\nend
        used; seen 0; undo
        [ -z \"$(podman pod ls --quiet; podman container ls --all --quiet; podman image ls --quiet)\" ]"
    );
    follow("podman", &sandbox, ["pod create", &cgroup], &scenario);
}

#[test]
#[ignore = "needs root, containerd, docker.io and podman: cargo test --test engines deploy:: -- --ignored"]
fn a_node_of_every_distribution_finds_the_image_under_the_name_it_asks_for() {
    let containerd = Sandbox::new();
    containerd.start_containerd();
    for name in distribution::names() {
        let (directory, distribution, names) = (archive(name), distribution::named(name), asked_for(name));
        let engine = match name {
            "cri-dockerd" => "docker",
            "cri-o" => "podman",
            _ => {
                // A namespace each, as if it were a node each.
                let import =
                    "ctr --namespace $1 images import $2/pause.tar > /dev/null; ctr --namespace $1 images ls --quiet";
                let found = containerd.sh(import, &[name, directory.path().to_str().expect("UTF-8")]);
                assert_eq!(found.lines().collect::<Vec<_>>(), names, "on a node of {name}");
                continue;
            }
        };
        let sandbox = if engine == "docker" { Sandbox::with_docker() } else { Sandbox::new() };
        let (load, remove, names) = (distribution.load(&names), distribution.remove(&names), names.join(" "));
        let commands =
            format!("{load}\n{engine} image inspect {names}\n{remove}\n[ -z \"$({engine} image ls --quiet)\" ]");
        sandbox.sh(&format!("cd {}\n{commands}", directory.path().display()), &[]);
    }
}

/// Makes an image `$1` of two parts for Windows and one for Linux, as upstream's, and follows the recipe; each kind of node
/// has to get its own.
const WITH_WINDOWS: &str = r#"
    cd /run
    for platform in windows/amd64:10.0.17763.1 windows/amd64:10.0.20348.1 linux/amd64; do
        echo $platform > part
        tar -cf part.tar part
        crane append --new_layer part.tar --new_tag $1-part
        parts="${parts:-} --manifest $(crane mutate $1-part --set-platform $platform --tag $1-part)"
    done
    crane index append $parts --tag $1
    gets() { RECIPE; }
    layer() { crane manifest --platform $1 $2 | jq -r '.layers[0].digest'; }
    [ "$(gets | grep '^linux \|^windows ')" = "linux [$(layer linux/amd64 $2)]
windows [$(layer windows/amd64 $1)]" ]
    [ $(crane manifest $2-all | jq '[.manifests[].platform | .["os.version"] | strings] | length') = 2 ]
    [ $(crane manifest $2-all | jq '[.manifests[].platform | select(.os == "linux")] | length') = 1 ]
"#;

#[test]
#[ignore = "needs root, docker-registry, jq and Debian's archive: cargo test --test engines deploy:: -- --ignored"]
fn with_windows_parts_appended_each_kind_of_node_gets_its_own() {
    let sandbox = Sandbox::new();
    sandbox.lay_over(SID);
    sandbox.start_registry("");
    let (name, upstream) = (format!("{REGISTRY}/pause:0.1.0"), format!("{REGISTRY}/upstream:3.10"));
    sandbox.push(&archive("pause").path().join("pause.tar"), OWN_NAME, &name);
    let recipe = blocks("deploy/README.md", "Clusters with Windows nodes", "sh").remove(0);
    let recipe = recipe.replace("registry.example/pause:0.1.0", &name).replace("registry.k8s.io/pause:3.10", &upstream);
    let recipe = recipe.replace("skopeo inspect", "skopeo inspect --tls-verify=false");
    sandbox.sh(&WITH_WINDOWS.replace("RECIPE", &recipe), &[&upstream, &name]);
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
