//! Builds the pause image, measures it and verifies it: `cargo xtask --help`. One file per subcommand, and a few that
//! more than one needs.

mod bench;
mod build;
mod check;
mod distribution;
mod docs;
mod elf;
mod image;
mod layer;
mod oci;
mod output;
mod platform;
mod reader;
mod readme;
mod reference;
mod release;
mod sbom;
mod size;
mod start;
mod toolchain;
mod trace;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds the pause image, measures it and verifies it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Bench),
    Build(build::Build),
    Docs(docs::Docs),
    Image(image::Image),
    Size(size::Size),
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let result = output::exit_on_signals().and_then(|()| match command_line.command {
        Command::Bench(bench) => bench.run(),
        Command::Build(build) => build.run(),
        Command::Docs(docs) => docs.run(),
        Command::Image(image) => image.run(),
        Command::Size(size) => size.run(),
        Command::Verify(verify) => verify.run(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
