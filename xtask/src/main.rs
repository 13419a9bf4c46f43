//! Builds the pause image and verifies it: `cargo xtask --help`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::{build, clients, docs, image, size, verify};

/// Builds the pause image and verifies it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Build(build::Build),
    Clients(clients::Clients),
    Docs(docs::Docs),
    Image(image::Image),
    Size(size::Size),
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let result = match command_line.command {
        Command::Build(build) => build.run(),
        Command::Clients(clients) => clients.run(),
        Command::Docs(docs) => docs.run(),
        Command::Image(image) => image.run(),
        Command::Size(size) => size.run(),
        Command::Verify(verify) => verify.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
