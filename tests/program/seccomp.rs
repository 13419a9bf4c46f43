//! The seccomp profile of deploy/ and the program do not drift apart: for every platform, the profile's lists of
//! pause's own calls are what the shipped file can call, no more and no less.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};
use pause_contract::Program as Pause;
use pause_tests::{PROFILE, built};
use serde_json::Value;
use std::collections::BTreeSet;
use std::str::FromStr;
use xtask::build::Program;
use xtask::platform::PLATFORMS;

#[test]
fn the_profile_names_system_calls_that_exist() {
    let profile: LinuxSeccomp = serde_json::from_str(PROFILE).expect("a profile");
    assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActErrno);
    let groups = profile.syscalls().as_ref().expect("system calls");
    assert!(groups.iter().all(|group| group.action() == LinuxSeccompAction::ScmpActAllow));
    let mut seen = BTreeSet::new();
    for name in groups.iter().flat_map(LinuxSyscall::names) {
        assert!(seen.insert(name), "{name} is listed twice");
        let exists = syscalls::x86_64::Sysno::from_str(name).is_ok() || syscalls::x86::Sysno::from_str(name).is_ok();
        assert!(exists, "no system call is named {name}; engines would pass over it in silence");
    }
}

/// What is allowed for pause's own sake is in the groups whose comment begins with it.
#[test]
#[ignore = "needs qemu-user-static and eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): \
            cargo test --test program seccomp:: -- --ignored"]
fn the_profile_allows_pause_what_it_calls_and_nothing_else() {
    let profile: Value = serde_json::from_str(PROFILE).expect("a profile");
    let groups = profile["syscalls"].as_array().expect("groups").iter();
    let own = groups.filter(|group| group["comment"].as_str().is_some_and(|comment| comment.starts_with("pause")));
    let own = own.flat_map(|group| group["names"].as_array().expect("names")).filter_map(Value::as_str);
    let programs = built(&PLATFORMS.iter().collect::<Vec<_>>());
    let calls: BTreeSet<String> = programs.iter().flat_map(calls).collect();
    let calls: BTreeSet<_> = calls.iter().map(String::as_str).collect();
    assert_eq!(own.collect::<BTreeSet<_>>(), calls, "what is listed, and what is called");
}

/// The names of the calls it makes for its version, and from its start beside other processes to its end by SIGTERM. Where
/// one of them fails it makes no others.
fn calls(program: &Program) -> BTreeSet<String> {
    let [emulator, processor] = &program.platform.emulator;
    let pause = Pause::new(&[emulator, "-cpu", processor, "-strace"], &program.path);
    let logs = [pause.another().args(["-v"]).ended().stderr, pause.another().asleep().terminated().stderr];
    // A line starts with the process and the call.
    let name = |line: &str| {
        let (process, call) = line.split_once(' ')?;
        let name = call.split_once('(')?.0;
        process.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.to_owned())
    };
    logs.iter().flat_map(|log| log.lines()).filter_map(name).collect()
}
