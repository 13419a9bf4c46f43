//! Records which clients were run and what held, for `cargo xtask clients`.

use std::fs;
use xtask::clients::Record;

/// To be called when everything has held. The version is found in what the client printed of itself.
#[track_caller]
pub fn record(client: &str, suite: &str, printed: &str, commands: &[String], held: &str) {
    let version = version(printed);
    let (suite, command) = (suite.to_owned(), commands.join("; "));
    let path = format!("{client}, {suite}: {held}.json");
    let [client, version, held] = [client, version, held].map(str::to_owned);
    let record = serde_json::to_vec(&Record { client, suite, version, command, held }).expect("texts");
    let directory = crate::target().join("clients");
    fs::create_dir_all(&directory).expect("writable");
    fs::write(directory.join(path), record).expect("writable");
}

#[track_caller]
fn version(printed: &str) -> &str {
    let starts = |word: &str| word.trim_start_matches('v').starts_with(|letter: char| letter.is_ascii_digit());
    let is_version = |word: &&str| word.contains('.') && starts(word);
    let mut words = printed.split(|letter: char| letter.is_whitespace() || letter == ',');
    words.find(is_version).unwrap_or_else(|| panic!("no version in {printed:?}"))
}
