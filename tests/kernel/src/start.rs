//! Starts pause, alone or as PID 1 of new namespaces, with whatever it is to find.

use crate::failure::{Checked, fail, step};
use crate::process::Pause;
use crate::seccomp::{self, Fault};
use crate::sys::{self, File};

/// Where pause has the file from which its calls that are held up are received; nothing else is ever there.
pub const LISTENER: usize = 100;

/// What a standard stream of pause is.
#[derive(Clone, Copy, PartialEq)]
pub enum Stream {
    /// A pipe that is read here.
    Kept,
    /// A pipe that nobody reads any more.
    Broken,
    /// A pipe that has no room.
    Full,
    Closed,
}

/// How pause is to be started.
pub struct Start<'a> {
    namespaces: usize,
    arguments: &'a [*const u8],
    faults: [Option<Fault>; 2],
    is_traced: bool,
    may_open_files: bool,
    stdout: Stream,
    stderr: Stream,
    inheritance: Option<(u32, &'a Gate)>,
}

/// As the first process of new namespaces.
pub fn first<'a>() -> Start<'a> {
    let namespaces = sys::NEW_PID | sys::NEW_NET | sys::NEW_IPC | sys::NEW_UTS | sys::NEW_MOUNT;
    Start { namespaces, ..another() }
}

/// As an ordinary process among others.
pub fn another<'a>() -> Start<'a> {
    const NAME_ONLY: &[*const u8] = &[c"/pause".as_ptr().cast(), core::ptr::null()];
    Start {
        namespaces: 0,
        arguments: NAME_ONLY,
        faults: [None; 2],
        is_traced: false,
        may_open_files: true,
        stdout: Stream::Kept,
        stderr: Stream::Kept,
        inheritance: None,
    }
}

/// Both ways to start it.
pub fn both_ways<'a>() -> [Start<'a>; 2] {
    [first(), another()]
}

impl<'a> Start<'a> {
    /// All its arguments, its name included, and a null at the end.
    pub fn arguments(self, arguments: &'a [*const u8]) -> Self {
        Self { arguments, ..self }
    }

    /// A system call that fails; two of them may.
    pub fn fault(self, fault: Fault) -> Self {
        Self { faults: [Some(fault), self.faults[0]], ..self }
    }

    /// Stopped when it has become pause, before its first instruction.
    pub fn traced(self) -> Self {
        Self { is_traced: true, ..self }
    }

    pub fn without_open_files(self) -> Self {
        Self { may_open_files: false, ..self }
    }

    pub fn stdout(self, stdout: Stream) -> Self {
        Self { stdout, ..self }
    }

    pub fn stderr(self, stderr: Stream) -> Self {
        Self { stderr, ..self }
    }

    /// With so many dead children, which it has from before it became pause; it does when the gate is opened.
    pub fn inheriting_zombies(self, count: u32, gate: &'a Gate) -> Self {
        Self { inheritance: Some((count, gate)), ..self }
    }

    /// What it says at the start.
    pub fn warning(&self) -> &'static str {
        if self.namespaces == 0 { crate::checks::WARNING } else { "" }
    }

    /// Starts it and waits until it sleeps.
    pub fn asleep(self) -> Checked<Pause> {
        let pause = self.started()?;
        pause.falls_asleep()?;
        Ok(pause)
    }

    /// Starts it.
    pub fn started(self) -> Checked<Pause> {
        if self.faults[0].is_some() {
            step("this kernel has no seccomp filters to inject a fault with", seccomp::is_there())?;
        }
        let (stdout, stdout_of_pause) = stream(self.stdout)?;
        let (stderr, stderr_of_pause) = stream(self.stderr)?;
        let pid = step("clone", sys::clone(self.namespaces))?;
        if pid == 0 {
            self.become_pause(stdout_of_pause, stderr_of_pause);
        }
        Ok(Pause::new(pid, stdout, stderr))
    }

    fn become_pause(self, stdout: Option<File>, stderr: Option<File>) -> ! {
        if let Some((count, gate)) = self.inheritance {
            for _ in 0..count {
                if sys::clone(0) == Ok(0) {
                    sys::exit(0);
                }
            }
            gate.pass();
        }
        for (descriptor, stream) in [(1, stdout), (2, stderr)] {
            match stream {
                Some(file) => drop(file.become_stream(descriptor)),
                None => sys::close(descriptor),
            }
        }
        if !self.may_open_files && sys::allow_no_open_files().is_err()
            || self.is_traced && sys::ptrace(sys::PTRACE_TRACEME, 0).is_err()
        {
            sys::exit(125);
        }
        for fault in self.faults.into_iter().flatten() {
            match seccomp::inject(fault) {
                // Kept open by execve(2), so that it can be fetched.
                Ok(Some(listener)) => drop(listener.become_stream(LISTENER)),
                Ok(None) => {}
                Err(_) => sys::exit(126),
            }
        }
        sys::execve(c"/pause", self.arguments);
        sys::exit(127)
    }
}

/// The end to read from, if it is of any use, and what pause gets.
fn stream(kind: Stream) -> Checked<(Option<File>, Option<File>)> {
    let (reader, writer) = step("pipe2", sys::pipe())?;
    match kind {
        Stream::Kept => Ok((Some(reader), Some(writer))),
        Stream::Broken => Ok((None, Some(writer))),
        Stream::Closed => Ok((None, None)),
        Stream::Full => {
            step("fcntl", writer.set_nonblocking(true))?;
            let no_room = -(sys::EAGAIN as isize);
            for amount in [4096, 1] {
                let stopped_by = loop {
                    if let Err(error) = writer.write(&[b'.'; 4096][..amount]) {
                        break error;
                    }
                };
                if stopped_by != no_room {
                    fail!("filling a pipe: error {stopped_by}");
                }
            }
            step("fcntl", writer.set_nonblocking(false))?;
            Ok((Some(reader), Some(writer)))
        }
    }
}

/// Holds processes up until it is opened, by being dropped where it was made.
pub struct Gate {
    closed: File,
    opener: File,
}

impl Gate {
    pub fn new() -> Checked<Self> {
        let (closed, opener) = step("pipe2", sys::pipe())?;
        Ok(Self { closed, opener })
    }

    /// Waits in another process than the one that made the gate.
    pub fn pass(&self) {
        self.opener.close_in_this_process();
        // The end of the pipe is reached when its last writer is gone.
        while self.closed.read(&mut [0]).is_err() {}
    }
}
