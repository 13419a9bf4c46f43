//! Starts pause, alone or as PID 1 of new namespaces, with whatever it is to find; watches it through /proc, joins it, and
//! sees how it ends.

use crate::deny::{Call, Filter};
use crate::{WARNING, eventually, patience, waited};
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{self, SigHandler, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stdin, fork, getgid, getuid};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The file that is held to the contract.
pub struct Program {
    emulator: Vec<OsString>,
    pub path: OsString,
}

impl Program {
    /// `emulator` are the words that run it, if it takes any.
    pub fn new(emulator: &[&str], path: impl Into<OsString>) -> Self {
        Self { emulator: emulator.iter().map(Into::into).collect(), path: path.into() }
    }

    /// As an ordinary process among others.
    pub fn another(&self) -> Start {
        let mut words = self.emulator.iter().chain([&self.path]);
        let mut command = Command::new(words.next().expect("a path"));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Start { command, place: 0, gate: None, steps: Vec::new() }
    }

    /// As PID 1 of new user, PID, IPC, UTS and mount namespaces. A network namespace takes longest to make, and what becomes
    /// of one is seen with engines.
    pub fn first(&self) -> Start {
        Start { place: 1, ..self.another() }
    }

    /// As PID 2 of new namespaces.
    pub fn second(&self) -> Start {
        Start { place: 2, ..self.another() }
    }

    /// Each with what it says at the start.
    pub fn both_ways(&self) -> [(Start, &'static str); 2] {
        [(self.first(), ""), (self.another(), WARNING)]
    }
}

type Step = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// How pause is to be started.
pub struct Start {
    pub command: Command,
    /// Its PID in new namespaces; 0 without.
    place: usize,
    /// What it waits for before it becomes pause, if it is to be traced.
    gate: Option<PipeReader>,
    /// What its process does before it becomes pause.
    steps: Vec<Step>,
}

impl Start {
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    /// Something its process does before it becomes pause: system calls, as between fork(2) and execve(2).
    pub fn before(mut self, step: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.steps.push(Box::new(step));
        self
    }

    /// Under a seccomp filter.
    pub fn under(self, filter: Filter) -> Self {
        self.before(move || filter.apply())
    }

    pub fn failing(self, call: Call, error: i32) -> Self {
        self.under(Filter::failing(call, error))
    }

    pub fn closing(self, stream: i32) -> Self {
        // SAFETY: nothing of this process uses the stream any more.
        self.before(move || nix::errno::Errno::result(unsafe { libc::close(stream) }).map(drop).map_err(Into::into))
    }

    /// With exactly these arguments, its name among them, and this environment.
    pub fn exactly(self, arguments: &[&str], environment: &[&str]) -> Self {
        let strings = |words: &[&str]| words.iter().map(|word| CString::new(*word).unwrap()).collect::<Vec<_>>();
        let path = CString::new(self.command.get_program().as_bytes()).unwrap();
        let (arguments, environment) = (strings(arguments), strings(environment));
        self.before(move || {
            let pointers = |words: &[CString]| {
                words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
            };
            // SAFETY: three pointers to what lives longer than the call.
            unsafe { libc::execve(path.as_ptr(), pointers(&arguments).as_ptr(), pointers(&environment).as_ptr()) };
            Err(io::Error::last_os_error())
        })
    }

    /// With children from before it became pause, each in a process group of its own: dead ones, and ones that sleep.
    pub fn inheriting(self, dead: usize, asleep: usize) -> Self {
        self.before(move || {
            for number in 0..dead + asleep {
                let dies = number < dead;
                let made = child(|| {
                    // SAFETY: touches no memory.
                    unsafe { libc::setpgid(0, 0) };
                    dies || {
                        // SAFETY: touches no memory.
                        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                        close_all_from(0);
                        live()
                    }
                });
                let pid = made.ok_or_else(io::Error::last_os_error)?;
                if dies {
                    // Until it is dead, and without releasing it.
                    // SAFETY: all bytes of the structure may be zero; the kernel fills it in.
                    unsafe {
                        let mut info = std::mem::zeroed();
                        let flags = libc::WEXITED | libc::WNOWAIT;
                        libc::waitid(libc::P_PID, pid.as_raw() as libc::id_t, &raw mut info, flags);
                    }
                }
            }
            Ok(())
        })
    }

