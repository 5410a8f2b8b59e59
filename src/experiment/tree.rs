//! The raw tree of a file, with the source location of every key and value.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::Span;
use super::brackets::unclosed;
use super::error::{Diagnostic, Report};

/// A key with its location.
pub(super) type Key<'i> = Spanned<DeString<'i>>;
/// A value with its location.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;
/// Keys and values, in file order.
pub(super) type Table<'i> = DeTable<'i>;

/// Parse a file; `None` if it has a syntax error. The first one is reported: others may follow from it.
pub(super) fn parse<'i>(text: &'i str, report: &mut Report) -> Option<Table<'i>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let place = |error: &toml::de::Error| error.span().unwrap_or_default();
    let Some(error) = errors.iter().min_by_key(|error| place(error).start) else {
        return Some(root.into_inner());
    };
    let span = place(error);
    report.add(match unclosed(text).filter(|open| open.start < span.end) {
        Some(open) => {
            let message = format!("this `{}` is not closed", &text[open.clone()]);
            Diagnostic::at(open, message).with_help("close it before the next key or section".to_owned())
        }
        None => Diagnostic::at(span, error.message()),
    });
    None
}

/// A string located at `span`.
pub(super) fn string<'i>(text: impl Into<Cow<'i, str>>, span: Span) -> Value<'i> {
    Spanned::new(span, DeValue::String(text.into()))
}

/// A table with one entry, all located at `span`.
pub(super) fn single<'i>(key: impl Into<Cow<'i, str>>, value: Value<'i>, span: Span) -> Value<'i> {
    let mut table = Table::new();
    table.insert(Spanned::new(span.clone(), key.into()), value);
    Spanned::new(span, DeValue::Table(table))
}

/// The value's entries, mutable.
pub(super) fn table_mut<'t, 'i>(value: &'t mut Value<'i>) -> Option<&'t mut Table<'i>> {
    match value.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// The type of a value, for messages.
pub(super) fn kind_of(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The location of the value at a dotted path (`train.optimizer.adamw.betas.0`), if it exists.
pub(super) fn span_at(value: &Value<'_>, path: &str) -> Option<Span> {
    let mut steps = path.split('.').filter(|step| !step.is_empty());
    steps.try_fold(value, |value, step| child(value, step)).map(Spanned::span)
}

fn child<'t, 'i>(value: &'t Value<'i>, step: &str) -> Option<&'t Value<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => table.get(step),
        DeValue::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Set the location of a value and everything in it to `span`.
pub(super) fn moved<'i>(value: Value<'i>, span: &Span) -> Value<'i> {
    placed(value, &|_| span.clone())
}

/// Map the location of a value and everything in it by `place`.
pub(super) fn placed<'i>(value: Value<'i>, place: &dyn Fn(Span) -> Span) -> Value<'i> {
    let span = place(value.span());
    let inner = match value.into_inner() {
        DeValue::Table(table) => {
            let entries = table.into_iter();
            let placed = entries.map(|(key, value)| {
                (Spanned::new(place(key.span()), key.into_inner()), placed(value, place))
            });
            DeValue::Table(placed.collect())
        }
        DeValue::Array(mut items) => {
            for item in items.iter_mut() {
                let old = std::mem::replace(item, string("", span.clone()));
                *item = placed(old, place);
            }
            DeValue::Array(items)
        }
        scalar => scalar,
    };
    Spanned::new(span, inner)
}

/// Every string in a value, with the path of keys and positions to it.
pub(super) fn strings<'t>(value: &'t Value<'_>) -> Vec<(Vec<String>, &'t str, Span)> {
    let mut found = Vec::new();
    collect(value, &mut Vec::new(), &mut found);
    found
}

fn collect<'t>(value: &'t Value<'_>, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, &'t str, Span)>) {
    let mut inside = |step: String, inner: &'t Value<'_>| {
        path.push(step);
        collect(inner, path, found);
        path.pop();
    };
    match value.get_ref() {
        DeValue::String(text) => found.push((path.clone(), text, value.span())),
        DeValue::Array(items) => items.iter().enumerate().for_each(|(i, item)| inside(i.to_string(), item)),
        DeValue::Table(table) => {
            table.iter().for_each(|(key, inner)| inside(key.get_ref().to_string(), inner));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Value<'_> {
        let mut report = Report::default();
        let table = parse(text, &mut report).unwrap();
        Spanned::new(0..text.len(), DeValue::Table(table))
    }

    #[test]
    fn a_path_leads_through_tables_and_arrays() {
        let text = "a.b = { c = [1, 22] }";
        let tree = tree(text);
        assert_eq!(&text[span_at(&tree, "a.b.c.1").unwrap()], "22");
        assert_eq!(span_at(&tree, "a.b.c.2"), None);
        assert_eq!(span_at(&tree, "a.x"), None);
        assert_eq!(span_at(&tree, ""), Some(0..text.len()));
    }

    #[test]
    fn f04_the_first_syntax_error_alone_is_reported() {
        for (text, at) in [
            ("a = \nb = 1\nc = [1,, 2]\n", 4),
            ("a = 1\nb = [1,, 2]\n", 13),
            ("a = [1, 2\n[b]\nc = 3\nd = [1]\n", 4),
            ("a = [1,\n  [2]\nb = 3\n", 4),
            ("a = { b = [1, 2 }\nc = 1\n", 10),
            ("a = ['#', \"]\", 1\n", 4),
        ] {
            let mut report = Report::default();
            assert!(parse(text, &mut report).is_none());
            let errors = report.into_errors(std::sync::Arc::new(crate::Source::new("a.toml", "")));
            assert_eq!(errors.list.len(), 1, "{text}: {:?}", errors.list);
            assert_eq!(errors.list[0].span.as_ref().unwrap().start, at, "{text}: {:?}", errors.list);
        }
    }

    #[test]
    fn strings_are_listed_with_their_paths() {
        let tree = tree("a = ['x', { b = 'y' }]\nc = 1");
        let found: Vec<_> =
            strings(&tree).into_iter().map(|(path, text, _)| (path.join("."), text)).collect();
        assert_eq!(found, [("a.0".to_owned(), "x"), ("a.1.b".to_owned(), "y")]);
    }

    #[test]
    fn a_moved_value_is_relocated_as_a_whole() {
        let moved = moved(tree("a = [1, { b = 2 }]"), &(7..9));
        for path in ["", "a", "a.0", "a.1", "a.1.b"] {
            assert_eq!(span_at(&moved, path), Some(7..9), "{path}");
        }
    }
}
