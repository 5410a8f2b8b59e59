//! `medmerge run` from an experiment file to its tables, on a tiny experiment.

use std::fs;
use std::path::PathBuf;

use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"
description = "A source, fine-tuned twice."

[sweep]
seed = [0, 1]

[dataset.cells.phantom]
family = "cells"
train = 16
val = 8
test = 8

[train]
epochs = 1
batch_size = 8
select = "none"

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
seed = 1

[stage.tuned.finetune]
from = "source"
dataset = "cells"

[stage.scores.evaluate]
models = { "FT" = "tuned" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

fn lab() -> Workplace {
    Workplace::new(EXPERIMENT)
}

fn run(lab: &Workplace, arguments: &[&str]) -> Assert {
    lab.medmerge(&[&["run", "experiment.toml"], arguments].concat()).assert()
}

fn read(lab: &Workplace, path: &str) -> String {
    fs::read_to_string(lab.path(path)).unwrap()
}

/// A file of that ending in the store.
fn stored(lab: &Workplace, ending: &str) -> PathBuf {
    let folders = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files = folders(lab.path(".medmerge/store")).flat_map(folders).flat_map(folders);
    files.find(|path| path.to_str().unwrap().ends_with(ending)).unwrap()
}

fn ends_with(line: &str) -> impl Predicate<str> + use<'_> {
    predicates::function::function(move |text: &str| {
        text.lines().last().unwrap_or_default().starts_with(line)
    })
}

#[test]
fn what_was_made_is_not_made_again() {
    let lab = lab();
    let first = run(&lab, &[]).code(0).stderr(ends_with("executed 5, fresh 0, failed 0, skipped 0 in "));
    first.stdout(contains("results/tiny/main.csv"));
    let metrics = read(&lab, "results/tiny/metrics.csv");
    assert!(metrics.starts_with("experiment,stage,model,dataset,split,seed,metric,value,n\n"), "{metrics}");
    assert!(metrics.contains("\ntiny,scores,FT,cells,test,1,accuracy,"), "{metrics}");

    run(&lab, &[]).code(0).stderr(ends_with("executed 0, fresh 5, failed 0, skipped 0 in "));
    assert_eq!(read(&lab, "results/tiny/metrics.csv"), metrics);
}

#[test]
fn a_stage_can_be_made_again_and_gives_the_same_bytes() {
    let lab = lab();
    run(&lab, &["--quiet"]).code(0);
    let model = stored(&lab, "model.safetensors");
    let before = fs::read(&model).unwrap();
    let rerun = run(&lab, &["--rerun", "source", "--rerun", "tuned[seed=1]", "--log-format", "plain"]);
    rerun.code(0).stderr(contains("[1/2] source: pretrain\n").and(ends_with("executed 2, fresh 3, ")));
    assert_eq!(fs::read(&model).unwrap(), before);
    run(&lab, &["--rerun", "sorce"]).code(2).stderr(contains("did you mean \"source\"?"));
}

#[test]
fn a_part_runs_with_what_it_needs_and_no_more() {
    let lab = lab();
    run(&lab, &["--only", "source"]).code(0).stdout("").stderr(ends_with("executed 1, fresh 0, "));
    run(&lab, &["--only", "tuned[seed=1]"]).code(0).stderr(ends_with("executed 1, fresh 1, "));
    let rerun = run(&lab, &["--only", "tuned[seed=1]", "--rerun", "source", "--log-format", "plain"]);
    rerun.code(0).stderr(contains("[1/1] source: pretrain\n").and(ends_with("executed 1, fresh 1, ")));
    let rest = run(&lab, &["--only", "main"]).code(0).stdout(contains("results/tiny/main.csv"));
    rest.stderr(ends_with("executed 3, fresh 2, "));
}

#[test]
fn a_table_is_a_part_and_the_only_one_to_be_printed() {
    let twin = EXPERIMENT.split_once("[table.main]").unwrap().1;
    let lab = Workplace::new(&format!("{EXPERIMENT}[table.scores]{twin}"));
    let both = contains("results/tiny/main.csv").and(contains("results/tiny/scores.csv"));
    run(&lab, &["--only", "scores"]).code(0).stdout(both).stderr(ends_with("executed 5, fresh 0, "));
    let scores = contains("results/tiny/scores.csv").and(contains("results/tiny/main.csv").not());
    run(&lab, &["--only", "table:scores"]).code(0).stdout(scores).stderr(ends_with("executed 0, fresh 5, "));
}

