//! What a release runs is fixed: no tag that somebody could move decides which code signs it.

use std::fs;
use std::path::Path;

#[test]
fn every_action_is_pinned_by_its_commit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let (mut actions, mut mentions) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).expect("workflows") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("text");
        let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
        actions.extend(lines.filter_map(|line| line.strip_prefix("uses:").map(|action| action.trim().to_owned())));
        mentions += text.matches("uses:").count();
    }
    assert_eq!(actions.len(), mentions, "an action that is not on a line of its own");
    assert!(!actions.is_empty(), "no action: look where they are");
    for action in actions {
        let (_, rest) = action.split_once('@').unwrap_or_else(|| panic!("{action} has no version"));
        let (commit, version) = rest.split_once(" # v").unwrap_or_else(|| panic!("{action} does not say its version"));
        let is_hash = commit.len() == 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(is_hash, "{action} is not pinned by a commit");
        assert!(version.split('.').all(|number| number.parse::<u32>().is_ok()), "{action}: which version is it?");
    }
}

#[test]
#[ignore = "needs cargo-deny: cargo install --locked cargo-deny, then cargo test --test release -- --ignored"]
fn licences_sources_and_versions_of_all_dependencies_are_allowed() {
    let mut deny = std::process::Command::new(env!("CARGO"));
    deny.args(["deny", "--offline", "--locked", "check", "--hide-inclusion-graph", "licenses", "sources", "bans"]);
    let output = deny.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{deny:?}: {said}");
}
