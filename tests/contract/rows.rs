//! The rows. Each starts what it needs, and panics if the program does not do what it should.

use crate::cgroup::Cgroup;
use crate::deny::{Filter, poll, sleep};
use crate::{
    ERROR, INTERRUPT, Pause, Program, TERMINATED, VERSION, WARNING, broken, child, children, eventually, full,
    is_asleep, live, send, state,
};
use nix::libc::{self, EACCES, EAGAIN, EFAULT, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{self, Signal, Signal::*};
use nix::sys::wait::waitpid;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use syscalls::Sysno;

/// What a row cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// The process itself: under an emulator this would be the emulator's memory, arguments or system calls.
    NoEmulator,
    /// To write to cgroups.
    Root,
}

pub struct Row {
    pub name: &'static str,
    pub needs: Needs,
    pub holds: fn(&Program),
}

/// Lists rows by what they need.
macro_rules! rows {
    ($($needs:ident { $($name:ident)* })*) => {
        pub const ROWS: &[Row] = &[$($(Row { name: stringify!($name), needs: Needs::$needs, holds: $name }),*),*];
    };
}

rows! {
    Nothing {
        an_option_in_any_place_prints_the_version
        any_other_argument_is_ignored
        a_megabyte_of_arguments_is_ignored_or_searched_to_its_end
        the_version_into_a_broken_pipe_ends_it_as_any_filter
        the_version_waits_for_a_slow_reader_as_any_filter_does
        the_first_process_says_nothing_and_sleeps
        another_process_warns_and_sleeps
        sigint_ends_it_with_a_message_and_status_0
        sigterm_ends_it_with_a_message_and_status_0
        sigterm_and_sigint_at_once_give_one_message
        a_thousand_signals_give_one_message
        stopped_and_continued_it_sleeps_on
        orphans_by_the_hundred_leave_no_zombie_and_do_not_wake_it
        orphans_that_die_while_others_are_made
        grandchildren_of_orphans
        a_stopped_orphan_neither_wakes_it_nor_stays
        orphans_that_die_while_it_is_stopped
        what_a_member_sets_in_its_namespaces_stays
        everything_in_its_pid_namespace_goes_with_it
        closed_streams_are_ignored
        a_broken_stderr_neither_kills_it_at_the_start_nor_changes_its_end
        a_stderr_that_breaks_while_it_sleeps_does_not_change_its_end
        a_full_stderr_neither_blocks_it_at_the_start_nor_at_the_end
        messages_reach_files_and_devices
        a_full_device_loses_the_message_and_nothing_else
    }
    NoEmulator {
        no_arguments_at_all_are_ignored
        before_linux_5_18_no_arguments_at_all_are_ignored
        the_name_of_the_program_and_the_environment_are_no_arguments
        the_second_process_of_a_namespace_warns_as_any_other
        asleep_it_holds_nothing_but_its_one_segment_and_its_stack
        a_signal_that_comes_while_another_is_handled_is_not_told_of
        as_the_first_process_it_ignores_every_other_signal
        as_another_process_every_other_signal_has_its_default_effect
        traced_and_let_go_it_sleeps_on
        a_traced_orphan_is_reaped_when_its_tracer_leaves_or_dies
        orphans_that_die_while_it_is_traced
        of_the_children_it_starts_with_the_dead_are_swept_and_the_living_not_waited_for
        a_failing_rt_sigaction_ends_it_with_the_number_of_the_call
        a_denied_pause_ends_it_with_a_message_and_status_42
        an_interrupted_pause_sleeps_on
        where_exit_is_denied_it_dies_at_once
        a_failing_getpid_means_a_warning
        a_failing_wait4_is_of_no_consequence
        a_failing_write_loses_the_message_and_nothing_else
        a_failing_poll_loses_the_message_and_nothing_else
        where_no_file_may_be_open_messages_are_lost_and_the_version_is_not
        it_makes_no_other_system_call
    }
    Root {
        orphans_that_die_while_it_is_frozen
        where_no_process_can_be_made_any_more_it_holds_reaps_and_ends
        in_the_least_memory_an_engine_gives_it_outlives_who_eats_all_of_it
    }
}

