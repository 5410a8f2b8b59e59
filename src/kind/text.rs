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

/// A text as a string literal of Python.
pub fn python(text: &str) -> String {
    let mut literal = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' | '\n' | '\r' | '\t' => literal.extend(c.escape_default()),
            c if c.is_control() => literal += &format!("\\u{:04x}", u32::from(c)),
            c => literal.push(c),
        }
    }
    literal + "\""
}

/// A text as one word of a shell, quoted if need be.
pub fn shell(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
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
    fn a_literal_of_python_has_its_special_characters_escaped() {
        assert_eq!(python("模型 a's"), "\"模型 a's\"");
        assert_eq!(python("\"\\\n\u{1b}\u{9b}"), r#""\"\\\n\u001b\u009b""#);
    }

    #[test]
    fn a_word_of_a_shell_is_quoted_if_need_be() {
        for plain in ["a/b-1.pth", "模型"] {
            assert_eq!(shell(plain), plain);
        }
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's $x"), r"'it'\''s $x'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn a_masked_text_keeps_its_positions() {
        let text = "a\u{1b}b\u{9b}é\r\nc\rd\n\te";
        let masked = masked(text);
        assert_eq!(masked, "a?b¿é\r\nc?d\n\te");
        assert_eq!(masked.len(), text.len());
    }
}
