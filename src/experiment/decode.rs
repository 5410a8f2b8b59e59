//! From a section's tree to its spec, with every error and not just the first.
//!
//! serde stops at the first error. So the entry that it points at is cut out and the rest is tried again,
//! until nothing is wrong; a key that is missing, or was cut out, is stood in for by a value at
//! [`NOWHERE`], so that what follows can still be checked.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeValue, Error, ValueDeserializer};

use super::Span;
use super::error::{Diagnostic, NOWHERE, Report};
use super::tree::{self, Table, Value};
use super::wording;

/// A section that was decoded.
pub(super) struct Decoded<'i, T> {
    /// `None` if there is too much wrong to say anything more of it.
    pub(super) spec: Option<T>,
    /// What it was decoded from.
    pub(super) tree: Value<'i>,
    /// Whether nothing was wrong.
    pub(super) clean: bool,
}

/// Decode a section and report everything that serde finds wrong with it.
pub(super) fn decode<'i, T: DeserializeOwned>(tree: Value<'i>, report: &mut Report) -> Decoded<'i, T> {
    decode_beside(tree, &[], report)
}

/// The same where other keys may stand, too, which were taken out before: they are suggested as well.
pub(super) fn decode_beside<'i, T: DeserializeOwned>(
    tree: Value<'i>,
    other_keys: &[&str],
    report: &mut Report,
) -> Decoded<'i, T> {
    let mut repair = Repair { tree, gone: Vec::new(), thinned: Vec::new(), stand_ins: 0, clean: true };
    loop {
        let error = match T::deserialize(ValueDeserializer::from(repair.tree.clone())) {
            Ok(spec) => return repair.into_decoded(Some(spec)),
            Err(error) => error,
        };
        repair.clean = false;
        if !repair.mend(&error, other_keys, report) {
            return repair.into_decoded(None);
        }
    }
}

/// A tree on its way to something that serde takes.
struct Repair<'i> {
    tree: Value<'i>,
    /// Keys that were cut out, or misspelt: that they are missing is no news.
    gone: Vec<String>,
    /// Where the tables stand that something was cut out of.
    thinned: Vec<Span>,
    stand_ins: usize,
    clean: bool,
}

impl<'i> Repair<'i> {
    fn into_decoded<T>(self, spec: Option<T>) -> Decoded<'i, T> {
        Decoded { spec, tree: self.tree, clean: self.clean }
    }

    /// Do something about an error; false if there is nothing to do.
    fn mend(&mut self, error: &Error, other_keys: &[&str], report: &mut Report) -> bool {
        let span = error.span().unwrap_or_else(|| self.tree.span());
        if let Some(key) = wording::missing(error.message()) {
            if !self.gone.iter().any(|gone| gone == key) {
                report.add(Diagnostic::at(span.clone(), format!("missing key `{key}`")));
            }
            self.stand_in(key, &span)
        } else if span.start >= NOWHERE {
            self.stand_in_otherwise(error.message(), &span)
        } else {
            let expected = wording::is_empty_choice(error.message()) && self.thinned.contains(&span);
            if !expected && !report.knows(&span) {
                let (message, help) = wording::reword(error.message(), other_keys);
                report.add(Diagnostic::at(span.clone(), message).with_help(help));
            }
            self.gone.extend(wording::meant(error.message()));
            self.cut(&span)
        }
    }

    /// Remove the innermost entry that `span` names.
    fn cut(&mut self, span: &Span) -> bool {
        let named = tree::find(&self.tree, &|key, value| key.span() == *span || tree::stands_at(value, span));
        let Some(mut path) = named else { return false };
        let Some(key) = path.pop() else { return false };
        let around = tree::span_at_keys(&self.tree, &path);
        self.thinned.extend(around);
        let removed = tree::table_at(&mut self.tree, &path).and_then(|table| table.remove(key.as_str()));
        self.gone.push(key);
        removed.is_some()
    }

    /// Put something in the place of a missing key of the table at `span`.
    fn stand_in(&mut self, key: &str, span: &Span) -> bool {
        let inner = tree::find(&self.tree, &|_, value| value.get_ref().is_table() && value.span() == *span);
        let nowhere = self.nowhere();
        let table = tree::table_at(&mut self.tree, &inner.unwrap_or_default());
        let key = Spanned::new(nowhere.clone(), key.to_owned().into());
        table.is_some_and(|table| table.insert(key, tree::string("", nowhere)).is_none())
    }

    /// Put something of another type in the place of what stands in.
    fn stand_in_otherwise(&mut self, message: &str, span: &Span) -> bool {
        let stands = tree::find(&self.tree, &|_, value| value.span() == *span);
        let Some((key, path)) = stands.as_deref().and_then(<[String]>::split_last) else { return false };
        let nowhere = self.nowhere();
        let Some(table) = tree::table_at(&mut self.tree, path) else { return false };
        let Some(value) = table.get_mut(key.as_str()) else { return false };
        let Some(next) = next_stand_in(value.get_ref(), message, &nowhere) else { return false };
        *value = Spanned::new(nowhere, next);
        true
    }

    fn nowhere(&mut self) -> Span {
        self.stand_ins += 1;
        NOWHERE + self.stand_ins..NOWHERE + self.stand_ins
    }
}

