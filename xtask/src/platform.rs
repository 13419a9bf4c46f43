//! The platforms pause is built for: one table of all that differs between them but code and compiler flags, and how a
//! command line names a part of it.

use anyhow::{Context, Result};
use goblin::elf::{Elf, header};
use kernels::*;
use oci_spec::image::Arch;
use oci_spec::runtime;
use std::fmt;
use std::fs;

pub struct Platform {
    /// What an image index calls it.
    pub architecture: Arch,
    pub variant: Option<&'static str>,
    /// What Rust calls it.
    pub target: &'static str,
    /// What the ELF header calls it (`e_machine`).
    pub machine: u16,
    /// What its file may have at most, in bytes.
    pub most_bytes: u64,
    /// What runs it on another machine, by the name Debian's qemu-user-static gives it, and the oldest processor of the
    /// platform that it knows.
    pub emulator: [&'static str; 2],
    /// What a seccomp profile calls it.
    pub seccomp: runtime::Arch,
    /// The kernels it is tested on: its own, one with other pages, and that of the 64-bit platform whose kernels run it too.
    pub kernels: &'static [Kernel],
}

/// One of Debian's kernels, and the least that boots it.
pub struct Kernel {
    /// What Debian calls the architecture, the suite to take it from, and the package that depends on the newest one.
    pub architecture: &'static str,
    pub suite: &'static str,
    pub package: &'static str,
    /// The virtual machine: QEMU and its options.
    pub qemu: &'static str,
    /// What the kernel is told.
    pub arguments: &'static str,
}

/// arm64 has no variant: that one entry is what requests for `arm64` and for `arm64/v8` both find, for containerd takes
/// them for the same (`normalizeArch` in containerd/platforms, database.go), and skopeo and Podman look for `v8` first
/// and for none then (`WantedPlatforms` in containers/image, internal/pkg/platform). An entry with `v8` is found by
/// those two for `arm64` only since they know it as the base variant. arm has one, for ARMv6 could not run it.
#[rustfmt::skip]
pub static PLATFORMS: &[Platform] = &[
    Platform {
        architecture: Arch::Amd64, variant: None, target: "x86_64-unknown-linux-gnu", machine: header::EM_X86_64,
        most_bytes: 640, emulator: ["qemu-x86_64-static", "Opteron_G1"], seccomp: runtime::Arch::ScmpArchX86_64,
        kernels: &[AMD64],
    },
    Platform {
        architecture: Arch::ARM64, variant: None, target: "aarch64-unknown-linux-gnu", machine: header::EM_AARCH64,
        most_bytes: 896, emulator: ["qemu-aarch64-static", "cortex-a35"], seccomp: runtime::Arch::ScmpArchAarch64,
        kernels: &[ARM64, ARM64_16K],
    },
    Platform {
        architecture: Arch::ARM, variant: Some("v7"), target: "armv7-unknown-linux-gnueabihf", machine: header::EM_ARM,
        most_bytes: 896, emulator: ["qemu-arm-static", "cortex-a8"], seccomp: runtime::Arch::ScmpArchArm,
        kernels: &[ARMHF, ARM64],
    },
    Platform {
        architecture: Arch::PowerPC64le, variant: None, target: "powerpc64le-unknown-linux-gnu", machine: header::EM_PPC64,
        most_bytes: 1024, emulator: ["qemu-ppc64le-static", "power8"], seccomp: runtime::Arch::ScmpArchPpc64le,
        kernels: &[PPC64EL],
    },
    Platform {
        architecture: Arch::s390x, variant: None, target: "s390x-unknown-linux-gnu", machine: header::EM_S390,
        most_bytes: 896, emulator: ["qemu-s390x-static", "z900"], seccomp: runtime::Arch::ScmpArchS390x,
        kernels: &[S390X],
    },
    Platform {
        architecture: Arch::RISCV64, variant: None, target: "riscv64gc-unknown-linux-gnu", machine: header::EM_RISCV,
        most_bytes: 896, emulator: ["qemu-riscv64-static", "rv64i,c=on"], seccomp: runtime::Arch::ScmpArchRiscv64,
        kernels: &[RISCV64],
    },
    Platform {
        architecture: Arch::i386, variant: None, target: "i686-unknown-linux-gnu", machine: header::EM_386,
        most_bytes: 896, emulator: ["qemu-i386-static", "486"], seccomp: runtime::Arch::ScmpArchX86,
        kernels: &[I386, AMD64],
    },
    Platform {
        architecture: Arch::LoongArch64, variant: None, target: "loongarch64-unknown-linux-gnu", machine: header::EM_LOONGARCH,
        most_bytes: 896, emulator: ["qemu-loongarch64-static", "la464,lsx=off,lasx=off"],
        seccomp: runtime::Arch::ScmpArchLoongarch64, kernels: &[LOONG64],
    },
];

#[rustfmt::skip]
mod kernels {
    use super::Kernel;

