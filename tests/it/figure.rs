//! Figures of merge weights, from an experiment to its files.

use std::collections::BTreeMap;
use std::fs;

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// Name and content of the results.
fn results(workplace: &Workplace) -> BTreeMap<String, Vec<u8>> {
    results_in(workplace, "results/tiny")
}

fn results_in(workplace: &Workplace, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(workplace.path(folder)).expect("results").map(|file| file.expect("a file"));
    files
        .map(|file| {
            (file.file_name().into_string().expect("a name"), fs::read(file.path()).expect("a readable file"))
        })
        .collect()
}

/// The cells of a CSV without its header.
fn rows(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_figure_is_written_by_run_and_by_table_with_the_same_bytes() {
    let figure = "[figure.layers]\nfrom = ['weights']\nkernels = true\n";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figure}"));
    let only = ["run", "experiment.toml", "--only", "layers"];
    let assert = workplace.medmerge(&only).assert().code(0);
    let assert = assert.stderr(contains("executed 8, fresh 0, failed 0"));
    assert.stdout(
        contains("layers\n-> results/tiny/layers.svg, results/tiny/layers.csv, ").and(contains("main").not()),
    );
    let first = results(&workplace);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["layers.csv", "layers.kernels.csv", "layers.svg"]);

    let layers = String::from_utf8(first["layers.csv"].clone()).expect("text");
    let header = "stage,seed,layer,depth,source,source_stage,kernels,mean,std,min,max,share,fraction\n";
    assert!(layers.starts_with(header), "{layers}");
    let layers = rows(&first["layers.csv"]);
    assert_eq!(layers.len(), 2 * 20 * 2, "seeds, layers of a ResNet-18, sources");
    assert_eq!(layers[0][..7], ["weights", "0", "conv1", "1", "0", "probe_a", "16"]);
    let depths: Vec<&str> = layers[..40].iter().step_by(2).map(|row| row[3].as_str()).collect();
    assert_eq!(depths, (1..=20).map(|depth| depth.to_string()).collect::<Vec<_>>());
    for pair in layers.chunks(2) {
        let number = |row: usize, column: usize| pair[row][column].parse::<f64>().expect("a number");
        assert!((number(0, 11) + number(1, 11) - 1.0).abs() < 1e-9, "shares of {pair:?}");
        // It started at the anchor, and took one step or two.
        assert!(number(0, 7) > 0.9 && number(1, 7).abs() < 0.1, "means of {pair:?}");
    }
    let kernels: usize = layers.iter().map(|row| row[6].parse::<usize>().expect("a count")).sum();
    assert_eq!(rows(&first["layers.kernels.csv"]).len(), kernels);
    let svg = String::from_utf8_lossy(&first["layers.svg"]);
    assert!(svg.starts_with("<svg ") && svg.contains("weights (n = 2 over seed)"), "{svg}");

    fs::remove_dir_all(workplace.path("results")).expect("results");
    workplace.medmerge(&["table", "experiment.toml"]).assert().code(0).stdout(contains("layers.svg"));
    assert_eq!(results(&workplace), first, "without any scores there are no tables");
    workplace.medmerge(&only).assert().code(0).stderr(contains("executed 0, fresh 8"));
    assert_eq!(results(&workplace), first);
    let deeper = [&only[..], &["--set", "experiment.name=deep/tiny"]].concat();
    workplace.medmerge(&deeper).assert().code(0).stdout(contains("results/deep/tiny/layers.svg"));
    assert_eq!(results_in(&workplace, "results/deep/tiny")["layers.csv"], first["layers.csv"]);
}

/// Without the figure, nothing would need the weights any more once the merged model is there.
#[test]
fn what_a_figure_shows_is_made_even_if_all_that_uses_it_is_there() {
    let workplace = Workplace::new(EXPERIMENT);
    let arguments = ["--set", "sweep.seed=[0]", "--only", "merged"];
    workplace.medmerge(&["run", "experiment.toml"]).args(arguments).assert().code(0);
    let plan = |experiment: &str, file: &str| {
        fs::write(workplace.path(file), experiment).expect("a file");
        let command = workplace.medmerge(&["plan", file, "--json", "--set", "sweep.seed=[0]"]).output();
        let plan: serde_json::Value = serde_json::from_slice(&command.expect("a plan").stdout).expect("JSON");
        let stages = plan["stages"].as_array().expect("stages").clone();
        let weights = stages.iter().find(|stage| stage["id"] == "weights[seed=0]").expect("weights").clone();
        (
            weights["fingerprint"].as_str().expect("text").to_owned(),
            weights["run"].as_bool().expect("a truth"),
        )
    };
    let (fingerprint, runs) = plan(EXPERIMENT, "without.toml");
    assert!(!runs);
    let entry = workplace.path(&format!(".medmerge/store/{}/{fingerprint}", &fingerprint[..2]));
    fs::remove_dir_all(entry).expect("an entry");
    assert_eq!(plan(EXPERIMENT, "without.toml"), (fingerprint.clone(), false));
    let with = format!("{EXPERIMENT}[figure.layers]\nfrom = ['weights']\n");
    assert_eq!(plan(&with, "with.toml"), (fingerprint, true));
}

#[test]
fn what_is_wrong_with_a_figure_is_told_where_it_stands() {
    let figures = "
[figure.main]
from = ['weight', 'final']
columns = 'sed'

[figure.layers]
from = ['weights']
columns = 'seed'
panels = 'seed'
";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figures}"));
    let output = workplace.medmerge(&["check", "experiment.toml"]).output().expect("an answer");
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r#"
    error: the name `main` is already used by a table
       ┌─ experiment.toml:76:9
       │
    76 │ [figure.main]
       │         ^^^^
       │
       = help: choose another name, which is a file name in the results

    error: unknown stage `weight`
       ┌─ experiment.toml:77:9
       │
    77 │ from = ['weight', 'final']
       │         ^^^^^^^^
       │
       = help: did you mean `weights`?

    error: stage `final` is a `finetune`, which has no merge weights
       ┌─ experiment.toml:77:19
       │
    77 │ from = ['weight', 'final']
       │                   ^^^^^^^
       │
       = help: name a `learn_merge_weights` stage

    error: unknown field `sed`
       ┌─ experiment.toml:78:11
       │
    78 │ columns = 'sed'
       │           ^^^^^
       │
       = help: did you mean `seed`?

    error: `columns` and `over` both name `seed`
       ┌─ experiment.toml:82:11
       │
    82 │ columns = 'seed'
       │           ^^^^^^
       │
       = help: an axis cannot be both pooled and shown as columns; use another axis in one of them

    error: unknown key `panels`
       ┌─ experiment.toml:83:1
       │
    83 │ panels = 'seed'
       │ ^^^^^^
       │
       = help: expected one of `from`, `columns`, `over`, `kernels`
    "#);
}

#[test]
fn a_key_of_a_figure_can_be_set() {
    let figure = "[figure.layers]\nfrom = ['weights']\n";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figure}"));
    let check = |set: &str| workplace.medmerge(&["check", "experiment.toml", "--set", set]).assert();
    check("figure.layers.over=seed").code(0);
    check("figure.layers.over=target").code(2).stderr(contains("unknown axis `target`"));
    check("figure.layer.over=seed").code(2).stderr(contains("did you mean `layers`?"));
}
