//! A cluster of one node, of Debian's source package of Kubernetes: what controllers, the scheduler and an administrator
//! do to Pods, down to the sandboxes and their processes.

use crate::kubernetes::OF_THE_CLUSTER;
use crate::node::{Kind, Node, PAUSE};
use pause_tests::sandbox::make_orphans;
use pause_tests::{Ended, ROOT, shipped};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::oci::Image;

#[test]
#[ignore = "long: .ci/run long"]
fn pods_of_a_cluster_come_stay_and_go() {
    let node = Node::new(Kind { containerd: 1, runtime: "runc", more: "" });
    node.start_control_plane();
    node.start_kubelet(OF_THE_CLUSTER);
    for (name, program) in [("ours", shipped()), ("reference", &reference())] {
        fs::write(node.sandbox.path(&format!("/run/{name}.tar")), archive(program)).expect("writable");
    }
    let mut scenario = node.sandbox.command("timeout");
    scenario.args(["1800", "sh", "-euc", SCENARIO, "sh"]).arg(shipped()).arg(make_orphans(50));
    let ended = Ended::of(&mut scenario).succeeded();
    println!("{}", ended.stdout);
}

/// What `pause.c` does, with a handler for each signal.
fn reference() -> PathBuf {
    pause_tests::debian::kept("reference", |directory| {
        let program = directory.join("pause");
        let mut compile = Command::new("gcc");
        compile.args(["-Os", "-static", "-s", "-o"]).arg(&program).arg(format!("{ROOT}/bench/handlers.c"));
        Ended::of(&mut compile).succeeded();
        program
    })
}

/// An image of a program, under the name that the node asks for.
fn archive(program: &Path) -> Vec<u8> {
    let (program, times) = (fs::read(program).expect("readable"), xtask::image::times().expect("a date"));
    let image = Image::new(&[(pause_tests::platform(), &program)], &times, &Default::default(), || ());
    image.expect("an image").archive(&[PAUSE.to_owned()]).expect("an archive")
}

/// `$1` is the program, `$2` a script that makes orphans.
const SCENARIO: &str = r#"
program=$1 orphans=$2
kubectl() { /run/kubernetes/kubectl --kubeconfig=/run/kubeconfig "$@"; }
eventually() {
    for attempt in $(seq 3000); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.1
    done
    echo "in vain: $*" >&2
    exit 1
}
has() { [ "$1" = "$(eval "$2")" ]; }
has_sandboxes() { eventually has $1 'pgrep -x pause | wc -l'; }
is_rolled_out() {
    for what in deployment/many daemonset/everywhere; do kubectl rollout status $what --timeout=300s > /dev/null; done
    has_sandboxes $1
}
scale() {
    kubectl scale deployment/many --replicas=$1
    is_rolled_out $(($1 + 1))
}
# The metadata and the specification of a Pod of one container, which does not heed SIGTERM.
pod() {
    echo '"metadata": { "name": "'$1'", "labels": { "app": "'$1'" } }, "spec": { "terminationGracePeriodSeconds": 1,
        "containers": [{ "name": "container", "image": "localhost/busybox", "imagePullPolicy": "Never",
        "command": ["sleep", "1000"] }]'"${2:+, $2} }"
}

eventually has node/node 'kubectl get nodes --output=name'
kubectl wait --for=condition=Ready node/node --timeout=300s
for what in Deployment:many DaemonSet:everywhere; do
    name=${what#*:}
    kubectl apply --filename=- << end
{ "apiVersion": "apps/v1", "kind": "${what%:*}", "metadata": { "name": "$name" },
  "spec": { "selector": { "matchLabels": { "app": "$name" } }, "template": { $(pod $name) } } }
end
done
scale 10

# An administrator sees one pause for each Pod, that of the Pod that looks among them.
debug='kubectl debug node/node --image localhost/busybox --image-pull-policy=Never --quiet --attach'
[ $($debug -- ps -o pid,user,args | awk '$2 == 65535 && $3 == "/pause" && NF == 3' | wc -l) = 12 ]
kubectl delete $(kubectl get pods --output=name | grep debugger)
has_sandboxes 11
# The kubelet removes what has ended once a minute.
eventually has 11 'ctr --namespace k8s.io containers ls | grep -c localhost/pause'

# A killed pause costs the Pod its address.
address() { kubectl get pods --selector=app=everywhere --output='jsonpath={.items[0].status.podIP}'; }
before=$(address)
for process in $(pgrep -x pause); do
    if nsenter --target $process --net ip -4 -o address | grep -qw "$before"; then kill -KILL $process; fi
done
eventually eval 'now=$(address); [ -n "$now" ] && [ "$now" != "$before" ]'
is_rolled_out 11
for process in $(pgrep -x pause); do cmp $program /proc/$process/exe; done

# A Pod has the namespaces and the user it asks for: its name, that, the first process it sees, whose namespaces those of
# network and processes are, and the user of its pause.
while IFS='|' read -r name asked first network processes user; do
    kubectl apply --filename=- << end
{ "apiVersion": "v1", "kind": "Pod", $(pod $name "$asked") }
end
    kubectl wait --for=condition=Ready pod/$name --timeout=300s
    [ "$(kubectl exec $name -- sh -c 'tr "\0" "\n" < /proc/1/cmdline' < /dev/null | head -n 1)" = $first ]
    if [ $name = shared ]; then
        kubectl exec $name -- sh -euc "$orphans; ! grep ^State:.Z /proc/[0-9]*/status" < /dev/null
    fi
    pause=$(pgrep -n -x pause)
    for kind in net:$network pid:$processes; do
        own=$(readlink /proc/$pause/ns/${kind%:*}) nodes=$(readlink /proc/self/ns/${kind%:*})
        [ ${kind#*:} = $([ $own = $nodes ] && echo node || echo own) ]
    done
    [ $(stat --format=%u /proc/$pause) = $user ]
    cmp $program /proc/$pause/exe
    kubectl delete pod $name
done << 'end'
shared|"shareProcessNamespace": true|/pause|own|own|65535
host-pid|"hostPID": true|sh|own|node|65535
host-network|"hostNetwork": true|sleep|node|own|65535
user|"securityContext": { "runAsUser": 1000, "runAsGroup": 2000 }|sleep|own|own|1000
end

kubectl rollout restart deployment/many
is_rolled_out 11
kubectl drain node --ignore-daemonsets --force --timeout=300s
has_sandboxes 1
kubectl uncordon node
is_rolled_out 11

# A hundred at once beside the reference, alternating. Whoever reads it divides: docs/benchmarks.md has one run's figures.
for image in ours reference ours reference; do
    scale 0
    ctr --namespace=k8s.io images import /run/$image.tar
    start=$(date +%s)
    scale 100
    echo "$image: available after $(($(date +%s) - start)) s"
    for process in $(pgrep -x pause); do
        path=$(sed -n 's/^[0-9]*:\(memory\|\)://p' /proc/$process/cgroup | head -n 1)
        cat /sys/fs/cgroup/memory$path/memory.usage_in_bytes /sys/fs/cgroup$path/memory.current 2> /dev/null || :
    done | awk '{ sum += $1 } END { printf "%.0f KiB charged for each sandbox\n", sum / NR / 1024 }'
done
kubectl delete deployment/many daemonset/everywhere
eventually has 0 'pgrep -x pause | wc -l'
"#;
