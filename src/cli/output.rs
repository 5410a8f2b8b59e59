//! What the program writes: safe for a terminal, since control characters of names, labels and paths are escaped, and
//! folded between words where the terminal is too narrow.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

use crate::kind::text::visible_lines;

/// Narrower terminals fold the lines themselves.
const NARROWEST: usize = 20;

/// Indentation of the rest of a folded line, relative to its start.
const REST: &str = "  ";

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

/// Text folded between words to the width of the terminal; unchanged for a file or another program. Not for what people
/// copy, such as commands.
pub(super) fn folded(text: &str) -> String {
    match columns().filter(|columns| *columns >= NARROWEST) {
        Some(columns) => text.split('\n').map(|line| fold(line, columns)).collect::<Vec<_>>().join("\n"),
        None => text.to_owned(),
    }
}

/// The width of the terminal; `None` for a file or another program.
pub(super) fn columns() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(io::stdout())?;
    (columns > 0).then(|| columns.into())
}

/// Fold a line between words. A word that is too long stays whole.
fn fold(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let lead = lead(line);
    let rest: String = lead.chars().map(below).collect::<String>() + REST;
    let (mut folded, mut used) = (lead.to_owned(), lead.width());
    let mut is_first = true;
    for (gap, word) in words(&line[lead.len()..]) {
        if !is_first && used + gap.width() + word.width() > columns {
            folded += &format!("\n{rest}{word}");
            used = rest.width() + word.width();
        } else {
            folded += &format!("{gap}{word}");
            used += gap.width() + word.width();
        }
        is_first = false;
    }
    folded
}

/// Indentation, and the branches of a tree.
fn lead(line: &str) -> &str {
    let start = line.trim_start_matches([' ', '│', '├', '└', '─']);
    &line[..line.len() - start.len()]
}

/// What stands below a character of a line's lead.
fn below(lead: char) -> char {
    if matches!(lead, '│' | '├') { '│' } else { ' ' }
}

/// Each word with the blanks before it.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = text.split_inclusive(' ').scan(0, |end, piece| {
        *end += piece.len();
        Some((piece.trim_end_matches(' '), *end - piece.len()))
    });
    let words = ends.filter(|(word, _)| !word.is_empty());
    words.scan(0, move |after, (word, start)| {
        let gap = &text[*after..start];
        *after = start + word.len();
        Some((gap, word))
    })
}

/// A number and its noun: `1 entry`, `2 entries`.
pub(super) fn count(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
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

    #[test]
    fn f24_a_long_line_is_folded_between_words() {
        assert_eq!(fold("aa bb", 5), "aa bb");
        assert_eq!(fold("aa bb cc dd ee", 8), "aa bb cc\n  dd ee");
        assert_eq!(
            fold("  aa   bb cc", 9),
            "  aa   bb\n    cc",
            "columns stay apart, and the indentation grows"
        );
        assert_eq!(fold("/a/very/long/path  b", 10), "/a/very/long/path\n  b", "a word stays whole");
        assert_eq!(fold("héé ± 模型 b", 10), "héé ± 模型\n  b", "as wide as on the terminal");
        assert_eq!(fold("aa bb   ", 5), "aa bb");
    }

    #[test]
    fn f24_the_lines_of_a_tree_are_not_cut() {
        assert_eq!(fold("│  ├─ from: a b", 12), "│  ├─ from:\n│  │    a b");
        assert_eq!(fold("└─ from: a bbb", 10), "└─ from: a\n     bbb");
    }
}
