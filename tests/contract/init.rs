//! The first process of a virtual machine, in which `/pause` is held to the contract by a real kernel. It reports line by
//! line on the console: `ok NAME`, or `not ok NAME` behind what the row says.

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use pause_contract::{Program, ROWS, done_by_child};
use std::fs;

fn main() {
    for (kind, directory) in
        [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup"), ("tmpfs", "/tmp")]
    {
        fs::create_dir_all(directory).ok();
        if let Err(error) = mount(Some(kind), directory, Some(kind), MsFlags::empty(), None::<&str>) {
            println!("{directory}: {error}");
        }
    }
    // From here on the console is ours: the kernel keeps to itself what is no emergency.
    fs::write("/proc/sys/kernel/printk", "1\n").ok();
    let pause = Program::new(&[], "/pause");
    let mut failures = 0;
    for row in ROWS {
        // In a process of its own, for it may panic.
        let holds = done_by_child(|| {
            (row.holds)(&pause);
            true
        });
        failures += usize::from(!holds);
        println!("{} {}", if holds { "ok" } else { "not ok" }, row.name);
    }
    println!("{} rows, {failures} failures", ROWS.len());
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    panic!("the machine does not end: {error}");
}
