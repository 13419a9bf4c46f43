//! Arguments: `-v` and `-V` anywhere among them ask for the version, and everything else is ignored.

use nix::libc;
use nix::sys::ptrace;
use pause_tests::tracee::Tracee;
use pause_tests::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where the arguments made up below start from. They are the same in every run until this is changed.
const SEED: u64 = 20_260_821;

fn with_arguments(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Command {
    let mut command = alone(shipped());
    command.args(arguments.into_iter().map(Into::into));
    command
}

#[track_caller]
fn prints_version(command: Command) {
    finish(command).exited(0, VERSION, "");
}

#[track_caller]
fn is_ignored(command: Command) {
    Pause::start(command).terminated().exited(0, "", &[WARNING, TERMINATED].concat());
}

/// Arguments as likely to come near `-v` as to be anything else.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let near = prop_oneof![Just(b'-'), Just(b'v'), Just(b'V'), Just(0x0d), Just(0xad), Just(b'w')];
    let any = 1..=u8::MAX;
    prop_oneof![proptest::collection::vec(near, 0..4), proptest::collection::vec(any, 0..40)]
}

#[test]
fn exactly_the_version_options_print_the_version() {
    println!("seed {SEED}"); // Shown when the test fails.
    let cases = if emulator().is_some() { 100 } else { 1000 };
    // What hangs would have to be waited for again and again, while smaller arguments are looked for.
    let max_shrink_time = 1000;
    let rng_seed = RngSeed::Fixed(SEED);
    let config = Config { cases, rng_seed, max_shrink_time, failure_persistence: None, ..Config::default() };
    let arguments = proptest::collection::vec(argument(), 0..6);
    let outcome = TestRunner::new(config).run(&arguments, |arguments| {
        let asks = arguments.iter().any(|argument| argument == b"-v" || argument == b"-V");
        let command = with_arguments(arguments.into_iter().map(OsString::from_vec));
        if asks {
            prints_version(command)
        } else {
            is_ignored(command)
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn an_option_counts_in_any_place() {
    for place in 0..5 {
        let mut arguments = ["a"; 5];
        arguments[place] = "-v";
        prints_version(with_arguments(arguments));
    }
}

#[test]
fn a_longer_or_shorter_word_is_no_option() {
    for word in ["", "-", "v", "-vv", "--v", "-v ", " -v", "-v=1", "--version", "-\u{16}", "\rv"] {
        is_ignored(with_arguments([word]));
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_ignored() {
    is_ignored(with_arguments([OsString::from_vec(vec![0xff, 0xfe]), OsString::from_vec(vec![b'-', b'v', 0x80])]));
}

#[test]
fn a_megabyte_of_arguments_is_ignored_or_searched_to_its_end() {
    let megabyte = || vec!["-".repeat(65_536); 16];
    is_ignored(with_arguments(megabyte()));
    prints_version(with_arguments(megabyte().into_iter().chain(["-V".into()])));
    is_ignored(with_arguments(vec![""; 100_000]));
}

/// Replaces the forked child by the program with exactly these arguments and this environment.
fn executed_with(arguments: &[&str], environment: &[&str]) -> Command {
    let strings = |words: &[&str]| words.iter().map(|word| CString::new(*word).unwrap()).collect::<Vec<_>>();
    let (path, arguments) = (CString::new(shipped().as_os_str().as_bytes()).unwrap(), strings(arguments));
    let environment = strings(environment);
    let mut command = alone(shipped());
    // SAFETY: between fork and exec only memory is allocated, which glibc allows there, and execve is called.
    unsafe {
        command.pre_exec(move || {
            let pointers = |words: &[CString]| {
                words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
            };
            libc::execve(path.as_ptr(), pointers(&arguments).as_ptr(), pointers(&environment).as_ptr());
            Err(std::io::Error::last_os_error())
        })
    };
    command
}

/// Under an emulator these would be the emulator's own name and environment.
mod natively {
    use super::*;

    #[test]
    fn the_name_of_the_program_is_no_argument() {
        let mut command = alone(shipped());
        command.arg0("-v");
        is_ignored(command);
    }

    #[test]
    fn no_arguments_at_all_not_even_a_name_are_ignored() {
        is_ignored(executed_with(&[], &[]));
    }

    /// Linux 5.18 and newer put an empty name there; before, the environment lay right behind the null at the end of no
    /// arguments. A tracer makes it so.
    #[test]
    fn on_an_older_kernel_too() {
        for environment in [&[][..], &["-v", "-v"]] {
            let tracee = Tracee::start(with_arguments(environment));
            let stack = ptrace::syscall_info(tracee.pid).expect("stopped").stack_pointer;
            // In the place of the number of arguments and of the first.
            for place in 0..2 {
                let place = stack + place * size_of::<usize>() as u64;
                ptrace::write(tracee.pid, place as ptrace::AddressType, 0).expect("stopped");
            }
            tracee.let_go().falls_asleep().terminated().exited(0, "", &[WARNING, TERMINATED].concat());
        }
    }

    #[test]
    fn the_environment_is_not_taken_for_arguments() {
        is_ignored(executed_with(&[], &["-v", "-v"]));
        is_ignored(executed_with(&["pause"], &["-v", "-v"]));
    }
}
