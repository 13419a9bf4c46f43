//! Records which clients were run and what held, for `cargo xtask clients`.

use std::fs;

/// To be called when everything has held. The version is found in what the client printed of itself.
#[track_caller]
pub fn record(client: &str, suite: &str, printed: &str, commands: &[String], held: &str) {
    let starts = |word: &str| word.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit());
    let mut words = printed.split(|letter: char| letter.is_whitespace() || letter == ',');
    let version = words.find(|word| word.contains('.') && starts(word));
    let version = version.unwrap_or_else(|| panic!("no version in {printed:?}"));
    let directory = crate::target().join("clients");
    fs::create_dir_all(&directory).expect("writable");
    let record = [client, suite, version, &commands.join("; "), held].join("\t");
    fs::write(directory.join(format!("{client}, {suite}: {held}")), record).expect("writable");
}