    /// Starts it and waits until it sleeps.
    #[track_caller]
    pub fn asleep(self) -> Pause {
        let mut pause = self.started();
        pause.falls_asleep();
        pause
    }

    /// Starts it and waits until it has ended by itself.
    #[track_caller]
    pub fn ended(self) -> Ended {
        self.started().ended()
    }

    /// Stopped for its tracer, this thread, before its first instruction.
    #[track_caller]
    pub fn stopped(mut self) -> Pause {
        let (reader, gate) = pipe().expect("a pipe");
        self.gate = Some(reader);
        let pause = self.started();
        ptrace::seize(pause.pid, ptrace::Options::PTRACE_O_TRACEEXEC).expect("may be traced");
        drop(gate);
        let stopped = waitpid(pause.pid, Some(WaitPidFlag::__WALL)).expect("traced");
        assert_eq!(stopped, WaitStatus::PtraceEvent(pause.pid, Signal::SIGTRAP, libc::PTRACE_EVENT_EXEC));
        pause
    }

    #[track_caller]
    pub fn started(mut self) -> Pause {
        let (place, gate, mut steps) = (self.place, self.gate, self.steps);
        // Root inside is this user outside (user_namespaces(7)).
        let maps = [("uid_map", format!("0 {} 1", getuid())), ("gid_map", format!("0 {} 1", getgid()))];
        let hook = move || {
            if place > 0 {
                use CloneFlags as New;
                let ipc_and_uts = New::CLONE_NEWIPC | New::CLONE_NEWUTS;
                unshare(New::CLONE_NEWUSER | New::CLONE_NEWPID | New::CLONE_NEWNS | ipc_and_uts)?;
                fs::write("/proc/self/setgroups", "deny")?;
                for (file, content) in &maps {
                    fs::write(format!("/proc/self/{file}"), content)?;
                }
            }
            for _ in 0..place {
                // SAFETY: both sides make system calls only.
                match unsafe { fork() }? {
                    ForkResult::Parent { child } => stand_in(child),
                    // SAFETY: touches no memory.
                    ForkResult::Child => unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) },
                };
            }
            if let Some(gate) = &gate {
                // Whoever waits for it to be executed does not wait for this: nothing else stays open.
                // SAFETY: its descriptors are its own.
                unsafe { libc::dup2(gate.as_raw_fd(), 3) };
                close_all_from(4);
                let mut byte = 0u8;
                // SAFETY: one byte, which is its own.
                unsafe { libc::read(3, (&raw mut byte).cast(), 1) };
                close_all_from(3);
            }
            steps.iter_mut().try_for_each(|step| step())
        };
        // SAFETY: it makes system calls and allocates memory, which glibc allows in the child of a fork.
        unsafe { self.command.pre_exec(hook) };
        let mut child =
            self.command.spawn().unwrap_or_else(|error| panic!("{:?} does not start: {error}", self.command));
        let mut pid = Pid::from_raw(child.id() as i32);
        for _ in 0..place {
            let parent = pid;
            eventually("pause to start", || match children(parent)[..] {
                [first, ..] => {
                    pid = first;
                    true
                }
                [] => child.try_wait().expect("waitable").is_some(),
            });
        }
        let command = format!("{:?}", self.command);
        // Dropping the command closes its copies of the streams.
        Pause { pid, command, child: Some(child) }
    }
}

