//! The seccomp profile of deploy/ and the program do not drift apart: for every platform, the profile's lists of
//! pause's own calls are what the shipped file can call, no more and no less.

use oci_spec::runtime::LinuxSeccompAction;
use pause_contract::Program as Pause;
use pause_tests::built;
use pause_tests::profile::Profile;
use std::collections::BTreeSet;
use std::str::FromStr;
use xtask::build::Program;
use xtask::platform::PLATFORMS;

#[test]
fn the_profile_names_system_calls_that_exist() {
    let profile = Profile::read();
    assert_eq!(profile.default_action, LinuxSeccompAction::ScmpActErrno);
    let mut seen = BTreeSet::new();
    for group in &profile.syscalls {
        assert_eq!(group.action, LinuxSeccompAction::ScmpActAllow, "{}", group.comment);
        for name in &group.names {
            assert!(seen.insert(name), "{name} is listed twice");
            let exists =
                syscalls::x86_64::Sysno::from_str(name).is_ok() || syscalls::x86::Sysno::from_str(name).is_ok();
            assert!(exists, "no system call is named {name}; engines would pass over it in silence");
        }
    }
}

#[test]
#[ignore = "needs qemu-user-static and eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): \
            cargo test --test program seccomp:: -- --ignored"]
fn the_profile_allows_pause_what_it_calls_and_nothing_else() {
    let programs = built(&PLATFORMS.iter().collect::<Vec<_>>());
    let calls: BTreeSet<String> = programs.iter().flat_map(calls).collect();
    let calls: BTreeSet<_> = calls.iter().map(String::as_str).collect();
    assert_eq!(Profile::read().own_calls(), calls, "what is listed, and what is called");
}

/// The names of the calls it makes for its version, and from its start beside other processes to its end by SIGTERM. Where
/// one of them fails it makes no others.
fn calls(program: &Program) -> BTreeSet<String> {
    let [emulator, processor] = program.platform.emulator;
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
