//! What the tests share on a machine that builds the program: the shipped file and the tool, other machines within this
//! one, Debian's packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use xtask::build::{self, Program};
use xtask::image::build_image;
use xtask::oci::Image;
use xtask::platform::{PLATFORMS, Platform};
use xtask::release::Release;

pub mod clients;
pub mod debian;
pub mod machine;
pub mod sandbox;

pub use pause_contract::{ERROR, Ended, INTERRUPT, TERMINATED, VERSION, WARNING, end, eventually, within};

/// The project's directory.
pub const ROOT: &str = {
    let own = env!("CARGO_MANIFEST_DIR");
    own.split_at(own.len() - "/tests/lib".len()).0
};

/// The seccomp profile for nodes, in Docker's format.
pub const PROFILE: &str = include_str!("../../deploy/seccomp.json");

/// Where cargo builds; what is downloaded or built for the tests is kept there too.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(ROOT).join("target"), PathBuf::from)
}

/// The blocks of a language under a heading of the second level in one of the project's pages.
#[track_caller]
pub fn blocks(page: &str, title: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/{page}")).unwrap_or_else(|error| panic!("{page}: {error}"));
    let section = text.split("\n## ").find(|section| section.starts_with(title)).unwrap_or_default();
    let fenced = section.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let blocks = fenced.filter(|(its, _)| *its == language).map(|(_, content)| content.trim_end().to_owned());
    let blocks: Vec<_> = blocks.collect();
    assert!(!blocks.is_empty(), "{page} has no block of {language} under {title}");
    blocks
}

/// This machine's platform.
pub fn platform() -> &'static Platform {
    xtask::platform::host().unwrap_or_else(|error| panic!("{error:#}"))
}

pub fn named(name: &str) -> &'static Platform {
    PLATFORMS.iter().find(|one| one.to_string() == name).unwrap_or_else(|| panic!("no platform is called {name}"))
}

/// The file that is shipped: `PAUSE_UNDER_TEST` if it is set, else built now by the tool that builds images.
pub fn shipped() -> &'static Path {
    static SHIPPED: LazyLock<PathBuf> = LazyLock::new(|| {
        let path =
            std::env::var_os("PAUSE_UNDER_TEST").map_or_else(|| built(&[platform()]).remove(0).path, PathBuf::from);
        assert!(path.is_file(), "no file to test at {path:?}");
        path
    });
    &SHIPPED
}

/// What the tool builds and ships for these platforms.
pub fn built(platforms: &[&'static Platform]) -> Vec<Program> {
    build::programs(platforms, &indicatif::ProgressBar::hidden()).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Makes the image for these platforms, as `cargo xtask image` does, and the archive of it under these names.
pub fn archive(directory: &Path, platforms: &[&'static Platform], names: &[&str]) -> (PathBuf, Image) {
    let make = || -> anyhow::Result<_> {
        let release = Release::own()?;
        let (_, image) = build_image(platforms, &release.times(), &release)?;
        let path = directory.join("pause.tar");
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        xtask::output::write(&path, &image.archive(&names)?, 0o644)?;
        Ok((path, image))
    };
    make().unwrap_or_else(|error| panic!("{error:#}"))
}

/// The tool, without a time from whoever runs the tests. What cargo would start is started directly, so that signals and
/// variables meant for the tool do not reach the cargo before it.
pub fn tool() -> Command {
    static TOOL: LazyLock<String> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package=xtask", "--message-format=json"]);
        let output = cargo.current_dir(ROOT).stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "{cargo:?} failed: {}", output.status);
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
        let executable = |message: serde_json::Value| message["executable"].as_str().map(str::to_owned);
        messages.flatten().find_map(executable).expect("cargo names the file")
    });
    let mut command = Command::new(&*TOOL);
    command.current_dir(ROOT).env("CARGO", env!("CARGO")).env_remove("SOURCE_DATE_EPOCH");
    command
}
