//! What holds before each instruction of the shipped file.

use pause_tests::*;

/// Steps through instructions of this machine's architecture.
mod natively {
    use super::*;
    use nix::libc;
    use nix::sys::signal::Signal::SIGTRAP;
    use nix::sys::wait::WaitStatus;
    use pause_tests::fault::{broken, failing};
    use pause_tests::tracee::Tracee;
    use procfs::process::{MMPermissions, MMapPath, Process};
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
}
