//! What is measured: this program, the baseline, the same in C against three libraries, what Debian packages, and what
//! `--peer` names. A peer that is not there is listed with the package that brings it.

use crate::start::Command;
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use xtask::build::{self, Program};
use xtask::command::run;
use xtask::platform::Platform;
use xtask::toolchain;

/// A program and how it is run.
pub struct Subject {
    pub name: String,
    pub program: Program,
    pub arguments: Vec<String>,
}

impl Subject {
    pub fn new(name: &str, platform: &'static Platform, path: &Path, arguments: &[&str]) -> Result<Self> {
        // Engines execute the file itself, not what leads there.
        let path = fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))?;
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let arguments = arguments.iter().map(|argument| argument.to_string()).collect();
        // Nobody asks what built a peer.
        let program = Program { platform, path, bytes, compiler: "unknown".into(), crates: Vec::new() };
        Ok(Self { name: name.to_owned(), program, arguments })
    }

    pub fn command(&self) -> Result<Command> {
        let arguments = self.arguments.iter().map(OsString::from);
        Command::new([self.program.path.clone().into_os_string()].into_iter().chain(arguments))
    }
}

/// The name and the file that `--peer` names.
pub fn parse(text: &str) -> Result<(String, PathBuf), String> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts.ok_or("a name and a file, such as upstream=./pause")?;
    Ok((name.to_owned(), path.into()))
}

pub const BASELINE: &str = "baseline";
pub const OURS: &str = "pause";
/// The one that stands for Kubernetes' image, which is built in the same way.
pub const C_GLIBC: &str = "C, glibc";

const SLEEP: [&str; 2] = ["/usr/bin/sleep", "infinity"];

#[rustfmt::skip]
const PACKAGED: [(&str, &str, &str, &[&str]); 5] = [
    ("catatonit -P", "catatonit", "/usr/bin/catatonit", &["-P"]),
    ("tini", "tini", "/usr/bin/tini-static", &SLEEP),
    ("dumb-init", "dumb-init", "/usr/bin/dumb-init", &SLEEP),
    ("busybox sleep", "busybox-static", "/usr/bin/busybox", &["sleep", "infinity"]),
    ("GNU sleep", "coreutils", SLEEP[0], &[SLEEP[1]]),
];

const COMPILERS: [(&str, &str, &[&str]); 3] = [
    (C_GLIBC, "libc6-dev", &["gcc"]),
    ("C, musl", "musl-tools", &["musl-gcc"]),
    ("C, dietlibc", "dietlibc-dev", &["diet", "gcc"]),
];

/// The program and the baseline come first. What has to be compiled is put into `directory`. Beside them, a sentence on each
/// that is not on this machine.
pub fn find(ours: Program, peers: &[(String, PathBuf)], directory: &Path) -> Result<(Vec<Subject>, Vec<String>)> {
    let platform = ours.platform;
    let baseline = build_baseline(platform, directory)?;
    let mut found = vec![
        Subject { name: OURS.into(), program: ours, arguments: Vec::new() },
        Subject::new(BASELINE, platform, &baseline, &[])?,
    ];
    let mut missing = Vec::new();
    let mut is_missing = |name: &str, package: &str| {
        missing.push(format!("Missing: {name}, which `apt-get install {package}` brings."));
    };
    for (name, package, compiler) in COMPILERS {
        if which::which(compiler[0]).is_ok() {
            let path = directory.join(package);
            let source = build::root()?.join("bench/handlers.c");
            run(process::Command::new(compiler[0])
                .args(&compiler[1..])
                .args(["-Os", "-static", "-s", "-o"])
                .args([&path, &source]))?;
            found.push(Subject::new(name, platform, &path, &[])?);
        } else {
            is_missing(name, package);
        }
    }
    for (name, package, path, arguments) in PACKAGED {
        if Path::new(path).exists() {
            found.push(Subject::new(name, platform, Path::new(path), arguments)?);
        } else {
            is_missing(name, package);
        }
    }
    for (name, path) in peers {
        ensure!(found.iter().all(|other| other.name != *name), "--peer {name}: there is one of that name");
        found.push(Subject::new(name, platform, path, &[])?);
    }
    Ok((found, missing))
}

/// Assembles the baseline and links it as build.rs links the program.
fn build_baseline(platform: &'static Platform, directory: &Path) -> Result<PathBuf> {
    let root = build::root()?;
    let (object, path) = (directory.join("baseline.o"), directory.join("baseline"));
    run(process::Command::new("gcc").args(["-c", "-o"]).arg(&object).arg(root.join("bench/baseline.S")))?;
    let mut linker = process::Command::new(toolchain::find(&[platform])?.linker);
    linker.args(["-flavor", "gnu", "-static", "-pie", "--oformat=binary", "--no-dynamic-linker", "--no-eh-frame-hdr"]);
    linker.args(["--build-id=none", "--defsym=base=0", "--defsym=elf_type=3", "--defsym=elf_data=1"]);
    linker.arg("--script").arg(root.join("src/arch/elf64.ld")).arg("--script").arg(root.join("linker.ld"));
    run(linker.arg("-o").arg(&path).arg(&object))?;
    let machine = build::elf(&fs::read(&path)?).context("the baseline is not as it should be")?.header.e_machine;
    ensure!(machine == platform.machine, "the baseline is for ELF machine {machine}, not {}", platform.machine);
    Ok(path)
}
