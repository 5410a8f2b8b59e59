//! The `medmerge` command.

use std::process::ExitCode;
use std::thread;

use clap::Parser;
use medmerge::cli::Cli;

/// Bytes of stack: gradients walk a model's graph by recursion.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = thread::Builder::new().name("medmerge".into()).stack_size(STACK);
    let command = command.spawn(|| cli.execute()).expect("a thread can be started");
    match command.join() {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
