//! What release.toml records of a version, or a file like it of somebody's own image: who trusts it can tell by digests
//! alone whether a program or an image is what it says.

use crate::build::{self, Program};
use crate::command::run;
use crate::oci::{self, Annotations, Image, Times};
use crate::output;
use crate::platform::{PLATFORMS, Platform};
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::{
    ANNOTATION_DOCUMENTATION, ANNOTATION_LICENSES, ANNOTATION_REVISION, ANNOTATION_SOURCE, ANNOTATION_VERSION,
    Descriptor, Digest, MediaType,
};
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use toml::value::Datetime;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub version: String,
    /// The image's `created` is the first second of that day, unless SOURCE_DATE_EPOCH is set.
    pub date: Datetime,
    /// Whether this was released, or is what lies between two releases.
    pub released: bool,
    /// The last commit that changed the program's sources. Without one they were changed and not committed.
    pub commit: Option<String>,
    /// Where the sources are, for who finds the image: an https address. Written by hand, once there is one.
    pub source: Option<String>,
    /// Of the image of all platforms, each with the first of its rows.
    pub index: Content,
    #[serde(rename = "image")]
    pub images: Vec<Row>,
}

/// One platform's part of the image, as one compiler makes it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub platform: String,
    pub compiler: String,
    pub program: Content,
    pub layer: Content,
    /// The image ID that engines show.
    pub config: Content,
    pub manifest: Content,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Content {
    pub digest: Digest,
    pub size: u64,
}

/// What decides which bytes the program has, beside the compiler.
const SOURCES: [&str; 8] =
    ["src", "Cargo.toml", "Cargo.lock", ".cargo", "build.rs", "linker.ld", "rust-toolchain.toml", "rust-toolchain"];

impl Release {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let release: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let is_day = release.date.date.is_some() && release.date.time.is_none();
        ensure!(is_day, "{}: {} is no day", path.display(), release.date);
        Ok(release)
    }

    /// That of this source.
    pub fn own() -> Result<Self> {
        let release = Self::read(&build::root()?.join(FILE))?;
        let version = env!("CARGO_PKG_VERSION");
        ensure!(release.version == version, "{FILE} is of version {}, and this is {version}", release.version);
        Ok(release)
    }

    pub fn times(&self) -> Times {
        Times { created: format!("{}T00:00:00Z", self.date), mtime: 0 }
    }

    /// The same version with what was built of it, the release's compiler first.
    pub fn of(&self, built: &[(Vec<Program>, Image)]) -> Result<Self> {
        let (_, image) = built.first().context("nothing was built")?;
        let mut images: Vec<Row> = Vec::new();
        for (programs, image) in built {
            for row in rows(programs, image) {
                let is_known = |known: &Row| (&known.platform, &known.compiler) == (&row.platform, &row.compiler);
                if !images.iter().any(is_known) {
                    images.push(row);
                }
            }
        }
        let mut release = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            date: self.date,
            released: self.released,
            commit: last_change()?,
            source: self.source.clone(),
            index: Content::of(&image.index),
            images,
        };
        // With the commit that is recorded now.
        let manifests = image.platforms.iter().map(|part| (part.platform, part.manifest.clone()));
        release.index = Content::new(&oci::index(manifests, &release.annotations(true))?)?;
        Ok(release)
    }

    /// What the index of an image says of it. A program that is not recorded is of no known revision.
    pub fn annotations(&self, has_revision: bool) -> Annotations {
        let mut annotations = Annotations::from([
            (ANNOTATION_VERSION, self.version.clone()),
            (ANNOTATION_LICENSES, env!("CARGO_PKG_LICENSE").into()),
        ]);
        annotations.extend(self.commit.clone().filter(|_| has_revision).map(|commit| (ANNOTATION_REVISION, commit)));
        // README.md is the documentation.
        for key in [ANNOTATION_SOURCE, ANNOTATION_DOCUMENTATION] {
            annotations.extend(self.source.clone().map(|source| (key, source)));
        }
        annotations
    }

    /// Whether all these programs are recorded.
    pub fn has(&self, programs: &[(&Platform, &[u8])]) -> Result<bool> {
        for (platform, bytes) in programs {
            let (platform, program) = (platform.to_string(), Content::new(bytes)?);
            if !self.images.iter().any(|row| row.platform == platform && row.program == program) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn with_manifest(&self, digest: &Digest) -> Option<&Row> {
        self.images.iter().find(|row| row.manifest.digest == *digest)
    }

    /// The row that the release ships for a platform.
    fn shipped(&self, platform: &Platform) -> Option<&Row> {
        self.images.iter().find(|row| row.platform == platform.to_string())
    }

    /// Fails if the program's sources are not those of the recorded commit; says what is known of them.
    pub fn check_sources(&self) -> Result<String> {
        let commit = self.commit.as_deref().context("the program's sources were not committed when it was recorded")?;
        if !build::root()?.join(".git").exists() {
            return Ok(format!("Without git nobody has looked whether the program's sources are those of {commit}."));
        }
        let others = run(git(["ls-files", "--others", "--exclude-standard", "--"]).args(SOURCES))?;
        ensure!(others.is_empty(), "git does not know of these, which may change the program: {}", others.trim_end());
        let status = git(["diff", "--quiet", commit, "--"]).args(SOURCES).status().context("cannot run git")?;
        match status.code() {
            Some(0) => Ok(format!("The program's sources are those of {commit}.")),
            Some(1) => bail!("the program's sources were changed since {commit}: record what they give now"),
            _ => bail!("git cannot compare the program's sources with {commit}: is it a clone with its history?"),
        }
    }

    /// What a reader of the tool's output has to know of a program that no release ships.
    pub fn status(&self, manifests: impl IntoIterator<Item = Digest>) -> String {
        let version = &self.version;
        let is_recorded = manifests.into_iter().all(|manifest| self.with_manifest(&manifest).is_some());
        match (self.released, is_recorded) {
            (true, true) => format!("Released as pause {version}."),
            (true, false) => format!("Not a release: the digests of pause {version} are others."),
            (false, _) => format!("Not a release: built between releases, towards pause {version}."),
        }
    }

    /// What a release ships: each platform's first row.
    pub fn shipped_rows(&self) -> impl Iterator<Item = &Row> {
        PLATFORMS.iter().filter_map(|platform| self.shipped(platform))
    }

    /// A table for README.md.
    pub fn sizes(&self) -> Result<String> {
        let mut table = output::table_of_numbers(["platform", "binary", "one node pulls"]);
        let (mut blobs, mut most) = (self.index.size, 0);
        for platform in *PLATFORMS {
            let row = self.shipped(platform).with_context(|| format!("no row for {platform}"))?;
            let own = row.layer.size + row.config.size + row.manifest.size;
            blobs += own;
            most = most.max(self.index.size + own);
            table.add_row([&row.platform, &row.program.size.to_string(), &(self.index.size + own).to_string()]);
        }
        Ok(format!(
            "{table}\n\nIn bytes. A node pulls index, manifest, config and layer: {most} at most.\n\
             The image of all platforms has {blobs}, its index {} of them, annotations {} of the index.",
            self.index.size,
            serde_json::to_string(&self.annotations(true))?.len(),
        ))
    }
}

pub const FILE: &str = "release.toml";

pub fn rows(programs: &[Program], image: &Image) -> Vec<Row> {
    let rows = programs.iter().zip(&image.platforms).map(|(program, part)| Row {
        platform: part.platform.to_string(),
        compiler: program.compiler.clone(),
        program: part.program.clone(),
        layer: Content::of(&part.layer),
        config: Content::of(&part.config),
        manifest: Content::of(&part.manifest),
    });
    rows.collect()
}

impl Content {
    pub fn of(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest().clone(), size: descriptor.size() }
    }

    pub fn new(bytes: &[u8]) -> Result<Self> {
        Ok(Self { digest: oci::sha256(bytes)?, size: bytes.len() as u64 })
    }

    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        Descriptor::new(media_type, self.size, self.digest.clone())
    }
}