/// What to try after a stand-in that serde would not take: a string, a variant as a string and as a
/// table, an array, a table, a number.
fn next_stand_in<'i>(tried: &DeValue<'i>, message: &str, span: &Span) -> Option<DeValue<'i>> {
    match tried {
        DeValue::String(text) if text.is_empty() => match wording::variants(message).into_iter().next() {
            Some(variant) => Some(DeValue::String(variant.into())),
            None => Some(DeValue::Array(DeArray::new())),
        },
        DeValue::String(variant) => {
            let options = Spanned::new(span.clone(), DeValue::Table(Table::new()));
            Some(tree::single(variant.clone(), options, span.clone()).into_inner())
        }
        DeValue::Array(_) => Some(DeValue::Table(Table::new())),
        DeValue::Table(table) if table.is_empty() => Some(DeValue::Integer(DeInteger::default())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{messages, section};
    use super::*;
    use stage::StageSpec;
    use table::TableSpec;
    use train::TrainSpec;

    fn decoded<T: DeserializeOwned>(text: &str) -> (Option<T>, Vec<String>) {
        let mut report = Report::default();
        let decoded = decode(section(text), &mut report);
        assert_eq!(decoded.clean, report.is_clean());
        (decoded.spec, messages(report))
    }

    #[test]
    fn a_right_section_is_decoded() {
        let (spec, errors) = decoded::<TrainSpec>("epochs = 3\noptimizer.sgd = { lr = 0.5 }");
        assert_eq!((spec.unwrap().epochs, errors.len()), (3, 0));
    }

    #[test]
    fn every_error_is_found_and_the_rest_is_decoded() {
        let (spec, errors) = decoded::<TrainSpec>(
            "epoch = 3\nbatch_size = 'x'\noptimizer.adamw = { lr = true, betas = [0.9] }\nschedule.cosin = {}\n\
             seed = -1\nselect = 'best'\npatience = 3\nloss = {}",
        );
        assert_eq!(spec.unwrap(), TrainSpec { patience: Some(3), ..TrainSpec::default() });
        assert_eq!(
            errors,
            [
                "unknown key `epoch`",
                "expected a whole number from 0, found string \"x\"",
                "expected a number, found boolean `true`",
                "expected an array of 2, found 1",
                "unknown value `cosin`",
                "expected a whole number from 0, found integer `-1`",
                "unknown value `best`",
                "nothing is named here; expected exactly one",
            ]
        );
    }

    #[test]
    fn a_missing_key_is_stood_in_for() {
        let (spec, errors) = decoded::<TableSpec>("rows = 3");
        let spec = spec.unwrap();
        assert_eq!((spec.rows.as_str(), spec.from.len(), spec.metrics.len()), ("model", 0, 0));
        assert_eq!(
            errors,
            ["missing key `from`", "missing key `metrics`", "expected a string, found integer `3`"]
        );
    }

    #[test]
    fn a_misspelt_key_is_not_also_missing() {
        let (spec, errors) = decoded::<StageSpec>("finetune = { form = 'a', dataset = 'b' }");
        assert!(spec.is_some());
        assert_eq!(errors, ["unknown key `form`"]);
    }

    #[test]
    fn a_wrong_choice_is_not_also_missing_and_hides_nothing() {
        let (spec, errors) =
            decoded::<StageSpec>("pretrain = { backbone = { resnet19 = {} }, dataset = 'b', head = 1 }");
        assert_eq!(spec.unwrap().stage().datasets()[0].dataset, "b");
        assert_eq!(errors, ["unknown value `resnet19`", "unknown key `head`"]);
        let (spec, errors) =
            decoded::<StageSpec>("merge = { sources = ['a', 3], method = { learned = {} } }");
        assert!(spec.is_some());
        assert_eq!(errors, ["expected a string, found integer `3`", "missing key `weights`"]);
    }

    #[test]
    fn a_section_that_is_no_table_is_given_up() {
        for text in ["finetune = 3", "finetune = 'x'", "finetune = 1979-05-27"] {
            let (_, errors) = decoded::<StageSpec>(text);
            assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        }
    }
}
