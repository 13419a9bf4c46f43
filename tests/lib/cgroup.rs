//! Cgroups for a test, of whichever version this machine has. They need root.

use crate::eventually;
use nix::unistd::Pid;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// What version 1 and version 2 call the same thing.
type Names = [&'static str; 2];

/// A cgroup of its own. Dropped, it is thawed, and removed when its last process is gone.
pub struct Cgroup {
    directory: PathBuf,
    version: usize,
}

impl Cgroup {
    /// One for a controller such as `freezer`, of those that version 1 knows.
    pub fn new(controller: &str) -> Self {
        let mounts = procfs::process::Process::myself().and_then(|process| process.mountinfo()).expect("readable");
        let v1 =
            mounts.0.iter().find(|mount| mount.fs_type == "cgroup" && mount.super_options.contains_key(controller));
        let v2 = mounts.0.iter().find(|mount| mount.fs_type == "cgroup2");
        let (root, version) = match (v1, v2) {
            (Some(mount), _) => (&mount.mount_point, 1),
            (_, Some(mount)) => (&mount.mount_point, 2),
            _ => panic!("this test needs a mounted cgroup file system"),
        };
        if version == 2 && controller != "freezer" {
            std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                .unwrap_or_else(|error| panic!("the controller {controller}: {error}"));
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pause-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = root.join(name);
        std::fs::create_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}; run this test as root"));
        Self { directory, version }
    }

    pub fn around(controller: &str, pid: Pid) -> Self {
        let cgroup = Self::new(controller);
        cgroup.set(["cgroup.procs"; 2], &pid.to_string());
        cgroup
    }

    /// The file that moves a process here.
    pub fn processes(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    pub fn set(&self, file: Names, value: &str) {
        let path = self.directory.join(file[self.version - 1]);
        std::fs::write(&path, value).unwrap_or_else(|error| panic!("{value} to {path:?}: {error}"));
    }

    pub fn freeze(&self) {
        self.set(["freezer.state", "cgroup.freeze"], ["FROZEN", "1"][self.version - 1]);
    }

    pub fn thaw(&self) {
        self.set(["freezer.state", "cgroup.freeze"], ["THAWED", "0"][self.version - 1]);
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.directory.join("freezer.state").exists() || self.version == 2 {
            self.thaw();
        }
        eventually("the cgroup to be empty", || std::fs::remove_dir(&self.directory).is_ok());
    }
}
