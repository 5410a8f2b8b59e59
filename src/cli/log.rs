//! Warnings and log lines: on stderr, next to progress bars; a worker also sends them to its run.

use std::io::{self, Write};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::Global;
use super::stderr::{Stderr, has_color};
use crate::run::message::Message;

/// Start logging, including panics; one JSON object per line if `json`. `RUST_LOG` takes precedence over `--quiet` and
/// `-v`.
pub(super) fn start(global: &Global, json: bool) {
    let level = match global.verbose {
        0 if global.quiet => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr);
    let subscriber = subscriber.with_target(global.verbose > 0).with_ansi(has_color());
    // There can be only one subscriber per process; an earlier one is kept.
    let _ = if json { subscriber.json().try_init() } else { subscriber.without_time().try_init() };
    std::panic::set_hook(Box::new(if json { log_panic } else { print_panic }));
}

/// Start logging in an allocation of a cluster, whose stderr is a file: also which stages it makes.
pub(super) fn start_allocation() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,medmerge=info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Stderr);
    let _ = subscriber.with_target(false).with_ansi(false).try_init();
    std::panic::set_hook(Box::new(print_panic));
}

/// Start logging in a worker.
pub(super) fn start_worker() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,medmerge=info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| ToRun);
    let _ = subscriber.with_target(false).with_level(false).with_ansi(false).without_time().try_init();
    std::panic::set_hook(Box::new(log_panic));
}

fn log_panic(info: &PanicHookInfo<'_>) {
    tracing::error!("{info}");
}

/// Print a panic without the logger and the progress bars, which may be what panicked.
fn print_panic(info: &PanicHookInfo<'_>) {
    let _ = writeln!(io::stderr(), "{info}");
}

/// Write a message to stdout, on its own line.
///
/// # Errors
/// Stdout is closed: the run has ended.
pub(super) fn send(message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    io::stdout().lock().write_all(line.as_bytes())
}

/// Writes to stderr, which is the stage's log, and to the run; ignores errors.
struct ToRun;

impl Write for ToRun {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        // A run that has ended is noticed when progress is reported.
        let _ = send(&Message::Warning(String::from_utf8_lossy(bytes).trim().to_owned()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
