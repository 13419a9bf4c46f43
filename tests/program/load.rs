//! Load: a million orphans, ten thousand sandboxes, no process and no memory left to be had, and everything that may
//! happen to pause at once for half a minute. Nothing is lost and nothing is left.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::ptrace;
use nix::sys::signal::{self, Signal::*};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use pause_tests::cgroup::Cgroup;
use pause_tests::*;
use procfs::process::ProcState;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::ffi::{c_int, c_void};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Context switches of pause that have other causes than reaping.
const FEW: u64 = 10;

/// What a child does until nobody is left who could write to a pipe, whose two ends are in one argument.
extern "C" fn live(ends: *mut c_void) -> c_int {
    let (gate, opener) = (ends as usize >> 16, ends as usize & 0xffff);
    let mut byte = 0u8;
    // SAFETY: its file descriptors are its own, and so is the byte.
    unsafe {
        libc::close(opener as c_int);
        libc::read(gate as c_int, (&raw mut byte).cast(), 1) as c_int
    }
}

extern "C" fn die(_: *mut c_void) -> c_int {
    0
}

/// Makes orphans in the namespaces of pause as fast as it can: in each round, a process there leaves `orphans` children
/// behind, half of them dead already.
fn maker(pause: &Pause, rounds: usize, orphans: usize) -> Command {
    let [user, pids] = ["user", "pid"].map(|kind| {
        let path = format!("/proc/{}/ns/{kind}", pause.pid);
        File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    });
    let mut stacks = vec![[0u8; 16 << 10]; orphans];
    let mut leave = move |gate: OwnedFd, opener: OwnedFd| {
        let ends = (gate.as_raw_fd() as usize) << 16 | opener.as_raw_fd() as usize;
        for (number, stack) in stacks.iter_mut().enumerate() {
            let life = if number % 2 == 0 { live } else { die };
            let top = stack.as_mut_ptr_range().end.cast();
            // SAFETY: the stack is used by this child alone. Sharing the memory, it is made several times as fast.
            let pid = unsafe { libc::clone(life, top, libc::CLONE_VM | libc::SIGCHLD, ends as *mut c_void) };
            Errno::result(pid)?;
        }
        Ok(())
    };
    let make = move || {
        setns(&user, CloneFlags::CLONE_NEWUSER)?;
        setns(&pids, CloneFlags::CLONE_NEWPID)?;
        for _ in 0..rounds {
            let (gate, opener) = pipe2(OFlag::O_CLOEXEC)?;
            // SAFETY: parent and child make system calls only.
            match unsafe { fork() }? {
                ForkResult::Parent { child } => {
                    if waitpid(child, None)? != WaitStatus::Exited(child, 0) {
                        return Err(std::io::ErrorKind::Other.into());
                    }
                    // Only now, orphans, can they die.
                    drop(opener);
                }
                ForkResult::Child => {
                    let left: nix::Result<()> = leave(gate, opener);
                    // SAFETY: ends only this process.
                    unsafe { libc::_exit(left.is_err().into()) };
                }
            }
        }
        Ok(())
    };
    let mut command = Command::new("true");
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(make) };
    command
}

#[test]
#[ignore = "long: a minute: .ci/run long"]
fn a_million_orphans_at_full_speed() {
    const MAKERS: usize = 8;
    const ORPHANS: usize = 100;
    const ROUNDS: usize = 1_000_000 / MAKERS / ORPHANS;
    let mut pause = Pause::first();
    let before = pause.context_switches();
    std::thread::scope(|scope| {
        for _ in 0..MAKERS {
            scope.spawn(|| assert!(maker(&pause, ROUNDS, ORPHANS).status().expect("a maker").success()));
        }
    });
    pause.wait_until("the last orphan to be reaped", |pause| pause.children().is_empty());
    let switches = pause.context_switches() - before;
    assert!(switches < FEW, "{switches} context switches of pause for reaping");
    pause.terminated().exited(0, "", TERMINATED);
}

#[test]
#[ignore = "long: a minute: .ci/run long"]
fn ten_thousand_sandboxes_start_and_stop() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2500 {
                    Pause::first().terminated().exited(0, "", TERMINATED);
                }
            });
        }
    });
    assert_eq!(left(), []);
}

/// The processes that are pause still.
fn left() -> Vec<Pid> {
    let processes = procfs::process::all_processes().expect("readable");
    let left = processes.filter_map(|process| {
        let process = process.ok()?;
        (process.exe().ok()? == shipped().canonicalize().expect("a file")).then_some(Pid::from_raw(process.pid))
    });
    left.collect()
}

/// Has a command move itself to a cgroup before it starts.
fn within(cgroup: &Cgroup, mut command: Command) -> Command {
    let processes = cgroup.processes();
    // SAFETY: writing a file allocates, which is safe as glibc's allocator is usable in the child of a fork.
    unsafe { command.pre_exec(move || std::fs::write(&processes, "0")) };
    command
}

