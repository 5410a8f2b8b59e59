//! Experiment files: what a person reads when one is wrong, and what comes out when it is right.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use medmerge::experiment::{Experiment, Override, Source};
use medmerge::stage::StageSpec;
use medmerge::train::TrainSpec;
use medmerge::train::optimizer::{OptimizerSpec, SgdSpec};
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
    Experiment::parse(Source::new("tiny.toml", text)).map_err(|errors| errors.to_string())
}

/// What is said of a file that goes on like this.
fn complaint(rest: &str) -> String {
    parse(&format!("{DATA}{rest}")).expect_err("the experiment is invalid")
}

#[test]
fn an_unknown_key_is_underlined_with_what_was_meant() {
    assert_snapshot!(complaint("epoch = 3\n"), @r"
    error: unknown key `epoch`
       ┌─ tiny.toml:10:1
       │
    10 │ epoch = 3
       │ ^^^^^
       │
       = help: did you mean `epochs`?
    ");
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    assert_snapshot!(complaint("epochs = \"ten\"\n"), @r#"
    error: expected a non-negative integer, found string "ten"
       ┌─ tiny.toml:10:10
       │
    10 │ epochs = "ten"
       │          ^^^^^
    "#);
}

#[test]
fn an_unknown_stage_is_underlined_where_it_is_mentioned() {
    assert_snapshot!(complaint("\n[stage.b.finetune]\nfrom = \"aa\"\ndataset = \"cells\"\n"), @r#"
    error: unknown stage `aa`
       ┌─ tiny.toml:12:8
       │
    12 │ from = "aa"
       │        ^^^^
       │
       = help: did you mean `a`?
    "#);
}

#[test]
fn an_unknown_data_set_is_underlined_where_it_is_mentioned() {
    assert_snapshot!(complaint("\n[stage.b.finetune]\nfrom = \"a\"\ndataset = \"cels\"\n"), @r#"
    error: unknown data set `cels`
       ┌─ tiny.toml:13:11
       │
    13 │ dataset = "cels"
       │           ^^^^^^
       │
       = help: did you mean `cells`?
    "#);
}

#[test]
fn an_unknown_kind_is_underlined_in_the_header() {
    assert_snapshot!(complaint("\n[stage.b.fine_tune]\nfrom = \"a\"\n\n[dataset.c.fantom]\n"), @r"
    error: unknown kind of stage `fine_tune`
       ┌─ tiny.toml:11:10
       │
    11 │ [stage.b.fine_tune]
       │          ^^^^^^^^^
       │
       = help: did you mean `finetune`?

    error: unknown kind of dataset `fantom`
       ┌─ tiny.toml:14:12
       │
    14 │ [dataset.c.fantom]
       │            ^^^^^^
       │
       = help: did you mean `phantom`?
    ");
}

#[test]
fn a_circle_is_shown_with_its_way() {
    let stages = "\n[stage.b.finetune]\nfrom = \"c\"\ndataset = \"cells\"\n\n\
                  [stage.c.finetune]\nfrom = \"b\"\ndataset = \"cells\"\n";
    assert_snapshot!(complaint(stages), @r"
    error: stages depend on each other in a cycle: b -> c -> b
       ┌─ tiny.toml:11:8
       │
    11 │ [stage.b.finetune]
       │        ^
       │
       = help: change the inputs of one of them
    ");
}

#[test]
fn a_missing_file_is_named_as_it_was_looked_for() {
    assert_snapshot!(complaint("\n[dataset.breast.medmnist]\npath = \"data/breast.npz\"\n"), @r#"
    error: no such file: data/breast.npz
       ┌─ tiny.toml:12:8
       │
    12 │ path = "data/breast.npz"
       │        ^^^^^^^^^^^^^^^^^
       │
       = help: paths are relative to the experiment file's folder
    "#);
}

#[test]
fn a_bad_sweep_is_explained_value_by_value() {
    let sweep =
        "normalize = \"${norm}\"\n\n[sweep]\nseed = []\nlr = [0.1, 0.1]\nmetric = [\"a\"]\nunused = [1]\n";
    assert_snapshot!(complaint(sweep), @r#"
    error: unknown axis `norm` in `${norm}`
       ┌─ tiny.toml:10:13
       │
    10 │ normalize = "${norm}"
       │             ^^^^^^^^^
       │
       = help: expected one of `seed`, `lr`, `metric`, `unused`, `data`

    error: axis `seed` has no values
       ┌─ tiny.toml:13:8
       │
    13 │ seed = []
       │        ^^

    error: axis `lr` is unused
       ┌─ tiny.toml:14:1
       │
    14 │ lr = [0.1, 0.1]
       │ ^^
       │
       = help: write `${lr}` in a stage or data set, or remove the axis

    error: axis `lr` has the duplicate value `0.1`
       ┌─ tiny.toml:14:12
       │
    14 │ lr = [0.1, 0.1]
       │            ^^^

    error: an axis cannot be named `metric`
       ┌─ tiny.toml:15:1
       │
    15 │ metric = ["a"]
       │ ^^^^^^
       │
       = help: it is a column of metrics.csv

    error: axis `unused` is unused
       ┌─ tiny.toml:16:1
       │
    16 │ unused = [1]
       │ ^^^^^^
       │
       = help: write `${unused}` in a stage or data set, or remove the axis
    "#);
}

#[test]
fn several_errors_are_told_in_one_go_and_in_order() {
    let text = "\
[experiment]
name = \"not a folder\"

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
    assert_snapshot!(parse(text).unwrap_err(), @r#"
    error: "not a folder" is not a valid name of an experiment
      ┌─ tiny.toml:2:8
      │
    2 │ name = "not a folder"
      │        ^^^^^^^^^^^^^^
      │
      = help: use letters, digits, -, _ and ., with / between nested folders; it is the folder under results/

    error: `epochs` must be 1 or more, not 0
      ┌─ tiny.toml:8:10
      │
    8 │ epochs = 0
      │          ^

    error: unknown key `optimzer`
      ┌─ tiny.toml:9:1
      │
    9 │ optimzer = "sgd"
      │ ^^^^^^^^
      │
      = help: did you mean `optimizer`?

    error: unknown value `cell`
       ┌─ tiny.toml:12:10
       │
    12 │ family = "cell"
       │          ^^^^^^
       │
       = help: did you mean `cells`?

    error: unknown axis `targt` in `${targt}`
       ┌─ tiny.toml:15:10
       │
    15 │ family = "${targt}"
       │          ^^^^^^^^^^
       │
       = help: did you mean `target`?

    error: unknown value `resnet19`
       ┌─ tiny.toml:18:12
       │
    18 │ backbone = "resnet19"
       │            ^^^^^^^^^^
       │
       = help: did you mean `resnet18`?

    error: unknown data set `celsl`
       ┌─ tiny.toml:19:11
       │
    19 │ dataset = "celsl"
       │           ^^^^^^^
       │
       = help: did you mean `cells`?

    error: expected a non-negative integer, found string "many"
       ┌─ tiny.toml:20:14
       │
    20 │ batch_size = "many"
       │              ^^^^^^

    error: missing key `from`
       ┌─ tiny.toml:22:1
       │
    22 │ [stage.b.finetune]
       │ ^^^^^^^^^^^^^^^^^^

    error: a stage has no table `train`
       ┌─ tiny.toml:24:1
       │
    24 │ train = { epochs = 3 }
       │ ^^^^^
       │
       = help: write its keys directly in the stage, as in `epochs = 5`

    error: unknown stage `bb`
       ┌─ tiny.toml:27:29
       │
    27 │ models = { "A" = "a", "B" = "bb" }
       │                             ^^^^
       │
       = help: did you mean `b`?

    error: unknown metric `macro_f2`
       ┌─ tiny.toml:32:12
       │
    32 │ metrics = ["macro_f2"]
       │            ^^^^^^^^^^
       │
       = help: did you mean `macro_f1`?

    error: unknown field `metrc`
       ┌─ tiny.toml:33:22
       │
    33 │ columns = ["target", "metrc"]
       │                      ^^^^^^^
       │
       = help: did you mean `metric`?
    "#);
}

#[test]
fn the_first_syntax_error_is_told() {
    assert_snapshot!(complaint("epochs = \nbatch_size = 3 4\n"), @r"
    error: string values must be quoted, expected literal string
       ┌─ tiny.toml:10:10
       │
    10 │ epochs =
       │          ^
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let workplace = Workplace::new("").with("experiment.toml", b"\xff");
    let message = workplace.load().unwrap_err().to_string();
    assert!(message.contains("failed to read") && message.contains("invalid utf-8"), "{message}");
    let message = Experiment::load(&workplace.path("none.toml")).unwrap_err().to_string();
    assert!(message.contains("none.toml: No such file"), "{message}");
}

/// What is said of the tiny file with these overrides.
fn complaint_of(overrides: &[&str]) -> String {
    let overrides = overrides.iter().copied().map(Override::from).collect();
    let source = Source { overrides, ..Source::new("tiny.toml", DATA) };
    Experiment::parse(source).expect_err("the experiment is invalid").to_string()
}

#[test]
fn an_override_that_is_wrong_is_underlined_as_it_was_typed() {
    let overrides = ["stage.a.epochs=-5", "stage.a.optimiser.adamw.lr=0.1", "train.batch_size = many"];
    assert_snapshot!(complaint_of(&overrides), @r#"
    error: expected a non-negative integer, found integer `-5`
      ┌─ tiny.toml --set:1:16
      │
    1 │ stage.a.epochs=-5
      │                ^^

    error: unknown key `optimiser`
      ┌─ tiny.toml --set:2:9
      │
    2 │ stage.a.optimiser.adamw.lr=0.1
      │         ^^^^^^^^^
      │
      = help: did you mean `optimizer`?

    error: expected a non-negative integer, found string "many"
      ┌─ tiny.toml --set:3:20
      │
    3 │ train.batch_size = many
      │                    ^^^^
    "#);
}

#[test]
fn an_override_of_nothing_in_the_file_is_answered_with_a_near_one() {
    let overrides = ["stage.aa.epochs=5", "dataset.cells.cifar.size=28", "sweep.seed=[0]"];
    assert_snapshot!(complaint_of(&overrides), @r"
    error: unknown stage `aa`
      ┌─ tiny.toml --set:1:7
      │
    1 │ stage.aa.epochs=5
      │       ^^
      │
      = help: did you mean `a`?

    error: data set `cells` is a `phantom`, not a `cifar`
      ┌─ tiny.toml --set:2:15
      │
    2 │ dataset.cells.cifar.size=28
      │               ^^^^^

    error: unknown axis `seed`
      ┌─ tiny.toml --set:3:7
      │
    3 │ sweep.seed=[0]
      │       ^^^^
    ");
}

#[test]
fn an_override_that_is_malformed_is_underlined_where_it_is() {
    let overrides = ["stage.a..epochs=5", "train.epochs", "stage.a.normalize={ mean = [0.5, }"];
    assert_snapshot!(complaint_of(&overrides), @r"
    error: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`
      ┌─ tiny.toml --set:1:9
      │
    1 │ stage.a..epochs=5
      │         ^

    error: expected KEY=VALUE, found no `=`
      ┌─ tiny.toml --set:2:1
      │
    2 │ train.epochs
      │ ^^^^^^^^^^^^
      │
      = help: write it as in `train.epochs=5`

    error: missing inline table opening, expected `{`
      ┌─ tiny.toml --set:3:34
      │
    3 │ stage.a.normalize={ mean = [0.5, }
      │                                  ^
    ");
}

#[test]
fn an_override_is_checked_beside_the_file_and_its_paths_start_there() {
    let overrides = vec![Override::from("dataset.cells.family=cell"), "stage.i.path=b.pth".into()];
    let text = format!("{DATA}epoch = 3\n\n[stage.i.import]\nbackbone = \"resnet18\"\npath = \"a.pth\"\n");
    let source = Source { overrides, ..Source::new("folder/tiny.toml", text) };
    assert_snapshot!(Experiment::parse(source).unwrap_err(), @r"
    error: unknown key `epoch`
       ┌─ folder/tiny.toml:10:1
       │
    10 │ epoch = 3
       │ ^^^^^
       │
       = help: did you mean `epochs`?

    error: unknown value `cell`
      ┌─ folder/tiny.toml --set:1:22
      │
    1 │ dataset.cells.family=cell
      │                      ^^^^
      │
      = help: did you mean `cells`?

    error: no such file: folder/b.pth
      ┌─ folder/tiny.toml --set:2:14
      │
    2 │ stage.i.path=b.pth
      │              ^^^^^
      │
      = help: paths are relative to the experiment file's folder
    ");
}

#[test]
fn a_source_sent_elsewhere_says_the_same() {
    let overrides = vec![Override::from("sweep.target=[\"lesions\"]"), "stage.source.epochs=9".into()];
    let source = Source { overrides, ..Source::new("swept.toml", SWEPT) };
    let sent = serde_json::from_str(&serde_json::to_string(&source).unwrap()).unwrap();
    assert_eq!(source, sent);
    let (here, there) = (Experiment::parse(source).unwrap(), Experiment::parse(sent).unwrap());
    assert_eq!(content(&here), content(&there));
    assert_ne!(content(&here), content(&parse(SWEPT).unwrap()));
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
        for (&dataset, input) in stage.datasets.iter().zip(stage.spec.datasets()) {
            assert_eq!(experiment.datasets[dataset].name, input.dataset);
        }
    }
}

#[test]
fn train_is_merged_and_the_axes_are_filled_in() {
    let experiment = parse(SWEPT).unwrap();
    let train = |position: usize| experiment.stages[position].spec.train().unwrap().clone();
    let (source, last) = (train(0), train(12));
    assert_eq!(
        source,
        TrainSpec { epochs: 2, seed: 7, optimizer: OptimizerSpec::Sgd(SgdSpec::default()), ..last.clone() }
    );
    let OptimizerSpec::Adamw(adamw) = last.optimizer else { panic!("it is AdamW") };
    assert_eq!((last.seed, adamw.lr, adamw.eps, adamw.weight_decay), (2, 1e-3, 0.25, 0.5));
    let StageSpec::Pretrain(source) = &experiment.stages[0].spec else { panic!("it is a pretraining") };
    assert_eq!(source.normalize.std, [0.229, 0.224, 0.225]);
}

#[test]
fn paths_start_from_the_file_and_data_from_the_environment() {
    let text =
        format!("{DATA}\n[stage.i.import]\nbackbone = \"resnet18\"\npath = \"models/a.safetensors\"\n");
    let workplace = Workplace::new(&text).with("models/a.safetensors", "");
    let experiment = workplace.load().unwrap();
    assert_eq!(experiment.stages[1].spec.files(), [workplace.path("models/a.safetensors")]);
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
    fn nesting_without_end_never_panics(depth in 1_usize..20_000) {
        let _ = parse(&format!("x{} = 1", ".x".repeat(depth)));
        let _ = parse(&format!("x = {}", "[".repeat(depth)));
        let _ = parse(&format!("[stage.a.merge{}]", ".x".repeat(depth)));
    }

    #[test]
    fn an_arbitrary_override_never_panics(text in any::<String>(), key in any::<prop::sample::Index>(), words in soup()) {
        let keys = ["", "=", "train.", "stage.final.", "sweep.seed=", "dataset.cells.family=", "x.\"=\"="];
        let overrides = [text, format!("{}{words}", key.get(&keys))].map(|text| text.as_str().into()).to_vec();
        let checked = Experiment::parse(Source { overrides, ..Source::new("swept.toml", SWEPT) });
        let _ = checked.map_err(|errors| errors.to_string());
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
    fn to_override_a_key_is_to_write_it_in_the_file(
        place in prop::sample::select(vec![
            ("[train]", "train", "batch_size"),
            ("[train]", "train", "clip_norm"),
            ("[stage.final.finetune]", "stage.final", "epochs"),
            ("[stage.source.pretrain]", "stage.source.pretrain", "optimizer.sgd.lr"),
            ("[dataset.cells.phantom]", "dataset.cells", "train"),
        ]),
        // a batch needs two images
        value in 2..99,
        said in prop::option::of(2..99),
    ) {
        let (header, section, key) = place;
        let text = SWEPT.replace("optimizer = \"sgd\"\n", "optimizer.sgd.momentum = 0.5\n");
        let saying = |value: i32| text.replace(header, &format!("{header}\n{key} = {value}"));
        let file = said.map_or(text.clone(), saying);
        let overrides = vec![Override::from(format!("{section}.{key}={value}").as_str())];
        let overridden = Experiment::parse(Source { overrides, ..Source::new("swept.toml", file) });
        prop_assert_eq!(content(&overridden.unwrap()), content(&parse(&saying(value)).unwrap()));
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
