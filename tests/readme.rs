//! The README says what is measured.

use serde_json::Value;
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

#[test]
fn what_was_measured_keeps_to_every_goal() {
    let results: Value = serde_json::from_str(include_str!("../bench/results.json")).expect("JSON");
    let number = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer}"))
    };
    let rows = results["rows"].as_array().expect("rows");
    let pause = rows.iter().find(|row| row["name"] == "pause").expect("pause was measured");
    for (pointer, most) in [
        ("/exec_to_asleep/ratio/median", 1.05),
        ("/term_to_gone/ratio/median", 1.25),
        ("/memory/ratio/median", 1.0),
        ("/reaping/wake_ups", 9.0),
        ("/reaping/cpu_ticks", 0.0),
        ("/starved/wake_ups", 9.0),
        ("/starved/cpu_ticks", 0.0),
    ] {
        // README.md shows hundredths.
        let measured = (number(pause, pointer) * 100.0).round() / 100.0;
        assert!(measured <= most, "{pointer} is {measured}, and at most {most} is the goal");
    }
    assert_eq!([&pause["reaping"]["orphans"], &pause["starved"]["orphans"]], [100_000, 100_000]);
    let steps = results["density"][0]["steps"].as_array().expect("steps");
    let sandboxes: Vec<_> = steps.iter().map(|step| step["sandboxes"].as_u64()).collect();
    assert_eq!(sandboxes, [10, 100, 1_000, 10_000].map(Some), "{}", results["density"][0]["stopped"]);
    let charged = [&steps[3], &steps[0]].map(|step| number(step, "/charged_bytes/median"));
    assert!(charged[0] <= charged[1] * 1.05, "the memory of a sandbox grows with their number");
    let readme = include_str!("../README.md");
    assert_eq!(
        (readme.matches(" met |").count(), readme.matches(" missed |").count()),
        (9, 0),
        "README.md says otherwise"
    );
}

fn check(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.arg("xtask").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
