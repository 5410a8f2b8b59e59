//! Regression tests of what a new user stumbled over: messages, what is shown, and leftovers.

use std::fs;
#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io::Write as _;
#[cfg(unix)]
use std::process::{Child, Command, Stdio};

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// Two learning rates, the better of which is selected.
const SWEEP: &str = r#"
[experiment]
name = "tiny"

[sweep]
lr = [0.001, 0.01]

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
optimizer.adamw.lr = "${lr}"

[stage.best.select]
from = "source"
axis = "lr"
dataset = "cells"

[stage.scores.evaluate]
models = { "Best" = "best" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

/// Exit code and stderr.
fn ended(workplace: &Workplace, arguments: &[&str]) -> (Option<i32>, String) {
    let output = workplace.medmerge(arguments).output().expect("failed to run the program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The error of `check` with an override.
fn refused(text: &str, set: &str) -> String {
    let (code, error) = ended(&Workplace::new(text), &["check", "experiment.toml", "--set", set]);
    assert_eq!(code, Some(2), "{error}");
    error
}

#[test]
fn f24_a_key_at_the_wrong_place_is_sent_to_the_optimizer_in_use() {
    let told = |text: &str, set: &str| {
        let error = refused(text, set);
        error.lines().find(|line| line.contains("= help: ")).unwrap_or_default().to_owned()
    };
    let default = told(SWEEP, "train.lr=1e-3");
    assert!(default.contains("write `optimizer.adamw = { lr = … }`"), "{default}");
    let chosen = SWEEP
        .replace("seed = 1\n", "seed = 1\noptimizer.sgd = { lr = 0.1 }\n")
        .replace("optimizer.adamw.lr", "optimizer.sgd.lr");
    let chosen = told(&chosen, "train.lr=1e-3");
    assert!(chosen.contains("write `optimizer.sgd = { lr = … }`"), "{chosen}");
    let inside = told(SWEEP, "train.optimizer.lr=1e-3");
    assert!(
        inside.contains("it is a key of `adamw`, `adam`, `sgd`: write `{ adamw = { lr = … } }`"),
        "{inside}"
    );
}

#[test]
fn f24_a_head_of_other_classes_is_told_with_both_lists() {
    let classes = |from: &str| SWEEP.replace("[stage.scores.evaluate]", from);
    let other = "[dataset.xray.phantom]\nfamily = 'xray'\nsize = 12\n\n[stage.scores.evaluate]";
    let text = classes(other).replace("datasets = [\"cells\"]", "datasets = [\"xray\"]");
    let (code, error) = ended(&Workplace::new(&text), &["check", "experiment.toml"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("has a head for 4 classes ("), "{error}");
    assert!(error.contains("but data set `xray` has 3 classes ("), "{error}");
}

#[test]
fn f24_counts_agree_with_their_nouns() {
    let told = contains("experiment.toml: 4 stages, 1 data set: no errors found\n");
    Workplace::new(SWEEP).medmerge(&["check", "experiment.toml"]).assert().code(0).stdout(told);
}

#[test]
fn f24_the_guide_finds_a_topic_by_a_word() {
    let told = |word: &str| {
        let (code, error) = ended(&Workplace::new(""), &["guide", word]);
        assert_eq!(code, Some(2), "{error}");
        error
    };
    let part = told("checkpoint");
    assert!(part.contains("did you mean `own-data-and-checkpoints`?"), "{part}");
    let mentioned = told("pytorch");
    let told_of = "these topics mention it: `performance`, `own-data-and-checkpoints`, ";
    assert!(mentioned.contains(told_of), "{mentioned}");
    let typo = told("stagse");
    assert!(typo.contains("did you mean `stages`?"), "{typo}");
    assert!(told("xyzzy").contains("expected one of `index`, "));
}

#[test]
fn f24_show_says_how_to_name_a_stage_and_takes_overrides() {
    let workplace = Workplace::new(SWEEP);
    let (code, error) = ended(&workplace, &["show", "source[lr=0.01]"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("if it is a stage, add --experiment FILE"), "{error}");
    let set = ["--set", "train.batch_size=4"];
    let run = ["run", "experiment.toml", "--only", "source[lr=0.01]"];
    workplace.medmerge(&run).args(set).assert().code(0);
    let show = ["show", "source[lr=0.01]", "--experiment", "experiment.toml"];
    let (code, error) = ended(&workplace, &show);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("repeat the --set and --device"), "{error}");
    workplace.medmerge(&show).args(set).assert().code(0).stdout(contains("source[lr=0.01]"));
    workplace
        .medmerge(&["show", "x.safetensors"])
        .args(set)
        .assert()
        .code(2)
        .stderr(contains("--experiment"));
}

#[test]
fn f24_show_says_which_value_was_selected() {
    let workplace = Workplace::new(SWEEP);
    workplace.medmerge(&["run", "experiment.toml", "--only", "best"]).assert().code(0);
    let shown = workplace.medmerge(&["show", "best", "--experiment", "experiment.toml"]).assert().code(0);
    let scores = contains("\n  lr=0.001: macro_f1 0.").and(contains("\n  lr=0.01: macro_f1 0."));
    shown.stdout(scores.and(contains("\n  selected lr=0.0")));
}

#[test]
fn f24_a_file_of_pytorch_is_recognized_where_only_safetensors_are_read() {
    let workplace = Workplace::new("").with("a.pth", b"PK\x03\x04 and so on");
    let told = contains("failed to read a.pth: it is a .pth file of PyTorch, not a safetensors file");
    let show = workplace.medmerge(&["show", "a.pth"]).assert().code(2);
    show.stderr(told.clone().and(contains("medmerge guide own-data-and-checkpoints")));
    let merge = workplace.medmerge(&["merge", "a.pth", "a.pth", "--out", "m.safetensors"]).assert().code(2);
    merge.stderr(told.and(contains("safetensors.torch.save_file")));
}

#[test]
fn f24_the_name_of_an_archive_cannot_color_the_terminal() {
    let workplace = Workplace::new(SWEEP);
    workplace.medmerge(&["run", "experiment.toml", "--only", "source"]).assert().code(0);
    let name = if cfg!(unix) { "a\u{1b}[31m\n.zip" } else { "a.zip" };
    let told = if cfg!(unix) { "a\\u{1b}[31m\\n.zip: 2 entries" } else { "a.zip: 2 entries" };
    for command in ["export", "import"] {
        workplace.medmerge(&["store", command, name]).assert().code(0).stdout(contains("\u{1b}").not());
    }
    workplace.medmerge(&["store", "export", name]).assert().code(0).stdout(contains(told));
}

#[test]
fn f24_a_warning_about_a_data_set_comes_once_for_all_values_of_an_axis() {
    let text = SWEEP
        .replace("[sweep]", "[sweep]\nsize = [12, 14, 16]")
        .replace("size = 12", "size = \"${size}\"\nlabel_fraction = 0.1")
        .replace("metrics = [\"accuracy\"]", "columns = [\"size\", \"metric\"]\nmetrics = [\"accuracy\"]");
    let workplace = Workplace::new(&text);
    for command in [&["check"][..], &["plan"], &["data", "list"]] {
        let (code, error) = ended(&workplace, &[command, &["experiment.toml"]].concat());
        assert_eq!(code, Some(0), "{error}");
        let warnings: Vec<&str> = error.lines().filter(|line| line.contains("fewer than 3")).collect();
        assert_eq!(warnings.len(), 1, "{command:?}: {error}");
        let of = "data set `cells[size=12]`, and 2 more of `cells`, has fewer than 3 training images";
        assert!(warnings[0].contains(of), "{error}");
    }
}

/// What the program prints on a terminal of this width.
#[cfg(target_os = "linux")]
fn on_terminal(workplace: &Workplace, arguments: &[&str], columns: u16) -> String {
    use std::io::Read;
    let (mut ours, its) = crate::builder::terminal(columns);
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    command.args(arguments).current_dir(workplace.path("")).stdout(its).stderr(Stdio::null());
    assert!(command.status().expect("the program").success());
    drop(command); // and with it the last one who could write
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = ours.read(&mut piece) {
        text.extend_from_slice(&piece[..length]);
    }
    String::from_utf8(text).expect("text").replace('\r', "")
}

#[test]
#[cfg(target_os = "linux")]
fn f24_lines_are_folded_between_words_on_a_terminal() {
    let workplace = Workplace::new(EXPERIMENT);
    for command in ["check", "plan"] {
        let arguments = [command, "experiment.toml"];
        let piped = workplace.medmerge(&arguments).output().expect("an answer").stdout;
        let piped = String::from_utf8(piped).expect("text");
        let folded = on_terminal(&workplace, &arguments, 70);
        assert!(folded.lines().all(|line| line.chars().count() <= 70), "{folded}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&folded), words(&piped));
        assert!(folded.lines().count() > piped.lines().count(), "{folded}");
    }
}

/// A safetensors file of so many tensors of 4 MiB, all of them 0, which takes little space.
#[cfg(unix)]
fn sparse(workplace: &Workplace, name: &str, tensors: usize) {
    const BYTES: usize = 4 << 20;
    let tensor = |i: usize| {
        let place = format!("[{},{}]", i * BYTES, (i + 1) * BYTES);
        format!(r#""t{i}":{{"dtype":"F32","shape":[{}],"data_offsets":{place}}}"#, BYTES / 4)
    };
    let header = format!("{{{}}}", (0..tensors).map(tensor).collect::<Vec<_>>().join(","));
    let mut file = File::create(workplace.path(name)).expect("a file");
    file.write_all(&(header.len() as u64).to_le_bytes()).expect("a length");
    file.write_all(header.as_bytes()).expect("a header");
    file.set_len((8 + header.len() + tensors * BYTES) as u64).expect("room");
}

#[cfg(unix)]
fn names(workplace: &Workplace) -> Vec<String> {
    let entries = fs::read_dir(workplace.path("")).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until a merge writes; false if it ended before it was seen to.
#[cfg(unix)]
fn writes(merge: &mut Child, workplace: &Workplace) -> bool {
    while merge.try_wait().expect("a state").is_none() {
        if names(workplace).iter().any(|name| name.starts_with('.')) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

#[test]
#[cfg(unix)]
fn f24_an_interrupted_merge_leaves_no_file_behind() {
    // It may end before the signal comes: then there was too little to merge.
    for tensors in [32, 256, 2048] {
        let workplace = Workplace::new("");
        ["a", "b"].into_iter().for_each(|name| sparse(&workplace, name, tensors));
        let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
        command.args(["merge", "a", "b", "--out", "m"]).current_dir(workplace.path(""));
        let mut merge = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a merge");
        if writes(&mut merge, &workplace) {
            // SAFETY: it sends a signal to a child that has not been waited for.
            unsafe { libc::kill(merge.id() as libc::pid_t, libc::SIGINT) };
        }
        let code = merge.wait().expect("an end").code();
        if code == Some(0) {
            continue;
        }
        assert_eq!(code, Some(130));
        assert_eq!(names(&workplace), ["a", "b", "experiment.toml"]);
        return;
    }
    panic!("every merge ended before it was interrupted");
}

/// The tiny experiment, trained on half of the labels of what it is evaluated on, with a row that is one model for all
/// seeds.
fn of_half_of_the_labels() -> String {
    let section =
        EXPERIMENT.find("[dataset.xray").expect("a data set")..EXPERIMENT.find("[train]").expect("a section");
    let whole = EXPERIMENT[section].replace("dataset.xray", "dataset.whole");
    EXPERIMENT
        .replace("[train]", &format!("label_fraction = 0.5\n\n{whole}[train]"))
        .replace("augment = []", "augment = []\nseed = 5")
        .replace(
            "\"final\" = \"final\" }\ndatasets = [\"xray\"]",
            "\"final\" = \"final\", \"probe\" = \"probe_a\" }\ndatasets = [\"whole\"]",
        )
        + "steps = true\n"
}

#[test]
fn f25_a_note_names_rows_of_one_model_and_steps_count_whatever_the_label_budget() {
    let workplace = Workplace::new(&of_half_of_the_labels());
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let table = fs::read_to_string(workplace.path("results/tiny/main.md")).unwrap();
    assert!(table.contains("Scores of one model repeat: of probe for each seed."), "{table}");
    let steps = "1 (16 images) for merged; 0 (0 images) for average, probe; 2 (32 images) for final.";
    assert!(table.contains(steps), "{table}");
}

#[test]
fn f25_variances_below_0_are_refused_where_they_are_made() {
    let of = |statistics: &str| {
        let average = format!("method.average = {{ weights = [-1000, 1001] }}\n{statistics}");
        Workplace::new(&EXPERIMENT.replace("method = \"average\"\ndataset = \"xray\"", &average))
    };
    let refused = of("batch_norm = \"merged\"").medmerge(&["run", "experiment.toml"]).assert().code(1);
    refused.stderr(contains("negative variances").and(contains("`batch_norm = \"reestimate\"`")));
    of("dataset = \"xray\"").medmerge(&["run", "experiment.toml"]).assert().code(0);
}

#[test]
fn f25_files_of_the_same_name_are_not_run_over_each_other() {
    let workplace = Workplace::new(EXPERIMENT).with("other.toml", EXPERIMENT);
    for command in ["check", "run"] {
        let told = "experiment.toml and other.toml have the same `name`, `tiny`";
        workplace
            .medmerge(&[command, "experiment.toml", "other.toml"])
            .assert()
            .code(2)
            .stderr(contains(told));
    }
    workplace.medmerge(&["check", "experiment.toml", "experiment.toml"]).assert().code(0);
}

#[test]
fn f25_results_that_cannot_be_written_are_told_before_anything_runs() {
    let workplace = Workplace::new(EXPERIMENT).with("file", "");
    let run = workplace.medmerge(&["run", "experiment.toml", "--results", "file"]).assert().code(4);
    run.stderr(
        contains("failed to write file/tiny").and(contains("--results")).and(contains("source").not()),
    );
    assert!(!workplace.path("results").exists());
}

#[test]
fn f25_threads_have_a_limit() {
    let workplace = Workplace::new(EXPERIMENT);
    let check = workplace.medmerge(&["check", "experiment.toml", "--threads", "100000"]).assert().code(2);
    check.stderr(contains("`--threads 100000` is more than 1024; leave it out for all cores"));
}
