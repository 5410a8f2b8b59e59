//! Errors of an experiment file, each with its location.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use codespan_reporting::diagnostic::{Diagnostic as Shown, Label};
use codespan_reporting::files::{Error as Unshown, Files, SimpleFiles};
use codespan_reporting::term::termcolor::Ansi;
use codespan_reporting::term::{Config, Styles, StylesWriter, emit_into_string, emit_to_write_style};

use super::{Source, Span};
use kind::text::{masked, visible, visible_lines};

/// The texts shown by messages, by name.
type Pages = SimpleFiles<String, String>;

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Location of the error; `None` if it concerns the whole file.
    pub span: Option<Span>,
    /// The message, in lower case and without a final period.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error of the whole file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { span: None, message: message.into(), help: None }
    }

    /// An error at `span`.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span: Some(span), message: message.into(), help: None }
    }

    /// Add a help line.
    #[must_use]
    pub fn with_help(self, help: impl Into<Option<String>>) -> Self {
        Self { help: help.into(), ..self }
    }

    fn place(&self) -> Option<(usize, usize)> {
        self.span.as_ref().map(|span| (span.start, span.end))
    }

    fn shown(&self, source: &Source, pages: &Pages) -> Shown<usize> {
        let label = self.span.iter().map(|span| {
            let (page, span) = source.place(span);
            let text = pages.get(page).map_or("", |page| page.source().as_str());
            Label::primary(page, shortened(text, within(text, &span)))
        });
        let help = self.help.iter().map(|help| format!("help: {}", visible_lines(&clipped(help))));
        Shown::error()
            .with_message(visible_lines(&clipped(&self.message)))
            .with_labels(label.collect())
            .with_notes(help.collect())
    }
}

impl From<(Span, String)> for Diagnostic {
    fn from((span, message): (Span, String)) -> Self {
        Self::at(span, message)
    }
}

/// All errors of an experiment file. Exit code 2.
///
/// [`fmt::Display`] shows the first errors, each with `path:line:column`, the underlined text and a help line; control
/// characters are escaped. An override is shown
/// as typed, at `path --set:line:column`.
#[derive(Clone, Debug)]
pub struct Errors {
    /// The source.
    pub source: Arc<Source>,
    /// The errors in file order, without duplicates.
    pub list: Vec<Diagnostic>,
    /// The number of further errors, which are not in the list.
    pub more: usize,
}

impl Errors {
    /// Sort by location and remove duplicates.
    pub fn new(source: Arc<Source>, list: impl IntoIterator<Item: Into<Diagnostic>>) -> Self {
        let mut list: Vec<Diagnostic> = list.into_iter().map(Into::into).collect();
        list.sort_by_key(Diagnostic::place);
        let mut seen = HashSet::new();
        list.retain(|diagnostic| seen.insert((diagnostic.place(), diagnostic.message.clone())));
        Self { source, list, more: 0 }
    }

