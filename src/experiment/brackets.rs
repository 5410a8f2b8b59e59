//! The bracket that is not closed, for messages. A parser goes on inside of it and stops anywhere below.

use super::Span;

/// The innermost `[` or `{` of a value that is not closed before the next key or section.
pub(super) fn unclosed(text: &str) -> Option<Span> {
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    let mut in_value = false;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with('\n') {
            in_value = !open.is_empty();
            if open.last().is_some_and(|&last| begins_another(&rest[1..], &text[last..=last])) {
                break;
            }
        }
        let step = match rest.as_bytes()[0] {
            b'#' => rest.find('\n').unwrap_or(rest.len()),
            b'"' | b'\'' => string_length(rest),
            b'[' | b'{' if in_value => {
                open.push(at);
                1
            }
            b']' | b'}' if in_value => {
                let fits = open.last().is_some_and(|&last| closes(&text[last..=last], &rest[..1]));
                if !fits {
                    break;
                }
                open.pop();
                1
            }
            b'=' => {
                in_value = true;
                1
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
    }
    open.last().map(|&last| last..last + 1)
}

fn closes(open: &str, close: &str) -> bool {
    matches!((open, close), ("[", "]") | ("{", "}"))
}

/// The length of the string that a text starts with; up to the end of the line if it is not closed.
fn string_length(text: &str) -> usize {
    let quote = &text[..1];
    let long = quote.repeat(3);
    let (end, begin) = if text.starts_with(&long) { (long.as_str(), 3) } else { (quote, 1) };
    let mut at = begin;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(end) {
            return at + end.len();
        }
        if end.len() == 1 && rest.starts_with('\n') {
            return at;
        }
        let escaped = usize::from(quote == "\"" && rest.starts_with('\\'));
        at += rest.chars().take(1 + escaped).map(char::len_utf8).sum::<usize>();
    }
    text.len()
}

/// Whether a line starts a section, or a key inside of this bracket, which cannot be part of its value. Keys may be on
/// lines of their own in a `{`.
fn begins_another(text: &str, bracket: &str) -> bool {
    let line = text.lines().next().unwrap_or_default().trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let section = line.strip_prefix('[').and_then(|line| line.split_once(']')).map(|(name, _)| name);
    let is_section =
        |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(is_key);
    let is_value = |name: &str| matches!(name.trim(), "true" | "false" | "inf" | "nan");
    section.is_some_and(|name| is_section(name) && !is_value(name))
        || bracket == "[" && key.is_some_and(|key| !key.is_empty() && key.chars().all(is_key))
}
