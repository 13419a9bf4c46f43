//! Follows a program from exec until it sleeps: which system calls it makes, and how many page faults it takes.

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc::PTRACE_SYSCALL_INFO_ENTRY;
use nix::sched::{CloneFlags, clone};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, execv};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};
use syscalls::Sysno;

/// Blocked in one system call for so long, a program counts as asleep.
const QUIET: Duration = Duration::from_millis(100);
/// A program that does not sleep by then never will.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Run {
    pub calls: Vec<String>,
    pub faults: u64,
    pub end: End,
    /// Whether it ran as it does in a Pod, as PID 1 of a namespace of its own.
    pub is_first_process: bool,
}

pub enum End {
    Asleep,
    Exited(i32),
    Killed(Signal),
    StillRunning,
}

/// Ends the traced process however the tracing ends.
struct Tracee(Pid);

impl Drop for Tracee {
    fn drop(&mut self) {
        // Once it has been waited for, its number may be another process's.
        if waitpid(self.0, Some(WaitPidFlag::WNOHANG)).is_ok() {
            let _ = kill(self.0, Signal::SIGKILL);
            let _ = waitpid(self.0, None);
        }
    }
}

pub fn follow(program: &Path) -> Result<Run> {
    let (tracee, is_first_process) = start(program)?;
    let pid = tracee.0;
    let faults_before = step_through_exec(pid).with_context(|| format!("cannot run {}", program.display()))?;
    let mut calls = Vec::new();
    let end = step_until_asleep(pid, &mut calls)?;
    let faults = if matches!(end, End::Asleep) { process(pid)?.faults - faults_before } else { 0 };
    Ok(Run { calls, faults, end, is_first_process })
}

/// Starts a process that is stopped and about to become the program, silent.
fn start(program: &Path) -> Result<(Tracee, bool)> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    let null = File::options().read(true).write(true).open("/dev/null").context("cannot open /dev/null")?;
    let run = || -> nix::Result<()> {
        ptrace::traceme()?;
        raise(Signal::SIGSTOP)?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        execv(&path, &[&path]).map(drop)
    };
    let new_pid = CloneFlags::CLONE_NEWPID;
    // Root makes a PID namespace; another user may where user namespaces are allowed; else it has to go without.
    for flags in [new_pid, new_pid | CloneFlags::CLONE_NEWUSER, CloneFlags::empty()] {
        let mut stack = vec![0; 64 * 1024];
        let child = Box::new(|| run().err().map_or(0, |error| error as isize));
        // SAFETY: without CLONE_VM the child has its own copy of memory, and of a stack that is large enough for the
        // few system calls it makes; it takes no lock and allocates only exec's short argument list.
        match unsafe { clone(child, &mut stack, flags, Some(Signal::SIGCHLD as i32)) } {
            Ok(pid) => return Ok((Tracee(pid), flags.contains(new_pid))),
            Err(Errno::EPERM | Errno::ENOSPC | Errno::EINVAL) if !flags.is_empty() => {}
            Err(error) => return Err(error).context("cannot start a process"),
        }
    }
    unreachable!("the last attempt returns")
}

/// Returns the page faults counted before: the counter goes on from the process that the program replaces.
fn step_through_exec(pid: Pid) -> Result<u64> {
    waitpid(pid, None)?;
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL)?;
    let mut faults = 0;
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            // The last one before the event is the entry into execve.
            WaitStatus::PtraceSyscall(_) => faults = process(pid)?.faults,
            WaitStatus::PtraceEvent(..) => return Ok(faults),
            WaitStatus::Exited(_, error) => bail!("{}", Errno::from_raw(error)),
            status => bail!("{status:?} instead of exec"),
        }
    }
}

fn step_until_asleep(pid: Pid, calls: &mut Vec<String>) -> Result<End> {
    let start = Instant::now();
    let mut signal = None;
    loop {
        ptrace::syscall(pid, signal.take())?;
        let resumed = Instant::now();
        let status = loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive if start.elapsed() > PATIENCE => return Ok(End::StillRunning),
                WaitStatus::StillAlive if resumed.elapsed() > QUIET && process(pid)?.is_sleeping => {
                    return Ok(End::Asleep);
                }
                WaitStatus::StillAlive => sleep(Duration::from_millis(1)),
                status => break status,
            }
        };
        match status {
            WaitStatus::PtraceSyscall(_) => {
                let info = ptrace::syscall_info(pid)?;
                if info.op == PTRACE_SYSCALL_INFO_ENTRY {
                    // SAFETY: `entry` is the part of the union that this `op` stands for.
                    let number = unsafe { info.u.entry.nr } as usize;
                    calls.push(Sysno::new(number).map_or_else(|| number.to_string(), |call| call.name().to_owned()));
                }
            }
            WaitStatus::Stopped(_, received) => signal = Some(received),
            WaitStatus::Exited(_, status) => return Ok(End::Exited(status)),
            WaitStatus::Signaled(_, signal, _) => return Ok(End::Killed(signal)),
            status => bail!("unexpected while tracing: {status:?}"),
        }
    }
}

struct Process {
    is_sleeping: bool,
    faults: u64,
}

/// From /proc/PID/stat, whose fields proc_pid_stat(5) numbers from 1; those after the name in parentheses, which may
/// hold anything, begin with 3.
fn process(pid: Pid) -> Result<Process> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).with_context(|| format!("{path} has no field {number}"));
    let (minor, major): (u64, u64) = (field(10)?.parse()?, field(12)?.parse()?);
    Ok(Process { is_sleeping: *field(3)? == "S", faults: minor + major })
}
