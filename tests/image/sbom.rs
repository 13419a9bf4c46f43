//! The bill of materials beside the image names the program by its hash, and what is linked into it: no more and no less
//! than what the compiler was given.

use crate::image::logging_compiler;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use xtask::build::Program;
use xtask::oci::{Times, sha256};
use xtask::platform::{PLATFORMS, Platform};
use xtask::sbom::document;

#[test]
fn it_names_what_the_compiler_was_given_to_link() {
    let directory = tempfile::tempdir().expect("a directory");
    let (compiler, log) = logging_compiler(directory.path());
    let mut command = pause_tests::tool();
    // In a directory of its own, so that the compiler is called.
    command.env("CARGO_TARGET_DIR", directory.path().join("target")).env("RUSTC", compiler);
    let sbom = sbom(command.args(["image", "--platform=amd64"]), directory.path());

    let log = fs::read_to_string(log).expect("the compiler was called");
    let call = log.lines().find(|line| line.contains("--crate-name pause ")).expect("it compiled the program");
    let externs = call.split(" --extern ").skip(1).map(|rest| {
        let file = rest.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        file.trim_start_matches("lib").split('-').next().unwrap_or_default().to_owned()
    });
    // The compiler brings its own core library to every program.
    let linked: BTreeSet<String> = externs.chain(["core".to_owned()]).collect();
    let named = |kind| components(&sbom, kind).map(|component| component["name"].as_str().unwrap().to_owned());
    assert_eq!(named("library").collect::<BTreeSet<_>>(), linked, "{call}");
    assert!(["sc", "compiler_builtins"].iter().all(|name| linked.contains(*name)), "{linked:?}");

    let references: BTreeSet<&str> = components(&sbom, "library").filter_map(|part| part["bom-ref"].as_str()).collect();
    let dependencies = sbom["dependencies"].as_array().expect("dependencies");
    let of_program = dependencies.iter().find(|entry| entry["ref"] == "linux/amd64").expect("the program's");
    let of_program = of_program["dependsOn"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(references, of_program);
}

#[test]
fn it_has_the_hash_of_every_program_and_a_version_and_a_licence_of_every_part() {
    let program = |platform: &'static Platform| Program {
        platform,
        path: PathBuf::new(),
        bytes: platform.to_string().into_bytes(),
        compiler: "rustc 1.0.0 (a compiler)".into(),
        crates: Vec::new(),
    };
    let programs: Vec<Program> = PLATFORMS.iter().map(program).collect();
    let index = sha256(b"an index").unwrap();
    let times = Times { created: "2001-02-03T00:00:00Z".into(), mtime: 0 };
    let sbom: Value = serde_json::from_slice(&document(&programs, &index, &times).unwrap()).expect("JSON");
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(sbom["metadata"]["timestamp"], "2001-02-03T00:00:00Z");
    assert!(sbom.get("serialNumber").is_none(), "it is the same from everybody");
    let hash = |part: &Value| format!("sha256:{}", part["hashes"][0]["content"].as_str().expect("a hash"));
    assert_eq!(hash(&sbom["metadata"]["component"]), index.to_string());
    let hashes: Vec<String> = components(&sbom, "application").map(hash).collect();
    assert_eq!(
        hashes,
        PLATFORMS
            .iter()
            .map(|platform| sha256(platform.to_string().as_bytes()).unwrap().to_string())
            .collect::<Vec<_>>()
    );
    for part in sbom["components"].as_array().expect("components") {
        let has = |pointer| part.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        assert!(has("/version") && has("/licenses/0/expression"), "{part}");
    }
}

fn sbom(command: &mut Command, directory: &Path) -> Value {
    let status = command.arg("--output").arg(directory).stdout(Stdio::null()).status().expect("the tool runs");
    assert!(status.success(), "{command:?} failed: {status}");
    serde_json::from_slice(&fs::read(directory.join("pause.cdx.json")).expect("beside the image")).expect("JSON")
}

fn components<'a>(sbom: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let components = sbom["components"].as_array().expect("components");
    components.iter().filter(move |component| component["type"] == kind)
}
