//! The code of the shipped file is known to the last byte: each is a header, an instruction, a constant that one loads
//! or a text; every instruction is executed, and every system call is one of those that are listed.

use pause_tests::code::Code;
use pause_tests::code::decoder::Flow;
use pause_tests::*;

/// How each architecture returns to a caller; arm also pops the program counter.
const RETURNS: [&str; 5] = ["ret", "blr", "br %r14", "c.jr ra", "jirl $zero, $r1, 0x0*4"];

fn shipped_code() -> (Vec<u8>, Code) {
    let file = std::fs::read(shipped()).expect("the shipped file");
    let code = Code::of(&platform().to_string(), &file, &TEXTS);
    (file, code)
}

#[test]
fn the_texts_stand_behind_the_code_and_nothing_else_does() {
    let (file, code) = shipped_code();
    let mut rest = file[code.range().end as usize..].to_vec();
    for text in TEXTS {
        let start = rest.windows(text.len()).position(|window| window == text.as_bytes()).expect("behind the code");
        let length_before = start > 0 && usize::from(rest[start - 1]) == text.len();
        rest.drain(start - length_before as usize..start + text.len());
    }
    // Padding.
    assert!(rest.len() < 16, "{} bytes behind the code are no text: {rest:x?}", rest.len());
}

/// tests/faults.rs and tests/kernel/ make each of them fail.
#[test]
fn system_calls_are_made_in_eleven_places() {
    let (_, code) = shipped_code();
    let sites = code.system_calls();
    let mut found: Vec<_> = sites.values().flatten().map(String::as_str).collect();
    // Where there are neither pause nor poll, ppoll does for both.
    let [pause, poll] = if found.contains(&"ppoll") { ["ppoll"; 2] } else { ["pause", "poll"] };
    #[rustfmt::skip]
    let mut expected = [
        "getpid", "rt_sigaction", "rt_sigaction", "rt_sigaction", "wait4", pause,
        poll, "write", // a message
        "write", // the version
        "exit", "exit", // of its own accord and in the handler
    ];
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", code.listing(sites.keys().copied()));
}

#[test]
fn control_leaves_only_to_a_caller_or_a_place_in_the_code() {
    let (_, code) = shipped_code();
    for (place, instruction) in &code.instructions {
        let stays = match instruction.flow {
            Flow::Next => true,
            Flow::Branch(to) | Flow::Jump(to) | Flow::Call(to) => code.instructions.contains_key(&to),
            Flow::Away => RETURNS.contains(&&*instruction.text) || instruction.text.starts_with("pop {"),
        };
        // No jump to a computed address is what indirect branch tracking (IBT) and branch target identification (BTI)
        // would guard.
        assert!(stays, "control may go anywhere:{}", code.listing([*place]));
    }
}

/// Steps through instructions, and looks at bytes, of this machine's architecture.
mod natively {
    use super::*;
    use nix::libc;
    use nix::sys::signal::Signal::SIGTRAP;
    use nix::sys::wait::WaitStatus;
    use pause_tests::fault::{broken, failing};
    use pause_tests::tracee::Tracee;
    use procfs::process::{MMPermissions, MMapPath, Process};
    use std::collections::BTreeSet;
    use std::process::Command;

    /// Starts that together come to all the code.
    fn starts() -> Vec<Command> {
        let version = || {
            let mut command = alone(shipped());
            command.arg("-v");
            command
        };
        let mut mute = alone(shipped());
        mute.stderr(broken());
        let sigaction = |signal| failing(alone(shipped()), libc::SYS_rt_sigaction, Some((0, signal)), 1);
        vec![
            sandboxed(shipped()),
            alone(shipped()),
            mute,
            version(),
            sigaction(libc::SIGINT as u64),
            sigaction(libc::SIGTERM as u64),
            sigaction(libc::SIGCHLD as u64),
            failing(alone(shipped()), libc::SYS_pause, None, 1),
            failing(alone(shipped()), libc::SYS_exit, None, 1),
            failing(version(), libc::SYS_exit, None, 1),
        ]
    }

    /// Executes it to its end, or until an instruction leads to itself, and hands over every place on the way.
    fn step_through(command: Command, mut visit: impl FnMut(u64, &Process)) {
        let tracee = Tracee::start(command);
        let process = Process::new(tracee.pid.as_raw()).expect("stopped");
        let base = tracee.base();
        let (mut signal, mut last) = (None, 0);
        loop {
            let address = tracee.address();
            if address == last {
                return;
            }
            last = address;
            visit(address - base, &process);
            signal = match tracee.step(signal) {
                WaitStatus::Stopped(_, SIGTRAP) => None,
                // To be delivered with the next step.
                WaitStatus::Stopped(_, other) => {
                    last = 0;
                    Some(other)
                }
                _ => return,
            };
        }
    }

    #[test]
    fn every_instruction_is_executed() {
        let (_, code) = shipped_code();
        let mut executed = BTreeSet::new();
        for start in starts() {
            step_through(start, |place, _| _ = executed.insert(place));
        }
        code.is_executed_in(&executed);
    }

    /// The stack is the kernel's gift, without which no program starts.
    #[test]
    fn at_no_instruction_can_anything_but_the_stack_be_written_or_the_stack_be_executed() {
        for start in starts() {
            step_through(start, |place, process| {
                for map in process.maps().expect("stopped") {
                    let is_writable = map.perms.contains(MMPermissions::WRITE);
                    let is_stack = map.pathname == MMapPath::Stack;
                    assert!(is_writable == is_stack, "before {place:#x}: {map:?}");
                    assert!(!(is_stack && map.perms.contains(MMPermissions::EXECUTE)), "before {place:#x}: {map:?}");
                }
            });
        }
    }

    /// Read from the midst of an instruction, or from a text, bytes may be another one.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn no_system_call_hides_in_other_bytes() {
        let (file, code) = shipped_code();
        let entering: [&[u8]; 3] = [&[0x0f, 0x05], &[0x0f, 0x34], &[0xcd, 0x80]];
        let places = (0..file.len()).filter(|place| entering.iter().any(|bytes| file[*place..].starts_with(bytes)));
        let places: Vec<_> = places.map(|place| place as u64).collect();
        assert_eq!(places, code.system_calls().into_keys().collect::<Vec<_>>());
    }
}
