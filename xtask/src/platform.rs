//! The platforms pause is built for: one table, and how a command line names a part of it.

use crate::elf::Elf;
use anyhow::{Context, Result};
use object::elf::{self, Machine};
use oci_spec::image::Arch;
use std::fmt;

pub struct Platform {
    /// What an image index calls it.
    pub architecture: Arch,
    pub variant: Option<&'static str>,
    /// What Rust calls it.
    pub target: &'static str,
    /// What the ELF header calls it (`e_machine`).
    pub machine: Machine,
    /// What runs it on another machine, by the name Debian's qemu-user-static gives it.
    pub emulator: &'static str,
}

/// arm64 has no variant: that one entry is what requests for `arm64` and for `arm64/v8` both find, for containerd takes
/// them for the same (`normalizeArch` in containerd/platforms, database.go), and skopeo and Podman look for `v8` first
/// and for none then (`WantedPlatforms` in containers/image, internal/pkg/platform). An entry with `v8` is found by
/// those two for `arm64` only since they know it as the base variant. arm has one, for ARMv6 could not run it.
#[rustfmt::skip]
pub static PLATFORMS: &[Platform] = &[
    platform(Arch::Amd64, None, "x86_64-unknown-linux-gnu", elf::EM_X86_64, "qemu-x86_64-static"),
    platform(Arch::ARM64, None, "aarch64-unknown-linux-gnu", elf::EM_AARCH64, "qemu-aarch64-static"),
    platform(Arch::ARM, Some("v7"), "armv7-unknown-linux-gnueabihf", elf::EM_ARM, "qemu-arm-static"),
    platform(Arch::PowerPC64le, None, "powerpc64le-unknown-linux-gnu", elf::EM_PPC64, "qemu-ppc64le-static"),
    platform(Arch::s390x, None, "s390x-unknown-linux-gnu", elf::EM_S390, "qemu-s390x-static"),
    platform(Arch::RISCV64, None, "riscv64gc-unknown-linux-gnu", elf::EM_RISCV, "qemu-riscv64-static"),
    platform(Arch::i386, None, "i686-unknown-linux-gnu", elf::EM_386, "qemu-i386-static"),
    platform(Arch::LoongArch64, None, "loongarch64-unknown-linux-gnu", elf::EM_LOONGARCH, "qemu-loongarch64-static"),
];

const fn platform(
    architecture: Arch,
    variant: Option<&'static str>,
    target: &'static str,
    machine: Machine,
    emulator: &'static str,
) -> Platform {
    Platform { architecture, variant, target, machine, emulator }
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
    choices: Vec<Choice>,
}

#[derive(Clone)]
enum Choice {
    All,
    One(&'static Platform),
}

fn parse(text: &str) -> Result<Choice, String> {
    match text {
        "all" => return Ok(Choice::All),
        "host" => return host().map(Choice::One).map_err(|error| format!("{error:#}")),
        _ => {}
    }
    let full = if text.starts_with("linux/") { text.to_owned() } else { format!("linux/{text}") };
    let found = PLATFORMS.iter().find(|platform| platform.to_string() == full);
    found.map(Choice::One).ok_or_else(|| format!("pause is not built for it; the platforms are {}", known()))
}

/// The platform of this machine.
pub fn host() -> Result<&'static Platform> {
    let own = Elf::of_this_program()?.machine;
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
        let chosen = |platform: &Platform| {
            self.choices.iter().any(|choice| match choice {
                Choice::All => true,
                Choice::One(one) => std::ptr::eq(*one, platform),
            })
        };
        PLATFORMS.iter().filter(|platform| chosen(platform)).collect()
    }
}
