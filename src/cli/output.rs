//! What the program writes, safe for a terminal: control characters of names, labels and paths are escaped.

use std::io::{self, Write};

use crate::kind::text::visible_lines;

/// A writer that escapes control characters, except line breaks and tabs. What is not UTF-8 is replaced.
#[derive(Debug)]
pub(super) struct Visible<W>(pub(super) W);

impl<W: Write> Write for Visible<W> {
    /// Writes all of it: text is never split within a character.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(visible_lines(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Stdout.
pub(super) fn stdout() -> Visible<io::StdoutLock<'static>> {
    Visible(io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_control_characters_never_reach_the_terminal() {
        let mut out = Vec::new();
        Visible(&mut out).write_all("a\u{1b}[31m\té\u{9b}\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\\u{1b}[31m\té\\u{9b}\n");
    }
}
