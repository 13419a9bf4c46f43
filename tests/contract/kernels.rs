//! The contract on real kernels: pause as PID 1 of namespaces on each architecture's own Debian kernel, and the two
//! 32-bit programs also on the 64-bit kernels they are usually run on.

use pause_tests::code::Code;
use pause_tests::machine::*;
use std::path::Path;

/// The names of the checks; the init in tests/kernel has the functions.
macro_rules! contract {
    ($($name:ident)*) => { const CHECKS: &[&str] = &[$(stringify!($name)),*]; };
}
include!("../kernel/contract.rs");

macro_rules! kernels {
    ($($name:ident: $platform:literal on $machine:ident;)*) => {
        $(
            #[test]
            #[ignore = "emulates a machine: install qemu-system-{x86,arm,ppc,misc,riscv,s390x} from bookworm-backports, \
                then cargo test --test contract kernels:: -- --ignored"]
            fn $name() {
                holds($platform, &$machine);
            }
        )*
    };
}

kernels! {
    amd64_on_its_own_kernel: "linux/amd64" on AMD64;
    x86_on_its_own_kernel: "linux/386" on I386;
    x86_on_the_kernel_of_amd64: "linux/386" on AMD64;
    arm64_on_its_own_kernel: "linux/arm64" on ARM64;
    arm_on_its_own_kernel: "linux/arm/v7" on ARMHF;
    arm_on_the_kernel_of_arm64: "linux/arm/v7" on ARM64;
    ppc64le_on_its_own_kernel: "linux/ppc64le" on PPC64EL;
    riscv64_on_its_own_kernel: "linux/riscv64" on RISCV64;
    s390x_on_its_own_kernel: "linux/s390x" on S390X;
    loong64_on_its_own_kernel: "linux/loong64" on LOONG64;
}

/// Asserts that the console has a line `ok NAME` for every check, in their order, and the last line that counts them;
/// and that by then each instruction of pause has been executed.
#[track_caller]
fn holds(platform: &str, machine: &Machine) {
    let pause = built(platform, &[]);
    let report = machine.run(&built(platform, &["--test-init"]), &pause);
    let lines = report.console.lines().map(str::trim_end);
    let told: Vec<_> = lines.filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    let expected: Vec<_> = CHECKS.iter().map(|name| format!("ok {name}")).collect();
    let is_complete = report.console.contains(&format!("{} checks, 0 failures", CHECKS.len()));
    if told == expected && is_complete {
        return is_executed(platform, &pause, &report);
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
fn is_executed(platform: &str, pause: &Path, report: &Report) {
    let code = Code::of(platform, &std::fs::read(pause).expect("built"), &pause_tests::TEXTS);
    // One of the checks tells where it finds pause mapped, in a line of /proc/PID/maps.
    let base = report.console.lines().find_map(|line| line.strip_prefix("mapped ")?.split('-').next());
    let base = u64::from_str_radix(base.expect("a check that passed"), 16).expect("an address");
    let range = code.range();
    let places = report.executed.iter().map(|address| address.wrapping_sub(base));
    code.is_executed_in(&places.filter(|place| range.contains(place)).collect());
}
