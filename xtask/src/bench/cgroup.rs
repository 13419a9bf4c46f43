//! Control groups of either version, for what two controllers tell and do. (cgroups-rs would bring a D-Bus client.)

use anyhow::{Context, Result};
use nix::unistd::Pid;
use procfs::process::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A new group, below the root of its hierarchy. It goes when this goes out of scope, by when nobody should be left.
pub struct Cgroup {
    directory: PathBuf,
    /// Where this tool was before.
    origin: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    pub fn new(controller: &str) -> Result<Self> {
        let this = Process::myself()?;
        let mounts = this.mountinfo()?;
        let v1 = mounts.iter().find(|mount| mount.fs_type == "cgroup" && mount.super_options.contains_key(controller));
        let (mount, is_v2) = match v1 {
            Some(mount) => (mount, false),
            None => {
                let v2 = mounts.iter().find(|mount| mount.fs_type == "cgroup2");
                (v2.with_context(|| format!("no {controller} cgroup is mounted"))?, true)
            }
        };
        let root = &mount.mount_point;
        if is_v2 {
            write(&root.join("cgroup.subtree_control"), &format!("+{controller}"))?;
        }
        let is_own = |controllers: &[String]| match is_v2 {
            true => controllers.iter().all(String::is_empty),
            false => controllers.iter().any(|own| own == controller),
        };
        let groups = this.cgroups()?;
        let own = groups.into_iter().find(|group| is_own(&group.controllers)).context("this tool is in no cgroup")?;
        let directory = root.join("pause-bench");
        if !directory.is_dir() {
            fs::create_dir(&directory).with_context(|| format!("cannot make the cgroup {}", directory.display()))?;
        }
        Ok(Self { directory, origin: root.join(own.pathname.trim_start_matches('/')), is_v2 })
    }

    pub fn add(&self, process: Pid) -> Result<()> {
        write(&self.directory.join("cgroup.procs"), &process.to_string())
    }

    /// Until the guard goes out of scope, what this tool starts is charged to the group from its first byte on.
    pub fn enter(&self) -> Result<Inside<'_>> {
        self.add(Pid::this())?;
        Ok(Inside(self))
    }

    /// The bytes of kernel memory charged to the group: stacks, page tables and objects. Some are given back only a
    /// grace period (RCU) later, such as tables of the stack that exec has moved: as soon as it stays the same for a while.
    pub fn kernel_memory(&self) -> Result<u64> {
        // Of version 2 the kernel adds up every two seconds what each CPU counted (FLUSH_TIME in mm/memcontrol.c).
        let a_while = Duration::from_millis(if self.is_v2 { 2_500 } else { 30 });
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut before = self.kernel_memory_now()?;
        loop {
            sleep(a_while);
            let now = self.kernel_memory_now()?;
            if now == before || Instant::now() > deadline {
                return Ok(now);
            }
            before = now;
        }
    }

    fn kernel_memory_now(&self) -> Result<u64> {
        if self.is_v2 {
            let stat = read(&self.directory.join("memory.stat"))?;
            let kernel = stat.lines().find_map(|line| line.strip_prefix("kernel "));
            return Ok(kernel.context("no kernel in memory.stat")?.parse()?);
        }
        Ok(read(&self.directory.join("memory.kmem.usage_in_bytes"))?.trim().parse()?)
    }

    /// The smallest share of CPU time there is.
    pub fn starve(&self) -> Result<()> {
        if self.is_v2 {
            write(&self.directory.join("cpu.weight"), "1")
        } else {
            write(&self.directory.join("cpu.shares"), "2")
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last processes may be on their way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
    }
}

pub struct Inside<'a>(&'a Cgroup);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let _ = write(&self.0.origin.join("cgroup.procs"), &Pid::this().to_string());
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
