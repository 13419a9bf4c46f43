//! Cgroups for a test, of whichever version this machine has. They need root.

use crate::eventually;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
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
        // A line's third field is the type, its second the directory, its fourth the options (proc_mounts(5)).
        let mounts = fs::read_to_string("/proc/self/mounts").expect("readable");
        let mounts: Vec<Vec<_>> = mounts.lines().map(|line| line.split(' ').collect()).collect();
        let v1 = mounts.iter().find(|mount| mount[2] == "cgroup" && mount[3].split(',').any(|one| one == controller));
        let v2 = mounts.iter().find(|mount| mount[2] == "cgroup2");
        let (root, version) = match (v1, v2) {
            (Some(mount), _) => (Path::new(mount[1]), 1),
            (_, Some(mount)) => (Path::new(mount[1]), 2),
            _ => panic!("this test needs a mounted cgroup file system"),
        };
        if version == 2 && controller != "freezer" {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))
                .unwrap_or_else(|error| panic!("the controller {controller}: {error}"));
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pause-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = root.join(name);
        fs::create_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}; run this test as root"));
        Self { directory, version }
    }

    pub fn take(&self, pid: Pid) {
        self.set(["cgroup.procs"; 2], &pid.to_string());
    }

    /// The file that moves a process here.
    pub fn processes(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    pub fn set(&self, file: Names, value: &str) {
        let path = self.directory.join(file[self.version - 1]);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{value} to {path:?}: {error}"));
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
        eventually("the cgroup to be empty", || fs::remove_dir(&self.directory).is_ok());
    }
}
