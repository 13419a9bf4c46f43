//! gVisor, whose kernel is another program's: there too pause is the first process of a container, and of a Pod of two.

use pause_tests::sandbox::{Sandbox, make_orphans};
use pause_tests::{Ended, INTERRUPT, TERMINATED, VERSION, WARNING, shipped};

#[test]
#[ignore = "needs root, runsc and busybox-static: cargo test --test engines gvisor:: -- --ignored"]
fn alone_and_in_a_pod_of_two_it_is_as_on_linux() {
    for platform in ["systrap", "ptrace"] {
        for (signal, message) in [("INT", INTERRUPT), ("TERM", TERMINATED)] {
            let sandbox = Sandbox::new();
            let member = MEMBER.replace("SIGNAL", signal).replace("ORPHANS", &make_orphans(50));
            let mut scenario = sandbox.command("timeout");
            scenario.args(["120", "sh", "-euc", SCENARIO, "sh", platform, signal, &member]).arg(shipped());
            let ended = Ended::of(&mut scenario);
            let pod = format!("/pause\n0\n{VERSION}{VERSION}0\n{WARNING}{message}");
            ended.exited(0, &format!("0 {message}{pod}0 {message}"), "");
        }
    }
}

/// A container alone, and a Pod in whose other container the script `$3` runs.
const SCENARIO: &str = r#"
    platform=$1 signal=$2
    mkdir -p /run/rootfs/bin /run/rootfs/proc /run/rootfs/tmp
    cp $4 /run/rootfs/pause
    cp /bin/busybox /run/rootfs/bin
    chroot /run/rootfs /bin/busybox --install -s /bin
    gvisor() { runsc --root=/run/runsc --network=none --ignore-cgroups --platform=$platform "$@"; }
    # A container's name, arguments, annotations, and the process whose namespaces it joins. The user is the image's.
    start() {
        namespaces='{ "type": "mount" }'
        for kind in pid:pid network:net ipc:ipc uts:uts; do
            namespaces="$namespaces, { \"type\": \"${kind%:*}\"${4:+, \"path\": \"/proc/$4/ns/${kind#*:}\"} }"
        done
        mkdir /run/$1
        sed "s|ARGS|$2|; s|ANNOTATIONS|$3|; s|NAMESPACES|$namespaces|" tests/engines/gvisor.json > /run/$1/config.json
        gvisor run --bundle /run/$1 $1 > /run/$1/said 2>&1 &
        until gvisor state $1 2> /dev/null | grep -q '"running"'; do sleep 0.1; done
    }
    ends() {
        gvisor kill $1 $signal
        wait $2
        echo "$? $(cat /run/$1/said)"
    }
    start alone '"/pause"' ''
    ends alone $!
    start pod '"/pause"' '"io.kubernetes.cri.container-type": "sandbox"'
    pod=$!
    start member '"/bin/sleep", "1000"' \
        '"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pod"' \
        $(gvisor state pod | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
    gvisor exec member /bin/sh -euc "$3"
    ends pod $pod
"#;

const MEMBER: &str = r#"
    tr "\0" "\n" < /proc/1/cmdline
    ORPHANS
    cat /proc/[0-9]*/status 2> /dev/null | grep -c "^State:.Z" || :
    /pause -v
    /pause a b -v
    /pause 2> /tmp/said &
    until [ -s /tmp/said ] && grep -q "^State:.S" /proc/$!/status; do sleep 0.1; done
    kill -SIGNAL $!
    wait $!
    echo $?
    cat /tmp/said
"#;
