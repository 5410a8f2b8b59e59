//! The command line: help, messages and exit codes.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use crate::builder::Workplace;

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let assert = Workplace::new("").medmerge(&["--help"]).assert().code(0);
    let mut assert = assert.stdout(contains("Exit codes: 0 done; 1 a stage failed"));
    for command in ["run", "check", "plan", "explain", "table", "show", "store", "data", "completions"] {
        assert = assert.stdout(contains(format!("\n  {command} ")));
    }
}

#[test]
fn each_command_has_examples() {
    let workplace = Workplace::new("");
    let commands: [&[&str]; 13] = [
        &["run"],
        &["check"],
        &["plan"],
        &["explain"],
        &["table"],
        &["show"],
        &["store", "list"],
        &["store", "verify"],
        &["store", "gc"],
        &["store", "export"],
        &["store", "import"],
        &["data", "list"],
        &["completions"],
    ];
    for command in commands {
        let example = contains("\n  medmerge ".to_owned() + &command.join(" "));
        workplace.medmerge(command).arg("--help").assert().code(0).stdout(example);
    }
}

#[test]
fn an_unknown_command_is_answered_with_a_near_one() {
    let assert = Workplace::new("").medmerge(&["rum"]).assert().code(2);
    assert.stdout(is_empty()).stderr(contains("unrecognized subcommand 'rum'").and(contains("'run'")));
}

#[test]
fn an_unknown_device_is_a_mistake_of_the_command_line() {
    let assert = Workplace::new("").medmerge(&["run", "a.toml", "--device", "tpu"]).assert().code(2);
    assert.stderr(contains("write cpu, cuda or cuda:<index>"));
}

#[test]
fn a_missing_experiment_is_named() {
    let workplace = Workplace::new("");
    for command in ["run", "check", "plan", "table"] {
        let assert = workplace.medmerge(&[command, "absent.toml"]).assert().code(2);
        assert.stdout(is_empty()).stderr(contains("absent.toml"));
    }
}

#[test]
fn a_folder_without_experiments_is_a_mistake() {
    let workplace = Workplace::new("").with("empty/notes.md", "");
    let assert = workplace.medmerge(&["check", "empty"]).assert().code(2);
    assert.stderr(contains("there is no .toml file in this folder"));
}

#[test]
fn all_broken_files_of_a_folder_are_told_at_once() {
    let workplace = Workplace::new("");
    let workplace = workplace.with("b/a.toml", "[experiment\n").with("b/b.toml", "[stage.x.no_such_kind]\n");
    let assert = workplace.medmerge(&["check", "b"]).assert().code(2);
    assert
        .stdout(is_empty())
        .stderr(contains("a.toml").and(contains("b.toml")).and(contains("no_such_kind")));
}

#[test]
fn completions_are_a_script() {
    let assert = Workplace::new("").medmerge(&["completions", "bash"]).assert().code(0);
    assert.stdout(contains("_medmerge()"));
}

#[test]
fn what_is_neither_a_file_nor_an_entry_cannot_be_shown() {
    let workplace = Workplace::new("");
    workplace.medmerge(&["show", "abc"]).assert().code(2).stderr(contains("medmerge store list"));
    let workplace = workplace.with("text.safetensors", "not tensors");
    let assert = workplace.medmerge(&["show", "text.safetensors"]).assert().code(2);
    assert.stderr(contains("it is no safetensors file"));
}

#[test]
fn a_new_store_is_empty_and_whole() {
    let workplace = Workplace::new("");
    workplace.medmerge(&["store", "list", "--json"]).assert().code(0).stdout("[]\n");
    workplace.medmerge(&["store", "verify"]).assert().code(0).stdout("0 entries, all whole\n");
}

#[test]
fn a_store_that_cannot_be_made_is_told_with_its_own_exit_code() {
    let workplace = Workplace::new("").with("file", "");
    let assert = workplace.medmerge(&["store", "list", "--store", "file/store"]).assert().code(4);
    assert.stderr(contains("file/store"));
}
