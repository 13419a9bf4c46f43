//! Faults: every system call failing, and standard streams that are closed, broken or full. It never spins, hangs or
//! dies of a message it cannot deliver.

#[path = "../kernel/errors.rs"]
mod errors;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;
use pause_tests::fault::{broken, failing, full, under};
use pause_tests::profile::Profile;
use pause_tests::tracee::Tracee;
use pause_tests::*;
use procfs::process::ProcState;
use seccompiler::{SeccompAction, SeccompFilter};
use std::fs::File;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use syscalls::Sysno;

/// Both ways to run it, each with what it says at the start.
fn both_ways() -> [(Command, &'static str); 2] {
    [(sandboxed(shipped()), ""), (alone(shipped()), WARNING)]
}

fn closing(mut command: Command, stream: i32) -> Command {
    // SAFETY: only a system call is made between fork and exec; the stream is then used no more.
    unsafe {
        command.pre_exec(move || {
            drop(OwnedFd::from_raw_fd(stream));
            Ok(())
        })
    };
    command
}

#[test]
fn closed_streams_are_ignored() {
    for (command, _) in both_ways() {
        let command = closing(closing(closing(command, 0), 1), 2);
        Pause::start(command).terminated().exited(0, "", "");
    }
    let mut command = closing(alone(shipped()), 1);
    command.arg("-v");
    finish(command).exited(0, "", "");
}

#[test]
fn a_broken_stderr_neither_kills_it_at_the_start_nor_changes_its_end() {
    for (mut command, _) in both_ways() {
        command.stderr(broken());
        Pause::start(command).terminated().exited(0, "", "");
    }
    // Of a socket the kernel says that there is room, and that nobody reads.
    for (mut command, _) in both_ways() {
        let (stderr, _) = UnixStream::pair().expect("two sockets");
        command.stderr(OwnedFd::from(stderr));
        Pause::start(command).terminated().exited(0, "", "");
    }
}

#[test]
fn a_stderr_that_breaks_while_it_sleeps_does_not_change_its_end() {
    for (mut command, _) in both_ways() {
        let (reader, writer) = pipe().expect("a pipe");
        command.stderr(writer);
        let pause = Pause::start(command);
        drop(reader);
        // The command kept a copy of the writing end only, so nobody reads.
        pause.terminated().exited(0, "", "");
    }
}

#[test]
fn a_full_stderr_neither_blocks_it_at_the_start_nor_at_the_end() {
    for (mut command, _) in both_ways() {
        let (reader, writer) = full();
        command.stderr(writer);
        Pause::start(command).terminated().exited(0, "", "");
        assert!(dots(reader), "the messages must have been dropped");
    }
}

/// Whether nothing but what [`full`] wrote is in the pipe.
fn dots(mut reader: PipeReader) -> bool {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("every writer is gone");
    bytes.iter().all(|byte| *byte == b'.')
}

#[test]
fn messages_reach_files_and_devices() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("stderr");
    let mut command = alone(shipped());
    command.stderr(File::create(&path).expect("writable"));
    Pause::start(command).terminated().exited(0, "", "");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), [WARNING, TERMINATED].concat());

    let mut command = alone(shipped());
    command.stderr(Stdio::null());
    Pause::start(command).terminated().exited(0, "", "");
}

#[test]
fn a_full_device_loses_the_message_and_nothing_else() {
    for (mut command, _) in both_ways() {
        command.stderr(File::options().write(true).open("/dev/full").expect("/dev/full"));
        Pause::start(command).terminated().exited(0, "", "");
    }
}

#[test]
fn the_version_waits_for_a_slow_reader_as_any_filter_does() {
    let (mut reader, writer) = full();
    let mut command = alone(shipped());
    command.arg("-v").stdout(writer);
    let child = command.spawn().expect("starts");
    eventually("it to wait", || state(Pid::from_raw(child.id() as i32)) == Some(ProcState::Sleeping));
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    end(&command, child).exited(0, "", "");
    drop(command); // It kept a copy of the writing end.
    let text = reading.join().expect("reads").expect("UTF-8");
    assert!(text.ends_with(&format!(".{VERSION}")), "{:?}", &text[text.len().saturating_sub(40)..]);
}

#[test]
fn the_version_into_a_broken_pipe_ends_it_as_any_filter() {
    let [first, another] = both_ways().map(|(mut command, _)| {
        command.arg("-v").stdout(broken());
        finish(command)
    });
    another.was_killed_by(libc::SIGPIPE);
    // Of a signal without a handler PID 1 does not die.
    first.exited(0, "", "");
}

/// Under an emulator these would make the emulator's own system calls fail.
mod natively {
    use super::*;

    #[test]
    fn a_failing_rt_sigaction_ends_it_with_the_number_of_the_call() {
        for (code, signal) in [(1, libc::SIGINT), (2, libc::SIGTERM), (3, libc::SIGCHLD)] {
            for &error in errors::RT_SIGACTION {
                for (command, warning) in both_ways() {
                    let command = failing(command, libc::SYS_rt_sigaction, Some((0, signal as u64)), error);
                    finish(command).exited(code, "", warning);
                }
            }
        }
    }

    #[test]
    fn a_denied_pause_ends_it_with_a_message_and_status_42() {
        for &error in errors::PAUSE {
            for (command, warning) in both_ways() {
                let command = failing(command, libc::SYS_pause, None, error);
                finish(command).exited(42, "", &[warning, ERROR].concat());
            }
        }
    }

