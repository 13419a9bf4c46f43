//! `cargo xtask build`: from source to the file that is shipped.

use crate::command::run;
use crate::output;
use crate::platform::{Platform, Selection};
use crate::toolchain::{self, Toolchain};
use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, Message};
use goblin::elf::Elf;
use indicatif::ProgressBar;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Build the program and print the path of each file, to be shipped as it is
///
/// The files are target/pause/linux/ARCHITECTURE/pause, where the Containerfile expects them. A platform is built with
/// the active toolchain if `rustup target add` has prepared it, else with one that has the source of Rust's core library.
#[derive(clap::Args)]
pub struct Build {
    #[command(flatten)]
    selection: Selection,
}

impl Build {
    pub fn run(self) -> Result<()> {
        let platforms = self.selection.platforms();
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
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not in a directory of the project")
}

/// Builds the program for each platform and puts it into its place. That all can be built is made sure of before the
/// first one is.
pub fn programs(platforms: &[&'static Platform], progress: &ProgressBar) -> Result<Vec<Program>> {
    let toolchain = self::toolchain(platforms)?;
    let built = platforms.iter().map(|platform| {
        progress.set_message(format!("building {platform}"));
        let program = program(platform, &toolchain)?;
        progress.inc(1);
        Ok(program)
    });
    built.collect()
}

/// How they are built, unless the caller's configuration stands in the way.
fn toolchain(platforms: &[&'static Platform]) -> Result<Toolchain> {
    let toolchain = toolchain::find(platforms)?;
    refuse_what_stays(&toolchain)?;
    Ok(toolchain)
}

fn program(platform: &'static Platform, toolchain: &Toolchain) -> Result<Program> {
    let (linked, crates) = compile(platform, toolchain)?;
    let bytes = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let machine = elf(&bytes).with_context(|| format!("{} cannot be shipped", linked.display()))?.header.e_machine;
    ensure!(machine == platform.machine, "{} is for ELF machine {machine}, not {platform}", linked.display());
    let path = root()?.join("target/pause").join(platform.to_string()).join("pause");
    if !is_there(&path, &bytes) {
        output::write(&path, &bytes, MODE)?;
    }
    Ok(Program { platform, path, bytes, compiler: toolchain.compiler()?, crates })
}

/// An ELF file, no segment of which lies outside of it.
pub fn elf(bytes: &[u8]) -> Result<Elf<'_>> {
    let elf = Elf::parse(bytes).context("not an ELF file")?;
    let mut ends = elf.program_headers.iter().map(|segment| segment.p_offset.saturating_add(segment.p_filesz));
    ensure!(ends.all(|end| end <= bytes.len() as u64), "damaged ELF file: a segment lies outside of it");
    Ok(elf)
}

const MODE: u32 = 0o755;

fn is_there(path: &Path, bytes: &[u8]) -> bool {
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o7777);
    mode.is_ok_and(|mode| mode == MODE) && fs::read(path).is_ok_and(|there| there == bytes)
}

/// The linked file, and what was linked.
fn compile(platform: &Platform, toolchain: &Toolchain) -> Result<(PathBuf, Vec<Crate>)> {
    let target = &platform.target;
    let mut cargo = toolchain.cargo(target, "core");
    // Cargo looks for .cargo/config.toml from the directory it runs in upwards.
    cargo.current_dir(root()?);
    cargo.args(["--quiet", "--locked", "--release", "--package=pause", "--bin=pause"]);
    cargo.arg("--message-format=json-render-diagnostics");
    configure(&mut cargo, platform, toolchain)?;
    let output = cargo.output().with_context(|| format!("cannot run {:?}", cargo.get_program()))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("cargo could not build pause for {target}: {}", output.status);
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
    let linked = linked.with_context(|| format!("cargo built pause for {target} but did not name the file"))?;
    Ok((linked, crates.into_iter().collect()))
}

/// Cargo's id of such a package ends with `#NAME@VERSION`.
fn of_registry(artifact: &Artifact) -> Option<Crate> {
    let id = artifact.package_id.repr.strip_prefix("registry+")?;
    let (name, version) = id.rsplit_once('#')?.1.split_once('@')?;
    Some(Crate { name: name.into(), version: version.into(), manifest: artifact.manifest_path.clone().into() })
}

/// Sees to it that nothing but the project's own files says how the program is built: neither the caller's variables nor
/// the configuration in the caller's home, which cargo would join with the project's. The choice of a toolchain stays
/// the caller's.
fn configure(cargo: &mut Command, platform: &Platform, toolchain: &Toolchain) -> Result<()> {
    for (name, _) in env::vars_os().filter(|(name, _)| changes_the_program(name)) {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
    // This variable goes before every configuration file, so it has to bring the project's own flags too.
    let flags = [rustflags(&platform.target)?, toolchain.linker_flags()?].concat();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    let manifest = read_toml("Cargo.toml")?;
    let profile = manifest.get("profile").and_then(|profiles| profiles.get("release")).and_then(toml::Value::as_table);
    let profile = profile.context("Cargo.toml has no [profile.release]")?;
    for (key, value) in profile.iter().filter(|(_, value)| !value.is_table()) {
        cargo.arg("--config").arg(format!("profile.release.{key}={value}"));
    }
    Ok(())
}

/// The flags that .cargo/config.toml has for a target.
fn rustflags(target: &str) -> Result<Vec<String>> {
    let config = read_toml(".cargo/config.toml")?;
    let flags = |key| config.get("target")?.get(key)?.get("rustflags")?.as_array();
    let all = [r#"cfg(target_os = "linux")"#, target].into_iter().filter_map(flags).flatten();
    all.map(|flag| Ok(flag.as_str().context("a flag in .cargo/config.toml is no text")?.to_owned())).collect()
}

fn read_toml(name: &str) -> Result<toml::Table> {
    let path = root()?.join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not TOML", path.display()))
}

/// What a caller's configuration can say that no argument or variable takes back.
fn refuse_what_stays(toolchain: &Toolchain) -> Result<()> {
    let mut cargo = toolchain.bare_cargo();
    cargo.args(["-Zunstable-options", "config", "get", "--format=json"]).env("RUSTC_BOOTSTRAP", "1");
    let configuration = run(cargo.current_dir(root()?))?;
    let configuration: serde_json::Value = serde_json::from_str(&configuration).context("not cargo's configuration")?;
    for place in [
        "/patch",
        "/paths",
        "/unstable",
        "/profile/release/build-override",
        "/profile/release/package",
        "/profile/release/rustflags",
    ] {
        ensure!(
            configuration.pointer(place).is_none(),
            "your cargo configuration has [{}], which could build another program: take it out, or build with another \
             CARGO_HOME",
            place[1..].replace('/', ".")
        );
    }
    Ok(())
}

/// The caller's variables that would build another program than .cargo/config.toml and Cargo.toml describe.
fn changes_the_program(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_INCREMENTAL"].contains(&&*name)
        || name.starts_with("CARGO_PROFILE_")
        || name.starts_with("CARGO_UNSTABLE_")
        || name.starts_with("CARGO_TARGET_") && name != "CARGO_TARGET_DIR"
}
