//! What a scanner of hardening finds in the shipped file is what the README says of it.

mod support;

use std::collections::BTreeMap;
use std::process::Command;
use support::*;

#[test]
#[ignore = "needs checksec: apt-get install checksec, then cargo test --test hardening -- --ignored"]
fn checksec_finds_what_the_readme_tells() {
    let mut command = Command::new("checksec");
    command.arg("--format=json").arg(format!("--file={}", shipped().display()));
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    let report: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}: {output:?}"));
    let [found] = &report.into_values().collect::<Vec<_>>()[..] else { panic!("{command:?} tells of one file") };

    let rows = include_str!("../README.md").lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?, cells.next()?))
    });
    let told: BTreeMap<_, _> =
        rows.flat_map(|(names, told)| names.split(", ").map(move |name| (name.trim_matches('`'), told))).collect();
    for (name, finding) in found {
        assert_eq!(told.get(&**name), Some(&&**finding), "README.md must tell of {name}");
    }
}
