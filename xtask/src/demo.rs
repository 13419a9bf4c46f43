//! `cargo xtask demo`: what pause is for, shown step by step without an engine. Each step runs commands that can be
//! repeated by hand, says what was seen, and fails if that is not what it was to show.

use crate::build;
use crate::platform;
use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::fs::{self, read_link};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Show what pause does: hold a Pod of two processes, without an engine and without root
///
/// Needs `unshare`, `nsenter`, `ipcmk` and `ipcs` of util-linux, `ip` of iproute2 and `hostname`.
#[derive(clap::Args)]
pub struct Demo {
    /// The pause to show [default: the one that is shipped, built now]
    #[arg(long, value_name = "FILE")]
    pause: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the two processes of the Pod run.
#[derive(clap::Subcommand)]
#[command(disable_help_subcommand = true)]
enum Part {
    /// Tell every caller which process this is
    #[command(hide = true)]
    Serve,
    /// Ask the server which process it is
    #[command(hide = true)]
    Ask,
}

impl Demo {
    pub fn run(self) -> Result<()> {
        match self.part {
            Some(Part::Serve) => serve(),
            Some(Part::Ask) => ask(),
            None => show(&match self.pause {
                Some(path) => fs::canonicalize(&path).with_context(|| format!("cannot run {}", path.display()))?,
                None => build::programs(&[platform::host()?], &ProgressBar::hidden())?.remove(0).path,
            }),
        }
    }
}

/// How long anything may take that should be immediate. It only bounds how long a failure takes to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);

fn serve() -> Result<()> {
    let listener = TcpListener::bind(SERVER).with_context(|| format!("cannot listen on {SERVER}"))?;
    for connection in listener.incoming() {
        write!(connection?, "process {}", std::process::id())?;
    }
    Ok(())
}

fn ask() -> Result<()> {
    let mut connection = None;
    eventually(&format!("an answer from {SERVER}"), || {
        connection = TcpStream::connect(SERVER).ok();
        Ok(connection.is_some())
    })?;
    let mut answer = String::new();
    connection.context("not connected")?.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}

/// From RFC 5737, for documentation: nobody's, and so not the machine's.
const ADDRESS: &str = "192.0.2.1/32";
const HOSTNAME: &str = "pause-demo";
const ORPHANS: usize = 500;

fn show(program: &Path) -> Result<()> {
    step(1, "pause starts as the first process of new namespaces, and then sleeps");
    let pod = Pod::start(program)?;
    let size = fs::metadata(program)?.len();
    let inside = status_field(pod.pause, "NSpid")?;
    let inside = inside.split_whitespace().next_back().unwrap_or_default();
    ensure!(inside == "1", "expected pause to be process 1 of its PID namespace, saw {inside}");
    let mut namespaces = Vec::new();
    for kind in ["user", "pid", "net", "ipc", "uts", "mnt"] {
        let (ours, its) = (namespace("self", kind)?, namespace(pod.pause, kind)?);
        ensure!(ours != its, "expected a new namespace, saw that pause shares our {its}");
        namespaces.push(its);
    }
    seen(&format!("{size} bytes of program are process {} here and process {inside} in there", pod.pause));
    seen(&format!("its namespaces, none of which is ours: {}", namespaces.join(" ")));
    proves("whatever joins these namespaces is in one Pod, and one sleeping process is enough to keep them");

    step(2, "The Pod is given a network, an address, a hostname and a piece of shared memory");
    pod.run(&["ip", "link", "set", "lo", "up"])?;
    pod.run(&["ip", "address", "add", ADDRESS, "dev", "lo"])?;
    pod.run(&["hostname", HOSTNAME])?;
    pod.run(&["ipcmk", "--shmem", "4096"])?;
    let belongings = pod.belongings()?;
    ensure!(belongings.address == ADDRESS, "expected the address {ADDRESS}, saw {:?}", belongings.address);
    ensure!(belongings.hostname == HOSTNAME, "expected the hostname {HOSTNAME}, saw {:?}", belongings.hostname);
    ensure!(belongings.shared_memory.contains("0x"), "expected shared memory, saw {:?}", belongings.shared_memory);
    seen(&belongings.to_string());
    proves("all this belongs to the Pod: the commands that made it have ended, and only pause is left");

    step(3, "Two processes join: a server, and a client that calls it at localhost");
    let server = pod.spawn_server()?;
    let first = pod.ask()?;
    seen(&format!("{first} has answered"));
    proves("processes that know nothing of each other share the Pod's network");

    step(4, "The server is killed and comes back");
    let number = first.strip_prefix("process ").context("expected an answer of the form `process NUMBER`")?;
    pod.run(&["sh", "-c", &format!("kill -KILL {number}")])?;
    let status = finish(server)?;
    ensure!(status.signal() == Some(Signal::SIGKILL as i32), "expected the server to be killed, saw {status}");
    let while_dead = pod.belongings()?;
    let server = pod.spawn_server()?;
    let second = pod.ask()?;
    ensure!(first != second, "expected an answer of another process than {first}");
    let after = pod.belongings()?;
    for (when, now) in [("while the server was dead", &while_dead), ("after it came back", &after)] {
        ensure!(*now == belongings, "expected {belongings}, saw {when} {now}");
    }
    seen(&format!("the first server ended by {status}; now {second} has answered"));
    seen(&format!("meanwhile and afterwards: {after}"));
    proves("a container dies and is restarted; the Pod it is in stays what it was");

    step(5, &format!("{ORPHANS} processes lose their parents, and then die at the same time"));
    pod.run(&[
        "sh",
        "-c",
        &format!("i=0; while [ $i -lt {ORPHANS} ]; do (sleep 1000 > /dev/null 2>&1 &); i=$((i+1)); done"),
    ])?;
    let mut orphans = Vec::new();
    eventually(&format!("{ORPHANS} orphans to become children of pause"), || {
        orphans = children(pod.pause)?;
        Ok(orphans.len() == ORPHANS)
    })?;
    let switches = context_switches(pod.pause)?;
    for &orphan in &orphans {
        kill(orphan, Signal::SIGKILL).with_context(|| format!("cannot kill orphan {orphan}"))?;
    }
    let adopted = orphans.len();
    eventually("every orphan to be gone, and none to stay a zombie", || {
        orphans = children(pod.pause)?;
        Ok(orphans.is_empty())
    })?;
    let switches = context_switches(pod.pause)? - switches;
    ensure!(switches < 10, "expected pause to sleep on, saw {switches} context switches");
    seen(&format!("pause had {adopted} children and now has {}; it ran {switches} times meanwhile", orphans.len()));
    proves("no zombie fills the Pod's process table, and pause does nothing for it: the kernel reaps");

    step(6, "pause is told to stop");
    let pause = pod.pause;
    let (status, said) = pod.terminate()?;
    let expected = "Shutting down, got signal: Terminated\n";
    ensure!(status.code() == Some(0), "expected exit status 0, saw {status}, and on stderr {said:?}");
    ensure!(said == expected, "expected {expected:?} on stderr, saw {said:?}");
    let server = finish(server)?;
    ensure!(server.signal() == Some(Signal::SIGKILL as i32), "expected the server to be killed, saw {server}");
    seen(&format!("process {pause} said {:?} and ended with {status}", said.trim_end()));
    seen(&format!("the server ended by {server}"));
    proves(
        "nothing outlives the Pod: when its first process ends, the kernel ends all others and drops the namespaces",
    );
    Ok(())
}

fn step(number: u32, what: &str) {
    println!("{}{number}. {what}", if number == 1 { "" } else { "\n" });
}

fn seen(what: &str) {
    println!("   seen: {what}");
}

fn proves(what: &str) {
    println!("   so: {what}");
}

/// pause in its namespaces. Dropped, everything in them is killed.
struct Pod {
    unshare: Child,
    pause: Pid,
}

impl Pod {
    fn start(program: &Path) -> Result<Self> {
        let program = program.to_str().context("the path of pause is not UTF-8")?;
        let flags =
            ["--user", "--map-root-user", "--pid", "--net", "--ipc", "--uts", "--mount", "--fork", "--kill-child"];
        let words = [&["unshare"], &flags[..], &[program]].concat();
        println!("   $ {}", quoted(&words));
        let mut command = command(&words);
        command.stdin(Stdio::null()).stdout(Stdio::inherit()).stderr(Stdio::piped());
        // SAFETY: the function only makes a system call. With it, whatever ends this process ends the Pod.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let mut pod = Self { unshare: spawn(&mut command)?, pause: Pid::from_raw(0) };
        let starter = Pid::from_raw(pod.unshare.id().try_into()?);
        eventually("pause to sleep", || {
            if let Some(status) = pod.unshare.try_wait()? {
                let said = pod.stderr()?;
                bail!(
                    "expected pause to sleep, saw that unshare ended with {status}: {}{}",
                    said.trim_end(),
                    namespaces_hint(&said)
                );
            }
            let Some(&pause) = children(starter)?.first() else { return Ok(false) };
            pod.pause = pause;
            // The link is that of unshare until pause is executed, and then names it however it was called.
            let executed = read_link(format!("/proc/{pause}/exe")).is_ok_and(|exe| exe == Path::new(program));
            Ok(executed && status_field(pause, "State")?.starts_with('S'))
        })?;
        println!("   $ inside() {{ {} \"$@\"; }}", quoted(&nsenter(&pod.pause.to_string())));
        Ok(pod)
    }