/// What a call that cannot fail is denied with by a seccomp profile, and what each can fail with by its manual page.
const ANY: [i32; 3] = [EPERM, EACCES, ENOSYS];
const RT_SIGACTION: [i32; 5] = [EPERM, EACCES, ENOSYS, EFAULT, EINVAL];
const WAIT4: [i32; 8] = [EPERM, EACCES, ENOSYS, EAGAIN, libc::ECHILD, EINTR, EINVAL, libc::ESRCH];
const POLL: [i32; 7] = [EPERM, EACCES, ENOSYS, EFAULT, EINTR, EINVAL, ENOMEM];
#[rustfmt::skip]
const WRITE: [i32; 14] = [
    EPERM, EACCES, ENOSYS, EAGAIN, libc::EBADF, libc::EDESTADDRREQ, libc::EDQUOT, EFAULT, libc::EFBIG, EINTR, EINVAL,
    libc::EIO, libc::ENOSPC, libc::EPIPE,
];

/// Being stopped, continued, traced or frozen, and looked at, takes a switch or two; pause.c takes one a child.
const FEW: u64 = 10;
/// Few, for they are made on emulated processors too; the benchmark makes a hundred thousand.
const ORPHANS: usize = 100;

// Arguments

fn an_option_in_any_place_prints_the_version(pause: &Program) {
    for option in ["-v", "-V"] {
        for (start, _) in pause.both_ways() {
            start.args([option]).ended().exited(0, VERSION, "");
        }
        for place in 0..4 {
            let mut arguments = ["a"; 4];
            arguments[place] = option;
            pause.another().args(arguments).ended().exited(0, VERSION, "");
        }
    }
}

fn any_other_argument_is_ignored(pause: &Program) {
    #[rustfmt::skip]
    let others: [&[u8]; 17] = [
        b"", b"-", b"v", b"V", b"-x", b"-vv", b"--v", b"-Vx", b"-v ", b" -v", b"-v=1", b"--version", b"\rv", b"-\x16",
        b"\xff-v", b"-v\x80", b"m-v",
    ];
    for other in others.map(OsStr::from_bytes) {
        pause.first().args([other, other]).asleep().terminated().exited(0, "", TERMINATED);
    }
}

fn a_megabyte_of_arguments_is_ignored_or_searched_to_its_end(pause: &Program) {
    pause.first().args(vec!["-".repeat(65_536); 16]).asleep().terminated().exited(0, "", TERMINATED);
    pause.first().args(vec![""; 10_000]).args(["-V"]).ended().exited(0, VERSION, "");
}

fn no_arguments_at_all_are_ignored(pause: &Program) {
    for environment in [&[][..], &["-v", "-v"]] {
        pause.first().exactly(&[], environment).asleep().terminated().exited(0, "", TERMINATED);
    }
}

/// Linux 5.18 and newer put an empty name there; before, the environment lay right behind the null at the end of no
/// arguments. A tracer makes it so, of the number of arguments and the name.
fn before_linux_5_18_no_arguments_at_all_are_ignored(pause: &Program) {
    for arguments in [&[][..], &["-v", "-v"]] {
        let mut pause = pause.first().args(arguments).stopped();
        let stack = ptrace::syscall_info(pause.pid).expect("stopped").stack_pointer;
        for place in 0..2 {
            let address = stack + place * size_of::<usize>() as u64;
            ptrace::write(pause.pid, address as ptrace::AddressType, 0).expect("stopped");
        }
        pause.let_go();
        pause.falls_asleep();
        pause.terminated().exited(0, "", TERMINATED);
    }
}

fn the_name_of_the_program_and_the_environment_are_no_arguments(pause: &Program) {
    pause.first().exactly(&["-v"], &["-v", "-v"]).asleep().terminated().exited(0, "", TERMINATED);
}

fn the_version_into_a_broken_pipe_ends_it_as_any_filter(pause: &Program) {
    pause.another().args(["-v"]).stdout(broken()).ended().was_killed_by(&[libc::SIGPIPE]);
    // Of a signal without a handler PID 1 does not die.
    pause.first().args(["-v"]).stdout(broken()).ended().exited(0, "", "");
}

