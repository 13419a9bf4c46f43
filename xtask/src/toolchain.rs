//! Which compiler and which linker build an image on this machine: the active toolchain if it has Rust's core library
//! for every target, else any that can build that library from its source. No target needs a C compiler.

use crate::command::run;
use crate::platform::Platform;
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the platforms of one image are built.
pub struct Toolchain {
    cargo: Cargo,
    builds_core: bool,
    pub linker: PathBuf,
}

/// A cargo and the compiler it is to run.
#[derive(Clone)]
struct Cargo {
    cargo: PathBuf,
    rustc: PathBuf,
}

/// Finds a way to build all of the platforms, or says what is missing. One compiler builds them all, so that an image is
/// the same from everybody who has that one.
pub fn find(platforms: &[&'static Platform]) -> Result<Toolchain> {
    let active = Cargo::active();
    let linker = linker(&active)?;
    let mut missing = Vec::new();
    for platform in platforms {
        if !active.has_core(&platform.target)? {
            missing.push(platform.target.as_str());
        }
    }
    let builds_core = !missing.is_empty();
    let cargo = if builds_core { active.with_source()? } else { Some(active) };
    let Some(cargo) = cargo else {
        bail!(
            "Rust's core library is not installed for {}, and no toolchain has its source: run `rustup target add {}`, \
             or on Debian `apt-get install rustc-web cargo-web rust-web-src`",
            missing.join(", "),
            missing.join(" "),
        )
    };
    Ok(Toolchain { cargo, builds_core, linker })
}

impl Toolchain {
    /// What the compiler calls itself.
    pub fn compiler(&self) -> Result<String> {
        self.cargo.print(["--version"])
    }

    /// The start of a cargo command that builds for the target, with these libraries of Rust's if they have to be built.
    pub fn cargo(&self, target: &str, libraries: &str) -> Command {
        let mut cargo = self.bare_cargo();
        cargo.args(["build", "--target", target]);
        if self.builds_core {
            // Stable toolchains have the option too, but not openly.
            cargo.arg(format!("-Zbuild-std={libraries}")).arg("-Zbuild-std-features=").env("RUSTC_BOOTSTRAP", "1");
        } else {
            // .cargo/config.toml says which one crate needs it.
            cargo.env_remove("RUSTC_BOOTSTRAP");
        }
        cargo
    }

    pub fn bare_cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo.cargo);
        cargo.env("RUSTC", &self.cargo.rustc);
        cargo
    }

    /// The compiler's flags that link with nothing in between.
    pub fn linker_flags(&self) -> Result<Vec<String>> {
        let linker = self.linker.to_str().with_context(|| format!("{} is not UTF-8", self.linker.display()))?;
        Ok(vec![format!("-Clinker={linker}"), "-Clinker-flavor=ld.lld".into()])
    }
}

impl Cargo {
    /// The one that runs this tool. Under rustup `CARGO` names the program itself, past the proxy.
    fn active() -> Self {
        let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        let beside = cargo.with_file_name("rustc");
        let rustc = match env::var_os("RUSTC") {
            Some(rustc) => rustc.into(),
            None if beside.is_file() => beside,
            None => "rustc".into(),
        };
        Self { cargo, rustc }
    }

    /// This one if it has the source of the core library, else the first in PATH that has.
    fn with_source(&self) -> Result<Option<Self>> {
        if self.has_source()? {
            return Ok(Some(self.clone()));
        }
        let others = which::which_all("cargo").into_iter().flatten();
        let mut others = others.map(|cargo| Self { rustc: cargo.with_file_name("rustc"), cargo });
        // One that does not even run cannot help.
        Ok(others.find(|other| other.has_source().is_ok_and(|has_source| has_source)))
    }

    /// Where rustup's `rust-src` puts the source, and Debian's package links to it.
    fn has_source(&self) -> Result<bool> {
        Ok(Path::new(&self.print(["--print=sysroot"])?).join("lib/rustlib/src/rust/library/core").is_dir())
    }

    fn has_core(&self, target: &str) -> Result<bool> {
        let directory = self.print(["--print=target-libdir", "--target", target])?;
        let Ok(entries) = fs::read_dir(directory) else { return Ok(false) };
        let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.any(|name| name.starts_with("libcore-") && name.ends_with(".rlib")))
    }

    /// Asks the compiler for something that it prints in a line.
    fn print<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        Ok(run(Command::new(&self.rustc).args(arguments))?.trim_end().to_owned())
    }
}

/// The linker Rust brings, else Debian's of the same LLVM. Both link the same bytes.
fn linker(cargo: &Cargo) -> Result<PathBuf> {
    let for_host = cargo.print(["--print=target-libdir"])?;
    let own = Path::new(&for_host).with_file_name("bin").join("rust-lld");
    if own.is_file() {
        return Ok(own);
    }
    which::which("ld.lld-22").or_else(|_| which::which("ld.lld")).with_context(|| {
        format!(
            "no linker: neither {} nor ld.lld-22 or ld.lld in PATH; install Rust by rustup, which brings the first, or \
             on Debian `apt-get install lld-22`",
            own.display()
        )
    })
}
