//! What `medmerge plan` says a run would take, and pictures of it.

use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use serde_json::Value;

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"
description = "A source, probed twice and averaged."

[dataset.cells.phantom]
family = "cells"
train = 16
val = 8
test = 8

[train]
epochs = 1
batch_size = 8

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 16 }
dataset = "cells"
seed = 1

[stage.probe_a.finetune]
from = "source"
dataset = "cells"
trainable = "head"
seed = 2

[stage.probe_b.finetune]
from = "source"
dataset = "cells"
seed = 3

[stage.merged.merge]
sources = ["probe_a", "probe_b"]
method = "average"
batch_norm = "merged"

[stage.scores.evaluate]
models = { "Average" = "merged" }
datasets = ["cells"]
"#;

fn json(workplace: &Workplace, arguments: &[&str]) -> Value {
    let output = workplace.medmerge(arguments).output().expect("a plan");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_plan_says_what_each_stage_and_all_of_them_take() {
    let arguments = ["plan", "experiment.toml", "--threads", "2", "--jobs", "2"];
    let output = Workplace::new(EXPERIMENT).medmerge(&arguments).output().expect("a plan");
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @r"
    tiny: 5 stages, 5 to run
      run    pretrain  source   0.0 s  121.7 MiB memory  2.7 MiB disk  never made
      run    finetune  probe_a  0.0 s  104.0 MiB memory  2.7 MiB disk  never made
      run    finetune  probe_b  0.0 s  124.4 MiB memory  2.7 MiB disk  never made
      run    merge     merged   0.0 s  108.0 MiB memory  2.7 MiB disk  never made
      run    evaluate  scores   0.0 s  104.0 MiB memory  0.6 KiB disk  never made
    times are guesses: stages of these kinds have not run here yet: evaluate, finetune, pretrain
    total 0.1 s and 10.7 MiB disk; critical path 0.1 s; with --jobs 2 0.1 s
    ");
}

#[test]
fn measured_times_take_the_place_of_guesses() {
    let speeds = r#"{"cpu-f32": {"pretrain": 1e6, "finetune": 1e9, "evaluate": 1e9}}"#;
    let workplace = Workplace::new(EXPERIMENT).with(".medmerge/throughput.json", speeds);
    let plan = workplace.medmerge(&["plan", "experiment.toml", "--threads", "1"]).assert().code(0);
    plan.stdout(contains("guesses").not().and(contains("with --jobs 1 ")).and(contains(" min ")));
}

#[test]
fn entries_take_the_room_that_was_planned() {
    let workplace = Workplace::new(EXPERIMENT);
    let planned = json(&workplace, &["plan", "experiment.toml", "--json"]);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let entries = json(&workplace, &["store", "list", "--json"]);
    for stage in planned["stages"].as_array().expect("stages").iter().filter(|s| s["kind"] != "evaluate") {
        let mut made = entries.as_array().expect("entries").iter();
        let made = made.find(|entry| entry["fingerprint"] == stage["fingerprint"]).expect("an entry");
        let ratio = stage["estimate"]["disk_bytes"].as_f64().unwrap() / made["bytes"].as_f64().unwrap();
        assert!((0.95..=1.0).contains(&ratio), "{}: {ratio}", stage["id"]);
    }
    let plan = workplace.medmerge(&["plan", "experiment.toml"]).assert().code(0);
    plan.stdout(starts_with("tiny: 5 stages, 0 to run\n").and(contains("in sum").not()));
}

#[test]
fn a_plan_is_printed_in_one_form_at_a_time() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["plan", "experiment.toml", "--dot", "--json"]).assert().code(2);
    let dot = workplace.medmerge(&["plan", "experiment.toml", "--dot"]).assert().code(0);
    dot.stdout(starts_with("digraph \"tiny\" {\n").and(contains(" -> ").count(5)));
    let mermaid = workplace.medmerge(&["plan", "experiment.toml", "--mermaid"]).assert().code(0);
    mermaid.stdout(starts_with("flowchart LR\n").and(contains(" -->|").count(5)));
}