fn the_version_waits_for_a_slow_reader_as_any_filter_does(pause: &Program) {
    let (mut reader, writer) = full();
    let pause = pause.another().args(["-v"]).stdout(writer).started();
    eventually("it to wait", || state(pause.pid) == Some('S'));
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    pause.ended().exited(0, "", "");
    let text = reading.join().expect("reads").expect("UTF-8");
    assert!(text.ends_with(&format!(".{VERSION}")), "{:?}", &text[text.len().saturating_sub(40)..]);
}

// The first process, and others

fn the_first_process_says_nothing_and_sleeps(pause: &Program) {
    pause.first().asleep().terminated().exited(0, "", TERMINATED);
}

fn another_process_warns_and_sleeps(pause: &Program) {
    pause.another().asleep().terminated().exited(0, "", [WARNING, TERMINATED].concat());
}

fn the_second_process_of_a_namespace_warns_as_any_other(pause: &Program) {
    pause.second().failing(sleep(), EPERM).ended().exited(42, "", [WARNING, ERROR].concat());
}

fn asleep_it_holds_nothing_but_its_one_segment_and_its_stack(pause: &Program) {
    let path = std::fs::canonicalize(&pause.path).expect("a file");
    let pause = pause.first().asleep();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", pause.pid)).expect("pause lives");
    let mut own = Vec::new();
    for map in maps.lines() {
        // proc_pid_maps(5): addresses, access, offset, device, inode, what it is.
        let words: Vec<_> = map.split_ascii_whitespace().collect();
        let access = words[1];
        assert!(!(access.contains('w') && access.contains('x')), "writable code: {map}");
        match words.get(5).copied().unwrap_or_default() {
            "[stack]" => own.push("stack"),
            name if OsStr::new(name) == path => {
                assert_eq!(access, "r-xp", "{map}");
                own.push("program");
            }
            // The kernel's own.
            name if ["[vdso]", "[sigpage]", "[vectors]", "[vsyscall]", "[uprobes]"].contains(&name) => {}
            name if name.starts_with("[vvar") => {}
            _ => panic!("pause needs no mapping of {map}"),
        }
    }
    own.sort();
    assert_eq!(own, ["program", "stack"]);
}

// Signals

fn sigint_ends_it_with_a_message_and_status_0(pause: &Program) {
    for (start, warning) in pause.both_ways() {
        start.asleep().ended_by(SIGINT).exited(0, "", [warning, INTERRUPT].concat());
    }
}

fn sigterm_ends_it_with_a_message_and_status_0(pause: &Program) {
    for (start, warning) in pause.both_ways() {
        start.asleep().ended_by(SIGTERM).exited(0, "", [warning, TERMINATED].concat());
    }
}

/// Stopped, it finds all of them when it goes on. The kernel delivers the lower number first.
fn all_at_once(pause: &Program, signals: impl IntoIterator<Item = Signal>, message: &str) {
    let pause = pause.first().asleep();
    pause.stop();
    signals.into_iter().for_each(|signal| pause.signal(signal));
    pause.ended_by(SIGCONT).exited(0, "", message);
}

fn sigterm_and_sigint_at_once_give_one_message(pause: &Program) {
    all_at_once(pause, [SIGTERM, SIGINT], INTERRUPT);
    all_at_once(pause, [SIGINT, SIGTERM], INTERRUPT);
}

fn a_thousand_signals_give_one_message(pause: &Program) {
    all_at_once(pause, [SIGTERM; 1000], TERMINATED);
    all_at_once(pause, [SIGTERM, SIGINT, SIGCHLD].into_iter().cycle().take(1000), INTERRUPT);
    for _ in 0..10 {
        let pause = pause.first().asleep();
        // Until it is gone. Dead but not yet waited for, it can still be sent signals.
        for signal in [SIGTERM, SIGINT].into_iter().cycle().take(1000) {
            signal::kill(pause.pid, signal).ok();
        }
        let ended = pause.ended();
        assert!([TERMINATED, INTERRUPT].contains(&&*ended.stderr) && ended.status.success(), "{ended}");
    }
}

