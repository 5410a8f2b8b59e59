//! The `medmerge` command.

mod allocator;

use std::process::ExitCode;

use clap::Parser;
use medmerge::cli::Cli;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { nn::set_up_process() };
    allocator::keep_memory();
    ExitCode::from(Cli::parse().execute() as u8)
}
