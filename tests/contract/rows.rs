//! The contract with pause.c, row by row: as PID 1 of new namespaces and beside other processes. Reaping, signals,
//! arguments and faults have more rows of their own.

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use pause_tests::fault::failing;
use pause_tests::*;

#[test]
fn the_first_process_says_nothing_and_sleeps() {
    let pause = Pause::start(sandboxed(shipped()));
    pause.terminated().exited(0, "", TERMINATED);
}

#[test]
fn another_process_warns_and_sleeps() {
    let pause = Pause::start(alone(shipped()));
    pause.terminated().exited(0, "", &[WARNING, TERMINATED].concat());
}

#[test]
fn sigint_ends_it_with_a_message_and_status_0() {
    for (command, warning) in [(sandboxed(shipped()), ""), (alone(shipped()), WARNING)] {
        let pause = Pause::start(command);
        pause.signal(SIGINT);
        pause.ended().exited(0, "", &[warning, INTERRUPT].concat());
    }
}

#[test]
fn sigterm_ends_it_with_a_message_and_status_0() {
    for (command, warning) in [(sandboxed(shipped()), ""), (alone(shipped()), WARNING)] {
        let pause = Pause::start(command);
        pause.signal(SIGTERM);
        pause.ended().exited(0, "", &[warning, TERMINATED].concat());
    }
}

#[test]
fn it_prints_its_version() {
    for option in ["-v", "-V"] {
        for mut command in [sandboxed(shipped()), alone(shipped())] {
            command.arg(option);
            finish(command).exited(0, VERSION, "");
        }
    }
}

#[test]
fn other_arguments_are_ignored() {
    let mut command = sandboxed(shipped());
    command.args(["--help", "v", ""]);
    Pause::start(command).terminated().exited(0, "", TERMINATED);
}

/// Under an emulator these would see the emulator's memory and system calls.
mod natively {
    use super::*;
    use nix::libc;

    #[test]
    fn the_second_process_of_a_namespace_warns_as_any_other() {
        let mut command = sandboxed("sh".as_ref());
        command.args(["-c", "\"$@\"; exit $?", "sh"]).arg(shipped());
        finish(failing(command, libc::SYS_pause, None, libc::EPERM as u32)).exited(42, "", &[WARNING, ERROR].concat());
    }

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