fn close_all_from(first: u32) {
    // SAFETY: what is closed is used no more.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Makes a child that does something, by system calls alone, and ends with whether it did.
pub fn child(does: impl FnOnce() -> bool) -> Option<Pid> {
    // SAFETY: the child makes system calls only, and ends without doing what this process does at its end.
    match unsafe { fork() }.ok()? {
        ForkResult::Child => unsafe { libc::_exit(!does() as i32) },
        ForkResult::Parent { child } => Some(child),
    }
}

/// Whether a child does something, for which it is waited.
pub fn done_by_child(does: impl FnOnce() -> bool) -> bool {
    child(does).is_some_and(|pid| waitpid(pid, None) == Ok(WaitStatus::Exited(pid, 0)))
}

/// Sleeps until it is killed.
pub fn live() -> ! {
    loop {
        // SAFETY: touches no memory.
        unsafe { libc::pause() };
    }
}

/// Waits for a child and ends as it did.
fn stand_in(child: Pid) -> ! {
    close_all_from(0);
    let status = loop {
        match waitpid(child, None) {
            Err(nix::errno::Errno::EINTR) => {}
            status => break status,
        }
    };
    let code = match status {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => {
            setrlimit(Resource::RLIMIT_CORE, 0, 0).ok();
            // SAFETY: no handler is installed.
            unsafe { signal::signal(signal, SigHandler::SigDfl) }.ok();
            signal::raise(signal).ok();
            128 + signal as i32
        }
        _ => 255,
    };
    // SAFETY: ends only this process.
    unsafe { libc::_exit(code) }
}

/// A pipe nobody reads any more.
pub fn broken() -> PipeWriter {
    pipe().expect("a pipe").1
}

/// A pipe without room for a byte, and its other end.
pub fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    // SAFETY: fcntl(2) with a number touches no memory.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    writer.write_all(&vec![b'.'; size as usize]).expect("room for as much as it holds");
    (reader, writer)
}

/// A running pause. Dropped, it is killed.
pub struct Pause {
    /// As seen from here.
    pub pid: Pid,
    command: String,
    child: Option<Child>,
}

impl Pause {
    #[track_caller]
    pub fn falls_asleep(&mut self) {
        let mut has_ended = false;
        eventually("pause to sleep", || {
            has_ended = self.has_ended();
            has_ended || is_asleep(self.pid)
        });
        if has_ended {
            panic!("it should sleep, but\n{}", end(&self.command, self.child.take().expect("not waited for")));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("waitable").is_some())
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} to pause: {error}"));
    }

    #[track_caller]
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually("it to stop", || state(self.pid) == Some('T'));
    }

    /// Lets one that is stopped for its tracer run.
    #[track_caller]
    pub fn let_go(&self) {
        ptrace::detach(self.pid, None).expect("stopped");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        end(&self.command, self.child.take().expect("not waited for"))
    }

    #[track_caller]
    pub fn ended_by(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.ended()
    }

    #[track_caller]
    pub fn terminated(self) -> Ended {
        self.ended_by(Signal::SIGTERM)
    }

    pub fn children(&self) -> Vec<Pid> {
        children(self.pid)
    }

    /// How often it has been switched to and away from, for whatever reason.
    pub fn context_switches(&self) -> u64 {
        let number = |name| field(self.pid, name).and_then(|number| number.parse::<u64>().ok()).expect("pause lives");
        number("voluntary_ctxt_switches") + number("nonvoluntary_ctxt_switches")
    }

    /// Whether a process in all the namespaces of pause does something, by system calls alone.
    #[must_use]
    pub fn joined_by(&self, does: impl FnOnce() -> bool) -> bool {
        let namespaces = ["user", "pid", "ipc", "uts", "mnt"]
            .map(|name| File::open(format!("/proc/{}/ns/{name}", self.pid)).expect("pause lives"));
        // The PID namespace is that of the next child.
        done_by_child(|| {
            namespaces.iter().all(|namespace| setns(namespace, CloneFlags::empty()).is_ok()) && done_by_child(does)
        })
    }

    /// Leaves it orphans, which live until the gate is dropped.
    #[track_caller]
    pub fn orphans(&self, count: usize) -> Gate {
        let before = self.children().len();
        let (reader, writer) = pipe().expect("a pipe");
        let made = self.joined_by(|| {
            // Of this process's files, those of other rows among them, the orphans keep none.
            let is_alone = dup2_stdin(&reader).is_ok();
            close_all_from(1);
            let wait = || {
                let mut byte = 0u8;
                // SAFETY: one byte, which is its own.
                unsafe { libc::read(0, (&raw mut byte).cast(), 1) == 0 }
            };
            is_alone && (0..count).all(|_| child(wait).is_some())
        });
        assert!(made, "no process could be made");
        eventually("it to adopt the orphans", || self.children().len() == before + count);
        Gate(writer)
    }
}

