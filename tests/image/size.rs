//! `cargo xtask size` puts pause beside another program, and says what is wrong with one it cannot measure.

use pause_tests::ROOT;
use pause_tests::shipped;
use std::path::Path;
use std::process::{Command, Output};

fn size_beside(peer: &Path) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "size", "--peer"]).arg(peer).current_dir(ROOT);
    command.output().expect("cargo runs")
}

#[test]
fn bytes_and_segments_stand_side_by_side() {
    // Beside a copy of itself, so that what must be said of the peer is known.
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("copy");
    std::fs::copy(shipped(), &copy).expect("copied");
    let output = size_beside(&copy);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let cells = |row: &str| -> Vec<String> {
        let line = said.lines().find(|line| line.contains(row)).unwrap_or_else(|| panic!("no row {row:?} in\n{said}"));
        line.trim_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()
    };
    let size = copy.metadata().expect("exists").len().to_string();
    for (row, expected) in [
        ("| file", &*size),
        ("loaded segments", "1: R-X"),
        ("position-independent", "yes"),
        ("stack", "not executable"),
    ] {
        assert_eq!(cells(row), [expected; 2], "{row}");
    }
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