/// The commit that made the program's sources what they are, if they are committed.
fn last_change() -> Result<Option<String>> {
    let is_clean = git(["diff", "--quiet", "HEAD", "--"]).args(SOURCES).status().context("cannot run git")?.success();
    let log = git(["log", "--max-count=1", "--format=%H", "--"]).args(SOURCES).output().context("cannot run git")?;
    let commit = String::from_utf8(log.stdout)?.trim_end().to_owned();
    Ok((is_clean && !commit.is_empty()).then_some(commit))
}

pub fn git<const N: usize>(arguments: [&str; N]) -> Command {
    let mut git = Command::new("git");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    // A checkout may belong to another user than the one who builds it, and here its code is run anyway.
    git.args(["-c", "safe.directory=*", "-C", root]).args(arguments);
    git
}

/// As the file has it.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "# What is recorded of this version: `cargo xtask verify --write` writes what this source gives.")?;
        writeln!(f, "version = {:?}\ndate = {}\nreleased = {}", self.version, self.date, self.released)?;
        if let Some(commit) = &self.commit {
            writeln!(f, "# The last commit that changed the program's sources.\ncommit = {commit:?}")?;
        }
        if let Some(source) = &self.source {
            writeln!(f, "source = {source:?}")?;
        }
        writeln!(f, "# Of the image of all platforms, each with its first row.\nindex = {}", self.index)?;
        for Row { platform, compiler, program, layer, config, manifest } in &self.images {
            writeln!(f, "\n[[image]]\nplatform = {platform:?}\ncompiler = {compiler:?}\nprogram = {program}")?;
            writeln!(f, "layer = {layer}\nconfig = {config}\nmanifest = {manifest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{{ digest = \"{}\", size = {} }}", self.digest, self.size)
    }
}
