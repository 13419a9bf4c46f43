"""Pods on a node with containerd, asked for over the CRI as the kubelet asks: tests of unittest, each run by one of
pods.rs, which describes the node in the variable NODE."""

import itertools
import json
import os
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import api_pb2 as cri
import grpc

NODE = SimpleNamespace(**json.loads(os.environ["NODE"]))
ROOT = Path(NODE.root)
CHANNEL = grpc.insecure_channel(f"unix:{ROOT}/run/containerd/containerd.sock")
NUMBERS = itertools.count()
# Sandboxes that containerd knows of, those of their processes that run, the addresses they hold, their interfaces.
NOTHING, ONE = (0, 0, 0, 0), (1, 1, 1, 1)


def ask(method, service="Runtime", **fields):
    request, response = (getattr(cri, method + kind) for kind in ("Request", "Response"))
    path = f"/runtime.v1.{service}Service/{method}"
    call = CHANNEL.unary_unary(path, request.SerializeToString, response.FromString)
    return call(request(**fields), timeout=120)


def on_node(script):
    command = [*NODE.enter, "sh", "-euc", script]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def eventually(what, holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


class Pod:
    def __init__(self, id, config=None):
        self.id, self.config = id, config

    @classmethod
    def run(cls, **security):
        """Its sandbox, as the kubelet would run it but for this: by default containers see no process of each other's."""
        name = f"pod-{next(NUMBERS)}"
        security["namespace_options"] = {"pid": "CONTAINER"} | security.get("namespace_options", {})
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"},
            # On the node's network it has the node's name.
            "hostname": "" if security["namespace_options"].get("network") == "NODE" else name,
            "linux": {"cgroup_parent": NODE.cgroup, "security_context": security},
        }
        return cls(ask("RunPodSandbox", config=config, runtime_handler=NODE.runtime).pod_sandbox_id, config)

    def status(self):
        return ask("PodSandboxStatus", pod_sandbox_id=self.id, verbose=True)

    def is_ready(self):
        return self.status().status.state == cri.SANDBOX_READY

    def address(self):
        return self.status().status.network.ip

    def pid(self):
        return json.loads(self.status().info["info"])["pid"]

    def proc(self):
        return ROOT / "proc" / str(self.pid())

    def start(self, name, *command):
        """A container of busybox, which joins the namespaces that the sandbox's configuration tells it to."""
        options = self.config["linux"]["security_context"]["namespace_options"]
        config = {
            "metadata": {"name": name}, "image": {"image": "localhost/busybox:latest"}, "command": command,
            "linux": {"security_context": {"namespace_options": options}},
        }
        created = ask("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        ask("StartContainer", container_id=created.container_id)
        return Container(created.container_id)

    def start_both(self):
        return self.start("server", *NODE.serve), self.start("client", "sleep", "1000")

    def running(self, name):
        """The containers of this name that run: one, or none."""
        filter = {"pod_sandbox_id": self.id, "state": {"state": "CONTAINER_RUNNING"}}
        containers = ask("ListContainers", filter=filter).containers
        return [Container(container.id) for container in containers if container.metadata.name == name]

    def stop(self):
        ask("StopPodSandbox", pod_sandbox_id=self.id)

    def remove(self):
        self.stop()
        ask("RemovePodSandbox", pod_sandbox_id=self.id)


class Container:
    def __init__(self, id):
        self.id = id

    def sh(self, script):
        ended = ask("ExecSync", container_id=self.id, cmd=["sh", "-euc", script])
        assert ended.exit_code == 0, f"{script}\n{ended}"
        return ended.stdout.decode()

    def wget(self, host):
        """What a server says, as soon as it listens."""
        return self.sh(f"until wget -q -O - http://{host}:8080; do sleep 0.1; done")


def pods():
    """The Pods that containerd knows of, newest first."""
    items = ask("ListPodSandbox").items
    return [Pod(item.id) for item in sorted(items, key=lambda item: item.created_at, reverse=True)]


def traces():
    count = lambda script: len(on_node(script).splitlines())
    return (
        len(pods()), count("pgrep -x pause || :"), count("find /run/addresses -name '10.*'"),
        count("ip -o link show master cni0"),
    )


def namespaces(pid, *kinds):
    """Those of a process that the node sees, whose own process 1 is in its own."""
    return [os.readlink(ROOT / f"proc/{pid}/ns/{kind}") for kind in kinds]


def image(name):
    response = ask("ImageStatus", service="Image", image={"image": name})
    return response.image if response.HasField("image") else None


class Test(unittest.TestCase):
    def sleeps(self, pod):
        """Waits for it, for the runtime is done before pause is; then returns what the kernel says of it."""
        def status():
            lines = (pod.proc() / "status").read_text().splitlines()
            return {key: value.split() for key, value in (line.split(":", 1) for line in lines)}

        def is_asleep():
            # With SIGINT and SIGTERM caught and SIGCHLD ignored: nothing else ever sleeps so.
            has = lambda mask, signal: int(status()[mask][0], 16) >> signal - 1 & 1
            return status()["State"][0] == "S" and has("SigCgt", 2) and has("SigCgt", 15) and has("SigIgn", 17)

        eventually("pause to sleep", is_asleep)
        return status()

    def runs_the_shipped_file(self, pod):
        self.sleeps(pod)
        self.assertEqual((pod.proc() / "exe").read_bytes(), Path(NODE.shipped).read_bytes())
        self.assertEqual((pod.proc() / "cmdline").read_text(), "/pause\0")

    def is_confined(self, pod, user, group):
        status = self.sleeps(pod)
        self.assertEqual([status["Uid"], status["Gid"]], [[user] * 4, [group] * 4])
        self.assertEqual(status["NoNewPrivs"], ["1"])
        self.assertEqual({int(status[kind][0], 16) for kind in ("CapPrm", "CapEff")}, {0})
        mounts = [mount.split() for mount in (pod.proc() / "mounts").read_text().splitlines()]
        [options] = [mount[3].split(",") for mount in mounts if mount[1] == "/"]
        self.assertIn("ro", options)

    def is_pinned_if_the_node_pins(self, name):
        """Pinned, the kubelet does not remove an image to save space. containerd 1.6.20 pins none."""
        self.assertEqual(image(name).pinned, NODE.containerd != "1")


class Runs(Test):
    def test_runs_the_image(self):
        self.runs_the_shipped_file(Pod.run())

    def test_it_is_pulled_first(self):
        self.assertIsNone(image(NODE.image))
        self.runs_the_shipped_file(Pod.run())
        self.assertEqual(image(NODE.image).repo_tags, [NODE.image])
        self.is_pinned_if_the_node_pins(NODE.image)

    def test_a_pod_may_have_users_of_its_own(self):
        """As with `hostUsers: false`."""
        users = [{"host_id": 100_000, "container_id": 0, "length": 65_536}]
        pod = Pod.run(namespace_options={"userns_options": {"mode": "POD", "uids": users, "gids": users}})
        self.runs_the_shipped_file(pod)
        self.assertNotEqual(namespaces(pod.pid(), "user"), namespaces(1, "user"))
        self.assertEqual(self.sleeps(pod)["Uid"], ["165535"] * 4, "the image's user, as the node sees it")
        self.assertEqual(pod.start("container", "sleep", "1000").sh("id -u"), "0\n")


class EveryNode(Test):
    """What a node of every kind promises; no promise leaves a trace of its Pods."""

    def tearDown(self):
        for pod in pods():
            pod.remove()
        self.assertEqual(traces(), NOTHING)

    def test_runs_the_image_imported_from_its_archive(self):
        version = ask("Version").runtime_version
        self.assertTrue(version.removeprefix("v").startswith(NODE.containerd + "."), version)
        pod = Pod.run()
        self.assertTrue(pod.is_ready())
        self.runs_the_shipped_file(pod)
        self.is_pinned_if_the_node_pins(NODE.image)

    def test_stops_and_is_removed_without_a_trace(self):
        pod = Pod.run()
        self.sleeps(pod)
        process = pod.proc()
        self.assertEqual(traces(), ONE)
        pod.stop()
        self.assertFalse(pod.is_ready())
        self.assertFalse(process.exists())
        pod.remove()
        self.assertEqual(traces(), NOTHING)
        self.assertIsNotNone(image(NODE.image))

    def test_killed_it_is_not_ready_and_another_takes_over(self):
        pod = Pod.run()
        on_node(f"kill -KILL {pod.pid()}")
        eventually("the killed sandbox to be not ready", lambda: not pod.is_ready())
        # As the kubelet does it.
        pod.stop()
        another = Pod.run()
        self.runs_the_shipped_file(another)
        self.assertNotEqual(another.id, pod.id)
        pod.remove()
        self.assertTrue(another.is_ready())
        self.assertEqual(traces(), ONE)

    def test_is_confined_by_default(self):
        self.is_confined(Pod.run(), "65535", "65535")

    def test_runs_as_the_pods_user(self):
        pod = Pod.run(run_as_user={"value": 1000}, run_as_group={"value": 2000}, readonly_rootfs=True)
        self.is_confined(pod, "1000", "2000")

    def test_sleeps_under_the_runtimes_seccomp_profile(self):
        self.assertEqual(self.sleeps(Pod.run())["Seccomp"], ["0"])
        pod = Pod.run(seccomp={"profile_type": "RuntimeDefault"})
        self.assertEqual(self.sleeps(pod)["Seccomp"], ["2"])
        self.assertTrue(pod.is_ready())

    def run_with_profile(self, profile):
        (ROOT / "run/seccomp.json").write_text(profile)
        return Pod.run(seccomp={"profile_type": "Localhost", "localhost_ref": "/run/seccomp.json"})

    def test_sleeps_under_a_seccomp_profile_of_the_node(self):
        pod = self.run_with_profile(NODE.profile)
        self.assertEqual(self.sleeps(pod)["Seccomp"], ["2"])
        self.assertTrue(pod.is_ready())

    def test_ends_under_a_seccomp_profile_that_denies_it_to_sleep(self):
        denying = NODE.profile.replace('"pause",', "").replace('"ppoll",', "")
        self.assertNotEqual(denying, NODE.profile)
        pod = self.run_with_profile(denying)
        eventually("the sandbox to be not ready", lambda: not pod.is_ready())

    def test_containers_share_localhost_and_keep_the_address(self):
        pod = Pod.run()
        server, client = pod.start_both()
        self.assertEqual(client.wget("localhost"), "hello")
        address = pod.address()
        for method in "StopContainer", "RemoveContainer":
            ask(method, container_id=server.id)
        self.assertEqual(client.sh("wget -q -O - http://localhost:8080 || :"), "", "what a removed server serves")
        self.assertEqual(pod.address(), address)
        pod.start("server", *NODE.serve)
        self.assertEqual(pod.address(), address)
        self.assertEqual(client.wget(address), "hello")

    def test_containers_that_share_processes_see_pause_as_pid_1_and_no_zombie(self):
        for container in Pod.run(namespace_options={"pid": "POD"}).start_both():
            container.sh(NODE.holds_a_pod)

    def test_containers_that_share_no_processes_see_none(self):
        pod = Pod.run()
        container = pod.start("container", "sleep", "1000")
        self.assertEqual(container.sh("cat /proc/1/cmdline"), "sleep\x001000\0")
        self.assertEqual(container.sh("pidof pause || :"), "")
        joined = container.sh("for kind in net ipc uts; do readlink /proc/self/ns/$kind; done").split()
        self.assertEqual(joined, namespaces(pod.pid(), "net", "ipc", "uts"))
        self.assertFalse(set(joined) & set(namespaces(1, "net", "ipc", "uts")))

    def test_a_pod_may_use_the_namespaces_of_the_node(self):
        kinds = "net", "pid", "ipc"
        pod = Pod.run(namespace_options={"network": "NODE", "pid": "NODE", "ipc": "NODE"})
        self.runs_the_shipped_file(pod)
        self.assertEqual(namespaces(pod.pid(), *kinds), namespaces(1, *kinds))
        container = pod.start("container", "sleep", "1000")
        self.assertNotEqual(container.sh("cat /proc/1/cmdline"), "/pause\0")
        self.assertEqual(container.sh(f"cat /proc/{pod.pid()}/cmdline"), "/pause\0")
        self.assertTrue(pod.is_ready())
        process = pod.proc()
        pod.stop()
        self.assertFalse(process.exists())

    def test_a_hundred_run_side_by_side(self):
        with ThreadPoolExecutor(8) as kubelet:
            hundred = list(kubelet.map(lambda _: Pod.run(), range(100)))
        for pod in hundred:
            self.runs_the_shipped_file(pod)
            self.assertTrue(pod.is_ready())
        self.assertEqual(len({pod.address() for pod in hundred}), 100)
        self.assertEqual(traces(), (100, 100, 100, 100))


class Kubelet(Test):
    def test_a_static_pod_comes_stays_and_goes(self):
        # It looks for sandboxes to remove once a minute.
        within = lambda what, holds: eventually(what, holds, seconds=180)

        def running(pod, name):
            within(f"the container {name} to run", lambda: pod.running(name))
            return pod.running(name)[0]

        manifest = ROOT / "run/manifests/pod.yaml"
        manifest.write_text(NODE.manifest)
        within("a sandbox", pods)
        [pod] = pods()
        server, client = running(pod, "server"), running(pod, "client")
        self.runs_the_shipped_file(pod)
        for container in server, client:
            container.sh(NODE.holds_a_pod)
        address = pod.address()
        self.assertEqual(client.wget(address), "hello")
        self.assertEqual(traces(), ONE)
        # It has changed what it was shown in the place of the machine's setting.
        self.assertEqual(on_node("cat /run/sys/kernel/panic"), "10")

        client.sh("kill -KILL $(pidof httpd)")
        within("another server", lambda: [one for one in pod.running("server") if one.id != server.id])
        self.assertEqual(client.wget(address), "hello")
        self.assertEqual(pod.address(), address)
        self.assertEqual(traces(), ONE)

        on_node(f"kill -KILL {pod.pid()}")
        within("another sandbox", lambda: pods()[0].id != pod.id)
        another = pods()[0]
        self.runs_the_shipped_file(another)
        self.assertTrue(another.is_ready() and not pod.is_ready())
        running(another, "server")
        self.assertEqual(running(another, "client").wget("localhost"), "hello")
        self.assertEqual(traces(), (2, 1, 1, 1))

        process = another.proc()
        manifest.unlink()
        within("pause to end", lambda: not process.exists())
        within("the sandboxes to be removed", lambda: not pods())
        self.assertEqual(traces(), NOTHING)
        cgroups = f"find /sys/fs/cgroup -path '*{NODE.cgroup}/kubepods/*/pod*'"
        within("its cgroups to be removed", lambda: not on_node(cgroups))


unittest.main(failfast=True)
