//! The contract on real kernels: pause as PID 1 of namespaces on each architecture's own Debian kernel, and the two
//! 32-bit programs also on the 64-bit kernels they are usually run on.

use pause_tests::code;
use pause_tests::machine::{self, Report};
use pause_tests::{platform, shipped};
use xtask::platform::{Kernel, Platform};

/// The names of the checks; the init in tests/kernel has the functions.
macro_rules! contract {
    ($($name:ident)*) => { const CHECKS: &[&str] = &[$(stringify!($name)),*]; };
}
include!("../kernel/contract.rs");

#[test]
#[ignore = "emulates machines: install qemu-system-{x86,arm,ppc,misc,riscv,s390x} from bookworm-backports, \
    then PAUSE_PLATFORM=linux/… cargo test --test contract kernels:: -- --ignored"]
fn holds_on_the_platforms_kernels() {
    let platform = platform();
    for kernel in platform.kernels {
        println!("{platform} on Debian's kernel for {}", kernel.architecture);
        holds(platform, kernel);
    }
}

/// Asserts that the console has a line `ok NAME` for every check, in their order, and the last line that counts them;
/// and that by then each instruction of pause has been executed.
#[track_caller]
fn holds(platform: &Platform, kernel: &Kernel) {
    let report = machine::run(kernel, &machine::init(platform), shipped());
    let lines = report.console.lines().map(str::trim_end);
    let told: Vec<_> = lines.filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    let expected: Vec<_> = CHECKS.iter().map(|name| format!("ok {name}")).collect();
    let is_complete = report.console.contains(&format!("{} checks, 0 failures", CHECKS.len()));
    if told == expected && is_complete {
        return is_executed(&report);
    }
    let missing: Vec<_> = expected.iter().filter(|line| !told.contains(&line.as_str())).collect();
    let others: Vec<_> = told.iter().filter(|line| !expected.iter().any(|other| other == *line)).collect();
    let Report { command, ending, emulator, console, .. } = &report;
    panic!(
        "{platform}:\nmissing: {missing:#?}\ninstead: {others:#?}\ncommand: {command}\nending: {ending}\n\
         emulator: {emulator}\n{console}"
    );
}

#[track_caller]
fn is_executed(report: &Report) {
    let file = std::fs::read(shipped()).expect("readable");
    // One of the checks tells where it finds pause mapped, in a line of /proc/PID/maps.
    let base = report.console.lines().find_map(|line| line.strip_prefix("mapped ")?.split('-').next());
    let base = u64::from_str_radix(base.expect("a check that passed"), 16).expect("an address");
    let offsets = report.executed.iter().map(|address| address.wrapping_sub(base));
    code::is_executed(&file, offsets.filter(|offset| *offset < file.len() as u64).collect());
}
