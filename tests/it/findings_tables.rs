//! Tables of results that are not as they should be, and in forms for papers and narrow terminals.

use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use medmerge::identity::{Ancestry, Fingerprint, Numerics};
use medmerge::plan::{Plan, PlannedStage};
use medmerge::stage::{Artifact, Evaluation, Prediction};
use medmerge::store::{EntryHeader, Store};
use predicates::prelude::*;
use predicates::str::contains;

use super::builder::Workplace;

/// Two models that need no training to be evaluated: their predictions are put into the store.
const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 32

[stage.good.pretrain]
backbone.resnet18 = { stem = "small", width = 16 }
dataset = "cells"
seed = 1

[stage.bad.pretrain]
backbone.resnet18 = { stem = "small", width = 16 }
dataset = "cells"
seed = 2

[stage.scores.evaluate]
models = { "good" = "good", "bad" = "bad" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["macro_f1", "log_loss"]
"#;

fn header(stage: &PlannedStage, inputs: &[Fingerprint], datasets: &[Fingerprint]) -> EntryHeader {
    let roles = stage.inputs.iter().map(|(input, _)| input.role.clone());
    let data = stage.datasets.iter().map(|(input, _)| input.role.clone());
    EntryHeader {
        fingerprint: stage.fingerprint,
        kind: "evaluate".into(),
        revision: 1,
        fields: stage.fields.clone(),
        inputs: roles.zip(inputs.iter().copied()).collect(),
        datasets: data.zip(datasets.iter().copied()).collect(),
        dataset_names: vec!["cells".into()],
        ancestry: Ancestry::new(),
        stage_ids: vec![stage.id.clone()],
        description: stage.description.clone(),
        started: SystemTime::UNIX_EPOCH,
        seconds: 1.0,
        peak_memory: None,
    }
}

/// A store in which `good` is right about one image of two, and `bad` has no finite output.
fn evaluated(experiment: &str) -> Workplace {
    let workplace = Workplace::new(experiment);
    let store = Store::open(&workplace.path(".medmerge")).unwrap();
    let plan = Plan::new(Arc::new(workplace.load().unwrap()), &store, Numerics::Cpu).unwrap();
    let stage = plan.stages().find(|stage| stage.name == "scores").unwrap();
    let models: Vec<Fingerprint> =
        stage.inputs.iter().map(|(_, node)| plan.stage(*node).fingerprint).collect();
    let (_, data) = &stage.datasets[0];
    let classes = data.summary.classes.len();
    let row = |class: usize| (0..classes).map(|other| f32::from(u8::from(other == class))).collect();
    let prediction = |model, probabilities| Prediction {
        model,
        dataset: data.fingerprint,
        images: vec!["test/0".into(), "test/1".into()],
        labels: vec![0, 1].into(),
        probabilities,
    };
    let predictions = vec![
        prediction(models[0], vec![row(0), row(0)]),
        prediction(models[1], vec![vec![f32::NAN; classes]; 2]),
    ];
    let evaluation = Artifact::Evaluation(Evaluation { predictions });
    store.put(header(stage, &models, &[data.fingerprint]), &evaluation, "").unwrap();
    workplace
}

#[test]
fn f16_predictions_that_cannot_be_scored_leave_the_other_tables_whole() {
    let bootstrap = format!("{EXPERIMENT}interval = \"bootstrap\"\nresamples = 100\n");
    for experiment in [EXPERIMENT, &bootstrap] {
        let workplace = evaluated(experiment);
        let warning = "failed to score the predictions of scores for the model \\\"bad\\\" on \\\"cells\\\"";
        let warning = warning.replace('\\', "");
        let table = workplace.medmerge(&["table", "experiment.toml"]).assert().success();
        table.stderr(contains(warning).and(contains("not finite")));
        let csv = fs::read_to_string(workplace.path("results/tiny/main.csv")).unwrap();
        let row = |name: &str| csv.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row("good,0.").split(',').nth(1).is_some(), "{csv}");
        assert!(row("bad,").starts_with("bad,,,0"), "{csv}");
    }
}

#[test]
fn f11_papers_get_names_digits_and_percent_and_scripts_get_the_names_of_the_file() {
    let keys = r#"digits = 1
percent = true
labels = { model = "Method", good = "A & B", cells = "Cells" }
metrics = ["macro_f1", "accuracy"]
columns = ["dataset", "metric"]
"#;
    let experiment = EXPERIMENT.replace("metrics = [\"macro_f1\", \"log_loss\"]\n", keys);
    let workplace = evaluated(&experiment);
    workplace.medmerge(&["table", "experiment.toml"]).assert().success();
    let read = |file: &str| fs::read_to_string(workplace.path(&format!("results/tiny/{file}"))).unwrap();
    insta::assert_snapshot!([read("main.md"), read("main.tex"), read("main.csv")].join("\n"));
}

#[test]
fn f11_a_label_for_nothing_and_a_percentage_of_no_fraction_are_errors() {
    let experiment =
        format!("{EXPERIMENT}labels = {{ godo = \"A\", good = \"\" }}\npercent = true\ndigits = 99\n");
    let errors = Workplace::new(&experiment).load().unwrap_err().to_string();
    for expected in [
        "unknown name `godo`",
        "did you mean `good`?",
        "`percent` cannot show `log_loss`",
        "`digits` must be 0 to 10, not 99",
        "the label of `good` is empty",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
}
