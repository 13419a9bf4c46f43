//! The contract with pause.c, row by row: as PID 1 of new namespaces and beside other processes, for the shipped file
//! and for the debug build. Reaping, signals, arguments and faults have more rows of their own.

mod support;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use std::path::Path;
use support::*;

fn both_builds(test: impl Fn(&Path)) {
    test(shipped());
    // The debug build.
    test(Path::new(env!("CARGO_BIN_EXE_pause")));
}

#[test]
fn the_first_process_says_nothing_and_sleeps() {
    both_builds(|program| {
        let pause = Pause::start(sandboxed(program));
        pause.terminated().exited(0, "", TERMINATED);
    });
}

#[test]
fn another_process_warns_and_sleeps() {
    both_builds(|program| {
        let pause = Pause::start(alone(program));
        pause.terminated().exited(0, "", &[WARNING, TERMINATED].concat());
    });
}

#[test]
fn sigint_ends_it_with_a_message_and_status_0() {
    both_builds(|program| {
        for (command, warning) in [(sandboxed(program), ""), (alone(program), WARNING)] {
            let pause = Pause::start(command);
            pause.signal(SIGINT);
            pause.ended().exited(0, "", &[warning, INTERRUPT].concat());
        }
    });
}

#[test]
fn sigterm_ends_it_with_a_message_and_status_0() {
    both_builds(|program| {
        for (command, warning) in [(sandboxed(program), ""), (alone(program), WARNING)] {
            let pause = Pause::start(command);
            pause.signal(SIGTERM);
            pause.ended().exited(0, "", &[warning, TERMINATED].concat());
        }
    });
}

#[test]
fn it_prints_its_version() {
    both_builds(|program| {
        for option in ["-v", "-V"] {
            for mut command in [sandboxed(program), alone(program)] {
                command.arg(option);
                finish(command).exited(0, VERSION, "");
            }
        }
    });
}

#[test]
fn other_arguments_are_ignored() {
    both_builds(|program| {
        let mut command = sandboxed(program);
        command.args(["--help", "v", ""]);
        Pause::start(command).terminated().exited(0, "", TERMINATED);
    });
}

#[test]
fn where_user_namespaces_are_refused_the_failure_names_the_setting() {
    // A user namespace of its own has its own limit, so that nothing else on this machine is refused.
    let mut command = alone("unshare".as_ref());
    command.args(["--user", "--map-root-user", "--", "sh", "-euc"]);
    command.arg(
        "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$0\" --exact the_first_process_says_nothing_and_sleeps",
    );
    command.arg(std::env::current_exe().expect("known")).env("PAUSE_UNDER_TEST", shipped());
    let ended = finish(command);
    assert!(!ended.status.success(), "{ended}");
    let hint = "hint: user.max_user_namespaces is 0; to allow user namespaces set it to a number above 0";
    assert!(ended.stdout.contains(hint), "{ended}");
}

/// Under an emulator this would see the emulator's memory.
mod natively {
    use super::*;

    #[test]
    fn asleep_it_holds_nothing_but_its_one_segment_and_its_stack() {
        let pause = Pause::first();
        let maps =
            procfs::process::Process::new(pause.pid.as_raw()).and_then(|process| process.maps()).expect("readable");
        let mut own = Vec::new();
        for map in maps {
            use procfs::process::{MMPermissions, MMapPath};
            assert!(!map.perms.contains(MMPermissions::WRITE | MMPermissions::EXECUTE), "writable code: {map:?}");
            match map.pathname {
                MMapPath::Vdso | MMapPath::Vvar | MMapPath::Vsyscall => {}
                MMapPath::Other(name) if name.starts_with("vvar") || name.starts_with("uprobes") => {}
                MMapPath::Stack => own.push("stack"),
                MMapPath::Path(path) if path == shipped().canonicalize().unwrap() => {
                    assert_eq!(map.perms, MMPermissions::READ | MMPermissions::EXECUTE | MMPermissions::PRIVATE);
                    own.push("program");
                }
                other => panic!("pause needs no mapping of {other:?}"),
            }
        }
        own.sort();
        assert_eq!(own, ["program", "stack"]);
    }
}