/// Stops it inside its handler, which first asks whether there is room in stderr.
fn a_signal_that_comes_while_another_is_handled_is_not_told_of(pause: &Program) {
    for (first, second, message) in [(SIGTERM, SIGINT, TERMINATED), (SIGINT, SIGTERM, INTERRUPT)] {
        let pause = pause.first().asleep();
        ptrace::seize(pause.pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).expect("may be traced");
        pause.signal(first);
        // Woken by the signal, it leaves its sleep and enters poll.
        let (name, _) = poll();
        let number: i64 = name.parse::<Sysno>().expect("a system call").id().into();
        let mut resumed = first as i32;
        loop {
            let status = waitpid(pause.pid, None).expect("traced");
            let info = ptrace::syscall_info(pause.pid).expect("stopped");
            if let nix::sys::wait::WaitStatus::PtraceSyscall(_) = status {
                resumed = 0;
                // SAFETY: for this kind of stop the kernel fills in this part.
                if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY && unsafe { info.u.entry.nr } as i64 == number {
                    break;
                }
            }
            let signal = Signal::try_from(std::mem::take(&mut resumed)).ok();
            ptrace::syscall(pause.pid, signal).expect("stopped");
        }
        pause.signal(second);
        pause.let_go();
        pause.ended().exited(0, "", message);
    }
}

/// All but those pause handles; without the two of a C library's own.
fn other_signals() -> impl Iterator<Item = i32> {
    let own = 32..libc::SIGRTMIN();
    (1..=libc::SIGRTMAX())
        .filter(move |signal| ![libc::SIGINT, libc::SIGTERM].contains(signal) && !own.contains(signal))
}

fn as_the_first_process_it_ignores_every_other_signal(pause: &Program) {
    let pause = pause.first().asleep();
    for signal in other_signals().filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        send(pause.pid, signal);
        eventually("it to sleep on", || is_asleep(pause.pid));
    }
    // From within its namespace even those cannot end it that can from outside.
    // SAFETY: kill(2) touches no memory.
    assert!(pause.joined_by(|| other_signals().all(|signal| unsafe { libc::kill(1, signal) } == 0)));
    eventually("it to sleep on", || is_asleep(pause.pid));
    pause.terminated().exited(0, "", TERMINATED);
}

fn as_another_process_every_other_signal_has_its_default_effect(pause: &Program) {
    // signal(7): ignored or continuing, and stopping.
    const HARMLESS: [i32; 4] = [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT];
    const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    for signal in other_signals() {
        let mut start = pause.another().before(move || {
            // nohup, and a shell that starts something in the background, leave some ignored. For those that cannot be
            // it fails.
            // SAFETY: no handler is installed.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
        });
        // In a group without its parent, SIGTSTP and its like stop it.
        start.command.process_group(0);
        let pause = start.asleep();
        send(pause.pid, signal);
        if STOPPING.contains(&signal) {
            eventually("it to stop", || state(pause.pid) == Some('T'));
            pause.signal(SIGCONT);
        }
        if HARMLESS.contains(&signal) || STOPPING.contains(&signal) {
            eventually("it to sleep on", || is_asleep(pause.pid));
            pause.terminated().exited(0, "", [WARNING, TERMINATED].concat());
        } else {
            pause.ended().was_killed_by(&[signal]);
        }
    }
}

fn stopped_and_continued_it_sleeps_on(pause: &Program) {
    let pause = pause.first().asleep();
    for _ in 0..30 {
        pause.stop();
        pause.signal(SIGCONT);
        eventually("it to sleep on", || is_asleep(pause.pid));
    }
    pause.terminated().exited(0, "", TERMINATED);
}

/// Stops it for a tracer, this thread.
fn trace(pause: &Pause) {
    ptrace::seize(pause.pid, ptrace::Options::empty()).expect("may be traced");
    ptrace::interrupt(pause.pid).expect("traced");
    waitpid(pause.pid, None).expect("the tracer may wait for it");
}

fn traced_and_let_go_it_sleeps_on(pause: &Program) {
    let pause = pause.first().asleep();
    for _ in 0..30 {
        trace(&pause);
        pause.let_go();
        eventually("it to sleep on", || is_asleep(pause.pid));
    }
    pause.terminated().exited(0, "", TERMINATED);
}

// Reaping

/// Asserts that nobody is left and that pause slept through it.
#[track_caller]
fn leaves_nobody(pause: Pause, switches_before: u64) {
    eventually("the last orphan to be reaped", || pause.children().is_empty());
    let switches = pause.context_switches() - switches_before;
    assert!(switches < FEW, "{switches} context switches of pause for reaping");
    pause.terminated().exited(0, "", TERMINATED);
}

