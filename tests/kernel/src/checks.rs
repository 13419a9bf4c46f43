//! The checks, one function each, in the order of the contract.

use crate::arch::{StackAligned, WAITING, Waiting, nr};
use crate::errors;
use crate::failure::{Checked, eventually, fail, step};
use crate::process::*;
use crate::seccomp::{Fault, HELD_UP};
use crate::start::*;
use crate::sys::{self, SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use core::ffi::CStr;
use core::ptr::null;

const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
pub const WARNING: &str = "Warning: pause should be the first process\n";
const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
const TERMINATED: &str = "Shutting down, got signal: Terminated\n";
const ERROR: &str = "Error: infinite loop terminated\n";

/// How many orphans there are, and how many context switches of pause they may cost: pause.c takes one an orphan.
const ORPHANS: usize = 300;
const FEW: u64 = 10;

macro_rules! contract {
    ($($name:ident)*) => {
        pub const CHECKS: &[(&str, fn() -> Checked)] = &[$((stringify!($name), $name)),*];
    };
}
include!("../contract.rs");

fn as_the_first_process_it_says_nothing_and_sleeps() -> Checked {
    first().asleep()?.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn as_another_process_it_warns_and_sleeps() -> Checked {
    another().asleep()?.ended_by(SIGTERM)?.exited(0, "", &[WARNING, TERMINATED])
}

fn an_option_v_prints_the_version_wherever_it_stands() -> Checked {
    prints_the_version(c"-v")
}

fn an_option_capital_v_prints_the_version_wherever_it_stands() -> Checked {
    prints_the_version(c"-V")
}

fn prints_the_version(option: &CStr) -> Checked {
    let (name, other, option) = (text(c"/pause"), text(c"something"), text(option));
    let ways: [&[_]; 4] = [
        &[name, option, null()],
        &[name, option, other, null()],
        &[name, other, option, null()],
        &[name, other, option, other, null()],
    ];
    for arguments in ways {
        for start in both_ways() {
            start.arguments(arguments).started()?.ended()?.exited(0, VERSION, &[])?;
        }
    }
    Ok(())
}

fn text(text: &CStr) -> *const u8 {
    text.as_ptr().cast()
}

fn any_other_argument_is_ignored() -> Checked {
    let others =
        [c"", c"-", c"v", c"V", c"-x", c"--v", c"-vv", c"-Vx", c"--version", c"\xff-v", c"-v\xff", c" -v", c""];
    for other in others {
        let arguments = [text(c"/pause"), text(other), text(other), null()];
        first().arguments(&arguments).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])?;
    }
    Ok(())
}

