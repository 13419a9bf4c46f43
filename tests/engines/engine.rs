//! The image does its job in Podman and Docker: it holds the namespaces of a Pod of two containers, loses none of them when
//! one dies, leaves no zombie, and ends at once when it is told to.

use pause_tests::sandbox::{
    BUSYBOX, DOCKER, SERVE, Sandbox, ZOMBIES, holds_a_pod, make_orphans, manifest, remove_cgroups,
};
use pause_tests::{TERMINATED, platform, shipped};
use std::fs;

/// What every scenario may use: `$engine`, the image `$image`, that of busybox `$busybox`, and scripts for a container.
const PRELUDE: &str = r#"
    engine=$1 image=$2 busybox=$3 cgroup=--cgroup-parent=$4 shipped=$5 orphans=$6 zombies=$7 terminated=$8 pod=$9 serves=${10}
    set -x
    show() { $engine inspect --format "{{$1}}" $2; }
    run() { $engine run --detach $cgroup "$@"; }
    sh_in() { $engine exec $1 sh -euc "$2"; }
    holds_a_pod() { for container; do sh_in $container "$pod"; done; }
    has_ended() {
        [ "$(show .State.ExitCode $1)" = 0 ]
        [ "$($engine logs $1 2>&1)" = "$terminated" ]
    }
    # What does not end on SIGTERM is killed a second later, and its status is 137.
    ends() { $engine stop --time=1 $1; has_ended $1; }
    # A Pod of Podman's with the image $1, which runs $2, and one container.
    starts_pod() {
        podman pod create --name=pod --infra-name=infra --share=pid,net,ipc,uts --infra-image=$1 --infra-command="$2" $cgroup
        podman pod start pod
        podman run --detach --pod=pod --name=client $busybox sleep 1000
    }
"#;

/// A machine with Podman or Docker, with our image and one of busybox.
struct Engine {
    sandbox: Sandbox,
    program: &'static str,
}

impl Engine {
    fn new(program: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = Self { sandbox: Sandbox::new(), program };
        if program == "docker" {
            engine.sandbox.start(DOCKER, "docker version");
        }
        let (archive, _) = pause_tests::archive(directory.path(), &[platform()], &[IMAGE]);
        engine.sandbox.run(&[program, "load", "--input", archive.to_str().expect("UTF-8")]);
        engine.sandbox.import_busybox(program);
        engine
    }

    /// Runs a scenario in which containers share these namespaces.
    #[track_caller]
    fn holds(&self, shared: &str, scenario: &str) -> String {
        let (shipped, terminated) = (shipped().to_str().expect("UTF-8"), TERMINATED.trim_end());
        let scripts = [&*make_orphans(100), ZOMBIES, terminated, &holds_a_pod(shared), SERVE[2]];
        let arguments = [&[self.program, IMAGE, BUSYBOX, &self.sandbox.cgroup, shipped], &scripts[..]].concat();
        self.sandbox.sh(&[PRELUDE, scenario].concat(), &arguments)
    }
}

const IMAGE: &str = "registry.k8s.io/pause:3.10";