fn orphans_by_the_hundred_leave_no_zombie_and_do_not_wake_it(pause: &Program) {
    let pause = pause.first().asleep();
    let before = pause.context_switches();
    for _ in 0..4 {
        drop(pause.orphans(ORPHANS));
        eventually("the orphans to be reaped", || pause.children().is_empty());
    }
    leaves_nobody(pause, before);
}

/// Makes a child that makes one, and so on, and ends.
fn descendants(depth: usize) -> bool {
    child(|| depth == 0 || descendants(depth - 1)).is_some()
}

fn orphans_that_die_while_others_are_made(pause: &Program) {
    let pause = pause.first().asleep();
    let before = pause.context_switches();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(pause.joined_by(|| (0..ORPHANS).all(|_| descendants(0)))));
        }
    });
    leaves_nobody(pause, before);
}

fn grandchildren_of_orphans(pause: &Program) {
    let pause = pause.first().asleep();
    let before = pause.context_switches();
    assert!(pause.joined_by(|| (0..ORPHANS / 4).all(|_| descendants(3))));
    leaves_nobody(pause, before);
}

fn a_stopped_orphan_neither_wakes_it_nor_stays(pause: &Program) {
    let pause = pause.first().asleep();
    let before = pause.context_switches();
    let _gate = pause.orphans(1);
    let orphan = pause.children()[0];
    for _ in 0..30 {
        send(orphan, libc::SIGSTOP);
        eventually("it to stop", || state(orphan) == Some('T'));
        send(orphan, libc::SIGCONT);
        eventually("it to go on", || state(orphan) == Some('S'));
    }
    send(orphan, libc::SIGSTOP);
    send(orphan, libc::SIGKILL);
    leaves_nobody(pause, before);
}

fn a_traced_orphan_is_reaped_when_its_tracer_leaves_or_dies(pause: &Program) {
    for leaves in [true, false] {
        let pause = pause.first().asleep();
        let before = pause.context_switches();
        let _gate = pause.orphans(1);
        let orphan = pause.children()[0];
        // The thread is the tracer.
        let tracing = std::thread::spawn(move || {
            ptrace::seize(orphan, ptrace::Options::empty()).expect("may be traced");
            send(orphan, libc::SIGKILL);
            eventually("it to be a zombie for its tracer", || state(orphan) == Some('Z'));
            if leaves {
                waitpid(orphan, None).expect("the tracer may wait for it");
            }
        });
        tracing.join().expect("traced");
        leaves_nobody(pause, before);
    }
}

/// Orphans that die while it cannot run are reaped then, and not when it runs again.
fn reaped_while(pause: &Program, stop: impl FnOnce(&Pause), go_on: impl FnOnce(&Pause)) {
    let pause = pause.first().asleep();
    let orphans = pause.orphans(ORPHANS);
    let before = pause.context_switches();
    stop(&pause);
    drop(orphans);
    eventually("them to be reaped although it cannot run", || pause.children().is_empty());
    go_on(&pause);
    eventually("it to sleep again", || is_asleep(pause.pid));
    leaves_nobody(pause, before);
}

fn orphans_that_die_while_it_is_stopped(pause: &Program) {
    reaped_while(pause, Pause::stop, |pause| pause.signal(SIGCONT));
}

fn orphans_that_die_while_it_is_traced(pause: &Program) {
    reaped_while(pause, trace, Pause::let_go);
}

fn orphans_that_die_while_it_is_frozen(pause: &Program) {
    let freezer = Cgroup::new("freezer").expect("a cgroup");
    let freeze = |pause: &Pause| freezer.take(pause.pid).and_then(|()| freezer.freeze()).expect("frozen");
    reaped_while(pause, freeze, |_| freezer.thaw().expect("thawed"));
}