#[test]
#[ignore = "limiting a cgroup needs root: cargo test --test program load:: -- --ignored"]
fn where_no_process_can_be_made_any_more_it_holds_and_ends() {
    for is_to_end_at_once in [false, true] {
        let cgroup = Cgroup::new("pids");
        cgroup.set(["pids.max"; 2], "50");
        let mut pause = Pause::start(within(&cgroup, sandboxed(shipped())));
        let before = pause.context_switches();
        let mut shell = within(&cgroup, pause.command("sh"));
        shell.args(["-c", "while (sleep 1000 > /dev/null 2> /dev/null &); do :; done"]);
        let ended = finish(shell);
        assert!(ended.stderr.contains("fork"), "it should find no process left: {ended}");
        if !is_to_end_at_once {
            let orphans = pause.children();
            // Beside them there are `unshare` and pause.
            assert!(orphans.len() > 40, "{} orphans", orphans.len());
            orphans.iter().for_each(|orphan| signal::kill(*orphan, SIGKILL).expect("alive"));
            pause.wait_until("the last orphan to be reaped", |pause| pause.children().is_empty());
            assert!(pause.context_switches() - before < FEW);
            let mut again = within(&cgroup, pause.command("true"));
            assert!(again.status().expect("starts").success());
        }
        pause.terminated().exited(0, "", TERMINATED);
    }
}

#[test]
#[ignore = "limiting a cgroup needs root: cargo test --test program load:: -- --ignored"]
fn in_the_least_memory_an_engine_gives_it_outlives_who_eats_all_of_it() {
    let cgroup = Cgroup::new("memory");
    // The least that `docker run --memory` takes.
    cgroup.set(["memory.limit_in_bytes", "memory.max"], &(6 << 20).to_string());
    let mut pause = Pause::start(within(&cgroup, sandboxed(shipped())));
    for _ in 0..10 {
        let mut eater = within(&cgroup, pause.command("sh"));
        eater.args(["-c", "(sleep 1000 > /dev/null 2>&1 &); meal=x; while :; do meal=$meal$meal; done"]);
        finish(eater).was_killed_by(libc::SIGKILL);
        assert!(is_asleep(pause.pid));
    }
    pause.children().iter().for_each(|orphan| signal::kill(*orphan, SIGKILL).expect("alive"));
    pause.wait_until("the last orphan to be reaped", |pause| pause.children().is_empty());
    pause.terminated().exited(0, "", TERMINATED);
}

/// What may happen to pause.
#[derive(Clone, Copy, Debug)]
enum Event {
    Signal(i32),
    Stop,
    Continue,
    Trace,
    Freeze,
    Thaw,
    Orphans,
    Deaths,
}

#[test]
#[ignore = "long: half a minute, and freezing a cgroup needs root: .ci/run long"]
fn everything_at_once_for_half_a_minute() {
    let seed = std::env::var("PAUSE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("PAUSE_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let end = Instant::now() + Duration::from_secs(30);
    let mut events = 0;
    while Instant::now() < end {
        events += sandbox_in_trouble(&mut random);
    }
    println!("{events} events");
    assert_eq!(left(), []);
}

/// Has a hundred things happen to a sandbox, and ends it wherever it is by then.
fn sandbox_in_trouble(random: &mut SmallRng) -> usize {
    const EVENTS: usize = 100;
    let pause = Pause::first();
    let freezer = Cgroup::around("freezer", pause.pid);
    let mut is_frozen = false;
    for _ in 0..EVENTS {
        let event = *[
            Event::Signal(random.random_range(1..=64)),
            Event::Stop,
            Event::Continue,
            Event::Trace,
            Event::Freeze,
            Event::Thaw,
            Event::Orphans,
            Event::Deaths,
        ]
        .choose(random)
        .expect("not empty");
        println!("{event:?}");
        match event {
            Event::Signal(libc::SIGINT | libc::SIGTERM | libc::SIGKILL) => {}
            Event::Signal(number) => send(pause.pid, number),
            Event::Stop => pause.signal(SIGSTOP),
            Event::Continue => pause.signal(SIGCONT),
            // A frozen process does not stop for its tracer.
            Event::Trace if is_frozen => {}
            Event::Trace => {
                ptrace::seize(pause.pid, ptrace::Options::empty()).expect("may be traced");
                ptrace::interrupt(pause.pid).expect("traced");
                waitpid(pause.pid, None).expect("the tracer may wait for it");
                ptrace::detach(pause.pid, None).expect("stopped");
            }
            Event::Freeze | Event::Thaw => {
                is_frozen = matches!(event, Event::Freeze);
                if is_frozen { freezer.freeze() } else { freezer.thaw() }
            }
            Event::Orphans => {
                let number = random.random_range(1..20);
                pause.run(&format!(
                    "i=0; while [ $i -lt {number} ]; do (sleep 1000 > /dev/null 2>&1 &); i=$((i + 1)); done"
                ));
            }
            Event::Deaths => {
                for orphan in pause.children() {
                    if random.random() {
                        signal::kill(orphan, SIGKILL).ok();
                    }
                }
            }
        }
        // Dead, no child stays, whatever has become of pause.
        eventually("the dead to be reaped", || {
            pause.children().iter().all(|child| state(*child) != Some(ProcState::Zombie))
        });
    }
    let (signal, message) = *[(SIGTERM, TERMINATED), (SIGINT, INTERRUPT)].choose(random).expect("not empty");
    pause.signal(signal);
    // It may have ended by now.
    if random.random() {
        signal::kill(pause.pid, signal).ok();
    }
    freezer.thaw();
    signal::kill(pause.pid, SIGCONT).ok();
    pause.ended().exited(0, "", message);
    EVENTS
}
