//! `cargo xtask bench` measures the program beside the floor and every peer. How long anything took is not asserted.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const PROGRAMS: [&str; 10] = [
    "pause",
    "floor",
    "C, glibc",
    "C, musl",
    "C, dietlibc",
    "catatonit -P",
    "tini",
    "dumb-init",
    "busybox sleep",
    "GNU sleep",
];

#[test]
#[ignore = "a minute or two, as root, with gcc catatonit tini dumb-init busybox-static musl-tools dietlibc-dev: cargo test --test bench -- --ignored"]
fn a_quick_run_measures_everything_of_every_program() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "bench", "--quick", "--peer", "again=target/pause/linux/amd64/pause"]);
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let results: Value = serde_json::from_str(&read("results.json")).expect("JSON");
    assert_eq!(results["missing"], Value::Array(Vec::new()), "each missing peer comes with a package");
    let rows = results["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(names, [&PROGRAMS[..], &["again"]].concat());
    for row in rows {
        let name = row["name"].as_str().expect("a name");
        for pointer in [
            "/file_bytes",
            "/layer_bytes",
            "/pulled_bytes",
            "/system_calls",
            "/page_faults",
            "/instructions",
            "/memory/resident",
            "/memory/resident_files",
            "/memory/resident_stack",
            "/memory/proportional",
            "/reaping/orphans",
            "/starved/orphans",
        ] {
            positive(row, name, pointer);
        }
        for pointer in [
            "/exec_to_asleep/microseconds",
            "/exec_to_asleep/ratio",
            "/term_to_gone/microseconds",
            "/term_to_gone/ratio",
            "/memory/charged",
            "/memory/ratio",
            "/memory/page_tables",
        ] {
            spread(row, name, pointer);
        }
    }
    for row in [&rows[0], &rows[10]] {
        for reaping in ["reaping", "starved"] {
            let wake_ups = row[reaping]["wake_ups"].as_u64().expect("a number");
            assert!(wake_ups < 10, "pause is woken {wake_ups} times");
        }
    }
    let density = results["density"].as_array().expect("density");
    assert_eq!(density.len(), 3);
    for one in density {
        let name = one["name"].as_str().expect("a name");
        let steps = one["steps"].as_array().expect("steps");
        let sandboxes: Vec<_> = steps.iter().map(|step| step["sandboxes"].as_u64()).collect();
        assert_eq!(sandboxes, [Some(10), Some(100)], "{name}: {}", one["stopped"]);
        for step in steps {
            spread(step, name, "/charged_bytes");
            spread(step, name, "/start_microseconds");
        }
    }

    let header = table.lines().find(|line| line.contains(" floor ")).expect("a table");
    let pictures = ["programs-light.svg", "programs-dark.svg"].map(read);
    for name in names {
        assert!(header.contains(name), "{name} has no column in\n{table}");
        assert!(pictures.iter().all(|picture| picture.contains(name)), "{name} is in no picture");
    }
    assert!(read("density-light.svg").starts_with("<svg") && read("density-dark.svg").starts_with("<svg"));
    assert!(read("fleet.md").contains("100,000 edge nodes"));
}

fn positive(value: &Value, name: &str, pointer: &str) -> f64 {
    let number = value.pointer(pointer).and_then(Value::as_f64);
    let number = number.unwrap_or_else(|| panic!("{name} has no {pointer}"));
    assert!(number.is_finite() && number > 0.0, "{name}: {pointer} is {number}");
    number
}

fn spread(value: &Value, name: &str, pointer: &str) {
    let [lower, median, upper] =
        ["lower", "median", "upper"].map(|part| positive(value, name, &format!("{pointer}/{part}")));
    assert!(lower <= median && median <= upper, "{name}: {pointer} is no spread");
}

#[test]
fn a_peer_without_a_name_is_refused() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "bench", "--peer", "pause-c"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("a name and a file"), "{complaint}");
}
