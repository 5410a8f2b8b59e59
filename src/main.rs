//! The `medmerge` command.

use std::process::ExitCode;

use clap::Parser;
use medmerge::cli::Cli;

fn main() -> ExitCode {
    medmerge::nn::set_up_process();
    ExitCode::from(Cli::parse().execute() as u8)
}
