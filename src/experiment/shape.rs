//! Expanding short forms, and merging `[train]` into the stages that train.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use dataset::LabelBudget;
use kind::schema::{Key, Shape, TableShape};
use stage::StageSpec;
use toml::Spanned;
use toml::de::DeValue;
use train::TrainSpec;

use super::Span;
use super::decode::shape_of;
use super::error::{Diagnostic, Report};
use super::tree::{self, Table};

/// The key of a spec that holds the training options of `[train]` and the stage.
pub(super) const TRAIN: &str = "train";

/// Whether a key is a choice among kinds: `optimizer.adamw = { … }`, or `optimizer = "adamw"` for short.
pub(super) fn is_choice(key: &str) -> bool {
    static CHOICES: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
        keys_of_stages().into_iter().filter(|key| key.shape.is_kinds()).map(|key| &*key.name).collect()
    });
    CHOICES.contains(key)
}

/// The table, as TOML, that a word abbreviates: `normalize = "imagenet"`.
fn preset(key: &str, word: &str) -> Option<&'static str> {
    static PRESETS: LazyLock<BTreeMap<(&str, &str), &str>> = LazyLock::new(|| {
        let presets = |key: &'static Key| {
            let presets = key.shape.as_table().into_iter().flat_map(|table| &table.presets);
            presets.map(|(word, text)| ((&*key.name, &**word), *text))
        };
        keys_of_stages().into_iter().flat_map(presets).collect()
    });
    PRESETS.get(&(key, word)).copied()
}

/// Every key of any kind of stage.
fn keys_of_stages() -> Vec<&'static Key> {
    let (mut keys, mut waiting) = (Vec::new(), vec![shape_of::<StageSpec>()]);
    while let Some(shape) = waiting.pop() {
        match shape {
            Shape::Table(table) => {
                keys.extend(&table.keys);
                waiting.extend(table.keys.iter().map(|key| &key.shape));
            }
            Shape::Choice(choice) => waiting.extend(choice.keys.iter().map(|(_, shape)| shape)),
            _ => {}
        }
    }
    keys
}

/// The keys of `[train]`, which stages that train also take.
pub(super) fn train_keys() -> &'static [&'static str] {
    static KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| names(shape_of::<TrainSpec>()));
    &KEYS
}

/// The keys common to data sets of all kinds.
pub(super) fn label_keys() -> &'static [&'static str] {
    static KEYS: LazyLock<Vec<&str>> = LazyLock::new(|| names(shape_of::<LabelBudget>()));
    &KEYS
}

fn names(shape: &'static Shape) -> Vec<&'static str> {
    shape.as_table().map(TableShape::names).unwrap_or_default()
}

/// Whether stages of this kind take the keys of `[train]`.
pub(super) fn trains(kind: &str) -> bool {
    let kinds = shape_of::<StageSpec>().as_choice();
    let shape = kinds.and_then(|kinds| kinds.keys.iter().find(|(name, _)| name == kind));
    shape.and_then(|(_, shape)| shape.as_table()).is_some_and(|table| table.key(TRAIN).is_some())
}

/// Expand short forms such as `optimizer = "adamw"` and `normalize = "imagenet"`. Strings with a `${…}` are left
/// unchanged.
pub(super) fn write_out(table: &mut Table<'_>) {
    for (key, value) in table.iter_mut() {
        let span = value.span();
        let Some(word) = value.get_ref().as_str() else { continue };
        if is_choice(key.get_ref()) && !word.contains("${") {
            let options = Spanned::new(span.clone(), DeValue::Table(Table::new()));
            *value = tree::single(word.to_owned(), options, span);
        } else if let Some(table) = preset(key.get_ref(), word).and_then(|text| DeValue::parse(text).ok()) {
            *value = tree::moved(table, &span);
        }
    }
}

/// [`write_out`] in a table and all tables in it.
pub(super) fn write_out_within(table: &mut Table<'_>) {
    write_out(table);
    table.iter_mut().filter_map(|(_, value)| tree::table_mut(value)).for_each(write_out_within);
}

/// Merge `[train]` and a stage's training keys into its table `train`. The stage's keys take precedence: option by
/// option if both choose the same kind, otherwise as a whole.
pub(super) fn gather_train<'i>(
    stage: &mut Table<'i>,
    defaults: Option<&Table<'i>>,
    span: Span,
    report: &mut Report,
) {
    if let Some((key, _)) = stage.remove_entry(TRAIN) {
        let help = "write its keys directly in the stage, as in `epochs = 5`".to_owned();
        report.add(Diagnostic::at(key.span(), "a stage has no table `train`").with_help(help));
    }
    let own = train_keys().iter().filter_map(|key| stage.remove_entry(*key));
    let mut train: Table<'i> = own.collect();
    if let Some(defaults) = defaults {
        inherit(defaults, &mut train);
    }
    stage.insert(Spanned::new(span.clone(), TRAIN.into()), Spanned::new(span, DeValue::Table(train)));
}

