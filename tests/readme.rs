//! The README says what is measured.

use std::process::Command;

#[test]
#[ignore = "needs eight targets (rustup target add, or Debian's rustc-web cargo-web rust-web-src): cargo test --test readme -- --ignored"]
fn the_size_table_is_what_the_tool_measures() {
    check(&["size", "--check-readme"]);
}

#[test]
fn the_measurements_and_their_pictures_are_what_the_results_say() {
    check(&["bench", "--check"]);
}

fn check(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.arg("xtask").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
