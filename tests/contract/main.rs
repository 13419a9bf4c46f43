//! The contract with pause.c, held by the shipped file: natively; by an emulated pause of each other platform, as far as a
//! row can be seen through an emulator; and in virtual machines, by Debian's kernel of each architecture.

use libtest_mimic::{Arguments, Trial};
use nix::unistd::getuid;
use pause_contract::{Needs, Program, ROWS};
use pause_tests::{built, machine, shipped};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;
use xtask::platform::{Kernel, PLATFORMS, Platform, host};

fn main() {
    let own = host().unwrap_or_else(|error| panic!("{error:#}"));
    let mut trials = Vec::new();
    for row in ROWS {
        let hold = || {
            (row.holds)(&Program::new(&[], shipped()));
            Ok(())
        };
        let needs_root = row.needs == Needs::Root;
        let trial = Trial::test(row.name, hold).with_ignored_flag(needs_root && !getuid().is_root());
        trials.push(if needs_root { trial.with_kind("needs root") } else { trial });
    }
    for platform in *PLATFORMS {
        if !std::ptr::eq(platform, own) {
            trials.extend(ROWS.iter().filter(|row| row.needs == Needs::Nothing).map(|row| {
                let hold = || {
                    let [emulator, processor] = &platform.emulator;
                    (row.holds)(&Program::new(&[emulator, "-cpu", processor], &PROGRAMS[&platform.to_string()]));
                    Ok(())
                };
                let trial = Trial::test(format!("{platform}::{}", row.name), hold);
                trial.with_kind("needs qemu-user-static").with_ignored_flag(true)
            }));
        }
        trials.extend(platform.kernels().map(|kernel| {
            let trial = Trial::test(format!("kernels::{platform}::{}", kernel.package), || {
                holds(platform, kernel);
                Ok(())
            });
            trial.with_kind("needs qemu-system, clang-22, lld-22").with_ignored_flag(true)
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The shipped file of every platform, by the platform's name.
static PROGRAMS: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let programs = built(&PLATFORMS.iter().collect::<Vec<_>>());
    programs.into_iter().map(|program| (program.platform.to_string(), program.path)).collect()
});

/// Asserts that the console has a line `ok NAME` for every row, in their order, and the last line that counts them.
fn holds(platform: &'static Platform, kernel: &Kernel) {
    let root = tempfile::tempdir().expect("a directory");
    for (from, name) in [(&machine::init(platform), "init"), (&PROGRAMS[&platform.to_string()], "pause")] {
        std::fs::copy(from, root.path().join(name)).expect("readable");
    }
    let ended = machine::run(kernel, root.path(), &[]);
    let lines = ended.stdout.lines().map(str::trim_end);
    let told: Vec<_> = lines.filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    let expected: Vec<_> = ROWS.iter().map(|row| format!("ok {}", row.name)).collect();
    let is_complete = ended.stdout.contains(&format!("{} rows, 0 failures", ROWS.len()));
    assert!(told == expected && is_complete, "{ended}");
}
