//! `cargo xtask size` puts pause beside another program, and says what is wrong with one it cannot measure.

mod support;

use std::path::Path;
use std::process::{Command, Output};
use support::debug;

fn size_beside(peer: &Path) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "size", "--peer"]).arg(peer).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().expect("cargo runs")
}

#[test]
fn bytes_segments_calls_and_faults_stand_side_by_side() {
    let output = size_beside(debug());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let cells = |row: &str| -> Vec<String> {
        let line = said.lines().find(|line| line.contains(row)).unwrap_or_else(|| panic!("no row {row:?} in\n{said}"));
        line.trim_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()
    };
    let bytes = |path: &Path| path.metadata().expect("exists").len().to_string();
    assert_eq!(cells("| file"), [bytes(support::shipped()), bytes(debug())]);
    // The debug build is the same program with symbols, so that what is loaded and done is the same.
    for row in ["loaded segments", "position-independent", "stack", "system calls until asleep", "page faults"] {
        let [ours, peer] = &cells(row)[..] else { panic!("not two programs in\n{said}") };
        assert_eq!(ours, peer, "{row}");
    }
    assert_eq!(cells("system calls until asleep")[0], "6");
    assert!(said.contains("getpid, 3 rt_sigaction, wait4, pause"), "{said}");
}

#[test]
fn a_peer_that_is_missing_or_no_program_is_named() {
    for (peer, complaint) in [("no-such-file", "No such file"), ("README.md", "not an ELF file")] {
        let output = size_beside(Path::new(peer));
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaints}");
        assert!(complaints.contains(peer) && complaints.contains(complaint), "{complaints}");
        assert!(output.stdout.is_empty(), "nothing to compare");
    }
}
