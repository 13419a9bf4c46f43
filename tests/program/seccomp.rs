//! The seccomp profile of deploy/ and the program do not drift apart.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSyscall};
use pause_tests::PROFILE;
use serde_json::Value;
use std::collections::BTreeSet;
use std::str::FromStr;

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

/// What is allowed for pause's own sake is in the groups whose comment begins with it. That it makes these calls and no others
/// is a row of the contract, on every architecture's kernel; newer ones have neither `pause` nor `poll`.
#[test]
fn the_profile_allows_pause_what_it_calls_and_nothing_else() {
    let profile: Value = serde_json::from_str(PROFILE).expect("a profile");
    let groups = profile["syscalls"].as_array().expect("groups").iter();
    let own = groups.filter(|group| group["comment"].as_str().is_some_and(|comment| comment.starts_with("pause")));
    let own = own.flat_map(|group| group["names"].as_array().expect("names")).filter_map(Value::as_str);
    let calls = ["exit", "getpid", "pause", "poll", "ppoll", "rt_sigaction", "wait4", "write"];
    assert_eq!(own.collect::<BTreeSet<_>>(), BTreeSet::from(calls));
}
