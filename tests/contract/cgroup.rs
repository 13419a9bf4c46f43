//! Cgroups of whichever version this machine has, for what some controllers tell and do. They need root. (cgroups-rs would
//! bring a D-Bus client.)

use crate::eventually;
use nix::unistd::Pid;
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What version 1 and version 2 call the same thing.
type Names = [&'static str; 2];

/// A cgroup of its own. Dropped, it is thawed, and removed when its last process is gone.
pub struct Cgroup {
    root: PathBuf,
    directory: PathBuf,
    pub version: usize,
}

impl Cgroup {
    /// One for a controller such as `freezer`, of those that version 1 knows.
    pub fn new(controller: &str) -> Result<Self> {
        // A line's third field is the type, its second the directory, its fourth the options (proc_mounts(5)).
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let mounts: Vec<Vec<_>> = mounts.lines().map(|line| line.split(' ').collect()).collect();
        let v1 = mounts.iter().find(|mount| mount[2] == "cgroup" && mount[3].split(',').any(|one| one == controller));
        let v2 = mounts.iter().find(|mount| mount[2] == "cgroup2");
        let (mount, version) = match (v1, v2) {
            (Some(mount), _) => (mount, 1),
            (_, Some(mount)) => (mount, 2),
            _ => return Err(Error::new(ErrorKind::NotFound, "no cgroup file system is mounted")),
        };
        let root = Path::new(mount[1]);
        if version == 2 && controller != "freezer" {
            write(&root.join("cgroup.subtree_control"), &format!("+{controller}"))?;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pause-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = root.join(name);
        fs::create_dir(&directory).map_err(|error| Error::other(format!("{}: {error}", directory.display())))?;
        Ok(Self { root: root.into(), directory, version })
    }

    pub fn take(&self, pid: Pid) -> Result<()> {
        write(&self.processes(), &pid.to_string())
    }

    /// Moves a process out again, to the root.
    pub fn release(&self, pid: Pid) -> Result<()> {
        write(&self.root.join("cgroup.procs"), &pid.to_string())
    }

    /// The file that moves a process here.
    pub fn processes(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    pub fn set(&self, file: Names, value: &str) -> Result<()> {
        write(&self.directory.join(file[self.version - 1]), value)
    }

    pub fn get(&self, file: Names) -> Result<String> {
        fs::read_to_string(self.directory.join(file[self.version - 1]))
    }

    pub fn freeze(&self) -> Result<()> {
        self.set(["freezer.state", "cgroup.freeze"], ["FROZEN", "1"][self.version - 1])
    }

    pub fn thaw(&self) -> Result<()> {
        self.set(["freezer.state", "cgroup.freeze"], ["THAWED", "0"][self.version - 1])
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Another controller's of version 1 cannot be frozen.
        self.thaw().ok();
        eventually("the cgroup to be empty", || fs::remove_dir(&self.directory).is_ok());
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| Error::other(format!("cannot write {text} to {}: {error}", path.display())))
}
