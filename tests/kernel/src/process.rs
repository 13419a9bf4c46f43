//! Looks at a running pause through /proc, joins it, and sees how it ends.

use crate::failure::{Checked, eventually, fail, step};
use crate::start::{Gate, LISTENER};
use crate::sys::{self, Access, File, HeldUp};
use crate::text::{Text, path};
use core::ffi::CStr;

/// A running pause. Dropped, it is killed.
pub struct Pause {
    pub pid: u32,
    is_gone: bool,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Pause {
    /// A process just started, and the ends of its streams that are to be read.
    pub fn new(pid: u32, stdout: Option<File>, stderr: Option<File>) -> Self {
        Self { pid, is_gone: false, stdout, stderr }
    }

    /// Whether it has set its handlers and sleeps. How it treats SIGCHLD is told by what becomes of orphans.
    pub fn is_asleep(&self) -> bool {
        let status = Status::of(self.pid);
        status.state() == Some('S') && [sys::SIGINT, sys::SIGTERM].iter().all(|signal| status.catches(*signal))
    }

    pub fn falls_asleep(&self) -> Checked {
        eventually("pause to sleep", || self.is_asleep() || self.state() == Some('Z'))?;
        if !self.is_asleep() {
            fail!("it should sleep, but has ended");
        }
        Ok(())
    }

    pub fn state(&self) -> Option<char> {
        Status::of(self.pid).state()
    }

    /// Waits for its next call that is held up.
    pub fn held_up(&self) -> Checked<(File, HeldUp)> {
        let mut listener = Err(0);
        eventually("a call of it to be held up", || {
            listener = sys::file_of(self.pid, LISTENER);
            listener.as_ref().is_ok_and(File::is_readable)
        })?;
        let listener = step("pidfd_getfd", listener)?;
        let call = step("SECCOMP_IOCTL_NOTIF_RECV", listener.receive())?;
        Ok((listener, call))
    }

    /// Where its stack begins, for one that is stopped before its first instruction: the last but one word of
    /// /proc/PID/syscall (proc_pid_syscall(5)).
    pub fn stack_of_stopped(&self) -> Checked<usize> {
        eventually("it to stop", || {
            sys::wait(self.pid, sys::WNOHANG | sys::WALL).is_ok_and(|(pid, _)| pid == self.pid)
        })?;
        let words = content(path(format_args!("/proc/{}/syscall", self.pid)));
        let word = words.as_str().split_ascii_whitespace().rev().nth(1).and_then(|word| word.strip_prefix("0x"));
        match word.map(|word| usize::from_str_radix(word, 16)) {
            Some(Ok(address)) => Ok(address),
            _ => fail!("no stack pointer in {:?}", words.as_str()),
        }
    }

    /// How often it has been switched to and away from, for whatever reason.
    pub fn context_switches(&self) -> u64 {
        let status = Status::of(self.pid);
        let count = |name| status.field(name).and_then(|count| count.parse().ok()).unwrap_or(u64::MAX / 2);
        count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches")
    }

    /// Its children, dead or alive, by their PIDs as seen from here.
    pub fn children(&self) -> Children {
        let pid = self.pid;
        Children(content(path(format_args!("/proc/{pid}/task/{pid}/children"))))
    }

    pub fn memory_map(&self) -> Text<4096> {
        content(path(format_args!("/proc/{}/maps", self.pid)))
    }

    pub fn signal(&self, signal: u32) -> Checked {
        step("kill", sys::kill(self.pid, signal))
    }

    pub fn stop(&self) -> Checked {
        self.signal(sys::SIGSTOP)?;
        eventually("it to stop", || self.state() == Some('T'))
    }

    /// Does something in a process that is in all the namespaces of pause.
    pub fn joined_by(&self, does: impl FnOnce() -> bool) -> Checked {
        let outer = step("clone", sys::clone(0))?;
        if outer == 0 {
            sys::exit(match self.enter_namespaces().and_then(|()| sys::clone(0)) {
                Ok(0) => sys::exit(if does() { 0 } else { 1 }),
                Ok(inner) => sys::wait(inner, 0).map_or(2, |(_, status)| if status == 0 { 0 } else { 3 }),
                Err(_) => 4,
            });
        }
        let (_, status) = step("wait4", sys::wait(outer, 0))?;
        if status != 0 {
            fail!("a process that joined did not do what it should: wait status {status:#x}");
        }
        Ok(())
    }

    /// The PID namespace is entered by the next child alone.
    fn enter_namespaces(&self) -> Result<(), isize> {
        let open = |name| sys::open(path(format_args!("/proc/{}/ns/{name}", self.pid)).as_c_str(), Access::Read);
        let namespaces = [open("pid")?, open("net")?, open("ipc")?, open("uts")?, open("mnt")?];
        namespaces.iter().try_for_each(File::enter)
    }

    /// Leaves it orphans, which live until the gate is opened.
    pub fn orphans(&self, count: usize) -> Checked<Gate> {
        let gate = Gate::new()?;
        self.joined_by(|| {
            (0..count).all(|_| match sys::clone(0) {
                Ok(0) => {
                    gate.pass();
                    sys::exit(0)
                }
                made => made.is_ok(),
            })
        })?;
        eventually("it to adopt the orphans", || self.children().count() == count)?;
        Ok(gate)
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> Checked<Ended> {
        let mut status = 0;
        eventually("it to end", || match sys::wait(self.pid, sys::WNOHANG) {
            Ok((0, _)) => false,
            Ok((_, its)) => {
                status = its;
                true
            }
            Err(_) => true,
        })?;
        self.is_gone = true;
        Ok(Ended { status, stdout: rest(self.stdout.take()), stderr: rest(self.stderr.take()) })
    }

    /// Sends a signal and waits for the end.
    pub fn ended_by(self, signal: u32) -> Checked<Ended> {
        self.signal(signal)?;
        self.ended()
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if !self.is_gone {
            sys::kill(self.pid, sys::SIGKILL).ok();
            sys::wait(self.pid, 0).ok();
        }
    }
}

/// A list of PIDs.
pub struct Children(Text<4096>);

impl Children {
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.as_str().split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
    }

    pub fn count(&self) -> usize {
        self.pids().count()
    }

    pub fn zombies(&self) -> usize {
        self.pids().filter(|pid| Status::of(*pid).state() == Some('Z')).count()
    }
}

/// Whether there is such a process, dead or alive.
pub fn exists(pid: u32) -> bool {
    Status::of(pid).state().is_some()
}

/// /proc/PID/status.
struct Status(Text<4096>);

impl Status {
    fn of(pid: u32) -> Self {
        Self(content(path(format_args!("/proc/{pid}/status"))))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.as_str().lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    fn state(&self) -> Option<char> {
        self.field("State")?.chars().next()
    }

    fn catches(&self, signal: u32) -> bool {
        let mask = self.field("SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }
}

/// What a file says, as far as there is room; nothing if it cannot be read.
pub fn content(path: Text<64>) -> Text<4096> {
    rest(sys::open(path.as_c_str(), Access::Read).ok())
}

fn rest<const SIZE: usize>(file: Option<File>) -> Text<SIZE> {
    let mut text = Text::new();
    if let Some(file) = file {
        while let Ok(more @ 1..) = file.read(text.room()) {
            text.grow(more);
        }
    }
    text
}

pub fn write(path: &CStr, text: &[u8]) -> Checked {
    let file = step("open", sys::open(path, Access::Write))?;
    step("write", file.write(text)).map(drop)
}

fn both(texts: &[&str]) -> Text<200> {
    Text::of(format_args!("{}{}", texts.first().unwrap_or(&""), texts.get(1).unwrap_or(&"")))
}

/// How pause ended and what it printed.
pub struct Ended {
    status: u32,
    stdout: Text<200>,
    stderr: Text<200>,
}

impl Ended {
    /// Holds it to how it exited and everything it printed.
    pub fn exited(&self, code: u32, stdout: &str, stderr: &[&str]) -> Checked {
        let expected = both(stderr);
        let Self { status, stdout: out, stderr: err } = self;
        if (*status, out.bytes(), err.bytes()) != (code << 8, stdout.as_bytes(), expected.bytes()) {
            fail!(
                "wait status {status:#x}, stdout {:?}, stderr {:?} instead of exit {code}, {stdout:?}, {:?}",
                out.as_str(),
                err.as_str(),
                expected.as_str()
            );
        }
        Ok(())
    }

    /// Holds it to how it exited alone.
    pub fn exited_with(&self, code: u32) -> Checked {
        if self.status != code << 8 {
            fail!("wait status {:#x} instead of exit {code}", self.status);
        }
        Ok(())
    }

    /// Holds it to having been ended by one of these signals, and everything it printed before.
    pub fn was_killed(&self, signals: &[u32], stdout: &str, stderr: &[&str]) -> Checked {
        let expected = both(stderr);
        let Self { status, stdout: out, stderr: err } = self;
        // Whether a core was dumped does not matter.
        let is_expected = signals.contains(&(status & !0x80));
        if !is_expected || (out.as_str(), err.as_str()) != (stdout, expected.as_str()) {
            fail!("wait status {status:#x}, stdout {:?}, stderr {:?}", out.as_str(), err.as_str());
        }
        Ok(())
    }

    pub fn stderr(&self) -> &str {
        self.stderr.as_str()
    }
}
