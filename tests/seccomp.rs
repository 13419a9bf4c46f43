//! The seccomp profile of deploy/ and the program do not drift apart: for every platform, the profile's lists of
//! pause's own calls are what the shipped file can call, no more and no less.

mod profile;
mod support;

use object::Object;
use oci_spec::runtime::{Arch, LinuxSeccompAction};
use profile::Profile;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use support::{Pause, TERMINATED, VERSION, WARNING, finish};

struct Platform {
    name: &'static str,
    architecture: Arch,
    /// The instruction that makes a system call, and by how many bytes instructions are aligned.
    instruction: &'static [u8],
    alignment: usize,
}

/// The instructions are those of src/arch/, as the manuals of the architectures encode them.
#[rustfmt::skip]
const PLATFORMS: [Platform; 8] = [
    platform("linux/amd64", Arch::ScmpArchX86_64, &[0x0f, 0x05], 1), // syscall
    platform("linux/arm64", Arch::ScmpArchAarch64, &[0x01, 0x00, 0x00, 0xd4], 4), // svc 0
    platform("linux/arm/v7", Arch::ScmpArchArm, &[0x00, 0xdf], 2), // svc 0, in Thumb-2
    platform("linux/ppc64le", Arch::ScmpArchPpc64le, &[0x02, 0x00, 0x00, 0x44], 4), // sc
    platform("linux/s390x", Arch::ScmpArchS390x, &[0x0a, 0x00], 2), // svc 0
    platform("linux/riscv64", Arch::ScmpArchRiscv64, &[0x73, 0x00, 0x00, 0x00], 2), // ecall
    platform("linux/386", Arch::ScmpArchX86, &[0xcd, 0x80], 1), // int 0x80
    platform("linux/loong64", Arch::ScmpArchLoongarch64, &[0x00, 0x00, 0x2b, 0x00], 4), // syscall 0
];

const fn platform(name: &'static str, architecture: Arch, instruction: &'static [u8], alignment: usize) -> Platform {
    Platform { name, architecture, instruction, alignment }
}

#[test]
fn the_profile_is_for_every_platform() {
    let profile = Profile::read();
    let architectures: Vec<Arch> = profile.arch_map.iter().map(|entry| entry.architecture).collect();
    assert_eq!(architectures, PLATFORMS.map(|platform| platform.architecture));
    // What runs on another's kernel is confined by that kernel's entry.
    let others = profile.arch_map.iter().flat_map(|entry| entry.sub_architectures.clone());
    assert_eq!(Vec::from_iter(others), [Arch::ScmpArchX86, Arch::ScmpArchArm]);
}

#[test]
fn the_profile_says_why_it_allows_what_it_allows() {
    let profile = Profile::read();
    assert_eq!(profile.default_action, LinuxSeccompAction::ScmpActErrno);
    let mut seen = BTreeSet::new();
    for group in &profile.syscalls {
        assert_eq!(group.action, LinuxSeccompAction::ScmpActAllow, "{}", group.comment);
        assert!(!group.comment.is_empty() && group.names.is_sorted(), "{:?}", group.names);
        for name in &group.names {
            assert!(seen.insert(name), "{name} is listed twice");
            let exists =
                syscalls::x86_64::Sysno::from_str(name).is_ok() || syscalls::x86::Sysno::from_str(name).is_ok();
            assert!(exists, "no system call is named {name}; engines would pass over it in silence");
        }
    }
}

#[test]
fn the_page_explains_every_group() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md");
    let text = std::fs::read_to_string(page).expect("a page");
    for group in Profile::read().syscalls {
        let calls = group.names.join("` `");
        assert!(text.contains(&format!("| `{calls}` |\n")), "{page} has no row for `{calls}`");
    }
}

/// Every system-call instruction there is in a file is reached by a run, and each run tells the names of its calls.
#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src) and \
            qemu-user-static 10: cargo test --test seccomp -- --ignored"]
