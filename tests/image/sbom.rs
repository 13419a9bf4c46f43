//! The bill of materials beside the image names the program by its hash, and what is linked into it: no more and no less
//! than what the compiler was given.

use pause_tests::ROOT;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn it_names_what_the_compiler_was_given_to_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let (wrapper, log) = (folder.path().join("wrapper"), folder.path().join("log"));
    fs::write(&wrapper, format!("#!/bin/sh\necho \"$*\" >> '{}'\nexec \"$@\"\n", log.display())).expect("written");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("made executable");
    let mut command = pause_tests::tool();
    // In a folder of its own, so that the compiler is called.
    command.env("CARGO_TARGET_DIR", folder.path().join("target")).env("RUSTC_WRAPPER", wrapper);
    let sbom = sbom(command.args(["image", "--platform=amd64"]), folder.path());

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
fn it_has_the_hashes_of_what_is_shipped_and_a_version_and_a_licence_of_every_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let sbom = sbom(pause_tests::tool().args(["image", "--platform=amd64"]), folder.path());
    expect_hash(components(&sbom, "application").next().expect("a program"), "amd64");
    let digest = sbom["metadata"]["component"]["hashes"][0]["content"].as_str().expect("a digest");
    let mut archive = tar::Archive::new(fs::File::open(folder.path().join("pause.tar")).expect("an archive"));
    let index = Path::new("blobs/sha256").join(digest);
    assert!(archive.entries().unwrap().any(|entry| entry.unwrap().path().unwrap() == index), "{digest} is not in it");
    for part in sbom["components"].as_array().expect("components") {
        let has = |pointer| part.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        assert!(has("/version") && has("/licenses/0/expression"), "{part}");
    }
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert!(sbom.get("serialNumber").is_none(), "it is the same from everybody");
}

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): cargo test --test image sbom:: -- --ignored"]
fn it_has_the_hashes_of_all_platforms_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let sbom = sbom(pause_tests::tool().args(["image", "--platform=all"]), folder.path());
    let programs: Vec<_> = components(&sbom, "application").collect();
    assert_eq!(programs.len(), 8);
    for program in programs {
        let platform = program["bom-ref"].as_str().expect("a platform");
        expect_hash(program, platform.strip_prefix("linux/").expect("Linux"));
    }
}

fn expect_hash(program: &Value, platform: &str) {
    let shipped = Path::new(ROOT).join("target/pause/linux").join(platform).join("pause");
    let bytes = fs::read(&shipped).unwrap_or_else(|error| panic!("{}: {error}", shipped.display()));
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(program["hashes"][0]["alg"], "SHA-256");
    assert_eq!(program["hashes"][0]["content"], hash.as_str(), "{}", shipped.display());
}

fn sbom(command: &mut Command, folder: &Path) -> Value {
    let status = command.arg("--output").arg(folder).stdout(Stdio::null()).status().expect("the tool runs");
    assert!(status.success(), "{command:?} failed: {status}");
    serde_json::from_slice(&fs::read(folder.join("pause.cdx.json")).expect("beside the image")).expect("JSON")
}

fn components<'a>(sbom: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let components = sbom["components"].as_array().expect("components");
    components.iter().filter(move |component| component["type"] == kind)
}
