//! Warnings and log lines, on stderr, beside the bars.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::Global;
use crate::run::reporter::beside_bars;

/// Starts logging, panics included; a JSON object a line if `json`. `RUST_LOG` goes before `--quiet` and `-v`.
pub(super) fn start(global: &Global, json: bool) {
    let level = match global.verbose {
        0 if global.quiet => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| BesideBars);
    let subscriber = subscriber.with_target(global.verbose > 0).with_ansi(io::stderr().is_terminal());
    // There can be but one per process; whoever started one before keeps it.
    let _ = if json { subscriber.json().try_init() } else { subscriber.without_time().try_init() };
    std::panic::set_hook(Box::new(|info| tracing::error!("{info}")));
}

struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        beside_bars(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