    pub const AMD64: Kernel = Kernel {
        architecture: "amd64", suite: "bookworm", package: "linux-image-cloud-amd64",
        qemu: "qemu-system-x86_64 -M q35 -cpu max -m 256", arguments: "console=ttyS0",
    };
    pub const I386: Kernel = Kernel {
        architecture: "i386", suite: "bookworm", package: "linux-image-686",
        qemu: "qemu-system-i386 -M pc -m 256", arguments: "console=ttyS0",
    };
    pub const ARM64: Kernel = Kernel {
        architecture: "arm64", suite: "bookworm", package: "linux-image-arm64",
        // Later processors have no 32-bit mode.
        qemu: "qemu-system-aarch64 -M virt -cpu cortex-a57 -m 512", arguments: "console=ttyAMA0",
    };
    /// Pages of 16 KiB, as on a Raspberry Pi 5, whose processor this is.
    pub const ARM64_16K: Kernel = Kernel {
        architecture: "arm64", suite: "trixie", package: "linux-image-arm64-16k",
        qemu: "qemu-system-aarch64 -M virt -cpu cortex-a76 -m 512", arguments: "console=ttyAMA0",
    };
    pub const ARMHF: Kernel = Kernel {
        architecture: "armhf", suite: "bookworm", package: "linux-image-armmp",
        qemu: "qemu-system-arm -M virt -cpu cortex-a15 -m 512", arguments: "console=ttyAMA0",
    };
    pub const PPC64EL: Kernel = Kernel {
        architecture: "ppc64el", suite: "bookworm", package: "linux-image-powerpc64le",
        qemu: "qemu-system-ppc64 -M pseries -cpu power9 -m 1024", arguments: "console=hvc0",
    };
    pub const S390X: Kernel = Kernel {
        architecture: "s390x", suite: "bookworm", package: "linux-image-s390x",
        qemu: "qemu-system-s390x -M s390-ccw-virtio -cpu max -m 512", arguments: "console=ttysclp0",
    };
    pub const RISCV64: Kernel = Kernel {
        architecture: "riscv64", suite: "trixie", package: "linux-image-riscv64",
        qemu: "qemu-system-riscv64 -M virt -m 512", arguments: "console=ttyS0",
    };
    pub const LOONG64: Kernel = Kernel {
        architecture: "loong64", suite: "sid", package: "linux-image-loong64",
        // The machine has no keyboard controller, and the kernel dies looking for it.
        qemu: "qemu-system-loongarch64 -M virt -cpu la464 -m 1024", arguments: "console=ttyS0 initcall_blacklist=i8042_init",
    };
}

/// As OCI writes it: `linux/amd64`, or `linux/arm/v7` where there is a variant.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)?;
        self.variant.map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The choice of platforms every subcommand has.
#[derive(clap::Args)]
pub struct Selection {
    /// Platform, such as linux/arm64 or arm64, or `host` for this machine's, or `all`; repeat it for several
    #[arg(long = "platform", value_name = "PLATFORM", default_value = "host", value_parser = parse)]
    choices: Vec<Chosen>,
}

#[derive(Clone)]
struct Chosen(Vec<&'static Platform>);

fn parse(text: &str) -> Result<Chosen, String> {
    if text == "host" {
        return host().map(|host| Chosen(vec![host])).map_err(|error| format!("{error:#}"));
    }
    let full = if text.starts_with("linux/") { text.to_owned() } else { format!("linux/{text}") };
    let found: Vec<_> = PLATFORMS.iter().filter(|one| text == "all" || one.to_string() == full).collect();
    if found.is_empty() {
        Err(format!("pause is not built for it; the platforms are {}", known()))
    } else {
        Ok(Chosen(found))
    }
}

/// The platform of this machine.
pub fn host() -> Result<&'static Platform> {
    // By this program's own header.
    let own = Elf::parse(&fs::read("/proc/self/exe")?)?.header.e_machine;
    let found = PLATFORMS.iter().find(|platform| platform.machine == own);
    found.with_context(|| format!("pause is not built for this machine; choose with --platform from {}", known()))
}

fn known() -> String {
    let names: Vec<_> = PLATFORMS.iter().map(Platform::to_string).collect();
    format!("{}, and `all`", names.join(", "))
}

impl Selection {
    /// The platforms chosen, each once, in the order of the table: the image must not depend on the order they were
    /// asked for in.
    pub fn platforms(&self) -> Vec<&'static Platform> {
        let is_chosen =
            |platform: &Platform| self.choices.iter().flat_map(|it| &it.0).any(|one| std::ptr::eq(*one, platform));
        PLATFORMS.iter().filter(|platform| is_chosen(platform)).collect()
    }
}