/// Copy from `defaults` the keys that `own` lacks.
pub(super) fn inherit<'i>(defaults: &Table<'i>, own: &mut Table<'i>) {
    for (key, default) in defaults.iter() {
        let Some(value) = own.get_mut(key.get_ref().as_ref()) else {
            own.insert(key.clone(), default.clone());
            continue;
        };
        let (DeValue::Table(defaults), Some(own)) = (default.get_ref(), tree::table_mut(value)) else {
            continue;
        };
        if is_choice(key.get_ref()) {
            inherit_options(defaults, own);
        } else {
            inherit(defaults, own);
        }
    }
}

fn inherit_options<'i>(defaults: &Table<'i>, own: &mut Table<'i>) {
    for (choice, options) in own.iter_mut() {
        let default =
            defaults.get(choice.get_ref().as_ref()).and_then(|default| default.get_ref().as_table());
        if let (Some(default), Some(options)) = (default, tree::table_mut(options)) {
            inherit(default, options);
        }
    }
}

/// Take the common keys out of a data set's table.
pub(super) fn take_label_keys<'i>(dataset: &mut Table<'i>) -> Table<'i> {
    label_keys().iter().filter_map(|key| dataset.remove_entry(*key)).collect()
}

/// Set the seed of a stage that trains to the axis `seed`, unless the stage or `[train]` sets a seed.
pub(super) fn sweep_seed(stage: &mut Table<'_>, axis: Span) {
    let train = stage.get_mut(TRAIN).and_then(tree::table_mut);
    if let Some(train) = train.filter(|train| !train.contains_key("seed")) {
        train.insert(Spanned::new(axis.clone(), "seed".into()), tree::string("${seed}", axis));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{messages, section};
    use super::*;
    use serde::Deserialize;
    use toml::de::ValueDeserializer;

    fn table(text: &str) -> Table<'_> {
        let DeValue::Table(table) = section(text).into_inner() else { unreachable!("a document is a table") };
        table
    }

    fn text(table: Table<'_>) -> String {
        let value = Spanned::new(0..0, DeValue::Table(table));
        toml::Table::deserialize(ValueDeserializer::from(value)).unwrap().to_string()
    }

    fn gathered(stage: &str, train: &str) -> String {
        let (mut stage, mut train) = (table(stage), table(train));
        write_out(&mut stage);
        write_out(&mut train);
        gather_train(&mut stage, Some(&train), 0..0, &mut Report::default());
        text(stage)
    }

    fn same(left: &str, right: &str) {
        let parse = |text: &str| text.parse::<toml::Table>().unwrap();
        assert_eq!(parse(left), parse(right));
    }

    #[test]
    fn short_forms_are_expanded() {
        let mut short = table("optimizer = 'adamw'\nloss = '${loss}'\nselect = 'none'");
        write_out(&mut short);
        same(&text(short), "optimizer.adamw = {}\nloss = '${loss}'\nselect = 'none'");
    }

    #[test]
    fn keys_of_a_stage_take_precedence() {
        same(
            &gathered("from = 'a'\nepochs = 2", "epochs = 9\nbatch_size = 8"),
            "from = 'a'\ntrain = { epochs = 2, batch_size = 8 }",
        );
    }

    #[test]
    fn options_of_the_same_choice_are_merged_and_another_choice_replaces() {
        let train = "optimizer.adamw = { lr = 0.1, eps = 0.2 }\naugment = ['vertical_flip']";
        same(
            &gathered("optimizer.adamw.lr = 0.5\naugment = ['crop']", train),
            "train = { optimizer.adamw = { lr = 0.5, eps = 0.2 }, augment = ['crop'] }",
        );
        same(&gathered("optimizer = 'adamw'", train), &format!("[train]\n{train}"));
        same(
            &gathered("optimizer = 'sgd'", train),
            "train = { optimizer.sgd = {}, augment = ['vertical_flip'] }",
        );
    }

    #[test]
    fn the_axis_seed_is_a_default() {
        for (stage, seed) in
            [("train = { epochs = 1 }", Some("\"${seed}\"")), ("train = { seed = 3 }", Some("3"))]
        {
            let mut stage = table(stage);
            sweep_seed(&mut stage, 0..0);
            let train: toml::Table = text(stage).parse().unwrap();
            assert_eq!(train["train"].get("seed").map(ToString::to_string).as_deref(), seed);
        }
    }

    #[test]
    fn train_is_not_a_key_of_a_stage() {
        let mut report = Report::default();
        gather_train(&mut table("train = { epochs = 3 }"), None, 0..0, &mut report);
        assert_eq!(messages(report), ["a stage has no table `train`"]);
    }
}