/// What orphans wait for.
pub struct Gate(#[expect(dead_code, reason = "it is held")] PipeWriter);

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One in namespaces goes with what stands in for it here.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Sends a signal by its number: nix has no names for real-time signals.
#[track_caller]
pub fn send(pid: Pid, signal: i32) {
    // SAFETY: kill(2) touches no memory of this process.
    assert_eq!(unsafe { libc::kill(pid.as_raw(), signal) }, 0, "signal {signal}");
}

/// A field of /proc/PID/status (proc_pid_status(5)), or nothing if the process is gone.
fn field(pid: Pid, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
}

/// Whether a signal is in a mask such as `SigCgt`.
pub fn has(pid: Pid, mask: &str, signal: Signal) -> bool {
    let mask = field(pid, mask).and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

/// Whether it is a pause that has set all its dispositions, which stay, and then sleeps: only that ever sleeps with SIGCHLD
/// ignored.
pub fn is_asleep(pid: Pid) -> bool {
    has(pid, "SigCgt", Signal::SIGINT)
        && has(pid, "SigCgt", Signal::SIGTERM)
        && has(pid, "SigIgn", Signal::SIGCHLD)
        && state(pid) == Some('S')
}

/// The state of a process, such as `S`, `T` or `Z`, or nothing if it is gone.
pub fn state(pid: Pid) -> Option<char> {
    field(pid, "State")?.chars().next()
}

/// The children of a process, dead or alive, as seen from here.
pub fn children(pid: Pid) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("a PID"))).collect()
}

/// Waits for a command that ends by itself.
#[track_caller]
pub fn end(command: &str, mut child: Child) -> Ended {
    let mut status = None;
    let has_ended = waited(patience(), || {
        status = child.try_wait().expect("waitable");
        status.is_some()
    });
    if !has_ended {
        child.kill().ok();
        child.wait().ok();
        panic!("{command} has not ended in time");
    }
    let status = status.expect("waited for");
    Ended { command: command.to_owned(), status, stdout: rest(child.stdout), stderr: rest(child.stderr) }
}

fn rest(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).expect("readable");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Runs a command for as long as it takes.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| rest(Some(&*bytes)));
        Self { command: format!("{command:?}"), status: output.status, stdout, stderr }
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "it should have succeeded\n{self}");
        self
    }

    #[track_caller]
    pub fn failed(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "it should have failed with {code}\n{self}");
        self
    }

    /// Asserts how it exited and everything it printed.
    #[track_caller]
    pub fn exited(&self, code: i32, stdout: &str, stderr: impl AsRef<str>) {
        let stderr = stderr.as_ref();
        let as_expected = (self.status.code(), &*self.stdout, &*self.stderr) == (Some(code), stdout, stderr);
        assert!(as_expected, "expected exit {code}, stdout {stdout:?}, stderr {stderr:?}, but\n{self}");
    }

    /// Asserts that one of these signals ended it.
    #[track_caller]
    pub fn was_killed_by(&self, signals: &[i32]) {
        let signal = self.status.signal();
        assert!(signal.is_some_and(|signal| signals.contains(&signal)), "expected death by {signals:?}, but\n{self}");
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "command: {command}\n{status}\nstdout:\n{stdout}\nstderr:\n{stderr}")
    }
}
