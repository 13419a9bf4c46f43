//! A Pod and its containers, for what a test asks of them.

use super::{BUSYBOX, Node};
use k8s_cri::v1::*;
use pause_contract::Status;
use procfs::process::Process;
use std::fs;
use std::path::PathBuf;

pub struct Pod<'a> {
    pub node: &'a Node,
    pub(super) config: PodSandboxConfig,
    pub id: String,
}

impl Pod<'_> {
    #[track_caller]
    fn status(&self) -> (PodSandboxStatus, serde_json::Value) {
        let request = PodSandboxStatusRequest { pod_sandbox_id: self.id.clone(), verbose: true };
        let response = self.node.wait(self.node.services().pod_sandbox_status(request));
        (response.status.expect("a status"), serde_json::from_str(&response.info["info"]).expect("JSON"))
    }

    #[track_caller]
    pub fn is_ready(&self) -> bool {
        self.status().0.state() == PodSandboxState::SandboxReady
    }

    #[track_caller]
    pub fn address(&self) -> String {
        self.status().0.network.expect("a network").ip
    }

    /// The sandbox's process, as the node sees it.
    #[track_caller]
    pub fn pid(&self) -> i64 {
        self.status().1["pid"].as_i64().expect("a process")
    }

    /// The sandbox's process, as this process sees it.
    #[track_caller]
    pub fn process(&self) -> Process {
        Process::new_with_root(self.proc()).expect("the sandbox's process")
    }

    /// Its directory in the node's /proc.
    #[track_caller]
    pub fn proc(&self) -> PathBuf {
        self.node.sandbox.path(&format!("/proc/{}", self.pid()))
    }

    /// Waits for it, for the runtime is done before pause is; then returns what the kernel says of it.
    #[track_caller]
    pub fn sleeps(&self) -> procfs::process::Status {
        let status = self.proc().join("status");
        pause_tests::eventually("pause to sleep", || Status::from_file(&status).is_ok_and(|status| status.is_asleep()));
        self.process().status().expect("pause lives")
    }

    #[track_caller]
    pub fn runs_the_shipped_file(&self) {
        self.sleeps();
        let [runs, shipped] = [&*self.proc().join("exe"), pause_tests::shipped()]
            .map(|path| fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}")));
        assert!(runs == shipped, "the sandbox runs another file");
        assert_eq!(self.process().cmdline().expect("readable"), ["/pause"]);
    }

    #[track_caller]
    pub fn namespace(&self, kind: &str) -> PathBuf {
        fs::read_link(self.proc().join("ns").join(kind)).expect("readable")
    }

    /// Starts a container of busybox, which joins the namespaces it is told to by the sandbox's configuration.
    #[track_caller]
    pub fn start(&self, name: &str, command: &[&str]) -> Container<'_> {
        let sandbox = self.config.linux.as_ref().and_then(|linux| linux.security_context.as_ref()).expect("set");
        let security_context = LinuxContainerSecurityContext {
            namespace_options: sandbox.namespace_options.clone(),
            ..Default::default()
        };
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: BUSYBOX.into(), ..Default::default() }),
            command: command.iter().map(|word| word.to_string()).collect(),
            linux: Some(LinuxContainerConfig { security_context: Some(security_context), ..Default::default() }),
            ..Default::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let container_id = self.node.wait(self.node.services().create_container(request)).container_id;
        let request = StartContainerRequest { container_id: container_id.clone() };
        self.node.wait(self.node.services().start_container(request));
        Container { node: self.node, id: container_id }
    }

    /// A container that runs, if there is one of this name.
    #[track_caller]
    pub fn container(&self, name: &str) -> Option<Container<'_>> {
        let filter = ContainerFilter { pod_sandbox_id: self.id.clone(), ..Default::default() };
        let request = ListContainersRequest { filter: Some(filter) };
        let containers = self.node.wait(self.node.services().list_containers(request)).containers;
        let mut running = containers.into_iter().filter(|container| {
            container.state() == ContainerState::ContainerRunning
                && container.metadata.as_ref().is_some_and(|metadata| metadata.name == name)
        });
        running.next().map(|container| Container { node: self.node, id: container.id })
    }

    #[track_caller]
    pub fn stop(&self) {
        let request = StopPodSandboxRequest { pod_sandbox_id: self.id.clone() };
        self.node.wait(self.node.services().stop_pod_sandbox(request));
    }

    #[track_caller]
    pub fn remove(&self) {
        self.stop();
        let request = RemovePodSandboxRequest { pod_sandbox_id: self.id.clone() };
        self.node.wait(self.node.services().remove_pod_sandbox(request));
    }
}

pub struct Container<'a> {
    node: &'a Node,
    pub id: String,
}

impl Container<'_> {
    /// Runs a shell script in the container and returns what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let cmd = ["sh", "-euc", script].map(str::to_owned).to_vec();
        let request = ExecSyncRequest { container_id: self.id.clone(), cmd, timeout: 0 };
        let ended = self.node.wait(self.node.services().exec_sync(request));
        let [stdout, stderr] = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).expect("text"));
        assert_eq!(ended.exit_code, 0, "{script}\nstdout: {stdout}\nstderr: {stderr}");
        stdout
    }

    /// What a server at port 8080 says, as soon as it listens.
    #[track_caller]
    pub fn wget(&self, host: &str) -> String {
        self.sh(&pause_tests::sandbox::wget(host))
    }

    /// Stops the container with SIGKILL and removes it.
    #[track_caller]
    pub fn remove(&self) {
        let container_id = self.id.clone();
        self.node.wait(self.node.services().stop_container(StopContainerRequest { container_id, timeout: 0 }));
        let container_id = self.id.clone();
        self.node.wait(self.node.services().remove_container(RemoveContainerRequest { container_id }));
    }
}
