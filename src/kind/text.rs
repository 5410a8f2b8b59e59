//! Text that others wrote, made safe for a terminal: a label, a class name or a path may hold control characters, which
//! would color the terminal, move its cursor or overwrite lines.

use std::borrow::Cow;

/// A name with its control characters escaped: `\u{1b}`, `\n`.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// A message with its control characters escaped, except line breaks and tabs.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            true => safe.extend(c.escape_default()),
            false => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A file's text with its control characters replaced by others of the same length, so that positions stay right. Line
/// breaks and tabs are kept.
pub fn masked(text: &str) -> String {
    let mut chars = text.chars().peekable();
    let mut safe = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        safe.push(match c {
            '\n' | '\t' => c,
            '\r' if chars.peek() == Some(&'\n') => c,
            c if c.is_ascii_control() => '?',
            c if c.is_control() => '¿',
            c => c,
        });
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(visible("\u{1b}[31mred\r\n\u{9b}0m\u{7f}"), "\\u{1b}[31mred\\r\\n\\u{9b}0m\\u{7f}");
        assert!(matches!(visible("naïve 模型"), Cow::Borrowed("naïve 模型")));
        assert_eq!(visible_lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
    }

    #[test]
    fn a_masked_text_keeps_its_positions() {
        let text = "a\u{1b}b\u{9b}é\r\nc\rd\n\te";
        let masked = masked(text);
        assert_eq!(masked, "a?b¿é\r\nc?d\n\te");
        assert_eq!(masked.len(), text.len());
    }
}
