//! Experiment files: what a person reads when one is wrong, and what comes out when it is right.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use medmerge::experiment::{Experiment, Source};
use medmerge::stage::StageSpec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::builder::Workplace;

const DATA: &str = "\
[experiment]
name = \"tiny\"

[dataset.cells.phantom]
family = \"cells\"

[stage.a.pretrain]
backbone.resnet18 = { stem = \"small\", width = 8 }
dataset = \"cells\"
";

fn parse(text: &str) -> Result<Experiment, String> {
    let source = Source { path: "tiny.toml".into(), text: text.into() };
    Experiment::parse(source).map_err(|errors| errors.to_string())
}

/// What is said of a file that goes on like this.
fn complaint(rest: &str) -> String {
    parse(&format!("{DATA}{rest}")).expect_err("nothing is wrong with it")
}

#[test]
fn an_unknown_key_is_underlined_with_what_was_meant() {
    assert_snapshot!(complaint("epoch = 3\n"), @"");
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    assert_snapshot!(complaint("epochs = \"ten\"\n"), @"");
}

#[test]
fn an_unknown_stage_is_underlined_where_it_is_mentioned() {
    assert_snapshot!(complaint("\n[stage.b.finetune]\nfrom = \"aa\"\ndataset = \"cells\"\n"), @"");
}

#[test]
fn an_unknown_data_set_is_underlined_where_it_is_mentioned() {
    assert_snapshot!(complaint("\n[stage.b.finetune]\nfrom = \"a\"\ndataset = \"cels\"\n"), @"");
}

#[test]
fn an_unknown_kind_is_underlined_in_the_header() {
    assert_snapshot!(complaint("\n[stage.b.fine_tune]\nfrom = \"a\"\n\n[dataset.c.fantom]\n"), @"");
}

#[test]
fn a_circle_is_shown_with_its_way() {
    let stages = "\n[stage.b.finetune]\nfrom = \"c\"\ndataset = \"cells\"\n\n\
                  [stage.c.finetune]\nfrom = \"b\"\ndataset = \"cells\"\n";
    assert_snapshot!(complaint(stages), @"");
}

#[test]
fn a_missing_file_is_named_as_it_was_looked_for() {
    assert_snapshot!(complaint("\n[dataset.breast.medmnist]\npath = \"data/breast.npz\"\n"), @"");
}

#[test]
fn a_bad_sweep_is_explained_value_by_value() {
    let sweep =
        "normalize = \"${norm}\"\n\n[sweep]\nseed = []\nlr = [0.1, 0.1]\nmetric = [\"a\"]\nunused = [1]\n";
    assert_snapshot!(complaint(sweep), @"");
}

#[test]
fn several_errors_are_told_in_one_go_and_in_order() {
    let text = "\
[experiment]
name = \"not/a/folder\"

[sweep]
target = [\"fundus\", \"lesions\"]

[train]
epochs = 0
optimzer = \"sgd\"

[dataset.cells.phantom]
family = \"cell\"

[dataset.target.phantom]
family = \"${targt}\"

[stage.a.pretrain]
backbone = \"resnet19\"
dataset = \"celsl\"
batch_size = \"many\"

[stage.b.finetune]
dataset = \"target\"
train = { epochs = 3 }

[stage.e.evaluate]
models = { \"A\" = \"a\", \"B\" = \"bb\" }
datasets = [\"target\"]

[table.main]
from = [\"e\"]
metrics = [\"macro_f2\"]
columns = [\"target\", \"metrc\"]
";
    assert_snapshot!(parse(text).unwrap_err(), @"");
}

#[test]
fn every_syntax_error_is_told() {
    assert_snapshot!(complaint("epochs = \nbatch_size = 3 4\n"), @"");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let workplace = Workplace::new("").with("experiment.toml", b"\xff");
    let message = workplace.load().unwrap_err().to_string();
    assert!(message.contains("failed to read") && message.contains("invalid utf-8"), "{message}");
    let message = Experiment::load(&workplace.path("none.toml")).unwrap_err().to_string();
    assert!(message.contains("none.toml: No such file"), "{message}");
}

const SWEPT: &str = "\
[experiment]
name = \"swept\"
description = \"two axes and a seed\"

[sweep]
seed = [0, 1, 2]
target = [\"fundus\", \"lesions\"]
lr = [0.1, 1e-3]

[train]
epochs = 2
optimizer.adamw = { lr = \"${lr}\", weight_decay = 0.5 }

[dataset.cells.phantom]
family = \"cells\"

[dataset.fundus.phantom]
family = \"fundus\"

[dataset.lesions.phantom]
family = \"lesions\"

[stage.final.finetune]
from = \"source\"
dataset = \"${target}\"
optimizer.adamw.eps = 0.25

[stage.source.pretrain]
backbone = \"resnet18\"
dataset = \"cells\"
seed = 7
optimizer = \"sgd\"
normalize = \"imagenet\"

[stage.scores.evaluate]
models = { \"final\" = \"final\" }
datasets = [\"${target}\", \"cells\"]
";

#[test]
fn a_stage_is_multiplied_by_the_axes_that_it_mentions_itself_or_through_others() {
    let experiment = parse(SWEPT).unwrap();
    let ids: Vec<String> = experiment.stages.iter().map(|stage| stage.id()).collect();
    assert_eq!(ids.len(), 1 + 12 + 12);
    assert_eq!(ids[0], "source");
    assert_eq!(ids[1], "final[seed=0,target=fundus,lr=0.1]");
    assert_eq!(ids[2], "final[seed=0,target=fundus,lr=0.001]");
    assert_eq!(ids[24], "scores[seed=2,target=lesions,lr=0.001]");
    for (position, stage) in experiment.stages.iter().enumerate() {
        for &input in &stage.inputs {
            assert!(input < position);
            let input = &experiment.stages[input];
            assert!(input.at.iter().all(|(axis, value)| stage.at[axis] == *value), "{}", stage.id());
        }
        for (&dataset, input) in stage.datasets.iter().zip(stage.spec.stage().datasets()) {
            assert_eq!(experiment.datasets[dataset].name, input.dataset);
        }
    }
}

#[test]
fn train_is_merged_and_the_axes_are_filled_in() {
    let experiment = parse(SWEPT).unwrap();
    let train = |position: usize| experiment.stages[position].spec.stage().train().unwrap().clone();
    assert_snapshot!(format!("{:?}\n{:?}", train(0), train(12)), @"");
    let StageSpec::Pretrain(source) = &experiment.stages[0].spec else { panic!("it is a pretraining") };
    assert_eq!(source.normalize.std, [0.229, 0.224, 0.225]);
}

#[test]
fn paths_start_from_the_file_and_data_from_the_environment() {
    let text =
        format!("{DATA}\n[stage.i.import]\nbackbone = \"resnet18\"\npath = \"models/a.safetensors\"\n");
    let workplace = Workplace::new(&text).with("models/a.safetensors", "");
    let experiment = workplace.load().unwrap();
    assert_eq!(experiment.stages[1].spec.stage().files(), [workplace.path("models/a.safetensors")]);
}

/// A file whose keys and sections stand in any order, by way of how they are sorted.
fn shuffled(text: &str, keys: &[u32]) -> String {
    let mut keys = keys.iter().cycle();
    let mut sort = |parts: Vec<String>| {
        let mut keyed: Vec<(u32, String)> =
            parts.into_iter().map(|part| (*keys.next().unwrap(), part)).collect();
        keyed.sort();
        keyed.into_iter().map(|(_, part)| part).collect::<Vec<_>>()
    };
    let section = |section: &str| {
        let mut lines = section.lines();
        let header = lines.next().unwrap_or_default().to_owned();
        let lines = lines.map(str::to_owned).collect();
        // the order of the axes has a meaning
        let lines = if header == "[sweep]" { lines } else { sort(lines) };
        format!("{header}\n{}\n", lines.join("\n"))
    };
    let sections: Vec<String> = text.split("\n\n").map(section).collect();
    sort(sections).join("\n")
}

/// What an experiment says, whatever the order of its sections.
fn content(experiment: &Experiment) -> (String, BTreeMap<String, String>) {
    let named = |instances: Vec<String>| instances.join(", ");
    let stages = experiment.stages.iter().map(|stage| {
        let inputs = stage.inputs.iter().map(|&input| experiment.stages[input].id()).collect();
        let datasets = stage.datasets.iter().map(|&dataset| experiment.datasets[dataset].id()).collect();
        (stage.id(), format!("{:?} {} {}", stage.spec, named(inputs), named(datasets)))
    });
    let datasets = experiment.datasets.iter().map(|dataset| (dataset.id(), format!("{:?}", dataset.spec)));
    let head = format!("{} {} {:?}", experiment.name, experiment.description, experiment.axes);
    (head, stages.chain(datasets).collect())
}

/// No files beside the tests: a failing case is printed.
fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Words and signs that experiment files are made of.
fn soup() -> impl Strategy<Value = String> {
    let words = [
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\"",
        "'",
        " ",
        "#",
        "$",
        "${",
        "experiment",
        "name",
        "sweep",
        "seed",
        "${seed}",
        "dataset",
        "d",
        "phantom",
        "family",
        "\"cells\"",
        "train",
        "epochs",
        "3",
        "-1",
        "0.5",
        "optimizer",
        "\"sgd\"",
        "sgd",
        "lr",
        "stage",
        "a",
        "\"a\"",
        "pretrain",
        "finetune",
        "merge",
        "from",
        "sources",
        "method",
        "\"learned\"",
        "learned",
        "weights",
        "evaluate",
        "models",
        "datasets",
        "table",
        "\n[stage.a.finetune]\n",
        "\n[dataset.d.phantom]\n",
        "\n[train]\n",
        "\n[sweep]\n",
        "[experiment]\nname='x'\n",
        "é",
        "\u{feff}",
        "\r\n",
        "true",
        "nan",
        "1979-05-27",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn words_of_the_language_in_any_order_never_panic(text in soup()) {
        let _ = parse(&text);
        let _ = parse(&format!("{SWEPT}{text}"));
    }

    #[test]
    fn a_file_cut_anywhere_never_panics(at in 0..SWEPT.len()) {
        let _ = parse(&SWEPT[..at]);
    }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn the_order_of_sections_and_keys_changes_nothing(keys in prop::collection::vec(any::<u32>(), 40)) {
        let shuffled = shuffled(SWEPT, &keys);
        let experiment = parse(&shuffled);
        prop_assert!(experiment.is_ok(), "{}\n{}", shuffled, experiment.unwrap_err());
        prop_assert_eq!(content(&experiment.unwrap()), content(&parse(SWEPT).unwrap()));
    }

    #[test]
    fn a_stage_stands_once_for_each_point_of_the_product(
        sizes in prop::collection::vec(1_usize..4, 3),
        own in prop::collection::vec(any::<bool>(), 3),
        through in prop::collection::vec(any::<bool>(), 3),
    ) {
        let keys = [("x", "epochs"), ("y", "batch_size"), ("z", "patience")];
        let mentions = |mentioned: &[bool]| {
            let mentioned = keys.iter().zip(mentioned).filter(|(_, mentioned)| **mentioned);
            mentioned.map(|((axis, key), _)| format!("{key} = \"${{{axis}}}\"\n")).collect::<String>()
        };
        let sweep = keys.iter().zip(&sizes).map(|((axis, _), size)| {
            let values: Vec<String> = (2..size + 2).map(|value| value.to_string()).collect();
            format!("{axis} = [{}]\n", values.join(", "))
        });
        let file = [
            DATA,
            &mentions(&through),
            "\n[stage.user.finetune]\nfrom = \"a\"\ndataset = \"cells\"\n",
            &mentions(&own),
            "\n[stage.all.finetune]\nfrom = \"a\"\ndataset = \"cells\"\n",
            &mentions(&[true; 3]),
            "\n[sweep]\n",
            &sweep.collect::<String>(),
        ];
        let experiment = parse(&file.concat());
        prop_assert!(experiment.is_ok(), "{}", experiment.unwrap_err());
        let experiment = experiment.unwrap();
        let product = |mentioned: &[bool]| {
            let sizes = sizes.iter().zip(mentioned).filter(|(_, mentioned)| **mentioned);
            sizes.map(|(size, _)| size).product::<usize>()
        };
        let either: Vec<bool> = own.iter().zip(&through).map(|(own, through)| *own || *through).collect();
        let count = |name: &str| experiment.stages.iter().filter(|stage| stage.name == name).count();
        prop_assert_eq!(count("a"), product(&through));
        prop_assert_eq!(count("user"), product(&either));
        prop_assert_eq!(count("all"), product(&[true; 3]));
        let ids: std::collections::BTreeSet<String> = experiment.stages.iter().map(|stage| stage.id()).collect();
        prop_assert_eq!(ids.len(), experiment.stages.len());
    }
}
