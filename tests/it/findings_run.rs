//! Regression tests of runs, and of what the program shows of them.

use std::fs::{File, OpenOptions};
use std::process::{Child, Command, Stdio};

use medmerge::dataset::phantom::Family;
use medmerge::experiment::Experiment;
use predicates::prelude::*;
use predicates::str::{contains, ends_with, is_match, starts_with};
use serde_json::json;

use crate::builder::Workplace;

/// One training stage and its scores.
const EXPERIMENT: &str = r#"
[experiment]
name = "tiny"

[dataset.cells.phantom]
family = "cells"
size = 12
train = 16
val = 8
test = 8

[train]
epochs = 1
batch_size = 8
seed = 1

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"

[stage.scores.evaluate]
models = { "Source" = "source" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

/// `medmerge` with these arguments, in the folder of the workplace.
fn command(workplace: &Workplace, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    command.args(arguments).current_dir(workplace.path(""));
    for name in ["MEDMERGE_STORE", "MEDMERGE_RESULTS", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Exit code with these streams.
fn code(command: &mut Command, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Option<i32> {
    command.stdout(stdout).stderr(stderr).status().expect("the program starts").code()
}

#[cfg(target_os = "linux")]
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("a device")
}

/// The write end of a pipe that nobody reads.
fn unread() -> std::io::PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}

#[cfg(target_os = "linux")]
#[test]
fn f15_the_exit_code_does_not_depend_on_whether_stderr_can_be_written() {
    let workplace = Workplace::new(EXPERIMENT).with("wrong.toml", "[experiment\n");
    let cases: [(&[&str], i32); 5] = [
        (&["run", "experiment.toml"], 0),
        (&["run", "experiment.toml", "-vv", "--log-format", "json", "--rerun", "scores"], 0),
        (&["run", "experiment.toml", "-vv", "--log-format", "bars", "--rerun", "scores"], 0),
        (&["check", "absent.toml"], 2),
        (&["check", "wrong.toml"], 2),
    ];
    for (arguments, expected) in cases {
        let mut command = command(&workplace, arguments);
        assert_eq!(code(&mut command, Stdio::null(), full()), Some(expected), "{arguments:?}");
        assert_eq!(code(&mut command, Stdio::null(), unread()), Some(expected), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn f15_an_error_on_a_full_disk_keeps_its_exit_code() {
    let workplace = Workplace::new(EXPERIMENT).with("file", "");
    let mut store = command(&workplace, &["store", "list", "--store", "file/store"]);
    assert_eq!(code(&mut store, Stdio::null(), full()), Some(4));
    let mut plan = command(&workplace, &["plan", "experiment.toml"]);
    assert_eq!(code(&mut plan, full(), full()), Some(4));
    assert_eq!(code(&mut plan, unread(), unread()), Some(0), "a closed stdout is no failure");
}

#[test]
fn f15_a_closed_stdout_keeps_the_exit_code_of_a_run() {
    let broken = r#"
[stage.broken.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "cells"
optimizer.sgd = { lr = 1e30 }
"#;
    let workplace = Workplace::new(&format!("{EXPERIMENT}{broken}"));
    let mut run = command(&workplace, &["run", "experiment.toml"]);
    assert_eq!(code(&mut run, unread(), Stdio::null()), Some(1));
    assert!(workplace.path("results/tiny/main.md").exists());
}

#[cfg(unix)]
#[test]
fn f15_a_run_whose_terminal_is_closed_ends_as_interrupted() {
    for format in ["plain", "bars"] {
        let workplace = Workplace::new(&EXPERIMENT.replace("epochs = 1", "epochs = 100000"));
        let mut run = command(&workplace, &["run", "experiment.toml", "--log-format", format]);
        let mut run: Child = run.stdout(unread()).stderr(unread()).spawn().expect("a run");
        crate::kill::wait_for_an_epoch(&workplace);
        let kill = format!("kill -HUP {}", run.id());
        Command::new("bash").args(["-c", &kill]).status().expect("a shell");
        assert_eq!(run.wait().expect("a run").code(), Some(130), "{format}");
    }
}

/// Makes this folder of the store's `runs/` with a run of these numbers of stages and seconds.
fn record(workplace: &Workplace, run: &str, stages: usize) {
    let folder = workplace.path(".medmerge/runs").join(run);
    std::fs::create_dir_all(&folder).expect("a folder");
    let started = json!({"at": 0.0, "event": "run_started", "experiment": run, "stages": stages, "fresh": 1});
    let finished = json!({
        "at": 1.0, "event": "run_finished", "executed": stages, "fresh": 1, "failed": 0, "skipped": 0,
        "seconds": 1.0, "interrupted": false,
    });
    std::fs::write(folder.join("events.jsonl"), format!("{started}\n{finished}\n")).expect("a file");
}

#[test]
fn f05_status_shows_the_last_run_that_had_something_to_make() {
    let workplace = Workplace::new("");
    workplace.medmerge(&["store", "list"]).assert().code(0);
    record(&workplace, "2026-01-01T00-00-00.100Z-z", 3);
    record(&workplace, "2026-01-01T00-00-00.200Z-a", 2);
    record(&workplace, "2026-01-01T00-00-00.300Z-b", 0);
    let status = workplace.medmerge(&["status"]).assert().code(0);
    status.stdout(starts_with("2026-01-01T00-00-00.200Z-a: finished; ").and(contains("\n").count(1)));
    workplace.medmerge(&["status", "--all"]).assert().code(0).stdout(contains("\n").count(3));
}

#[test]
fn f05_a_failed_import_leaves_nothing_in_partial() {
    let import = r#"
[experiment]
name = "tiny"

[stage.source.import]
path = "model.safetensors"
backbone.resnet18 = { stem = "small", width = 4 }
head = "drop"
"#;
    let workplace = Workplace::new(import).with("model.safetensors", "not tensors");
    let run = workplace.medmerge(&["run", "experiment.toml"]).assert();
    run.stderr(contains("failed: source: ")).code(1);
    assert_eq!(std::fs::read_dir(workplace.path(".medmerge/partial")).expect("a folder").count(), 0);
}

#[test]
fn f05_a_training_that_diverges_counts_epochs_from_one() {
    let workplace =
        Workplace::new(&EXPERIMENT.replace("epochs = 1", "epochs = 1\noptimizer.sgd = { lr = 1e30 }"));
    let run = workplace.medmerge(&["run", "experiment.toml"]).assert().code(1);
    run.stderr(contains("in epoch 1 after "));
}

#[test]
fn f05_explain_names_the_root_of_a_change() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let arguments = ["explain", "experiment.toml", "scores", "--set", "train.epochs=2"];
    let explain = workplace.medmerge(&arguments).assert().code(0);
    explain.stdout(contains("  why: model: source changed\n  root cause: source: train.epochs: 1 -> 2\n"));
}

#[test]
fn f05_a_plan_lists_what_would_run_and_counts_the_rest() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let plan = |arguments: &[&str]| {
        let arguments = [&["plan", "experiment.toml", "--threads", "1"], arguments].concat();
        let output = workplace.medmerge(&arguments).output().expect("a plan");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(plan(&[]), "tiny: 2 stages, 0 to run\n  2 fresh; --all lists them\n");
    assert_eq!(plan(&["--only", "source"]), "tiny: 1 stage, 0 to run\n  1 fresh; --all lists them\n");
    assert_eq!(plan(&["--all"]).lines().filter(|line| line.starts_with("  fresh ")).count(), 2);
    let changed = plan(&["--set", "stage.scores.split=val"]);
    assert!(changed.starts_with("tiny: 2 stages, 1 to run\n  run    evaluate "), "{changed}");
    assert!(changed.contains("split: \"test\" -> \"val\"\n  1 fresh; --all lists them\n"), "{changed}");
}

#[test]
fn f05_a_plan_takes_folders_and_skips_files_without_a_wanted_part() {
    let other = EXPERIMENT
        .replace("tiny", "other")
        .replace("stage.source", "stage.first")
        .replace("\"source\"", "\"first\"");
    let workplace = Workplace::new("").with("e/a.toml", EXPERIMENT).with("e/b.toml", other);
    let both = contains("tiny: 2 stages, 2 to run\n").and(contains("other: 2 stages, 2 to run\n"));
    workplace.medmerge(&["plan", "e"]).assert().code(0).stdout(both);
    let one = contains("tiny").not().and(contains("other: 1 stage, 1 to run\n"));
    workplace.medmerge(&["plan", "e", "--only", "first"]).assert().code(0).stdout(one);
}

#[test]
fn f05_data_list_takes_overrides_and_folders() {
    let workplace = Workplace::new("").with("e/a.toml", EXPERIMENT);
    let list = workplace.medmerge(&["data", "list", "e", "--set", "dataset.cells.train=24"]).assert().code(0);
    list.stdout(contains("cells (phantom").and(is_match("all +24 +8 +8\n").expect("a pattern")));
}

#[test]
fn f10_notes_are_printed_below_the_tables_and_are_not_in_fingerprints() {
    let workplace = Workplace::new(EXPERIMENT);
    workplace.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let notes = "name = \"tiny\"\nnotes = \"\"\"\nA row is\n  a model.\\u001b[2J\n\"\"\"\n";
    let workplace = workplace.with("experiment.toml", EXPERIMENT.replace("name = \"tiny\"\n", notes));
    let run = workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    run.stderr(contains("executed 0, fresh 2"))
        .stdout(ends_with("main.tex\n\nA row is\n  a model.\\u{1b}[2J\n"));
    let markdown = workplace.medmerge(&["table", "experiment.toml", "--format", "markdown"]).assert().code(0);
    markdown.stdout(contains("A row is").not());
}

#[test]
fn f10_the_quickstart_explains_its_table() {
    let experiment = Experiment::load("experiments/quickstart.toml".as_ref()).expect("an experiment");
    for label in ["A, B", "MedMerge + FT", "* is", "±"] {
        assert!(experiment.notes.contains(label), "{label}");
    }
    let commands = experiment.notes.lines().filter(|line| line.trim().starts_with("medmerge ")).count();
    assert_eq!(commands, 3);
    assert!(experiment.notes.lines().all(|line| line.chars().count() < 80));
}

#[test]
fn f08_predictions_are_written_by_name_on_request() {
    let more = "\n[sweep]\nseed = [0, 1]\n\n[stage.tuned.finetune]\nfrom = \"source\"\ndataset = \"cells\"\n";
    let experiment = EXPERIMENT
        .replace("seed = 1\n\n[stage", &format!("{more}\n[stage"))
        .replace("dataset = \"cells\"\n\n[stage.scores", "dataset = \"cells\"\nseed = 1\n\n[stage.scores")
        .replace("\"Source\" = \"source\"", "\"a/b\" = \"source\", \"FT\" = \"tuned\"");
    let workplace = Workplace::new(&experiment);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let folder = workplace.path("results/tiny/predictions");
    assert!(!folder.exists());
    let metrics = std::fs::read(workplace.path("results/tiny/metrics.csv")).expect("scores");
    let table = workplace.medmerge(&["table", "experiment.toml", "--predictions"]).assert().code(0);
    table.stdout(contains("-> 4 files in results/tiny/predictions\n"));
    let files = std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").file_name());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(
        files,
        ["FT.cells.seed=0.csv", "FT.cells.seed=1.csv", "a_b.cells.seed=0.csv", "a_b.cells.seed=1.csv"]
    );
    let text = std::fs::read_to_string(folder.join("FT.cells.seed=0.csv")).expect("predictions");
    let classes = Family::Cells.classes().join(",");
    assert!(text.starts_with(&format!("image,label,predicted,{classes}\n")), "{text}");
    assert_eq!(text.lines().count(), 9);
    assert_eq!(std::fs::read(workplace.path("results/tiny/metrics.csv")).expect("scores"), metrics);
}