fn of_the_children_it_starts_with_the_dead_are_swept_and_the_living_not_waited_for(pause: &Program) {
    let pause = pause.another().inheriting(3, 3).asleep();
    // It may be seen as sleeping while it still sweeps: wait4 marks its caller so before it looks (`do_wait` in the
    // kernel's kernel/exit.c).
    eventually("the dead to be swept", || pause.children().len() == 3);
    let number = sleep().0.parse::<Sysno>().expect("a system call").id().to_string();
    eventually("it to sleep in pause and not in wait4", || {
        // proc_pid_syscall(5): the number comes first.
        let call = std::fs::read_to_string(format!("/proc/{}/syscall", pause.pid)).expect("pause lives");
        call.split(' ').next() == Some(&number)
    });
    let before = pause.context_switches();
    children(pause.pid).into_iter().for_each(|child| send(child, libc::SIGKILL));
    eventually("the others to be reaped, too", || pause.children().is_empty());
    assert!(pause.context_switches() - before < FEW);
    pause.terminated().exited(0, "", [WARNING, TERMINATED].concat());
}

// Where nothing is left to be had

fn where_no_process_can_be_made_any_more_it_holds_reaps_and_ends(pause: &Program) {
    for is_to_end_at_once in [false, true] {
        let cgroup = Cgroup::new("pids").expect("a cgroup");
        cgroup.set(["pids.max"; 2], "50").expect("a limit");
        let pause = pause.first().asleep();
        let before = pause.context_switches();
        let (processes, enter) = (cgroup.processes(), |file| std::fs::write(file, "0").is_ok());
        assert!(pause.joined_by(|| enter(&processes) && (0..100).any(|_| child(|| live()).is_none())));
        if is_to_end_at_once {
            pause.terminated().exited(0, "", TERMINATED);
        } else {
            let orphans = pause.children();
            assert!(orphans.len() > 40, "{} orphans", orphans.len());
            orphans.into_iter().for_each(|orphan| send(orphan, libc::SIGKILL));
            eventually("the orphans to be reaped", || pause.children().is_empty());
            assert!(pause.joined_by(|| enter(&processes) && child(|| true).is_some()));
            leaves_nobody(pause, before);
        }
    }
}

fn in_the_least_memory_an_engine_gives_it_outlives_who_eats_all_of_it(pause: &Program) {
    let cgroup = Cgroup::new("memory").expect("a cgroup");
    // The least that `docker run --memory` takes.
    cgroup.set(["memory.limit_in_bytes", "memory.max"], &(6 << 20).to_string()).expect("a limit");
    let (processes, own) = (cgroup.processes(), cgroup.processes());
    let pause = pause.first().before(move || std::fs::write(&own, "0")).asleep();
    for _ in 0..10 {
        let survived = pause.joined_by(|| {
            std::fs::write(&processes, "0").is_ok() && child(|| live()).is_some() && {
                let eaten: Vec<_> = (0..64).map(|_| vec![1u8; 1 << 20]).collect();
                std::hint::black_box(&eaten);
                true
            }
        });
        assert!(!survived && is_asleep(pause.pid));
    }
    pause.children().into_iter().for_each(|child| send(child, libc::SIGKILL));
    eventually("the last orphan to be reaped", || pause.children().is_empty());
    pause.terminated().exited(0, "", TERMINATED);
}

// Namespaces

/// A name and a System V semaphore, which nobody holds but the namespace.
fn what_a_member_sets_in_its_namespaces_stays(pause: &Program) {
    const KEY: libc::key_t = 7;
    let pause = pause.first().asleep();
    // SAFETY: the name is as long as is said, and semget(2) touches no memory.
    assert!(pause.joined_by(|| unsafe {
        libc::sethostname(c"pod-7".as_ptr(), 5) == 0 && libc::semget(KEY, 1, libc::IPC_CREAT | libc::IPC_EXCL) >= 0
    }));
    let is_there = || {
        // SAFETY: all bytes of the structure may be zero; the kernel fills it in.
        let mut name: libc::utsname = unsafe { std::mem::zeroed() };
        unsafe { libc::uname(&raw mut name) };
        let has_name = name.nodename.iter().zip(b"pod-7\0").all(|(seen, expected)| *seen as u8 == *expected);
        (has_name, unsafe { libc::semget(KEY, 1, 0) } >= 0)
    };
    assert!(pause.joined_by(|| is_there() == (true, true)));
    assert_eq!(is_there(), (false, false), "outside");
    // SAFETY: getpid(2) cannot fail.
    assert!(pause.joined_by(|| (2..100).contains(&unsafe { libc::getpid() })));
    pause.terminated().exited(0, "", TERMINATED);
}

