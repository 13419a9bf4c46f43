//! `cargo xtask build`: from source to the file that is shipped.

use crate::elf::Elf;
use crate::output;
use crate::platform::{Platform, Selection};
use crate::toolchain::{self, Way};
use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, Message};
use indicatif::ProgressBar;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Build the program and print the path of each file, to be shipped as it is
///
/// The files are target/pause/linux/ARCHITECTURE/pause, where the Containerfile expects them. A platform is built with
/// the active toolchain if `rustup target add` has prepared it, else with one that has the source of Rust's core library.
#[derive(clap::Args)]
pub struct Build {
    #[command(flatten)]
    selection: Selection,
    /// Build what tests/kernels.rs runs as the first process of a virtual machine instead
    #[arg(long)]
    test_init: bool,
}

impl Build {
    pub fn run(self) -> Result<()> {
        let platforms = self.selection.platforms();
        if self.test_init {
            let ways = toolchain::ways(&platforms)?;
            return platforms.iter().zip(&ways).try_for_each(|(platform, way)| {
                output::print(&format!("{}\n", compile("pause-test-init", platform, way)?.linked.display()))
            });
        }
        let progress = output::progress(platforms.len())?;
        let programs = programs(&platforms, &progress)?;
        progress.finish_and_clear();
        programs.iter().try_for_each(|program| output::print(&format!("{}\n", program.path.display())))
    }
}

/// The program as it is shipped.
#[derive(Clone)]
pub struct Program {
    pub platform: &'static Platform,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    /// What the compiler calls itself.
    pub compiler: String,
    /// What came from a registry and was given to the compiler to be linked in.
    pub crates: Vec<Crate>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    pub name: String,
    pub version: String,
    pub manifest: PathBuf,
}

/// Where Cargo.toml is.
pub fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not in a folder of the project")
}

/// Builds the program for each platform and puts it into its place. That all can be built is made sure of before the
/// first one is.
pub fn programs(platforms: &[&'static Platform], progress: &ProgressBar) -> Result<Vec<Program>> {
    let ways = toolchain::ways(platforms)?;
    let built = platforms.iter().zip(&ways).map(|(platform, way)| {
        progress.set_message(format!("building {platform}"));
        let program = program(platform, way)?;
        progress.inc(1);
        Ok(program)
    });
    built.collect()
}

fn program(platform: &'static Platform, way: &Way) -> Result<Program> {
    let Compiled { linked, crates } = compile("pause", platform, way)?;
    let linked_bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let bytes = cut(linked_bytes, platform).with_context(|| format!("{} cannot be shipped", linked.display()))?;
    let path = root()?.join("target/pause").join(platform.to_string()).join("pause");
    if !is_there(&path, &bytes) {
        output::write(&path, &bytes, MODE)?;
    }
    Ok(Program { platform, path, bytes, compiler: way.compiler()?, crates })
}

const MODE: u32 = 0o755;

fn is_there(path: &Path, bytes: &[u8]) -> bool {
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777);
    mode.is_ok_and(|mode| mode == MODE) && fs::read(path).is_ok_and(|there| there == bytes)
}

struct Compiled {
    linked: PathBuf,
    crates: Vec<Crate>,
}

fn compile(package: &str, platform: &Platform, way: &Way) -> Result<Compiled> {
    let target = platform.target;
    let mut cargo = way.cargo(target)?;
    // Cargo looks for .cargo/config.toml from the folder it runs in upwards.
    cargo.current_dir(root()?);
    cargo.args(["--quiet", "--locked", "--release", "--package", package, "--bin", package]);
    cargo.arg("--message-format=json-render-diagnostics");
    for (name, _) in env::vars_os().filter(|(name, _)| changes_the_program(name)) {
        cargo.env_remove(name);
    }
    let output = cargo.output().with_context(|| format!("cannot run {:?}", cargo.get_program()))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("cargo could not build {package} for {target}: {}", output.status);
    }
    let mut linked = None;
    // Cargo tells of them in the order in which they are ready.
    let mut crates = BTreeSet::new();
    for message in Message::parse_stream(output.stdout.as_slice()) {
        let Message::CompilerArtifact(artifact) = message.context("cargo cannot be understood")? else { continue };
        if artifact.target.is_lib() {
            crates.extend(of_registry(&artifact));
        }
        linked = linked.or(artifact.executable.map(PathBuf::from));
    }
    let linked = linked.with_context(|| format!("cargo built {package} for {target} but did not name the file"))?;
    Ok(Compiled { linked, crates: crates.into_iter().collect() })
}

/// Cargo's id of such a package ends with `#NAME@VERSION`.
fn of_registry(artifact: &Artifact) -> Option<Crate> {
    let id = artifact.package_id.repr.strip_prefix("registry+")?;
    let (name, version) = id.rsplit_once('#')?.1.split_once('@')?;
    Some(Crate { name: name.into(), version: version.into(), manifest: artifact.manifest_path.clone().into() })
}

/// The caller's variables that would build another program than .cargo/config.toml and Cargo.toml describe. The choice
/// of a toolchain stays the caller's.
fn changes_the_program(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_INCREMENTAL"].contains(&&*name)
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_TARGET_") && name != "CARGO_TARGET_DIR"
}

/// Cuts what lld pads the file with behind the last segment, which the kernel never looks at.
pub fn cut(mut bytes: Vec<u8>, platform: &Platform) -> Result<Vec<u8>> {
    let elf = Elf::parse(&bytes)?;
    ensure!(elf.machine == platform.machine, "it is for ELF machine {}, not {}", elf.machine.0, platform.machine.0);
    ensure!(!elf.has_sections, "it has section headers, which `-z nosectionheader` in build.rs should leave out");
    let end = usize::try_from(elf.end_of_loads())?;
    let padding = bytes.get(end..).context("it ends before its last segment")?;
    ensure!(padding.iter().all(|&byte| byte == 0), "bytes that are not zero follow its last segment, at {end}");
    bytes.truncate(end);
    Ok(bytes)
}
