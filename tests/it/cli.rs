//! The command line: help, messages and exit codes.

use predicates::prelude::*;
use predicates::str::{contains, is_empty};

use crate::builder::Workplace;

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let assert = Workplace::new("").medmerge(&["--help"]).assert().code(0);
    let mut assert = assert.stdout(contains("Exit codes: 0 done; 1 a stage failed"));
    for command in
        ["run", "check", "plan", "explain", "table", "show", "store", "data", "merge", "completions"]
    {
        assert = assert.stdout(contains(format!("\n  {command} ")));
    }
}

#[test]
fn each_command_has_examples() {
    let workplace = Workplace::new("");
    let commands: [&[&str]; 26] = [
        &["init"],
        &["new"],
        &["results"],
        &["diff"],
        &["report"],
        &["status"],
        &["export"],
        &["man"],
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
        &["data", "kinds"],
        &["data", "list"],
        &["data", "check"],
        &["data", "split"],
        &["data", "sheet"],
        &["merge"],
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
    assert.stderr(contains("use cpu, cuda, cuda:<index> or cuda:<index>,<index>"));
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

/// A folder `b` with two files: one has the stage `first`, the other `second`.
fn two_files() -> Workplace {
    let file = |stage: &str| {
        format!(
            "[experiment]\nname = \"{stage}\"\n[dataset.d.phantom]\nfamily = \"cells\"\n\
             [stage.{stage}.pretrain]\nbackbone = \"resnet18\"\ndataset = \"d\"\n"
        )
    };
    Workplace::new("").with("b/a.toml", file("first")).with("b/b.toml", file("second"))
}

#[test]
fn what_is_set_reaches_every_file_that_has_the_section() {
    let workplace = two_files();
    let check = |set: &str| workplace.medmerge(&["check", "b", "--set", set]).assert();
    check("train.epochs=3").code(0).stdout(contains("a.toml: 1 stage").and(contains("b.toml: 1 stage")));
    let both = contains("b/a.toml --set:1:14").and(contains("b/b.toml --set:1:14"));
    check("train.epochs=0").code(2).stdout(is_empty()).stderr(both);
    let second = contains("b/b.toml --set:1:21").and(contains("a.toml").not());
    check("stage.second.epochs=0").code(2).stderr(second);
}

#[test]
fn what_is_set_nowhere_is_told_once_with_a_near_name() {
    let workplace = two_files();
    let assert = workplace.medmerge(&["check", "b", "--set", "stage.secnd.epochs=1"]).assert().code(2);
    let once = contains("unknown stage `secnd`").count(1).and(contains("did you mean `second`?"));
    assert.stdout(is_empty()).stderr(once);
    let assert = workplace.medmerge(&["check", "b", "--set", "epochs"]).assert().code(2);
    assert.stderr(contains("expected KEY=VALUE, found no `=`").count(1));
}

#[test]
fn a_part_that_no_file_has_is_answered_with_a_near_one() {
    let workplace = two_files();
    let assert = workplace.medmerge(&["run", "b", "--only", "secnd"]).assert().code(2);
    assert.stderr(contains(
        "failed to find a stage, table or figure \"secnd\" in any of the files; did you mean \"second\"?",
    ));
    let assert = workplace.medmerge(&["plan", "b/a.toml", "--only", "table:first"]).assert().code(2);
    assert.stderr(contains("\"table:first\" in b/a.toml; did you mean \"first\"?"));
    let assert = workplace.medmerge(&["run", "b", "--only", "first", "--rerun", "second"]).assert().code(2);
    assert.stderr(contains("failed to run \"second\" again: --only excludes it"));
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
    assert.stderr(contains("it is not a safetensors file"));
}

#[test]
fn a_new_store_is_empty_and_whole() {
    let workplace = Workplace::new("");
    workplace.medmerge(&["store", "list", "--json"]).assert().code(0).stdout("[]\n");
    workplace.medmerge(&["store", "verify"]).assert().code(0).stdout("0 entries, all intact\n");
}

#[test]
fn a_store_that_cannot_be_made_is_told_with_its_own_exit_code() {
    let workplace = Workplace::new("").with("file", "");
    let assert = workplace.medmerge(&["store", "list", "--store", "file/store"]).assert().code(4);
    assert.stderr(contains("file/store"));
}
