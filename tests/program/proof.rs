//! The program of every platform is proved for every input, and the proof can fail: docs/proof.md.

use pause_tests::{ROOT, built};
use std::process::Command;
use xtask::platform::PLATFORMS;

#[test]
#[ignore = "needs the compiler of all platforms, python3-venv and packages from its index, and qemu-user-static: \
    cargo test --test program proof:: -- --ignored"]
fn every_input_is_proved() {
    built(&PLATFORMS.iter().collect::<Vec<_>>());
    let mut proof = Command::new(format!("{ROOT}/tests/proof/run"));
    let status = proof.args(["--mutants", "12", "--weakened", "--states", "30"]).status().expect("it starts");
    assert!(status.success(), "{proof:?}: {status}");
}