fn a_megabyte_of_arguments_is_ignored() -> Checked {
    static LONG: [u8; 100_001] = {
        let mut bytes = [b'v'; 100_001];
        bytes[100_000] = 0;
        bytes
    };
    let mut arguments = [LONG.as_ptr(); 12];
    arguments[11] = null();
    first().arguments(&arguments).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn no_arguments_at_all_are_fine() -> Checked {
    first().arguments(&[null()]).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn the_name_of_the_program_is_no_argument() -> Checked {
    first().arguments(&[text(c"-v"), null()]).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

/// Linux 5.18 and newer put an empty name there; before, the environment lay right behind the null at the end of no
/// arguments. A tracer makes it so, of the number of arguments and the name.
fn before_linux_5_18_no_arguments_at_all_are_fine() -> Checked {
    let arguments = [text(c"/pause"), text(c"-v"), text(c"-v"), null()];
    let pause = first().arguments(&arguments).traced().started()?;
    let stack = pause.stack_of_stopped()?;
    for place in 0..2 {
        let address = stack + place * size_of::<usize>();
        step("PTRACE_POKEDATA", sys::ptrace_with(sys::PTRACE_POKEDATA, pause.pid, address, 0))?;
    }
    step("PTRACE_DETACH", sys::ptrace(sys::PTRACE_DETACH, pause.pid))?;
    pause.falls_asleep()?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn nothing_but_its_stack_can_be_written_and_that_not_executed() -> Checked {
    let pause = first().asleep()?;
    let map = pause.memory_map();
    let mut has_program = false;
    for line in map.as_str().lines() {
        let access = line.split(' ').nth(1).unwrap_or_default();
        let is_stack = line.ends_with(" [stack]");
        if access.contains('w') != is_stack || is_stack && access.contains('x') {
            fail!("{line:?}");
        }
        if line.ends_with(" /pause") {
            has_program = true;
            crate::say(format_args!("mapped {line}"));
            if access != "r-xp" {
                fail!("{line:?}");
            }
        }
    }
    if !has_program {
        fail!("no program in {:?}", map.as_str());
    }
    Ok(())
}

fn sigterm_ends_it_with_a_message() -> Checked {
    for start in both_ways() {
        let warning = start.warning();
        start.asleep()?.ended_by(SIGTERM)?.exited(0, "", &[warning, TERMINATED])?;
    }
    Ok(())
}

fn sigint_ends_it_with_a_message() -> Checked {
    for start in both_ways() {
        let warning = start.warning();
        start.asleep()?.ended_by(SIGINT)?.exited(0, "", &[warning, INTERRUPT])?;
    }
    Ok(())
}

fn both_at_once_end_it_with_one_message() -> Checked {
    let pause = first().asleep()?;
    pause.stop()?;
    pause.signal(SIGTERM)?;
    pause.signal(SIGINT)?;
    let ended = pause.ended_by(SIGCONT)?;
    let message = if ended.stderr() == INTERRUPT { INTERRUPT } else { TERMINATED };
    ended.exited(0, "", &[message])
}

fn as_the_first_process_it_ignores_every_other_signal() -> Checked {
    let pause = first().asleep()?;
    let others = || (1..=64).filter(|signal| ![SIGINT, SIGTERM].contains(signal));
    for signal in others().filter(|signal| ![SIGKILL, SIGSTOP].contains(signal)) {
        pause.signal(signal)?;
        pause.falls_asleep()?;
    }
    // From within its namespace even those cannot end it that can from outside.
    pause.joined_by(|| others().all(|signal| sys::kill(1, signal).is_ok()))?;
    pause.falls_asleep()?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn stopped_and_continued_it_sleeps_on() -> Checked {
    let pause = first().asleep()?;
    for _ in 0..3 {
        pause.stop()?;
        pause.signal(SIGCONT)?;
        pause.falls_asleep()?;
    }
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn a_tracer_that_comes_and_goes_leaves_it_asleep() -> Checked {
    let pause = first().asleep()?;
    for _ in 0..3 {
        step("PTRACE_SEIZE", sys::ptrace(sys::PTRACE_SEIZE, pause.pid))?;
        step("PTRACE_INTERRUPT", sys::ptrace(sys::PTRACE_INTERRUPT, pause.pid))?;
        eventually("it to stop for its tracer", || {
            sys::wait(pause.pid, sys::WNOHANG | sys::WALL).is_ok_and(|(pid, _)| pid == pause.pid)
        })?;
        step("PTRACE_DETACH", sys::ptrace(sys::PTRACE_DETACH, pause.pid))?;
        pause.falls_asleep()?;
    }
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn frozen_and_thawed_it_sleeps_on() -> Checked {
    step("mkdir", sys::make_directory(c"/cgroup"))?;
    step("mount", sys::mount(c"cgroup2", c"/cgroup"))?;
    step("mkdir", sys::make_directory(c"/cgroup/pause"))?;
    let is = |state: &str| {
        let events = content(crate::text::path(format_args!("/cgroup/pause/cgroup.events")));
        events.as_str().lines().any(|line| line == state)
    };
    let pause = first().asleep()?;
    let pid = crate::text::Text::<20>::of(format_args!("{}", pause.pid));
    write(c"/cgroup/pause/cgroup.procs", pid.bytes())?;
    let orphans = pause.orphans(ORPHANS)?;
    write(c"/cgroup/pause/cgroup.freeze", b"1")?;
    eventually("it to freeze", || is("frozen 1"))?;
    drop(orphans);
    eventually("the orphans to be reaped although it is frozen", || pause.children().count() == 0)?;
    write(c"/cgroup/pause/cgroup.freeze", b"0")?;
    eventually("it to thaw", || is("frozen 0"))?;
    pause.falls_asleep()?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn orphans_leave_no_zombie_and_do_not_wake_it() -> Checked {
    let pause = first().asleep()?;
    let before = pause.context_switches();
    for _ in 0..2 {
        drop(pause.orphans(ORPHANS)?);
        eventually("the orphans to be reaped", || pause.children().count() == 0)?;
    }
    let switches = pause.context_switches() - before;
    if switches >= FEW {
        fail!("{switches} context switches");
    }
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn orphans_that_die_while_it_is_stopped_leave_no_zombie() -> Checked {
    let pause = first().asleep()?;
    let orphans = pause.orphans(ORPHANS)?;
    pause.stop()?;
    drop(orphans);
    eventually("the orphans to be reaped although it cannot run", || pause.children().count() == 0)?;
    pause.signal(SIGCONT)?;
    pause.falls_asleep()?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn a_zombie_inherited_across_execve_is_swept() -> Checked {
    let pause = asleep_with_three_zombies(first())?;
    // It may be seen as sleeping while it still sweeps: wait4 marks its caller so before it looks (`do_wait` in the
    // kernel's kernel/exit.c). A zombie that it does not sweep stays for as long as it lives.
    eventually("the zombies to be swept", || pause.children().count() == 0)?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn asleep_with_three_zombies(start: Start) -> Checked<Pause> {
    let gate = Gate::new()?;
    let pause = start.inheriting_zombies(3, &gate).started()?;
    eventually("three zombies that are not pause's yet", || pause.children().zombies() == 3)?;
    drop(gate);
    pause.falls_asleep()?;
    Ok(pause)
}

fn what_a_member_sets_in_its_namespaces_stays() -> Checked {
    let pause = first().asleep()?;
    pause.joined_by(|| sys::set_hostname(b"pod-7").is_ok())?;
    pause.joined_by(|| sys::hostname_is(b"pod-7"))?;
    if sys::hostname_is(b"pod-7") {
        fail!("its name is the machine's");
    }
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn everything_in_its_pid_namespace_goes_with_it() -> Checked {
    for signal in [SIGTERM, SIGKILL] {
        let pause = first().asleep()?;
        let gate = pause.orphans(10)?;
        let orphans = pause.children();
        let ended = pause.ended_by(signal)?;
        if signal == SIGTERM {
            ended.exited(0, "", &[TERMINATED])?;
        }
        eventually("the orphans to be gone", || !orphans.pids().any(exists))?;
        drop(gate);
    }
    Ok(())
}

fn a_failing_rt_sigaction_ends_it_with_the_number_of_the_call() -> Checked {
    for (code, signal) in [(1, SIGINT), (2, SIGTERM), (3, SIGCHLD)] {
        for &error in errors::RT_SIGACTION {
            for start in both_ways() {
                let warning = start.warning();
                let fault = Fault { call: nr::RT_SIGACTION, argument: Some((0, signal)), error };
                start.fault(fault).started()?.ended()?.exited(code, "", &[warning])?;
            }
        }
    }
    Ok(())
}

/// Which call it sleeps in. Its poll has one descriptor, its pause none.
fn pause_call() -> (usize, Option<(u32, u32)>) {
    match WAITING {
        Waiting::PauseAndPoll { pause, .. } => (pause, None),
        Waiting::Ppoll { ppoll } => (ppoll, Some((1, 0))),
    }
}

fn a_denied_pause_ends_it_with_a_message_and_status_42() -> Checked {
    let (call, argument) = pause_call();
    for &error in errors::PAUSE {
        for start in both_ways() {
            let warning = start.warning();
            start.fault(Fault { call, argument, error }).started()?.ended()?.exited(42, "", &[warning, ERROR])?;
        }
    }
    Ok(())
}

fn a_failing_getpid_means_a_warning() -> Checked {
    for &error in errors::ANY {
        let fault = Fault { call: nr::GETPID, argument: None, error };
        first().fault(fault).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[WARNING, TERMINATED])?;
    }
    Ok(())
}

fn a_failing_wait4_is_of_no_consequence() -> Checked {
    for &error in errors::WAIT4 {
        let fault = Fault { call: nr::WAIT4, argument: None, error };
        let pause = asleep_with_three_zombies(first().fault(fault))?;
        if pause.children().zombies() != 3 {
            fail!("zombies were swept: the call did not fail");
        }
        pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])?;
    }
    Ok(())
}

fn a_failing_write_loses_the_message_and_nothing_else() -> Checked {
    for &error in errors::WRITE {
        let fault = Fault { call: nr::WRITE, argument: None, error };
        for start in both_ways() {
            start.fault(fault).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[])?;
        }
        let arguments = [text(c"/pause"), text(c"-v"), null()];
        another().arguments(&arguments).fault(fault).started()?.ended()?.exited(0, "", &[])?;
    }
    Ok(())
}

fn a_failing_poll_loses_the_message_and_nothing_else() -> Checked {
    let call = match WAITING {
        Waiting::PauseAndPoll { poll, .. } => poll,
        Waiting::Ppoll { ppoll } => ppoll,
    };
    for &error in errors::POLL {
        for start in both_ways() {
            let fault = Fault { call, argument: Some((1, 1)), error };
            start.fault(fault).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[])?;
        }
    }
    Ok(())
}

/// By the instruction that stands behind the call: with which signal depends on the architecture.
fn where_exit_is_denied_it_dies_at_once() -> Checked {
    let trapped = [sys::SIGILL, sys::SIGTRAP, sys::SIGSEGV];
    let arguments = [text(c"/pause"), text(c"-v"), null()];
    for &error in errors::ANY {
        let fault = Fault { call: nr::EXIT, argument: None, error };
        let no_handler = Fault { call: nr::RT_SIGACTION, argument: Some((0, SIGCHLD)), error };
        for start in both_ways() {
            let warning = start.warning();
            start.fault(fault).asleep()?.ended_by(SIGTERM)?.was_killed(&trapped, "", &[warning, TERMINATED])?;
        }
        for start in both_ways() {
            let warning = start.warning();
            start.fault(fault).fault(no_handler).started()?.ended()?.was_killed(&trapped, "", &[warning])?;
        }
        for start in both_ways() {
            start.fault(fault).arguments(&arguments).started()?.ended()?.was_killed(&trapped, VERSION, &[])?;
        }
    }
    Ok(())
}

/// As under a tracer, on a kernel that does not restart the call, or after a checkpoint was restored.
fn an_interrupted_pause_sleeps_on() -> Checked {
    let (call, argument) = pause_call();
    for start in both_ways() {
        let warning = start.warning();
        let pause = start.fault(Fault { call, argument, error: HELD_UP }).started()?;
        for error in [Some(sys::EINTR), Some(sys::EINTR), Some(sys::EINTR), None] {
            let (listener, call) = pause.held_up()?;
            step("SECCOMP_IOCTL_NOTIF_SEND", listener.answer(&call, error))?;
        }
        pause.falls_asleep()?;
        pause.ended_by(SIGTERM)?.exited(0, "", &[warning, TERMINATED])?;
    }
    Ok(())
}

fn every_disposition_is_aligned_as_its_type_says() -> Checked {
    let pause = first().fault(Fault { call: nr::RT_SIGACTION, argument: None, error: HELD_UP }).started()?;
    for signal in [SIGINT, SIGTERM, SIGCHLD] {
        let (listener, call) = pause.held_up()?;
        let [number, disposition, ..] = call.arguments;
        if number != signal.into() || disposition % align_of::<StackAligned>() as u64 != 0 {
            fail!("at {disposition:#x} for signal {number}");
        }
        step("SECCOMP_IOCTL_NOTIF_SEND", listener.answer(&call, None))?;
    }
    pause.falls_asleep()?;
    pause.ended_by(SIGTERM)?.exited(0, "", &[TERMINATED])
}

fn a_broken_stdout_ends_it_that_should_print_the_version() -> Checked {
    let arguments = [text(c"/pause"), text(c"-v"), null()];
    let [first, another] = both_ways().map(|start| start.arguments(&arguments).stdout(Stream::Broken));
    another.started()?.ended()?.was_killed(&[sys::SIGPIPE], "", &[])?;
    // Of a signal without a handler the first process of a namespace does not die.
    first.started()?.ended()?.exited(0, "", &[])
}

/// `poll` fails where even one descriptor is more than may be open; `write` does not.
fn where_no_file_may_be_open_messages_are_lost_and_the_version_is_not() -> Checked {
    for start in both_ways() {
        start.without_open_files().asleep()?.ended_by(SIGTERM)?.exited(0, "", &[])?;
    }
    let arguments = [text(c"/pause"), text(c"-v"), null()];
    first().arguments(&arguments).without_open_files().started()?.ended()?.exited(0, VERSION, &[])
}

fn a_broken_stderr_does_not_keep_it_from_starting() -> Checked {
    for start in both_ways() {
        start.stderr(Stream::Broken).asleep()?.ended_by(SIGTERM)?.exited(0, "", &[])?;
    }
    Ok(())
}

fn a_full_stderr_does_not_keep_it_from_ending() -> Checked {
    for start in both_ways() {
        start.stderr(Stream::Full).asleep()?.ended_by(SIGTERM)?.exited_with(0)?;
    }
    Ok(())
}

fn closed_streams_do_not_matter() -> Checked {
    for start in both_ways() {
        let start = start.stdout(Stream::Closed).stderr(Stream::Closed);
        start.asleep()?.ended_by(SIGTERM)?.exited(0, "", &[])?;
    }
    let arguments = [text(c"/pause"), text(c"-v"), null()];
    first().arguments(&arguments).stdout(Stream::Closed).started()?.ended()?.exited(0, "", &[])
}