    /// As [`fmt::Display`], with ANSI colors for a terminal.
    pub fn to_ansi(&self) -> String {
        let styles = Styles::default();
        self.render(|pages, shown| {
            let mut bytes = Vec::new();
            let mut writer = StylesWriter::new(Ansi::new(&mut bytes), &styles);
            emit_to_write_style(&mut writer, &Config::default(), pages, shown)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
        .unwrap_or_else(|_| self.to_string())
    }

    fn render(
        &self,
        one: impl Fn(&Around<'_>, &Shown<usize>) -> Result<String, Unshown>,
    ) -> Result<String, Unshown> {
        let mut pages = Pages::new();
        for (name, text) in self.source.pages() {
            pages.add(visible(&name).into_owned(), masked(&text));
        }
        let shown = self.list.iter().take(MOST_SHOWN).map(|diagnostic| {
            let shown = diagnostic.shown(&self.source, &pages);
            let span = shown.labels.first().map_or(0..0, |label| label.range.clone());
            let shown = one(&Around { pages: &pages, span }, &shown)?;
            let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
            Ok::<_, Unshown>(lines.join("\n").trim_end().to_owned())
        });
        let more = self.list.len().saturating_sub(MOST_SHOWN) + self.more;
        let more = (more > 0).then(|| Ok(format!("error: and {more} more errors")));
        Ok(shown.chain(more).collect::<Result<Vec<_>, _>>()?.join("\n\n"))
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.render(|pages, shown| emit_into_string(&Config::default(), pages, shown));
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl std::error::Error for Errors {}

/// The maximum number of errors shown.
const MOST_SHOWN: usize = 20;

/// The maximum number of errors kept; others are counted. Errors are shown in file order but not found in this order.
const MOST_KEPT: usize = 10 * MOST_SHOWN;

/// The longest underlined text, and the longest text on each side of it, in bytes.
const LONGEST: usize = 120;

/// The longest message, in bytes.
const LONGEST_MESSAGE: usize = 2000;

fn clipped(message: &str) -> Cow<'_, str> {
    match message.len() {
        0..=LONGEST_MESSAGE => message.into(),
        _ => format!("{} …", &message[within(message, &(0..LONGEST_MESSAGE))]).into(),
    }
}

/// A span whose text on its first and last line is not too long; otherwise its beginning.
fn shortened(text: &str, span: Span) -> Span {
    let inside = &text[span.clone()];
    let is_short = |line: Option<&str>| line.is_none_or(|line| line.len() <= LONGEST);
    if is_short(inside.lines().next()) && is_short(inside.lines().last()) {
        return span;
    }
    let first = inside.lines().next().map_or(0, str::len).min(LONGEST);
    within(text, &(span.start..span.start + first))
}

/// The texts, with long lines cut to what surrounds a span.
struct Around<'p> {
    pages: &'p Pages,
    span: Span,
}

impl<'a> Files<'a> for Around<'_>
where
    Self: 'a,
{
    type FileId = usize;
    type Name = String;
    type Source = &'a str;

    fn name(&'a self, page: usize) -> Result<String, Unshown> {
        self.pages.name(page)
    }

    fn source(&'a self, page: usize) -> Result<&'a str, Unshown> {
        self.pages.source(page)
    }

    fn line_index(&'a self, page: usize, at: usize) -> Result<usize, Unshown> {
        self.pages.line_index(page, at)
    }

    fn column_number(&'a self, page: usize, line: usize, at: usize) -> Result<usize, Unshown> {
        self.pages.column_number(page, line, at)
    }

    fn line_range(&'a self, page: usize, line: usize) -> Result<Span, Unshown> {
        let (text, whole) = (self.pages.source(page)?, self.pages.line_range(page, line)?);
        let around = self.span.start.saturating_sub(LONGEST)..self.span.end + LONGEST;
        let start = whole.start.max(around.start).min(whole.end);
        Ok(within(text, &(start..whole.end.min(around.end).max(start))))
    }
}

/// The part of `span` that lies in the text, aligned to character boundaries.
fn within(text: &str, span: &Span) -> Span {
    let boundary =
        |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = boundary(span.start);
    start..boundary(span.end).max(start)
}

/// Errors collected while reading a file.
#[derive(Debug, Default)]
pub(super) struct Report {
    list: Vec<Diagnostic>,
    /// Location and message of each error.
    said: HashSet<(Option<Span>, String)>,
    /// Locations of errors found by earlier passes.
    known: HashSet<Span>,
    settled: usize,
    /// The number of errors that are not in the list.
    more: usize,
}

/// Spans from here on lie in no text: they belong to placeholders for missing values, and errors at them are not
/// reported.
pub(super) const NOWHERE: usize = usize::MAX / 2;

impl Report {
    /// Add an error, unless it was reported before.
    pub(super) fn add(&mut self, diagnostic: Diagnostic) {
        let nowhere = diagnostic.span.as_ref().is_some_and(|span| span.start >= NOWHERE);
        if !nowhere && self.said.insert((diagnostic.span.clone(), diagnostic.message.clone())) {
            match self.is_full() {
                true => self.more += 1,
                false => self.list.push(diagnostic),
            }
        }
    }

    /// Whether further errors are counted and not kept, so that neither their place nor their help matters.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MOST_KEPT
    }

    /// Make all errors so far known to [`Report::knows`].
    pub(super) fn settle(&mut self) {
        let news = self.list[self.settled..].iter();
        self.known.extend(news.filter_map(|diagnostic| diagnostic.span.clone()));
        self.settled = self.list.len();
    }

    /// Whether an earlier pass found an error at this location, so that consequential errors need not be reported.
    pub(super) fn knows(&self, span: &Span) -> bool {
        self.known.contains(span)
    }

    /// Whether there are no errors.
    pub(super) fn is_clean(&self) -> bool {
        self.list.is_empty()
    }

    /// All errors, as a list.
    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }

    /// All errors.
    pub(super) fn into_errors(self, source: Arc<Source>) -> Errors {
        Errors { more: self.more, ..Errors::new(source, self.list) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str, list: Vec<(Span, String)>) -> Errors {
        Errors::new(Arc::new(Source::new("a.toml", text)), list)
    }

    #[test]
    fn errors_are_in_file_order_without_duplicates() {
        let list = vec![(4..5, "b".to_owned()), (0..1, "a".into()), (4..5, "b".into()), (4..5, "c".into())];
        let messages: Vec<_> = errors("x = 1", list).list.into_iter().map(|found| found.message).collect();
        assert_eq!(messages, ["a", "b", "c"]);
    }

    #[test]
    fn a_span_outside_the_text_or_inside_a_character_is_shown_nevertheless() {
        for span in [0..900, 900..901, 1..2, 2..3, 3..3] {
            let shown = errors("é = 1", vec![(span, "wrong".into())]).to_string();
            assert!(shown.starts_with("error: wrong\n"), "{shown}");
        }
        assert!(errors("", vec![(0..0, "empty".into())]).to_string().contains("a.toml:1:1"));
    }

    #[test]
    fn f22_the_first_errors_are_shown_and_the_others_counted() {
        let mut report = Report::default();
        (0..5000).for_each(|at| report.add(Diagnostic::at(at..at + 1, "wrong")));
        let errors = report.into_errors(Arc::new(Source::new("a.toml", "x".repeat(5000))));
        let shown = errors.to_string();
        assert_eq!(shown.matches("error: wrong").count(), MOST_SHOWN);
        assert!(shown.ends_with("error: and 4980 more errors"), "{shown}");
        assert!(shown.len() < 20_000, "{}", shown.len());
        assert!(shown.contains("a.toml:1:20"), "{shown}");
    }

    #[test]
    fn f22_a_long_line_and_a_long_message_are_cut() {
        let text = format!("a = [{}]\nb = 1", "'é', ".repeat(100_000));
        for span in [0..text.len(), 4..text.len() - 6, 300_000..300_001, 300_001..300_900] {
            let shown = errors(&text, vec![(span.clone(), "é".repeat(100_000))]).to_string();
            assert!(shown.len() < 6000, "{span:?}: {}", shown.len());
            assert!(shown.contains("a.toml:1:"), "{shown}");
        }
    }

    #[test]
    fn f22_control_characters_of_the_file_are_not_shown() {
        let list = vec![(4..8, "unknown `\u{1b}[31m`".to_owned())];
        let shown = errors("a = \u{1b}[0m b\u{9b} = 1\n", list).to_string();
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown}");
        assert!(
            shown.contains("error: unknown `\\u{1b}[31m`") && shown.contains("a = ?[0m b¿ = 1"),
            "{shown}"
        );
    }

    #[test]
    fn color_is_added_for_a_terminal_alone() {
        let errors = errors("x = 1", vec![(0..1, "wrong".into())]);
        assert!(errors.to_ansi().contains("\u{1b}["));
        assert!(!errors.to_string().contains('\u{1b}'));
    }

    #[test]
    fn errors_of_earlier_passes_are_known_and_placeholders_are_not_reported() {
        let mut report = Report::default();
        report.add(Diagnostic::at(0..1, "wrong"));
        assert!(!report.knows(&(0..1)));
        report.settle();
        assert!(report.knows(&(0..1)));
        report.add(Diagnostic::at(NOWHERE..NOWHERE, "stands in"));
        assert_eq!(report.list.len(), 1);
    }
}