    /// Shows a command and returns the words that run it in the Pod; it keeps our files, as a container has its own.
    fn inside<'a>(&self, words: &[&'a str], target: &'a str, ending: &str) -> Vec<&'a str> {
        println!("   $ inside {}{ending}", quoted(words));
        [&nsenter(target)[..], words].concat()
    }

    /// Runs a command in the Pod, showing it, and returns what it printed.
    fn run(&self, words: &[&str]) -> Result<String> {
        output(&self.inside(words, &self.pause.to_string(), ""))
    }

    fn spawn_server(&self) -> Result<Child> {
        let (target, this) = (self.pause.to_string(), this_program()?);
        spawn(command(&self.inside(&[&this, "demo", "serve"], &target, " &")).stdin(Stdio::null()))
    }

    fn ask(&self) -> Result<String> {
        self.run(&[&this_program()?, "demo", "ask"])
    }

    fn belongings(&self) -> Result<Belongings> {
        let addresses = self.run(&["ip", "-oneline", "-4", "address", "show", "dev", "lo", "scope", "global"])?;
        let address = addresses.split_whitespace().skip_while(|word| *word != "inet").nth(1).unwrap_or_default();
        let segments = self.run(&["ipcs", "--shmems"])?;
        let segment = segments.lines().find(|line| line.starts_with("0x")).unwrap_or_default();
        let key_and_id: Vec<_> = segment.split_whitespace().take(2).collect();
        Ok(Belongings {
            address: address.to_owned(),
            hostname: self.run(&["hostname"])?,
            shared_memory: key_and_id.join(" "),
        })
    }