#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines engine:: -- --ignored"]
fn podman_holds_a_pod_whose_containers_come_and_go() {
    let scenario = r#"
        starts_pod $image /pause
        cmp /proc/$(show .State.Pid infra)/exe $shipped
        podman run --detach --pod=pod --name=server $busybox sh -c "$serves"
        holds_a_pod server client

        address() { sh_in client 'ip -4 -o address show scope global' | sed 's|.* inet \([^/]*\)/.*|\1|'; }
        before=$(address) process=$(show .State.Pid server)
        podman kill server
        [ $(podman wait server) = 137 ]
        [ $(address) = $before ]
        podman start server
        [ $(show .State.Pid server) != $process ]
        [ $(address) = $before ]
        [ "$(sh_in client "until wget -q -O - http://$before:8080; do sleep 0.1; done")" = hello ]
        holds_a_pod server client
        podman pod stop --time=1 pod
        has_ended infra"#;
    Engine::new("podman").holds("pid net ipc uts", scenario);
}

/// What the checks above would show of a first process that neither reaps nor listens.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines engine:: -- --ignored"]
fn a_first_process_that_is_no_pause_leaves_zombies_and_is_killed() {
    let scenario = r#"
        starts_pod $busybox '/bin/sleep 1000'
        sh_in client "$orphans"
        [ $(sh_in client "$zombies") = 100 ]
        podman pod stop --time=1 pod
        [ $(show .State.ExitCode infra) = 137 ]"#;
    Engine::new("podman").holds("pid net ipc uts", scenario);
}

/// As on a node where containers.conf names the image and Pods come from manifests.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines engine:: -- --ignored"]
fn podman_holds_the_pod_of_a_kubernetes_manifest() {
    let _cgroup = CgroupOfPods;
    let podman = Engine::new("podman");
    fs::write(podman.sandbox.path("/run/pod.yaml"), manifest()).expect("writable");
    let scenario = r#"
        mkdir -p /etc/containers/containers.conf.d
        printf '[engine]\ninfra_image = "%s"\ninfra_command = "/pause"\n' $image > /etc/containers/containers.conf.d/pause.conf
        podman play kube /run/pod.yaml
        infra=$(podman pod inspect --format='{{.InfraContainerID}}' pod)
        [ $(show .ImageName $infra) = $image ]
        holds_a_pod pod-server pod-client
        podman pod stop --time=1 pod
        [ $(show .State.ExitCode $infra) = 0 ]
        podman play kube --down /run/pod.yaml"#;
    podman.holds("pid net ipc uts", scenario);
}

/// The cgroup that Podman makes for all Pods of manifests, which cannot name another, and leaves there.
struct CgroupOfPods;

impl Drop for CgroupOfPods {
    fn drop(&mut self) {
        remove_cgroups("libpod_parent");
    }
}

/// Without an image of its own: the file alone, mounted into any image, under any user, is an init for those who join.
#[test]
#[ignore = "needs root, podman, crun and busybox-static: cargo test --test engines engine:: -- --ignored"]
fn the_bare_file_is_an_init_in_any_image() {
    let scenario = r#"
        run --name=infra --network=none --user=1000:2000 --read-only --cap-drop=all --volume=$shipped:/pause:ro \
            --entrypoint=/pause $busybox
        run --name=client --network=none --pid=container:infra $busybox sleep 1000
        [ "$(sh_in client 'tr "\0" " " < /proc/1/cmdline; stat -c %u:%g /proc/1')" = '/pause 1000:2000' ]
        sh_in client "$orphans"
        [ $(sh_in client "$zombies") = 0 ]
        ends infra"#;
    Engine::new("podman").holds("pid", scenario);
}

/// Loaded and built, and under the project's seccomp profile. One that joins is given every namespace that Docker lets it.
#[test]
#[ignore = "needs root, docker.io and busybox-static: cargo test --test engines engine:: -- --ignored"]
fn in_docker_others_join_the_namespaces_of_the_image() {
    let scenario = r#"
        # Docker shows fewer than 1,000 bytes in full.
        [ $(docker images --format '{{.Size}}' $image) = $(stat --format %s $shipped)B ]
        docker build --tag built --file=Containerfile .
        for sandbox in $image built "--security-opt=seccomp=deploy/seccomp.json $image"; do
            run --name=sandbox --ipc=shareable $sandbox
            join="--net=container:sandbox --ipc=container:sandbox --pid=container:sandbox $busybox"
            run --name=server $join sh -c "$serves"
            run --name=client $join sleep 1000
            for kind in net ipc pid; do
                [ $(readlink /proc/$(show .State.Pid sandbox)/ns/$kind) = $(sh_in client "readlink /proc/self/ns/$kind") ]
            done
            holds_a_pod server client
            ends sandbox
            docker rm --force sandbox server client
        done"#;
    Engine::new("docker").holds("net ipc pid", scenario);
}

/// By buildah, and by Docker's old builder and BuildKit, for which a client newer than 20.10 needs buildx as well: what is
/// run, as whom, and every file there is.
#[test]
#[ignore = "needs root, podman, buildah and docker.io: cargo test --test engines engine:: -- --ignored"]
fn what_is_built_from_the_containerfile_is_the_same_image() {
    const COMES_TO: &str = r#"
        shown='{{.Os}} {{.Architecture}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}}'
        comes_to() {
            $engine image inspect --format "$shown" $1
            container=$($engine create --network=none $1)
            $engine export $container | tar --list --verbose --numeric-owner | awk '{ print $1, $2, $3, $6 }'
            $engine export $container | tar --extract --to-stdout pause | sha256sum
        }
        comes_to $image > /run/ours
        grep '^-rwxr-xr-x 0/0 ' /run/ours
        comes_to built | diff /run/ours -"#;
    let docker =
        |builder| format!("DOCKER_BUILDKIT={builder} docker build --no-cache --tag built --file=Containerfile .");
    for (program, build) in
        [("podman", "buildah build --tag built .".into()), ("docker", docker(0)), ("docker", docker(1))]
    {
        // With what the Containerfile copies.
        Engine::new(program).holds("", &[&build, COMES_TO].concat());
    }
}
