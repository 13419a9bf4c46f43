//! SECURITY.md says of each file that is shipped what a scanner finds.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs checksec and eight targets: cargo test --test security -- --ignored"]
fn a_scanner_finds_what_the_document_says() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(project.join("SECURITY.md")).expect("SECURITY.md");
    let rows: Vec<Vec<&str>> = document.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    // The check, what is found, what is found of linux/386 alone.
    let stated = |check: &str, platform: &str| {
        let name = format!("`{check}`");
        let row = rows.iter().find(|row| row.get(1) == Some(&&*name));
        let row = row.unwrap_or_else(|| panic!("SECURITY.md says nothing of {check}"));
        row[if platform == "386" { 3 } else { 2 }].to_owned()
    };
    let mut build = Command::new(env!("CARGO"));
    let output = build.args(["xtask", "build", "--platform=all"]).current_dir(project).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("paths");
    for path in paths.lines() {
        let mut checksec = Command::new("checksec");
        let output = checksec.arg(format!("--file={path}")).arg("--format=json").output();
        let output = output.unwrap_or_else(|error| panic!("checksec does not run ({error}): apt-get install checksec"));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let findings = report[path].as_object().unwrap_or_else(|| panic!("no findings in {report}"));
        let platform = path.rsplit('/').nth(1).expect("a platform");
        for (check, found) in findings {
            assert_eq!(found.as_str(), Some(&*stated(check, platform)), "{check} of {path}");
        }
        assert_eq!(findings.len(), 10, "{findings:?}");
    }
}
