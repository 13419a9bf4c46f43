//! Builds the pause image and verifies it: one file per subcommand, and a few that more than one needs. A
//! library, so that the tests can call what they test.

pub mod build;
pub mod clients;
pub mod command;
pub mod distribution;
pub mod docs;
pub mod image;
pub mod layer;
pub mod oci;
pub mod output;
pub mod platform;
pub mod release;
pub mod sbom;
pub mod size;
pub mod toolchain;
pub mod verify;
