//! Each architecture's own engine on its own kernel, with cgroup v2 alone: in virtual machines, Debian's Podman and crun
//! load the image of all platforms and run a Pod.

use pause_tests::debian::{kept, unpack};
use pause_tests::sandbox::make_orphans;
use pause_tests::{PROFILE, TERMINATED, WARNING, built, machine, named};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use xtask::platform::{PLATFORMS, Platform};

#[test]
#[ignore = "needs cpio, busybox-static and qemu-system: cargo test --test engines ports:: -- --ignored"]
fn arm64_runs_a_pod() {
    runs_a_pod(named(SHORT[0]));
}

#[test]
#[ignore = "needs cpio, busybox-static and qemu-system: cargo test --test engines ports:: -- --ignored"]
fn s390x_runs_a_pod() {
    runs_a_pod(named(SHORT[1]));
}

#[test]
#[ignore = "long: .ci/run long"]
fn the_other_six_run_a_pod() {
    PLATFORMS.iter().filter(|platform| !SHORT.contains(&&*platform.to_string())).for_each(runs_a_pod);
}

const SHORT: [&str; 2] = ["linux/arm64", "linux/s390x"];

/// What a machine of an architecture has beside the packages: a container's root file system, of busybox alone, and the
/// engine's configuration. What no container without a network needs goes: loong64's kernel takes no more than some 120 MB.
const ROOT: &str = r#"
    rm -r usr/bin/gpg* usr/lib/cni usr/lib/podman/netavark-* usr/lib/*/*.a usr/libexec/podman usr/share/doc usr/share/locale \
        usr/share/man
    for directory in bin sbin lib lib64; do
        ln -s usr/$directory $directory
    done
    mkdir -p proc sys run tmp var/tmp root box/bin box/proc box/sys box/dev box/etc etc/containers
    cp usr/bin/busybox box/bin
    for name in $(busybox --list); do
        [ -e box/bin/$name ] || ln -s busybox box/bin/$name
    done
    # From an initramfs no root can be pivoted away, nor an overlay be laid over what has not its module.
    cat > etc/containers/containers.conf << 'end'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
no_pivot_root = true
runtime = "crun"
end
    cat > etc/containers/storage.conf << 'end'
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
end
    echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' > etc/containers/policy.json
"#;

/// The machine's first process.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/box/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec < /dev/console > /dev/console 2>&1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /dev/shm /run /tmp; do
    mount -t tmpfs tmpfs $directory
done
# Only below a cgroup without processes controllers can be enabled.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/init
echo 1 > /sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo +$controller > /sys/fs/cgroup/cgroup.subtree_control
done
busybox sh -euc '. /scenario' || echo failed
echo "after $(cut -d ' ' -f 1 /proc/uptime) s on $(uname -rm)"
busybox reboot -f
"#;

/// A Pod's life. What it is to be asserted of begins with `= `.
const SCENARIO: &str = r#"
told() { sed 's/^/= /'; }
for name in localhost/pause:0.1.0 registry.k8s.io/pause:3.10; do
    podman pull --quiet oci-archive:/pause.tar:$name
done
podman pod create --name=pod --infra-image=$name --infra-name=infra --infra-command=/pause --share=pid,net,ipc \
    --network=none
for member in first second; do
    podman run --detach --pod=pod --name=$member --rootfs /box /bin/sleep 1000
done
infra=$(podman inspect --format='{{.State.Pid}}' infra)
sha256sum < /proc/$infra/exe | told
for kind in pid net ipc; do
    [ $(readlink /proc/$infra/ns/$kind) = $(podman exec second readlink /proc/self/ns/$kind) ]
done
podman exec second sh -euc 'tr "\0" " " < /proc/1/cmdline; echo
    ORPHANS
    cat /proc/[0-9]*/status | grep -c "^State:.Z" || :' | told
echo "charged: $(cat /sys/fs/cgroup$(cut -d : -f 3 /proc/$infra/cgroup)/memory.current) bytes"
podman pod stop --time=60 pod
podman inspect --format='{{.State.ExitCode}}' infra | told
podman logs infra 2>&1 | told
podman run --detach --name=host --pid=host --network=none $name
podman run --detach --name=confined --security-opt=seccomp=/seccomp.json --network=none $name
until podman logs host 2>&1 | grep .; do sleep 0.1; done
podman stop --time=60 host confined
for container in host confined; do
    podman logs $container 2>&1 | told
done
podman inspect --format='{{.State.ExitCode}}' confined | told
"#;

fn runs_a_pod(platform: &'static Platform) {
    let kernel = platform.kernel();
    let kept = kept(&format!("root-{}", kernel.architecture), |directory| {
        let root = unpack(directory, "sid", &kernel.architecture, "podman crun busybox-static");
        let mut finish = Command::new("sh");
        pause_tests::Ended::of(finish.args(["-euc", ROOT]).current_dir(&root)).succeeded();
        root
    });
    for (name, content) in
        [("init", INIT), ("scenario", &SCENARIO.replace("ORPHANS", &make_orphans(50))), ("seccomp.json", PROFILE)]
    {
        fs::write(kept.join(name), content).expect("writable");
    }
    fs::set_permissions(kept.join("init"), fs::Permissions::from_mode(0o755)).expect("its owner");
    fs::copy(&*IMAGE, kept.join("pause.tar")).expect("readable");

    let ended = machine::run(kernel, &kept, &["-m", "3072"]);
    println!("{platform}: {}", ended.stdout);
    let told: Vec<_> = ended.stdout.lines().filter_map(|line| line.trim_end().strip_prefix("= ")).collect();
    let program = fs::read(&built(&[platform])[0].path).expect("readable");
    let digest = format!("{}  -", xtask::oci::sha256(&program).expect("a digest").digest());
    let [terminated, warning] = [TERMINATED, WARNING].map(str::trim_end);
    assert_eq!(told, [&*digest, "/pause", "0", "0", terminated, warning, terminated, terminated, "0"], "{ended}");
}

static IMAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let platforms: Vec<_> = PLATFORMS.iter().collect();
    let names = ["registry.k8s.io/pause:3.10", "localhost/pause:0.1.0"];
    pause_tests::archive(&pause_tests::target().join("tmp/ports"), &platforms, &names).0
});
