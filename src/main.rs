//! The `medmerge` command.

use std::process::ExitCode;

use clap::Parser;
use medmerge::allocator;
use medmerge::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: nothing has started a thread yet.
    unsafe { nn::set_up_process() };
    allocator::keep_memory();
    ExitCode::from(Cli::parse().execute() as u8)
}
