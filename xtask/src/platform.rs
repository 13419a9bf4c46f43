//! The platforms pause is built for, platforms.toml, and how a command line names some of them.

use anyhow::{Context, Result};
use goblin::elf::Elf;
use oci_spec::image::Arch;
use oci_spec::runtime;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::LazyLock;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// What an image index calls it.
    pub architecture: Arch,
    pub variant: Option<String>,
    /// What Rust calls it.
    pub target: String,
    /// What the ELF header calls it (`e_machine`).
    pub machine: u16,
    /// What its file may have at most, in bytes.
    pub most_bytes: u64,
    /// What runs it on another machine, by the name Debian's qemu-user-static gives it, and the oldest processor of the
    /// platform that it knows.
    pub emulator: [String; 2],
    /// What a seccomp profile calls it.
    pub seccomp: runtime::Arch,
    /// The kernels it is tested on: its own, one with other pages, and that of the 64-bit platform whose kernels run it too.
    pub kernels: Vec<String>,
}

/// One of Debian's kernels, and the least that boots it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What Debian calls the architecture, the suite to take it from, and the package that depends on the newest one.
    pub architecture: String,
    pub suite: String,
    pub package: String,
    /// The virtual machine: QEMU and its options.
    pub qemu: String,
    /// What the kernel is told.
    pub arguments: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    platform: Vec<Platform>,
    kernel: BTreeMap<String, Kernel>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    toml::from_str(include_str!("platforms.toml")).unwrap_or_else(|error| panic!("platforms.toml: {error}"))
});

pub static PLATFORMS: LazyLock<&[Platform]> = LazyLock::new(|| &TABLE.platform);

impl Platform {
    pub fn kernels(&self) -> impl Iterator<Item = &'static Kernel> {
        self.kernels.iter().map(|name| &TABLE.kernel[name])
    }

    /// Its own.
    pub fn kernel(&self) -> &'static Kernel {
        &TABLE.kernel[&self.kernels[0]]
    }
}

/// As OCI writes it: `linux/amd64`, or `linux/arm/v7` where there is a variant.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "linux/{}", self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
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
    let is_built = (!found.is_empty()).then_some(Chosen(found));
    is_built.ok_or_else(|| format!("pause is not built for it; the platforms are {}", known()))
}

/// The platform of this machine.
pub fn host() -> Result<&'static Platform> {
    // By this program's own header.
    let mut header = [0; 64];
    let read = File::open("/proc/self/exe").and_then(|mut file| file.read_exact(&mut header));
    read.context("cannot read /proc/self/exe")?;
    let own = Elf::parse_header(&header)?.e_machine;
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
