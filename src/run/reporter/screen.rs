//! Lines at the bottom of the terminal that are redrawn in place.
//!
//! The cursor stays at the start of the line below them, so that a `^C` echoed by the terminal is overwritten by the next
//! drawing. Lines are erased by the rows that they occupy at the current width: narrowing a terminal wraps them.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::Line;

/// Size of a terminal that does not report one.
const DEFAULT_SIZE: Size = Size { columns: 80, rows: 24 };

/// The lines currently drawn on stderr. Everything else that writes to stderr must do so beside them.
static DRAWN: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Run `write`, which writes to stderr, while the bars are erased.
pub fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    let drawn = drawn();
    if drawn.is_empty() {
        return write();
    }
    print(&erase(&drawn, size().columns));
    let result = write();
    print(&text(&drawn));
    result
}

/// Erase the bars, before the process exits.
pub fn erase_bars() {
    redraw(Vec::new(), "");
}

/// Print lines of text above the bars, and replace the bars.
pub(super) fn redraw(lines: Vec<Line>, above: &str) {
    let mut drawn = drawn();
    let change = erase(&drawn, size().columns) + above + &text(&lines);
    if !change.is_empty() {
        print(&change);
    }
    *drawn = lines;
}

fn drawn() -> MutexGuard<'static, Vec<Line>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run does not stop because its progress cannot be shown.
fn print(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Escape sequences that erase lines drawn above the cursor, on a terminal that is now this wide.
fn erase(lines: &[Line], columns: usize) -> String {
    let rows: usize = lines.iter().map(|line| line.width.div_ceil(columns.max(1)).max(1)).sum();
    if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// Size of the terminal on stderr.
pub(super) fn size() -> Size {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stderr())
        && size.ws_col > 0
        && size.ws_row > 0
    {
        return Size { columns: size.ws_col.into(), rows: size.ws_row.into() };
    }
    DEFAULT_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f09_lines_are_erased_by_the_rows_that_they_occupy_after_resizing() {
        let lines = [79, 40, 0].map(|width| Line { text: "x".repeat(width), width });
        assert_eq!(erase(&lines, 80), "\r\x1b[3A\x1b[J");
        assert_eq!(erase(&lines, 40), "\r\x1b[4A\x1b[J");
        assert_eq!(erase(&lines, 39), "\r\x1b[6A\x1b[J");
        assert_eq!(erase(&[], 80), "");
    }
}
