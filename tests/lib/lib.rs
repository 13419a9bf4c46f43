//! Runs pause from outside: alone, or as PID 1 of new namespaces under `unshare`, and watches it through /proc.
//! What fails says which command it was, how it ended and what it printed.

use nix::libc;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use procfs::process::{ProcState, Process as ProcProcess, Status};
use std::ffi::OsStr;
use std::fmt;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use xtask::build::{self, Program};
use xtask::platform::{PLATFORMS, Platform};

pub mod cgroup;
pub mod clients;
pub mod code;
pub mod debian;
pub mod fault;
pub mod machine;
pub mod profile;
pub mod sandbox;
pub mod tracee;

/// The project's directory.
pub const ROOT: &str = {
    let own = env!("CARGO_MANIFEST_DIR");
    own.split_at(own.len() - "/tests/lib".len()).0
};

/// Where cargo builds; what is downloaded or built for the tests is kept there too.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from)
}

pub const VERSION: &str = concat!("pause ", env!("CARGO_PKG_VERSION"), "\n");
pub const WARNING: &str = "Warning: pause should be the first process\n";
pub const INTERRUPT: &str = "Shutting down, got signal: Interrupt\n";
pub const TERMINATED: &str = "Shutting down, got signal: Terminated\n";
pub const ERROR: &str = "Error: infinite loop terminated\n";

pub const TEXTS: [&str; 5] = [VERSION, WARNING, INTERRUPT, TERMINATED, ERROR];

/// How long anything may take that should be immediate. It only bounds how long a failure takes to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long once something has been waited for in vain: what hangs will do so in test after test.
const LESS_PATIENCE: Duration = Duration::from_secs(5);

static WAITED_IN_VAIN: AtomicBool = AtomicBool::new(false);

fn patience() -> Duration {
    if WAITED_IN_VAIN.load(Ordering::Relaxed) { LESS_PATIENCE } else { PATIENCE }
}

/// The platform under test: the one `PAUSE_PLATFORM` names, such as linux/arm64, else this machine's.
pub fn platform() -> &'static Platform {
    match std::env::var("PAUSE_PLATFORM") {
        Ok(name) => named(&name),
        Err(_) => xtask::platform::host().unwrap_or_else(|error| panic!("{error:#}; set PAUSE_PLATFORM")),
    }
}

pub fn named(name: &str) -> &'static Platform {
    PLATFORMS.iter().find(|one| one.to_string() == name).unwrap_or_else(|| panic!("no platform is called {name}"))
}

/// The words that run the platform's programs here, if it takes any: QEMU's user mode.
pub fn emulator() -> Option<[&'static str; 3]> {
    let platform = platform();
    let is_own = |own: &Platform| {
        own.machine == platform.machine
            || own.kernels[0].architecture == "amd64" && platform.kernels[0].architecture == "i386"
    };
    let [program, processor] = platform.emulator;
    (!xtask::platform::host().is_ok_and(is_own)).then_some([program, "-cpu", processor])
}

/// The file that is shipped: `PAUSE_UNDER_TEST` if it is set, else built now by the tool that builds images.
pub fn shipped() -> &'static Path {
    static SHIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
        let path =
            std::env::var_os("PAUSE_UNDER_TEST").map_or_else(|| built(&[platform()]).remove(0).path, PathBuf::from);
        assert!(path.is_file(), "no file to test at {path:?}");
        path
    });
    &SHIPPED
}

