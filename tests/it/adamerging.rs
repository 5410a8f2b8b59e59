//! Merge weights of task vectors, learned by the entropy of predictions: whole experiments, resumption, refusals.

use std::sync::Arc;

use medmerge::stage::Artifact;
use medmerge::train::resume::Forgetful;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::builder::Workplace;
use crate::pipeline::made_by_one_thread_and_two;
use crate::resume::{content, holds, pretrain, run, spec, with};

const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 32
val = 16
test = 16

[dataset.xray.phantom]
family = "xray"
size = 12
train = 32
val = 16
test = 16

[train]
epochs = 2
batch_size = 16
augment = ["horizontal_flip"]

[stage.start.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "cells"
seed = 7

[stage.a.finetune]
from = "start"
dataset = "xray"
seed = 1

[stage.b.finetune]
from = "start"
dataset = "xray"
seed = 2

[stage.weights.learn_merge_weights]
sources = ["a", "b"]
base = "start"
head = "mean"
granularity = "layer"
constraint = "box"
dataset = "xray"
loss = "entropy"
select = "entropy"
epochs = 4
optimizer.adam = { lr = 0.01 }

[stage.merged.merge]
sources = ["a", "b"]
method.learned = { weights = "weights", base = "start" }
dataset = "xray"

[stage.scores.evaluate]
models = { "AdaMerging" = "merged" }
datasets = ["xray"]

[table.main]
from = ["scores"]
metrics = ["macro_f1"]

[figure.coefficients.layers]
from = ["weights"]
"#;

#[test]
fn an_experiment_runs_once_and_one_thread_and_two_give_the_same_bytes() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 6, fresh 0"));
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 6"));
    let table = std::fs::read_to_string(workplace.path("results/tiny/main.csv")).unwrap();
    assert!(table.contains("AdaMerging"), "{table}");
    let figure = std::fs::read_to_string(workplace.path("results/tiny/coefficients.csv")).unwrap();
    assert!(figure.contains("conv1") && !figure.contains("start"), "coefficients of two sources: {figure}");
    let shown = workplace.medmerge(&["show", "weights", "--experiment", "experiment.toml"]).output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let names = made_by_one_thread_and_two(EXPERIMENT);
    assert!(names.iter().any(|name| name.ends_with("merge_weights.safetensors")));
}

#[test]
fn a_whole_experiment_needs_no_base() {
    let text = EXPERIMENT.replace("base = \"start\"\nhead", "head").replace(", base = \"start\"", "");
    Workplace::new(&text)
        .medmerge(&["run", "experiment.toml"])
        .assert()
        .code(0)
        .stderr(contains("executed 6, fresh 0"));
}

/// What `plan` says about the experiment with changed sections.
fn refused(changes: &[(&str, &str)], message: &str) {
    let mut text = EXPERIMENT.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let output = Workplace::new(&text).medmerge(&["plan", "experiment.toml"]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains(message), "{told}");
}

#[test]
fn wrong_combinations_are_refused_with_advice() {
    let other = "[stage.other.pretrain]\nbackbone.resnet18 = { stem = \"small\", width = 8 }\n\
                 dataset = \"xray\"\nseed = 9\n\n[stage.weights.learn";
    let base = "base = \"start\"\nhead";
    for (changes, message) in [
        (
            &[("loss = \"entropy\"\n", ""), ("[train]\n", "[train]\nloss = \"entropy\"\n")][..],
            "uses no labels",
        ),
        (&[("head = \"mean\"\n", "")], "trains no head, so a new one would stay random"),
        (&[("head = \"mean\"", "head = \"mean\"\nsampling = \"balanced\"")], "draws by label"),
        (&[("head = \"mean\"", "head = \"mean\"\naugment = [\"mixup\"]")], "mixed images show two classes"),
        (&[(base, "base = \"a\"\nhead")], "`base` is `a`, which is also a source"),
        (&[("\"box\"", "\"convex\"")], "where a base cancels out"),
        (&[(", base = \"start\"", "")], "multiply differences from a common start; name it"),
        (&[(base, "head")], "were learned without a base; leave out `base`"),
        (
            &[("[stage.weights.learn", other), (base, "base = \"other\"\nhead")],
            "but a base must be the common start of all sources",
        ),
        (
            &[
                ("sources = [\"a\", \"b\"]\nbase", "sources = [\"a\", \"a2\"]\nbase"),
                (
                    "[stage.weights.learn",
                    "[stage.a2.finetune]\nfrom = \"start\"\ndataset = \"cells\"\n\n[stage.weights.learn",
                ),
            ],
            "the source `a2` has no head for the classes of data set `xray`",
        ),
    ] {
        refused(changes, message);
    }
}

/// Entropy with and without a base, with the options of other trainings.
fn specs() -> Vec<(Value, Value)> {
    let anchored = json!({ "sources": ["a", "b"], "anchor": "a" });
    let based = json!({
        "sources": ["a", "b"], "base": "start", "head": "mean", "granularity": "layer", "constraint": "box",
        "decay_to_start": 0.5,
    });
    let entropy = json!({ "loss": { "entropy": {} } });
    let all = json!({
        "loss": { "entropy": {} }, "select": "entropy", "ema": 0.8, "batch_size": 8, "accumulate": 2,
        "augment": [{ "horizontal_flip": {} }],
    });
    vec![(anchored.clone(), entropy.clone()), (anchored, all.clone()), (based.clone(), entropy), (based, all)]
}

#[test]
fn an_interrupted_training_goes_on_bit_by_bit() {
    let [a, b, start] = [1, 2, 3].map(|seed| pretrain(seed).1);
    for (body, options) in specs() {
        let third = if body.get("base").is_some() { &start } else { &a };
        let inputs = [a.clone(), b.clone(), third.clone()];
        holds(&spec("learn_merge_weights", body, &with(&options)), &inputs);
    }
}

#[test]
fn the_entropy_falls_the_head_stays_and_selection_is_recorded() {
    let [a, b] = [1, 2].map(|seed| pretrain(seed).1);
    let options = json!({
        "loss": { "entropy": {} }, "select": "entropy", "epochs": 8, "augment": [],
        "optimizer": { "adam": { "lr": 0.02 } },
    });
    let body = json!({ "sources": ["a", "b"], "anchor": "a" });
    let made = run(
        &spec("learn_merge_weights", body, &with(&options)),
        &[a.clone(), b, a.clone()],
        &Forgetful,
        &|_| Ok(()),
    );
    let (learned, history) = content(&made.unwrap());
    assert!(history[7].train_loss < 0.8 * history[0].train_loss, "{history:?}");
    let best = history.iter().filter(|epoch| epoch.best).map(|epoch| epoch.val["entropy"]);
    assert!(best.clone().count() > 0 && best.clone().zip(best.skip(1)).all(|(a, b)| b < a), "{history:?}");
    let anchor: &Arc<Artifact> = &a;
    let (anchor, _) = content(anchor);
    for name in ["fc.weight", "fc.bias"] {
        assert_eq!(learned[name], anchor[name], "{name}");
    }
}