#[test]
fn tables_are_printed_as_their_files_and_intervals_come_from_the_store() {
    let lab = lab();
    run(&lab, &["--quiet"]).code(0);
    let table = |arguments: &[&str]| {
        lab.medmerge(&[&["table", "experiment.toml"], arguments].concat()).assert().code(0)
    };
    for (format, ending) in [("markdown", "md"), ("latex", "tex"), ("csv", "csv")] {
        let file = read(&lab, &format!("results/tiny/main.{ending}"));
        table(&["--format", format]).stdout(file + "\n");
    }
    let set = ["--set", "table.main.interval=bootstrap", "--set", "table.main.resamples=100"];
    table(&set).stdout(contains("in brackets its 95 % bootstrap interval over images and seed"));
    let csv = read(&lab, "results/tiny/main.csv");
    assert!(
        csv.starts_with("model,accuracy.mean,accuracy.std,accuracy.n,accuracy.low,accuracy.high\n"),
        "{csv}"
    );
    let wrong = ["--set", "table.main.compare={ to = 'LP' }"];
    lab.medmerge(&[&["table", "experiment.toml"], &wrong[..]].concat())
        .assert()
        .code(2)
        .stderr(contains("unknown row `LP`"));
}

#[test]
fn a_variation_runs_beside_the_experiment() {
    let lab = lab();
    run(&lab, &["--quiet"]).code(0);
    let metrics = read(&lab, "results/tiny/metrics.csv");
    let set = ["--set", "sweep.seed=[7]", "--set", "train.epochs=2", "--set", "experiment.name=trial"];
    run(&lab, &set).code(0).stderr(ends_with("executed 3, fresh 0, "));
    assert!(read(&lab, "results/trial/metrics.csv").contains("\ntrial,scores,FT,cells,test,7,accuracy,"));
    assert_eq!(read(&lab, "results/tiny/metrics.csv"), metrics);

    let plan = lab.medmerge(&[&["plan", "experiment.toml", "--only", "tuned"], &set[..]].concat()).assert();
    plan.code(0)
        .stdout(contains("trial: 2 stages, 0 to run\n").and(contains("\n  2 fresh; --all lists them\n")));
    let explain = ["explain", "experiment.toml", "source", "--set", "stage.source.epochs=3"];
    lab.medmerge(&explain).assert().code(0).stdout(contains("why: train.epochs: 1 -> 3\n"));
}

#[test]
fn damaged_predictions_are_noticed_and_made_again() {
    let lab = lab();
    run(&lab, &["--quiet"]).code(0);
    let metrics = read(&lab, "results/tiny/metrics.csv");
    let predictions = stored(&lab, "predictions.csv");
    fs::write(&predictions, fs::read_to_string(&predictions).unwrap().replace("0.", "1.")).unwrap();
    run(&lab, &[]).code(0).stderr(contains("damaged").and(ends_with("executed 1, fresh 4, ")));
    assert_eq!(read(&lab, "results/tiny/metrics.csv"), metrics);
    lab.medmerge(&["store", "verify"]).assert().code(0).stdout("5 entries, all intact\n");
}

#[test]
fn events_are_json_lines_but_the_last() {
    // Fewer training images would give a warning, which is a JSON line, too.
    let arguments = ["--log-format", "json", "--set", "dataset.cells.train=40"];
    let output = run(&lab(), &arguments).code(0).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    let (events, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.starts_with("executed 5, "), "{last}");
    let events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events: Vec<_> = events.map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!((events[0].as_str(), events[1].as_str()), ("run_started", "stage_started"));
    assert_eq!(events.last().unwrap(), "run_finished");
    assert_eq!(events.iter().filter(|event| *event == "stage_finished").count(), 5);
}

#[test]
fn a_change_is_explained_by_the_old_and_the_new_value() {
    let lab = lab();
    run(&lab, &["--quiet"]).code(0);
    let lab = lab.with("experiment.toml", EXPERIMENT.replace("batch_size = 8", "batch_size = 4"));
    let assert = lab.medmerge(&["explain", "experiment.toml", "tuned[seed=0]"]).assert().code(0);
    let why = contains("why: train.batch_size: 8 -> 4\n")
        .and(contains("why: from: source changed\n"))
        .and(contains("root cause: source: train.batch_size: 8 -> 4\n"));
    assert.stdout(contains("tuned[seed=0] (finetune) is stale\n").and(why));
    let plan = lab.medmerge(&["plan", "experiment.toml"]).assert().code(0);
    plan.stdout(contains("tiny: 5 stages, 5 to run\n").and(contains("\n  run    pretrain  source")));
}