fn the_profile_allows_pause_what_it_can_call_and_nothing_else() {
    let profile = Profile::read();
    let mut made = BTreeSet::new();
    for (platform, file) in PLATFORMS.iter().zip(build_all()) {
        assert!(
            file.ends_with(Path::new(platform.name).join("pause")),
            "{} is not for {}",
            file.display(),
            platform.name
        );
        let mut calls = trace(platform, &file, Some("-v"));
        for (place, names) in trace(platform, &file, None) {
            calls.entry(place).or_default().extend(names);
        }
        let reached: Vec<usize> = calls.keys().copied().collect();
        assert_eq!(
            reached,
            platform.instructions(&file),
            "{}: calls made, and instructions to make them",
            platform.name
        );
        let names: BTreeSet<String> = calls.into_values().flatten().collect();
        for name in &names {
            assert!(
                profile.own_calls().contains(&**name),
                "on {} pause calls {name}, which is not listed",
                platform.name
            );
        }
        made.extend(names);
    }
    assert_eq!(profile.own_calls(), made.iter().map(String::as_str).collect(), "what is listed, and what is called");
}

/// The shipped files, in the order of the table.
fn build_all() -> Vec<PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "build", "--platform=all"]).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?} failed: {}", output.status);
    let files: Vec<_> = String::from_utf8(output.stdout).expect("UTF-8").lines().map(PathBuf::from).collect();
    assert_eq!(files.len(), PLATFORMS.len(), "{files:?}");
    files
}

impl Platform {
    /// Where in the file there are system-call instructions: in its code, which ends where the texts begin.
    fn instructions(&self, file: &Path) -> Vec<usize> {
        let bytes = std::fs::read(file).expect("readable");
        let entry = object::File::parse(&*bytes).expect("an ELF file").entry() as usize % PAGE;
        // Bit 0 of an address of Thumb-2 code says that it is that.
        let entry = entry - entry % self.alignment;
        let texts = [VERSION, support::INTERRUPT].map(str::as_bytes);
        let end = (entry..bytes.len()).find(|&place| texts.iter().any(|text| bytes[place..].starts_with(text)));
        let code = entry..end.expect("texts behind the code");
        code.step_by(self.alignment).filter(|&place| bytes[place..].starts_with(self.instruction)).collect()
    }
}

/// The file is shorter than a page and begins with one, wherever it is loaded.
const PAGE: usize = 4096;

/// Which system calls pause makes from its start to SIGTERM or, with `-v`, to its end: by the place in the file of the
/// instruction, their names.
fn trace(platform: &Platform, file: &Path, option: Option<&str>) -> BTreeMap<usize, BTreeSet<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let [emulator, ref processor @ ..] = support::emulator_of(platform.name);
    let mut command = Command::new(emulator);
    command.args(processor);
    // Each instruction is translated alone, so that its address is in the log before the call it makes.
    command.args(["-one-insn-per-tb", "-d", "exec,nochain,strace", "-D"]).arg(&log).arg(file).args(option);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match option {
        Some(_) => finish(command).exited(0, VERSION, ""),
        None => Pause::start(command).terminated().exited(0, "", &[WARNING, TERMINATED].concat()),
    }

    let log = std::fs::read_to_string(&log).expect("QEMU's log");
    let mut calls = BTreeMap::<usize, BTreeSet<String>>::new();
    let mut place = None;
    for line in log.lines() {
        if line.starts_with("Trace ") {
            // The address of the instruction is the second of the four numbers in brackets.
            let address = line.split('/').nth(1).and_then(|address| usize::from_str_radix(address, 16).ok());
            place = Some(address.unwrap_or_else(|| panic!("no address in {line:?}")) % PAGE);
        } else if let Some((pid, call)) = line.split_once(' ')
            && pid.parse::<u32>().is_ok()
        {
            let (name, _) = call.split_once('(').unwrap_or_else(|| panic!("no call in {line:?}"));
            calls.entry(place.expect("an instruction")).or_default().insert(name.to_owned());
        }
    }
    calls
}
