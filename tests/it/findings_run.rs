//! Regression tests of runs, and of what the program shows of them.

use std::fs::{File, OpenOptions};
use std::process::{Child, Command, Stdio};

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
