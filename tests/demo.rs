//! `cargo xtask demo` shows a newcomer what pause is for, and every step of it holds.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use support::Ended;

#[test]
fn shows_each_step_with_what_was_seen_and_what_it_proves() {
    let ended = demo(support::shipped());
    assert!(ended.status.success(), "expected success, but\n{ended}");
    let steps: Vec<&str> = ended.stdout.split("\n\n").collect();
    assert_eq!(steps.len(), 6, "six steps, but\n{ended}");
    for (number, step) in (1..).zip(&steps) {
        let has = |beginning: &str| step.lines().any(|line| line.starts_with(beginning));
        let is_whole = has(&format!("{number}. ")) && has("   $ ") && has("   seen: ") && has("   so: ");
        assert!(is_whole, "step {number} lacks a command, what was seen or what it proves\n{ended}");
    }
    let said = support::TERMINATED.trim_end();
    assert!(steps[5].contains(said) && steps[5].contains("exit status: 0"), "how pause ended is not shown\n{ended}");
}

#[test]
fn fails_and_says_what_it_saw_of_a_program_that_is_no_pause() {
    let ended = demo(Path::new("/bin/true"));
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stderr.contains("expected pause to sleep, saw that unshare ended"), "{ended}");
    assert!(!ended.stdout.contains("so:"), "a step counts as proven\n{ended}");
}

fn demo(program: &Path) -> Ended {
    // Building the tool may take longer than a command is given.
    support::shipped();
    let mut command = Command::new(env!("CARGO"));
    command.args(["xtask", "demo", "--pause"]).arg(program).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    support::finish(command)
}
