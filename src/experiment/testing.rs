//! Helpers shared by the tests of this crate.

use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Report;
use super::tree::{self, Value};
use super::{Experiment, Override, Source};

/// Parses a document as one section.
pub(super) fn section(text: &str) -> Value<'_> {
    let table = tree::parse(text, &mut Report::default()).unwrap();
    Spanned::new(0..text.len(), DeValue::Table(table))
}

/// The messages of a report, in file order.
pub(super) fn messages(report: Report) -> Vec<String> {
    let source = Arc::new(Source::new("a.toml", ""));
    report.into_errors(source).list.into_iter().map(|found| found.message).collect()
}

/// An experiment `x` with this text, or its errors.
pub(super) fn parsed(rest: &str) -> Result<Experiment, Vec<String>> {
    parsed_with(rest, &[])
}

/// The same, with overrides.
pub(super) fn parsed_with(rest: &str, overrides: &[&str]) -> Result<Experiment, Vec<String>> {
    let overrides = overrides.iter().copied().map(Override::from).collect();
    let source = Source { overrides, ..Source::new("a.toml", format!("experiment.name = 'x'\n{rest}")) };
    Experiment::parse(source).map_err(|errors| errors.list.into_iter().map(|found| found.message).collect())
}
