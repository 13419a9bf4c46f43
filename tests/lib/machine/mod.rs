//! Virtual machines with Debian's kernels, in which a test's own init runs pause and reports over the serial console.
//! What fails shows the command that ran the machine and everything on the console.

mod kernel;

use crate::ROOT;
use object::Object;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a machine may run. None takes a tenth of it, emulated on an idle processor of this decade.
const PATIENCE: Duration = Duration::from_secs(600);

/// A machine, its kernel, and where Debian has them. The arguments are the least that boots the kernel.
pub struct Machine {
    /// What Debian calls the architecture.
    architecture: &'static str,
    /// The suite that has a kernel for it and the package that depends on the newest one.
    suite: &'static str,
    kernel: &'static str,
    emulator: &'static str,
    emulator_package: &'static str,
    arguments: &'static [&'static str],
    /// What the kernel is told.
    kernel_arguments: &'static str,
}

pub const AMD64: Machine = Machine {
    architecture: "amd64",
    suite: "bookworm",
    kernel: "linux-image-cloud-amd64",
    emulator: "qemu-system-x86_64",
    emulator_package: "qemu-system-x86",
    arguments: &["-M", "q35", "-cpu", "max", "-m", "256"],
    kernel_arguments: "console=ttyS0",
};

pub const I386: Machine = Machine {
    architecture: "i386",
    suite: "bookworm",
    kernel: "linux-image-686",
    emulator: "qemu-system-i386",
    emulator_package: "qemu-system-x86",
    arguments: &["-M", "pc", "-m", "256"],
    kernel_arguments: "console=ttyS0",
};

pub const ARM64: Machine = Machine {
    architecture: "arm64",
    suite: "bookworm",
    kernel: "linux-image-arm64",
    emulator: "qemu-system-aarch64",
    emulator_package: "qemu-system-arm",
    // Later processors have no 32-bit mode.
    arguments: &["-M", "virt", "-cpu", "cortex-a57", "-m", "512"],
    kernel_arguments: "console=ttyAMA0",
};

pub const ARMHF: Machine = Machine {
    architecture: "armhf",
    suite: "bookworm",
    kernel: "linux-image-armmp",
    emulator: "qemu-system-arm",
    emulator_package: "qemu-system-arm",
    arguments: &["-M", "virt", "-cpu", "cortex-a15", "-m", "512"],
    kernel_arguments: "console=ttyAMA0",
};

pub const PPC64EL: Machine = Machine {
    architecture: "ppc64el",
    suite: "bookworm",
    kernel: "linux-image-powerpc64le",
    emulator: "qemu-system-ppc64",
    emulator_package: "qemu-system-ppc",
    arguments: &["-M", "pseries", "-cpu", "power9", "-m", "1024"],
    kernel_arguments: "console=hvc0",
};

pub const S390X: Machine = Machine {
    architecture: "s390x",
    suite: "bookworm",
    kernel: "linux-image-s390x",
    emulator: "qemu-system-s390x",
    emulator_package: "qemu-system-s390x",
    arguments: &["-M", "s390-ccw-virtio", "-cpu", "max", "-m", "512"],
    kernel_arguments: "console=ttysclp0",
};

pub const RISCV64: Machine = Machine {
    architecture: "riscv64",
    suite: "trixie",
    kernel: "linux-image-riscv64",
    emulator: "qemu-system-riscv64",
    emulator_package: "qemu-system-riscv",
    arguments: &["-M", "virt", "-m", "512"],
    kernel_arguments: "console=ttyS0",
};

pub const LOONG64: Machine = Machine {
    architecture: "loong64",
    suite: "sid",
    kernel: "linux-image-loong64",
    emulator: "qemu-system-loongarch64",
    emulator_package: "qemu-system-misc",
    arguments: &["-M", "virt", "-cpu", "la464", "-m", "1024"],
    // The machine has no keyboard controller, and the kernel dies looking for it.
    kernel_arguments: "console=ttyS0 initcall_blacklist=i8042_init",
};

