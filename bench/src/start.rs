//! Starts a program as a container engine does, by clone: silent, with an empty environment, and gone when this tool
//! is.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{self, c_char};
use nix::sched::{CloneFlags, clone};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

/// A program with its arguments.
pub struct Command {
    words: Vec<CString>,
    null: File,
}

impl Command {
    /// The first word is the program's path.
    pub fn new(words: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<Self> {
        let words = words.into_iter().map(|word| CString::new(word.as_ref().as_bytes())).collect::<Result<_, _>>();
        let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
        Ok(Self { words: words.context("neither a program nor an argument can hold a zero byte")?, null })
    }

    /// `before_exec` is called in the new process and should only make system calls. If that or exec fails, the
    /// process exits with the number of the error.
    pub fn start(
        &self,
        flags: CloneFlags,
        mut before_exec: impl FnMut() -> nix::Result<()>,
    ) -> nix::Result<RunningProcess> {
        let arguments: Vec<*const c_char> = self.words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
        let environment = [ptr::null()];
        spawn(flags, || {
            dup2_stdin(&self.null)?;
            dup2_stdout(&self.null)?;
            dup2_stderr(&self.null)?;
            before_exec()?;
            // SAFETY: the path and both arrays end with zero and outlive the call.
            Errno::result(unsafe { libc::execve(arguments[0], arguments.as_ptr(), environment.as_ptr()) }).map(drop)
        })
    }
}

/// A new process that calls `run`, and then exits with the number of its error. `run` should only make system calls; with
/// CLONE_VM and CLONE_VFORK, in a process of one thread, it may start another so.
pub fn spawn(flags: CloneFlags, mut run: impl FnMut() -> nix::Result<()>) -> nix::Result<RunningProcess> {
    let mut stack = vec![0; 64 * 1024];
    let child =
        Box::new(|| set_pdeathsig(Signal::SIGKILL).and_then(|()| run()).err().map_or(0, |error| error as isize));
    // SAFETY: the child has a stack that is large enough for a few system calls. It has its own copy of memory, in which it
    // takes no lock; or with CLONE_VM and CLONE_VFORK ours, which nobody else touches while we wait.
    unsafe { clone(child, &mut stack, flags, Some(Signal::SIGCHLD as i32)) }.map(RunningProcess)
}

/// A process that ends, and is waited for, when this goes out of scope.
pub struct RunningProcess(pub Pid);

impl Drop for RunningProcess {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another process's.
        let mut status = waitpid(self.0, Some(WaitPidFlag::WNOHANG));
        while !matches!(status, Err(_) | Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))) {
            let _ = kill(self.0, Signal::SIGKILL);
            status = waitpid(self.0, None);
        }
    }
}
