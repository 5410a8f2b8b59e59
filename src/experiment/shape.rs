//! Short ways of writing, made long, and `[train]` merged into the stages that train.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Span;
use super::error::{Diagnostic, Report};
use super::tree::{self, Table, Value};
use super::wording::TRAIN_KEYS;
use dataset::LabelBudget;

/// Keys that name one of several things and its options: `optimizer.adamw = { … }` or `optimizer = "adamw"`.
const CHOICES: [&str; 5] = ["optimizer", "schedule", "loss", "method", "backbone"];

/// Whether a key names one of several things, of which there is one at a time.
pub(super) fn is_choice(key: &str) -> bool {
    CHOICES.contains(&key)
}

/// The key of a spec that holds what `[train]` and the stage say of training.
const TRAIN: &str = "train";

/// ImageNet's channel means and standard deviations, as torchvision gives them.
const IMAGENET: &str = "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]";

/// Make `optimizer = "adamw"` and `normalize = "imagenet"` long. Strings that still hold a `${…}` are left.
pub(super) fn write_out(table: &mut Table<'_>) {
    for (key, value) in table.iter_mut() {
        let span = value.span();
        let Some(word) = value.get_ref().as_str() else { continue };
        if is_choice(key.get_ref()) && !word.contains("${") {
            let options = Spanned::new(span.clone(), DeValue::Table(Table::new()));
            *value = tree::single(word.to_owned(), options, span);
        } else if key.get_ref() == "normalize" && word == "imagenet" {
            *value = imagenet(span);
        }
    }
}

/// [`write_out`] in a table and in all tables that it holds.
pub(super) fn write_out_within(table: &mut Table<'_>) {
    write_out(table);
    table.iter_mut().filter_map(|(_, value)| tree::table_mut(value)).for_each(write_out_within);
}

fn imagenet<'i>(span: Span) -> Value<'i> {
    let table = DeTable::parse(IMAGENET).map(Spanned::into_inner).unwrap_or_default();
    tree::moved(Spanned::new(span.clone(), DeValue::Table(table)), &span)
}

/// Options are tables: serde alone would take an array for one, value by value.
pub(super) fn check_tables(table: &Table<'_>, report: &mut Report) {
    for (key, value) in table.iter() {
        let options: Vec<&Value<'_>> = match (key.get_ref().as_ref(), value.get_ref()) {
            (choice, DeValue::Table(variants)) if is_choice(choice) => variants.values().collect(),
            ("augment" | "normalize", _) => vec![value],
            (TRAIN, DeValue::Table(train)) => {
                check_tables(train, report);
                continue;
            }
            _ => continue,
        };
        for options in options.into_iter().filter(|options| options.get_ref().is_array()) {
            report.add(Diagnostic::at(options.span(), "expected a table, found an array"));
        }
    }
}

/// Gather the keys of `[train]` that a stage names, over those of `[train]` itself, under `train`.
/// A stage overrides what it names: option by option where both choose the same, else as a whole.
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
    let own = TRAIN_KEYS.iter().filter_map(|key| stage.remove_entry(key.as_str()));
    let mut train: Table<'i> = own.collect();
    if let Some(defaults) = defaults {
        inherit(defaults, &mut train);
    }
    stage.insert(Spanned::new(span.clone(), TRAIN.into()), Spanned::new(span, DeValue::Table(train)));
}

/// Take over from `defaults` what `own` does not name.
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

/// The keys of a data set that are not its kind's, taken out.
pub(super) fn take_label_keys<'i>(dataset: &mut Table<'i>) -> Table<'i> {
    LabelBudget::KEYS.iter().filter_map(|key| dataset.remove_entry(*key)).collect()
}

/// Give a stage that trains the axis `seed`, unless it or `[train]` has a seed of its own.
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
    fn short_ways_are_made_long() {
        let mut short =
            table("optimizer = 'adamw'\nloss = '${loss}'\nnormalize = 'imagenet'\nselect = 'none'");
        write_out(&mut short);
        same(
            &text(short),
            "optimizer.adamw = {}\nloss = '${loss}'\nselect = 'none'\n\
             normalize = { mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }",
        );
    }

    #[test]
    fn a_stage_overrides_what_it_names() {
        same(
            &gathered("from = 'a'\nepochs = 2", "epochs = 9\nbatch_size = 8"),
            "from = 'a'\ntrain = { epochs = 2, batch_size = 8 }",
        );
    }

    #[test]
    fn options_of_the_same_choice_are_merged_and_another_choice_replaces() {
        let train = "optimizer.adamw = { lr = 0.1, eps = 0.2 }\naugment = { vertical_flip = true }";
        same(
            &gathered("optimizer.adamw.lr = 0.5\naugment = { crop_padding = 4 }", train),
            "train = { optimizer.adamw = { lr = 0.5, eps = 0.2 }, augment = { crop_padding = 4, vertical_flip = true } }",
        );
        same(&gathered("optimizer = 'adamw'\naugment = {}", train), &format!("[train]\n{train}"));
        same(
            &gathered("optimizer = 'sgd'", train),
            "train = { optimizer.sgd = {}, augment = { vertical_flip = true } }",
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
    fn arrays_are_no_options_and_train_is_no_key_of_a_stage() {
        let mut report = Report::default();
        check_tables(
            &table("optimizer.sgd = [0.1]\naugment = [true]\nnormalize = []\nsources = []"),
            &mut report,
        );
        gather_train(&mut table("train = { epochs = 3 }"), None, 0..0, &mut report);
        let mut expected = vec!["expected a table, found an array"; 3];
        expected.insert(0, "a stage has no table `train`");
        assert_eq!(messages(report), expected);
    }
}
