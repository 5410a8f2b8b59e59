//! Writing to stderr. It may be closed or on a full disk: that neither stops the program nor changes its exit code.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::run::reporter::beside_bars;

/// Writes to stderr next to progress bars, and ignores errors.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // There is nowhere to report an error.
        let _ = beside_bars(|| io::stderr().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether to color what is written to stderr: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`.
pub(super) fn has_color() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stderr().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// Print a line to stderr.
pub(super) fn print_line(text: impl Display) {
    // In one write, so that lines of several processes do not mix.
    let _ = Stderr.write_all(format!("{text}\n").as_bytes());
}
