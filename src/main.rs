//! The `medmerge` command.

use std::process::ExitCode;

use clap::Parser;
use medmerge::cli::Cli;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { medmerge::nn::set_up_process() };
    ExitCode::from(Cli::parse().execute() as u8)
}