fn everything_in_its_pid_namespace_goes_with_it(pause: &Program) {
    for signal in [SIGTERM, SIGKILL] {
        let pause = pause.first().asleep();
        let _gate = pause.orphans(10);
        let orphans = pause.children();
        let ended = pause.ended_by(signal);
        match signal {
            SIGTERM => ended.exited(0, "", TERMINATED),
            _ => ended.was_killed_by(&[libc::SIGKILL]),
        }
        eventually("the orphans to be gone", || orphans.iter().all(|orphan| state(*orphan).is_none()));
    }
}

// System calls that fail

fn a_failing_rt_sigaction_ends_it_with_the_number_of_the_call(pause: &Program) {
    for (code, signal) in [(1, libc::SIGINT), (2, libc::SIGTERM), (3, libc::SIGCHLD)] {
        for error in RT_SIGACTION {
            for (start, warning) in pause.both_ways() {
                start.failing(("rt_sigaction", Some((0, signal as u32))), error).ended().exited(code, "", warning);
            }
        }
    }
}

fn a_denied_pause_ends_it_with_a_message_and_status_42(pause: &Program) {
    for error in ANY {
        for (start, warning) in pause.both_ways() {
            start.failing(sleep(), error).ended().exited(42, "", [warning, ERROR].concat());
        }
    }
    for (start, _) in pause.both_ways() {
        let (reader, writer) = full();
        start.failing(sleep(), EPERM).stderr(writer).ended().exited(42, "", "");
        nothing_came(reader);
    }
}

/// As under a tracer, on a kernel that does not restart the call, or after a checkpoint was restored: again and again.
fn an_interrupted_pause_sleeps_on(pause: &Program) {
    for (start, warning) in pause.both_ways() {
        let pause = start.failing(sleep(), EINTR).started();
        let ticks = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", pause.pid)).unwrap_or_default();
            stat.split(' ').next().and_then(|time| time.parse::<u64>().ok()).expect("it lives")
        };
        // Nanoseconds it has run: enough for thousands of calls.
        eventually("it to try again and again", || ticks() > 20_000_000);
        pause.terminated().exited(0, "", [warning, TERMINATED].concat());
    }
}

/// By the instruction that stands behind the call, with a signal that not even PID 1 can ignore.
fn where_exit_is_denied_it_dies_at_once(pause: &Program) {
    const TRAPS: [i32; 3] = [libc::SIGILL, libc::SIGSEGV, libc::SIGTRAP];
    for error in ANY {
        let denied = || {
            pause.both_ways().map(|(start, warning)| {
                (start.failing(("exit", None), error).before(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)), warning)
            })
        };
        for (start, warning) in denied() {
            let ended = start.asleep().terminated();
            ended.was_killed_by(&TRAPS);
            assert_eq!((&*ended.stdout, ended.stderr), ("", [warning, TERMINATED].concat()));
        }
        for (start, _) in denied() {
            let ended = start.args(["-v"]).ended();
            ended.was_killed_by(&TRAPS);
            assert_eq!((&*ended.stdout, &*ended.stderr), (VERSION, ""));
        }
        for (start, warning) in denied() {
            let ended = start.failing(("rt_sigaction", Some((0, libc::SIGCHLD as u32))), error).ended();
            ended.was_killed_by(&TRAPS);
            assert_eq!((&*ended.stdout, &*ended.stderr), ("", warning));
        }
    }
}

fn a_failing_getpid_means_a_warning(pause: &Program) {
    for error in ANY {
        let pause = pause.first().failing(("getpid", None), error).asleep();
        pause.terminated().exited(0, "", [WARNING, TERMINATED].concat());
    }
}

fn a_failing_wait4_is_of_no_consequence(pause: &Program) {
    for error in WAIT4 {
        for (start, warning) in pause.both_ways() {
            let pause = start.inheriting(1, 0).failing(("wait4", None), error).asleep();
            assert_eq!(pause.children().len(), 1, "it was swept, so the call did not fail");
            pause.terminated().exited(0, "", [warning, TERMINATED].concat());
        }
    }
}

