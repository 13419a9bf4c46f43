//! The platforms pause is built for: one table, and how a command line names a part of it.

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
}

pub static PLATFORMS: &[Platform] = &[Platform {
    architecture: Arch::Amd64,
    variant: None,
    target: "x86_64-unknown-linux-gnu",
    machine: elf::EM_X86_64,
}];

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
    /// Platform, such as linux/amd64 or amd64, or all of them; repeat it for several
    #[arg(long = "platform", value_name = "PLATFORM", default_value = "all", value_parser = parse)]
    choices: Vec<Choice>,
}

#[derive(Clone)]
enum Choice {
    All,
    One(&'static Platform),
}

fn parse(text: &str) -> Result<Choice, String> {
    if text == "all" {
        return Ok(Choice::All);
    }
    let full = if text.starts_with("linux/") { text.to_owned() } else { format!("linux/{text}") };
    PLATFORMS.iter().find(|platform| platform.to_string() == full).map(Choice::One).ok_or_else(|| {
        let known: Vec<_> = PLATFORMS.iter().map(Platform::to_string).collect();
        format!("pause is not built for it; the platforms are {}, and `all`", known.join(", "))
    })
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
