//! The seccomp profile of deploy/, in Docker's format: which system calls are allowed, and why.

use oci_spec::runtime::LinuxSeccompAction;
use serde::Deserialize;
use std::collections::BTreeSet;

/// The file itself.
pub const TEXT: &str = include_str!("../../deploy/seccomp.json");

/// But for `archMap`, which is written from the table of platforms.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub default_action: LinuxSeccompAction,
    pub syscalls: Vec<Group>,
}

/// Calls that are allowed for one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub comment: String,
    pub names: Vec<String>,
    pub action: LinuxSeccompAction,
}

impl Profile {
    pub fn read() -> Self {
        serde_json::from_str(TEXT).unwrap_or_else(|error| panic!("deploy/seccomp.json: {error}"))
    }

    /// What is allowed for pause's own sake: the groups whose comment begins with it.
    pub fn own_calls(&self) -> BTreeSet<&str> {
        let own = self.syscalls.iter().filter(|group| group.comment.starts_with("pause"));
        own.flat_map(|group| &group.names).map(String::as_str).collect()
    }
}