    #[test]
    fn a_failing_getpid_means_a_warning() {
        for &error in errors::ANY {
            for (command, _) in both_ways() {
                let command = failing(command, libc::SYS_getpid, None, error);
                Pause::start(command).terminated().exited(0, "", &[WARNING, TERMINATED].concat());
            }
        }
    }

    #[test]
    fn a_failing_wait4_is_of_no_consequence() {
        for &error in errors::WAIT4 {
            for (command, warning) in both_ways() {
                let command = failing(command, libc::SYS_wait4, Some((2, libc::WNOHANG as u64)), error);
                Pause::start(command).terminated().exited(0, "", &[warning, TERMINATED].concat());
            }
        }
    }

    #[test]
    fn a_failing_write_loses_the_message_and_nothing_else() {
        for &error in errors::WRITE {
            for (command, _) in both_ways() {
                let command = failing(command, libc::SYS_write, Some((0, 2)), error);
                Pause::start(command).terminated().exited(0, "", "");
            }
            let mut command = failing(alone(shipped()), libc::SYS_write, Some((0, 1)), error);
            command.arg("-v");
            finish(command).exited(0, "", "");
        }
    }

    #[test]
    fn a_failing_poll_loses_the_message_and_nothing_else() {
        for &error in errors::POLL {
            for (command, _) in both_ways() {
                let command = failing(command, libc::SYS_poll, None, error);
                Pause::start(command).terminated().exited(0, "", "");
            }
        }
    }

    /// By the instruction that stands behind the call, with a signal that not even PID 1 can ignore.
    #[test]
    fn where_exit_is_denied_it_dies_at_once() {
        let denied = |command: Command, error| {
            let mut command = failing(command, libc::SYS_exit, None, error);
            // SAFETY: only a system call is made between fork and exec.
            unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)) };
            command
        };
        let trapped = |ended: Ended, stdout: &str, stderr: &str| {
            let by_trap = [libc::SIGILL, libc::SIGSEGV, libc::SIGTRAP].map(Some).contains(&ended.status.signal());
            assert!(by_trap && ended.stdout == stdout && ended.stderr == stderr, "{ended}");
        };
        for &error in errors::ANY {
            for (command, warning) in both_ways() {
                trapped(Pause::start(denied(command, error)).terminated(), "", &[warning, TERMINATED].concat());
            }
            for (mut command, _) in both_ways() {
                command.arg("-v");
                trapped(finish(denied(command, error)), VERSION, "");
            }
            for (command, warning) in both_ways() {
                let command = failing(command, libc::SYS_rt_sigaction, Some((0, libc::SIGCHLD as u64)), error);
                trapped(finish(denied(command, error)), "", warning);
            }
        }
    }

    /// As under a tracer, on a kernel that does not restart the call, or after a checkpoint was restored.
    #[test]
    fn an_interrupted_pause_sleeps_on() {
        for (command, warning) in both_ways() {
            let tracee = Tracee::start(command);
            for _ in 0..3 {
                tracee.to(libc::SYS_pause);
                tracee.answer(libc::EINTR);
            }
            tracee.to(libc::SYS_pause);
            tracee.let_go().falls_asleep().terminated().exited(0, "", &[warning, TERMINATED].concat());
        }
    }

    /// `poll` fails where even one descriptor is more than may be open, and the message is dropped; `write` does not.
    #[test]
    fn where_no_file_may_be_open_messages_are_lost_and_the_version_is_not() {
        for (program, arguments) in
            [("prlimit", &["--nofile=0"][..]), ("unshare", &["--user", "--pid", "--fork", "prlimit", "--nofile=0"])]
        {
            let command = || {
                let mut command = alone(program.as_ref());
                command.args(arguments).args(words(shipped()));
                command
            };
            Pause::start(command()).terminated().exited(0, "", "");
            let mut version = command();
            version.arg("-v");
            finish(version).exited(0, VERSION, "");
        }
    }

    #[test]
    fn it_makes_no_other_system_call_than_its_profile_allows() {
        let profile = Profile::read();
        let number = |name: &str| name.parse::<Sysno>().expect("a system call of this machine").id().into();
        let calls: Vec<libc::c_long> = profile.own_calls().into_iter().map(number).collect();
        let confined = |mut command: Command| {
            // execve is the test's own, to become pause; EPERM would hide what killing shows.
            let rules = calls.iter().copied().chain([libc::SYS_execve]).map(|call| (call, vec![])).collect();
            let architecture = std::env::consts::ARCH.try_into().expect("an architecture seccompiler knows");
            let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture);
            under(&mut command, filter.expect("a valid filter"));
            command
        };
        Pause::start(confined(alone(shipped()))).terminated().exited(0, "", &[WARNING, TERMINATED].concat());
        let mut version = confined(alone(shipped()));
        version.arg("-v");
        finish(version).exited(0, VERSION, "");
        // With pause denied it also speaks its last words.
        let last_words = failing(alone(shipped()), libc::SYS_pause, None, errors::EPERM);
        finish(confined(last_words)).exited(42, "", &[WARNING, ERROR].concat());
    }

    #[test]
    fn a_full_stderr_does_not_keep_an_error_from_ending_it() {
        for (command, _) in both_ways() {
            let mut command = failing(command, libc::SYS_pause, None, errors::EPERM);
            let (reader, writer) = full();
            command.stderr(writer);
            finish(command).exited(42, "", "");
            assert!(dots(reader), "the messages must have been dropped");
        }
    }
}
