//! A merge method by itself, from the command line.

use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::decode::{Decoded, decode};
use super::draft;
use super::error::{Diagnostic, Report};
use super::shape;
use super::tree::{self, Value};
use super::{Errors, Source};
use kind::Problems;
use merge_method::MergeMethodSpec;
use schemars::JsonSchema;

/// The value of `method` in a merge.
#[derive(Deserialize, JsonSchema)]
struct Body {
    method: MergeMethodSpec,
}

/// Parse a merge method for `sources` sources, written as the value of `method` in an experiment file: `average`, or
/// `ties = { density = 0.2 }`. Messages point into the text.
///
/// # Errors
/// All errors in it, including that it needs more than the tensors of models.
pub fn merge_method(text: &str, sources: usize) -> Result<MergeMethodSpec, Errors> {
    let source = Arc::new(Source::new("--method", text));
    let mut report = Report::default();
    match read(text, sources, &mut report) {
        Some(spec) if report.is_clean() => Ok(spec),
        _ => Err(report.into_errors(source)),
    }
}

fn read(text: &str, sources: usize, report: &mut Report) -> Option<MergeMethodSpec> {
    let span = 0..text.len();
    let method: Value<'_> = if text.contains('=') {
        Spanned::new(span.clone(), DeValue::Table(tree::parse(text, report)?))
    } else {
        tree::string(text.trim(), span.clone())
    };
    let mut root = tree::single("method", method, span.clone());
    if let Some(table) = tree::table_mut(&mut root) {
        shape::write_out(table);
    }
    if !report.is_clean() {
        return None;
    }
    let Decoded { spec, tree, .. } = decode::<Body>(root, report);
    let spec = spec?.method;
    if spec.formula(sources).is_none() && !spec.needs_backbone() {
        *report = Report::default(); // a missing option follows from the errors below
        report.add(measured(&spec, &tree));
        return None;
    }
    let mut problems = Problems::default();
    problems.under(&format!("method.{}", spec.kind()), |problems| {
        spec.validate(problems);
        spec.validate_for(sources, problems);
    });
    draft::add(problems, &tree, "", &span, report);
    if spec.base().is_some() {
        let at = tree::span_at(&tree, &format!("method.{}.base", spec.kind()));
        let wrong = Diagnostic::at(at.unwrap_or(span), "`base` is a stage, but there are no stages here");
        report.add(wrong.with_help("pass the common start as a file: --base FILE".to_owned()));
    }
    Some(spec)
}

fn measured(spec: &MergeMethodSpec, tree: &Value<'_>) -> Diagnostic {
    let (name, at) = (spec.kind(), tree::span_at(tree, "method").unwrap_or_default());
    let message = format!("`{name}` needs measurements on data, which files of tensors do not contain");
    Diagnostic::at(at, message).with_help("run an experiment with a `merge` stage".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use merge_method::ties::TiesSpec;

    fn errors(text: &str) -> Vec<String> {
        let errors = merge_method(text, 2).unwrap_err();
        errors.list.into_iter().map(|found| found.message).collect()
    }

    #[test]
    fn a_method_is_a_word_or_a_key_with_options() {
        let ties = |density| MergeMethodSpec::Ties(TiesSpec { density, ..TiesSpec::default() });
        for (text, density) in
            [("ties", 0.2), (" ties ", 0.2), ("ties = { density = 0.5 }", 0.5), ("ties.density = 1", 1.0)]
        {
            assert_eq!(merge_method(text, 2).unwrap(), ties(density), "{text}");
        }
    }

    #[test]
    fn every_error_is_reported() {
        for (text, messages) in [
            ("tiess", vec!["unknown value `tiess`"]),
            ("", vec!["unknown value ``"]),
            (
                "ties = { density = 2, scaling = 'x' }",
                vec!["`density` must be above 0 and up to 1, not 2", "expected a number, found string \"x\""],
            ),
            ("ties = { densty = 0.5 }", vec!["unknown key `densty`"]),
            ("ties = [0.5]", vec!["expected a table, found an array"]),
            ("ties.base = 'a'", vec!["`base` is a stage, but there are no stages here"]),
            ("average.weights = [1]", vec!["1 weights for 2 sources; give one per source"]),
            ("average = {}\nties = {}", vec!["expected exactly one choice, found several"]),
            ("learned", vec!["`learned` needs measurements on data, which files of tensors do not contain"]),
        ] {
            assert_eq!(errors(text), messages, "{text}");
        }
        assert_eq!(errors("ties =").len(), 1);
    }
}