    fn stderr(&mut self) -> Result<String> {
        let mut said = String::new();
        if let Some(mut stderr) = self.unshare.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        Ok(said)
    }

    /// Sends SIGTERM to pause; returns its exit status, which `unshare` hands on, and what it said.
    fn terminate(mut self) -> Result<(ExitStatus, String)> {
        println!("   $ kill -TERM {}", self.pause);
        kill(self.pause, Signal::SIGTERM).context("cannot send SIGTERM to pause")?;
        let mut status = None;
        eventually("pause to end", || {
            status = self.unshare.try_wait()?;
            Ok(status.is_some())
        })?;
        Ok((status.context("not ended")?, self.stderr()?))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.unshare.kill().ok();
        self.unshare.wait().ok();
    }
}

/// What the Pod would miss if a namespace were lost.
#[derive(PartialEq)]
struct Belongings {
    address: String,
    hostname: String,
    shared_memory: String,
}

impl std::fmt::Display for Belongings {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self { address, hostname, shared_memory } = self;
        write!(f, "address {address}, hostname {hostname}, shared memory {shared_memory} (key and number)")
    }
}

fn this_program() -> Result<String> {
    let path = env::current_exe().context("cannot find this program")?;
    path.into_os_string().into_string().ok().context("the path of this program is not UTF-8")
}

fn nsenter(target: &str) -> [&str; 9] {
    ["nsenter", "--target", target, "--user", "--preserve-credentials", "--pid", "--net", "--ipc", "--uts"]
}

/// As a shell takes them.
fn quoted(words: &[&str]) -> String {
    let is_plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=".contains(&byte));
    let quote = |word: &&str| match *word {
        word if is_plain(word) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            anyhow::anyhow!("{:?} is not installed; it comes with util-linux", command.get_program())
        }
        _ => anyhow::Error::new(error).context(format!("cannot run {:?}", command.get_program())),
    })
}

fn output(words: &[&str]) -> Result<String> {
    let mut command = command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(&mut command)?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let (status, command) = (output.status, quoted(words));
    ensure!(status.success(), "expected success of `{command}`, saw {status}: {}", said.trim_end());
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn finish(mut child: Child) -> Result<ExitStatus> {
    let mut status = None;
    eventually("the server to end", || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    status.context("not ended")
}

fn eventually(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        ensure!(Instant::now() < deadline, "expected {what}, and waited {PATIENCE:?} in vain");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn namespace(process: impl std::fmt::Display, kind: &str) -> Result<String> {
    let link = format!("/proc/{process}/ns/{kind}");
    Ok(read_link(&link).with_context(|| format!("cannot read {link}"))?.display().to_string())
}

fn status_field(pid: Pid, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("no {name} in {path}"))?.trim().to_owned())
}

/// The children of a process, zombies included.
fn children(parent: Pid) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw) else {
            continue;
        };
        // A process may be gone by now.
        if status_field(pid, "PPid").is_ok_and(|ppid| ppid == parent.to_string()) {
            children.push(pid);
        }
    }
    Ok(children)
}

fn context_switches(pid: Pid) -> Result<u64> {
    let voluntary: u64 = status_field(pid, "voluntary_ctxt_switches")?.parse()?;
    let involuntary: u64 = status_field(pid, "nonvoluntary_ctxt_switches")?.parse()?;
    Ok(voluntary + involuntary)
}

/// Which setting keeps this user from making user namespaces, if that is what `unshare` complained of.
fn namespaces_hint(said: &str) -> String {
    if !said.starts_with("unshare:") {
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
        fs::read_to_string(path).is_ok_and(|value| value.trim() == *refusing)
    })
    .map(|(name, value, wanted)| format!("\nhint: {name} is {value}; to allow user namespaces set it to {wanted}"));
    refusing.collect()
}
