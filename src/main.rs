//! The `medmerge` command.

use std::process::ExitCode;
use std::thread;

use clap::Parser;
use medmerge::cli::{Cli, STACK};

fn main() -> ExitCode {
    medmerge::nn::set_up_process();
    let cli = Cli::parse();
    let command = thread::Builder::new().name("medmerge".into()).stack_size(STACK);
    let command = command.spawn(|| cli.execute()).expect("a thread can be started");
    match command.join() {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