/// How a machine was run, what was on its console, and what it executed.
pub struct Report {
    pub command: String,
    pub ending: String,
    /// What the emulator itself said.
    pub emulator: String,
    pub console: String,
    /// The addresses of all instructions that ran in some process, which is every one that the emulator translated: it
    /// does so with a straight run of them when that comes to be executed for the first time.
    pub executed: BTreeSet<u64>,
}

impl Machine {
    /// Boots the machine with two files in its memory: a first process, and pause. It ends when that process has it
    /// restart.
    pub fn run(&self, init: &Path, pause: &Path) -> Report {
        let kernel = kernel::of(self);
        let folder = tempfile::tempdir().expect("a folder");
        let initrd = folder.path().join("initrd");
        let console = folder.path().join("console");
        let log = folder.path().join("log");
        write_initrd(&initrd, &[("init", init), ("pause", pause)]);

        let mut command = Command::new(self.emulator);
        command.args(self.arguments).args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
        // Every process of one program has its instructions at the same addresses.
        command.arg("-append").arg(format!("{} panic=-1 norandmaps", self.kernel_arguments));
        command.args(["-d", "in_asm", "-dfilter", self.addresses_of(pause), "-D"]).arg(&log);
        let said = folder.path().join("said");
        command.stdin(Stdio::null()).stderr(File::create(&said).expect("a file"));
        let mut child = command.spawn().unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!(
                "{} is not installed: install Debian's package {}, version 10 (bookworm has it in backports)",
                self.emulator, self.emulator_package
            ),
            _ => panic!("{command:?} does not start: {error}"),
        });
        let deadline = Instant::now() + PATIENCE;
        let ending = loop {
            if let Some(status) = child.try_wait().expect("waitable") {
                break status.to_string();
            }
            if Instant::now() > deadline {
                child.kill().expect("still there");
                child.wait().expect("waitable");
                break format!("killed after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let executed = text(log).lines().filter_map(address).collect();
        Report { command: format!("{command:?}"), ending, emulator: text(said), console: text(console), executed }
    }

    /// Where a program may be mapped and a kernel is not, for QEMU's option -dfilter.
    fn addresses_of(&self, program: &Path) -> &'static str {
        let file = fs::read(program).unwrap_or_else(|error| panic!("{program:?}: {error}"));
        if object::File::parse(&*file).expect("an ELF file").is_64() {
            "0x100000000..0xffffffffffff"
        } else if ["i386", "armhf"].contains(&self.architecture) {
            "0..0xbfffffff"
        } else {
            "0..0xffffffff"
        }
    }
}

/// The address of an instruction by its line in QEMU's log: address, colon, bytes and text. The bytes of a long one go
/// on in lines that have no text.
fn address(line: &str) -> Option<u64> {
    let (address, instruction) = line.strip_prefix("0x")?.split_once(':')?;
    let is_byte = |word: &str| word.len() == 2 && u8::from_str_radix(word, 16).is_ok();
    let has_text = !instruction.split_ascii_whitespace().all(is_byte);
    has_text.then(|| u64::from_str_radix(address, 16).ok()).flatten()
}

/// A root file system for the kernel to unpack, of programs alone.
fn write_initrd(path: &Path, programs: &[(&str, &Path)]) {
    let entries = programs.iter().map(|(name, program)| {
        let content = File::open(program).unwrap_or_else(|error| panic!("{program:?}: {error}"));
        (cpio::NewcBuilder::new(name).mode(0o100_755), content)
    });
    cpio::write_cpio(entries, File::create(path).expect("a file")).expect("an archive");
}

/// A file the tool builds and names: pause itself as it is shipped, or the init of these tests.
pub fn built(platform: &str, what: &[&str]) -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "build", "--platform", platform]).args(what).current_dir(ROOT);
    let output = command.stderr(Stdio::inherit()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("a path in UTF-8").trim_end().into()
}
