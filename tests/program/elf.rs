//! Tools that read ELF files have no complaint of the shipped one. Its headers are proved: docs/proof.md.

use pause_tests::{Ended, shipped};
use std::process::Command;

#[test]
#[ignore = "needs readelf and eu-elflint (binutils, elfutils): cargo test --test program elf:: -- --ignored"]
fn readelf_and_elflint_have_no_complaint() {
    for (program, option) in [("eu-elflint", "--quiet"), ("readelf", "--all")] {
        let ended = Ended::of(Command::new(program).arg(option).arg(shipped()).env("LC_ALL", "C")).succeeded();
        let report = ended.stdout.to_lowercase();
        assert!(ended.stderr.is_empty() && !report.contains("warning") && !report.contains("error"), "{ended}");
    }
}