fn a_failing_write_loses_the_message_and_nothing_else(pause: &Program) {
    for error in WRITE {
        for (start, _) in pause.both_ways() {
            start.failing(("write", None), error).asleep().terminated().exited(0, "", "");
        }
        pause.another().args(["-v"]).failing(("write", None), error).ended().exited(0, "", "");
    }
}

fn a_failing_poll_loses_the_message_and_nothing_else(pause: &Program) {
    for error in POLL {
        for (start, _) in pause.both_ways() {
            start.failing(poll(), error).asleep().terminated().exited(0, "", "");
        }
    }
}

/// `poll` fails where even one descriptor is more than may be open, and the message is dropped; `write` does not.
fn where_no_file_may_be_open_messages_are_lost_and_the_version_is_not(pause: &Program) {
    let without = || pause.both_ways().map(|(start, _)| start.before(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 0, 0)?)));
    for start in without() {
        start.asleep().terminated().exited(0, "", "");
    }
    for start in without() {
        start.args(["-v"]).ended().exited(0, VERSION, "");
    }
}

/// Than the seven of its contract, whose profile is in deploy/seccomp.json: any other kills. execve is this process's own.
fn it_makes_no_other_system_call(pause: &Program) {
    let own = ["getpid", "rt_sigaction", "wait4", sleep().0, poll().0, "write", "exit", "execve"];
    for (start, warning) in pause.both_ways() {
        start.under(Filter::only(&own)).asleep().terminated().exited(0, "", [warning, TERMINATED].concat());
    }
    pause.another().args(["-v"]).under(Filter::only(&own)).ended().exited(0, VERSION, "");
    let last_words = pause.another().failing(sleep(), EPERM).under(Filter::only(&own));
    last_words.ended().exited(42, "", [WARNING, ERROR].concat());
}

// Standard streams

fn closed_streams_are_ignored(pause: &Program) {
    for (start, _) in pause.both_ways() {
        start.closing(0).closing(1).closing(2).asleep().terminated().exited(0, "", "");
    }
    pause.another().args(["-v"]).closing(1).ended().exited(0, "", "");
}

fn a_broken_stderr_neither_kills_it_at_the_start_nor_changes_its_end(pause: &Program) {
    for (start, _) in pause.both_ways() {
        start.stderr(broken()).asleep().terminated().exited(0, "", "");
    }
    // Of a socket the kernel says that there is room, and that nobody reads.
    for (start, _) in pause.both_ways() {
        let (stderr, _) = UnixStream::pair().expect("two sockets");
        start.stderr(OwnedFd::from(stderr)).asleep().terminated().exited(0, "", "");
    }
}

fn a_stderr_that_breaks_while_it_sleeps_does_not_change_its_end(pause: &Program) {
    for (start, _) in pause.both_ways() {
        let (reader, writer) = pipe().expect("a pipe");
        let pause = start.stderr(writer).asleep();
        drop(reader);
        pause.terminated().exited(0, "", "");
    }
}

fn a_full_stderr_neither_blocks_it_at_the_start_nor_at_the_end(pause: &Program) {
    for (start, _) in pause.both_ways() {
        let (reader, writer) = full();
        start.stderr(writer).asleep().terminated().exited(0, "", "");
        nothing_came(reader);
    }
}

/// A full pipe has nothing but what filled it.
fn nothing_came(mut reader: impl Read) {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("every writer is gone");
    assert!(bytes.iter().all(|byte| *byte == b'.'), "the messages must have been dropped");
}

fn messages_reach_files_and_devices(pause: &Program) {
    // A file without a name.
    let mut file =
        File::from(nix::sys::memfd::memfd_create(c"stderr", nix::sys::memfd::MFdFlags::empty()).expect("a file"));
    let stderr = file.try_clone().expect("the same file");
    pause.another().stderr(stderr).asleep().terminated().exited(0, "", "");
    let mut text = String::new();
    std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_string(&mut text)).expect("readable");
    assert_eq!(text, [WARNING, TERMINATED].concat());
    pause.another().stderr(Stdio::null()).asleep().terminated().exited(0, "", "");
}

fn a_full_device_loses_the_message_and_nothing_else(pause: &Program) {
    for (start, _) in pause.both_ways() {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        start.stderr(full).asleep().terminated().exited(0, "", "");
    }
}
