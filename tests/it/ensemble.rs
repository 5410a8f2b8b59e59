//! Ensembles from the experiment file to the table.

use std::collections::BTreeMap;

use predicates::str::contains;

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "together"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 24
val = 8
test = 10

[train]
epochs = 1
batch_size = 12

[stage.a.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 1

[stage.b.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 2

[stage.scores.evaluate]
models = { A = "a", B = "b" }
ensembles."A and B" = { models = ["a", "b"] }
ensembles."Logits" = { models = ["b", "a"], of = "logits" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

/// The probabilities in each of the predictions' files.
fn probabilities(workplace: &Workplace) -> Vec<Vec<Vec<f64>>> {
    let files = crate::pipeline::entries(&workplace.path(".medmerge"));
    let predictions: BTreeMap<_, _> =
        files.into_iter().filter(|(name, _)| name.ends_with("predictions.csv")).collect();
    let row = |line: &str| line.split(',').skip(3).map(|p| p.parse().unwrap()).collect();
    let rows = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().lines().skip(1).map(row).collect();
    predictions.into_values().map(rows).collect()
}

/// The largest difference of two predictions.
fn apart(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn ensembles_are_rows_behind_the_models_and_are_made_once() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 3, fresh 0"));
    let table = std::fs::read_to_string(workplace.path("results/together/main.csv")).unwrap();
    let labels: Vec<_> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(labels, ["A", "B", "A and B", "Logits"]);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains("executed 0, fresh 3"));
}

/// 32 images in batches of 16: two steps each of the merge weights and of fine-tuning; heads alone do not count. An
/// ensemble takes the steps of its members, each stage once.
#[test]
fn a_table_says_how_many_steps_each_row_took() {
    let together = "datasets = [\"xray\"]\nensembles.both = { models = [\"merged\", \"final\"] }\n";
    let experiment =
        crate::builder::EXPERIMENT.replace("datasets = [\"xray\"]\n", together) + "steps = true\n";
    let workplace = Workplace::new(&experiment);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let table = std::fs::read_to_string(workplace.path("results/tiny/main.md")).unwrap();
    let said = "(steps of the head alone not counted): 2 (32 images) for merged; 0 (0 images) for average; \
                4 (64 images) for final, both.";
    assert!(table.contains(said), "{table}");
}

#[test]
fn an_ensemble_of_probabilities_is_the_mean_of_its_members() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let predictions = probabilities(&workplace);
    assert_eq!(predictions.len(), 4);
    let means = (0..4).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|&(i, j)| {
        let mean: Vec<Vec<f64>> = predictions[i]
            .iter()
            .zip(&predictions[j])
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect())
            .collect();
        (0..4).any(|k| k != i && k != j && apart(&mean, &predictions[k]) < 1e-6)
    });
    assert_eq!(means.count(), 1, "two of them have a mean among the others");
}

#[test]
fn members_enter_the_plan_by_role_and_name() {
    let workplace = Workplace::new(EXPERIMENT);
    let output = workplace.medmerge(&["plan", "experiment.toml", "--json"]).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let inputs: Vec<_> = plan["stages"][2]["inputs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        inputs,
        [
            "model.A",
            "model.B",
            "ensemble.0.probabilities.a",
            "ensemble.0.probabilities.b",
            "ensemble.1.logits.b",
            "ensemble.1.logits.a",
        ]
    );
}

#[test]
fn what_is_averaged_is_in_the_fingerprint_and_the_order_of_the_members_is_not() {
    let fingerprint = |text: &str| {
        let workplace = Workplace::new(text);
        let output = workplace.medmerge(&["plan", "experiment.toml", "--json"]).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["stages"][2]["fingerprint"].as_str().unwrap().to_owned()
    };
    let first = fingerprint(EXPERIMENT);
    assert_eq!(first, fingerprint(&EXPERIMENT.replace("[\"b\", \"a\"]", "[\"a\", \"b\"]")));
    assert_eq!(first, fingerprint(&EXPERIMENT.replace("\"Logits\"", "\"Mean of logits\"")));
    assert_ne!(first, fingerprint(&EXPERIMENT.replace(", of = \"logits\"", "")));
    let without = |line: &&str| !line.starts_with("ensembles");
    let plain: String = EXPERIMENT.lines().filter(without).map(|line| format!("{line}\n")).collect();
    assert_ne!(first, fingerprint(&plain));
}

#[test]
fn a_member_without_a_head_for_the_data_set_is_told_before_anything_runs() {
    let text = EXPERIMENT.replace(
        "[stage.b.pretrain]",
        "[dataset.xray.phantom]\nfamily = \"xray\"\nsize = 12\n[stage.b.pretrain]",
    );
    let (before, after) = text.split_once("[stage.b.pretrain]").unwrap();
    let text = format!("{before}[stage.b.pretrain]{}", after.replacen("\"cells\"", "\"xray\"", 1));
    let workplace = Workplace::new(&text);
    let told = contains("stage `b` of the ensemble \"A and B\" has a head for 3");
    workplace.medmerge(&["check", "experiment.toml"]).assert().code(2).stderr(told);
}