/// What the tool builds and ships for these platforms.
pub fn built(platforms: &[&'static Platform]) -> Vec<Program> {
    build::programs(platforms, &indicatif::ProgressBar::hidden()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The tool, without a time from whoever runs the tests. What cargo would start is started directly, so that signals and
/// variables meant for the tool do not reach the cargo before it.
pub fn tool() -> Command {
    static TOOL: LazyLock<String> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package=xtask", "--message-format=json"]);
        let output = cargo.current_dir(ROOT).stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "{cargo:?} failed: {}", output.status);
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
        let executable = |message: serde_json::Value| message["executable"].as_str().map(str::to_owned);
        messages.flatten().find_map(executable).expect("cargo names the file")
    });
    let mut command = Command::new(&*TOOL);
    command.current_dir(ROOT).env("CARGO", env!("CARGO")).env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The words that run `program`: the shipped file may need an emulator, whatever else a test runs is this machine's.
pub fn words(program: &Path) -> Vec<&OsStr> {
    let emulator = if program == shipped() { emulator() } else { None };
    emulator.into_iter().flatten().map(OsStr::new).chain([program.as_os_str()]).collect()
}

/// `program` as an ordinary process, its output kept.
pub fn alone(program: &Path) -> Command {
    let words = words(program);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    kept(command)
}

/// `program` as PID 1 of new user, PID, network, IPC, UTS and mount namespaces, its output kept.
pub fn sandboxed(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--net", "--ipc", "--uts", "--mount"]);
    command.args(["--fork", "--kill-child", "--"]).args(words(program));
    kept(command)
}

fn kept(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself.
pub fn finish(mut command: Command) -> Ended {
    let child = spawn(&mut command);
    end(&command, child)
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// Waits for a command that ends by itself.
pub fn end(command: &Command, mut child: Child) -> Ended {
    let mut status = None;
    let ended = waited(patience(), || {
        status = child.try_wait().expect("waitable");
        status.is_some()
    });
    if !ended {
        child.kill().ok();
        panic!("{command:?} has not ended in time");
    }
    let status = status.expect("waited for");
    Ended { command: format!("{command:?}"), status, stdout: rest(child.stdout), stderr: rest(child.stderr) }
}

fn rest(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).expect("readable");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command that has ended.
pub struct Ended {
    command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Asserts how it exited and everything it printed.
    #[track_caller]
    pub fn exited(&self, code: i32, stdout: &str, stderr: &str) {
        let as_expected = (self.status.code(), &*self.stdout, &*self.stderr) == (Some(code), stdout, stderr);
        assert!(as_expected, "expected exit {code}, stdout {stdout:?}, stderr {stderr:?}, but\n{self}");
    }

    /// Asserts that a signal ended it.
    #[track_caller]
    pub fn was_killed_by(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "expected death by signal {signal}, but\n{self}");
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "command: {}\nstatus: {}\nstdout: {:?}\nstderr: {:?}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}

/// A running pause, found asleep. Dropped, it is killed.
pub struct Pause {
    command: Command,
    child: Option<Child>,
    /// The PID of pause itself, as seen from here.
    pub pid: Pid,
}

impl Pause {
    /// Starts the shipped file as PID 1 of new namespaces.
    pub fn first() -> Self {
        Self::start(sandboxed(shipped()))
    }

    /// What a command has already started, wherever pause is with its life.
    pub fn new(command: Command, child: Child, pid: Pid) -> Self {
        Self { command, child: Some(child), pid }
    }

    /// Starts a command made by [`alone`] or [`sandboxed`] and waits until pause sleeps.
    pub fn start(mut command: Command) -> Self {
        let child = spawn(&mut command);
        let is_sandboxed = command.get_program() == "unshare";
        let pid = pid_of(&child);
        let mut pause = Self::new(command, child, pid);
        pause.wait_until("pause to sleep", |pause| {
            if is_sandboxed && pause.pid == pid_of(pause.child.as_ref().unwrap()) {
                if let Some(&first) = children(pause.pid).first() {
                    pause.pid = first;
                }
                return false;
            }
            is_asleep(pause.pid)
        });
        pause
    }

    /// Waits until it sleeps.
    #[track_caller]
    pub fn falls_asleep(mut self) -> Self {
        self.wait_until("pause to sleep", |pause| is_asleep(pause.pid));
        self
    }

    /// Waits until `condition` holds, and fails if it does not in time or if pause ends meanwhile.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let ended = waited(patience(), || condition(self) || self.has_ended());
        if self.has_ended() {
            let ended = end(&self.command, self.child.take().expect("not ended"));
            panic!("waiting for {what}, but it ended\n{ended}{}", namespaces_hint(&ended.stderr));
        }
        assert!(ended, "{:?}: waited in vain for {what}", self.command);
    }

    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).unwrap_or_else(|error| panic!("{signal} to pause: {error}"));
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("waitable").is_some())
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> Ended {
        end(&self.command, self.child.take().expect("not ended"))
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminated(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    pub fn status(&self) -> Status {
        ProcProcess::new(self.pid.as_raw()).and_then(|process| process.status()).expect("pause lives")
    }

    /// How often pause has been switched to and away from since it started, for whatever reason.
    pub fn context_switches(&self) -> u64 {
        let status = self.status();
        status.voluntary_ctxt_switches.expect("Linux 2.6.23") + status.nonvoluntary_ctxt_switches.expect("Linux 2.6.23")
    }

    pub fn children(&self) -> Vec<Pid> {
        children(self.pid)
    }

    /// `program` in all the namespaces of pause.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid));
        command.args(["--user", "--preserve-credentials", "--pid", "--net", "--ipc", "--uts", "--mount", "--"]);
        command.arg(program);
        kept(command)
    }

    /// Runs a shell script in all the namespaces of pause and returns what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let mut command = self.command("sh");
        command.args(["-euc", script]);
        let ended = finish(command);
        assert!(ended.status.success(), "expected success, but\n{ended}");
        ended.stdout
    }
}

/// Sends a signal by its number: nix has no names for real-time signals.
pub fn send(pid: Pid, signal: i32) {
    // SAFETY: kill(2) touches no memory of this process.
    assert_eq!(unsafe { libc::kill(pid.as_raw(), signal) }, 0, "signal {signal}");
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // For a sandbox this is `unshare --kill-child`, which takes pause along.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

/// Whether a process has set all its dispositions and sleeps.
pub fn is_asleep(pid: Pid) -> bool {
    ProcProcess::new(pid.as_raw()).and_then(|process| process.status()).is_ok_and(|status| sleeps(&status))
}

/// The same of what the kernel says of a process. Only `pause` ever sleeps with SIGCHLD ignored.
pub fn sleeps(status: &Status) -> bool {
    let has = |mask: u64, signal: Signal| mask >> (signal as i32 - 1) & 1 == 1;
    status.state.starts_with('S')
        && has(status.sigcgt, Signal::SIGINT)
        && has(status.sigcgt, Signal::SIGTERM)
        && has(status.sigign, Signal::SIGCHLD)
}

/// The children of a process, dead or alive, as seen from here.
pub fn children(pid: Pid) -> Vec<Pid> {
    let children = ProcProcess::new(pid.as_raw()).and_then(|process| process.task_main_thread()?.children());
    children.unwrap_or_default().into_iter().map(|pid| Pid::from_raw(pid as i32)).collect()
}

/// The state of a process, or nothing if it is gone.
pub fn state(pid: Pid) -> Option<ProcState> {
    ProcProcess::new(pid.as_raw()).and_then(|process| process.stat()).ok()?.state().ok()
}

/// Waits until `condition` holds, and fails if it does not in time.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(patience(), what, condition);
}

/// The same for what may take longer than what should be immediate.
#[track_caller]
pub fn within(patience: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(waited(patience, condition), "waited {patience:?} in vain for {what}");
}

/// Whether `condition` comes to hold in time.
fn waited(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition() {
        if Instant::now() > deadline {
            WAITED_IN_VAIN.store(true, Ordering::Relaxed);
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Which setting keeps `unshare` from making user namespaces, if that is what it complained of.
fn namespaces_hint(stderr: &str) -> String {
    if !stderr.contains("unshare") {
        return String::new();
    }
    let refusing = [
        ("user.max_user_namespaces", "0", "a number above 0"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ]
    .into_iter()
    .filter(|(name, refusing, _)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() == *refusing)
    })
    .map(|(name, value, wanted)| format!("\nhint: {name} is {value}; to allow user namespaces set it to {wanted}"));
    refusing.collect()
}
