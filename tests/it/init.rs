//! `medmerge init`: a project from nothing.

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;

/// Small and quick; everything else as written.
const QUICK: [&str; 16] = [
    "sweep.seed=[0]",
    "sweep.target=['fundus']",
    "train.epochs=1",
    "experiment.name=trial",
    "dataset.cells.train=32",
    "dataset.cells.val=16",
    "dataset.cells.test=16",
    "dataset.xray.train=32",
    "dataset.xray.val=16",
    "dataset.xray.test=16",
    "dataset.fundus.train=32",
    "dataset.fundus.val=16",
    "dataset.fundus.test=16",
    "dataset.lesions.train=32",
    "dataset.lesions.val=16",
    "dataset.lesions.test=16",
];

#[test]
fn a_project_is_checked_and_run_as_it_was_written() {
    let place = Workplace::new("");
    let init = place.medmerge(&["init", "merging"]).assert().code(0);
    init.stdout(contains("next: cd merging && medmerge run experiments/quickstart.toml"));
    let inside = |arguments: &[&str]| {
        let mut command = place.medmerge(arguments);
        command.current_dir(place.path("merging"));
        command.assert().code(0)
    };
    inside(&["check", "experiments"]);
    let sets: Vec<&str> = QUICK.iter().flat_map(|set| ["--set", set]).collect();
    let run = inside(&[&["run", "experiments/quickstart.toml"][..], &sets].concat());
    run.stdout(contains("MedMerge + FT").and(contains("results/trial/main.csv")));
    let ignored = std::fs::read_to_string(place.path("merging/.gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "/.medmerge"), "{ignored}");
    let readme = std::fs::read_to_string(place.path("merging/README.md")).unwrap();
    assert!(readme.contains(concat!("medmerge ", env!("CARGO_PKG_VERSION"))), "{readme}");
}

#[test]
fn the_schema_stands_beside_the_experiments() {
    let place = Workplace::new("");
    place.medmerge(&["init", "merging"]).assert().code(0);
    let text = std::fs::read_to_string(place.path("merging/experiments/quickstart.toml")).unwrap();
    let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap();
    let schema = std::fs::read_to_string(place.path("merging/experiments").join(schema)).unwrap();
    serde_json::from_str::<serde_json::Value>(&schema).unwrap();
}

#[test]
fn only_an_empty_folder_is_taken() {
    let place = Workplace::new("");
    let init = place.medmerge(&["init"]).assert().code(2);
    init.stderr(contains("it has experiment.toml").and(contains("medmerge new NAME")));
    let place = place.with("new/.git/HEAD", "ref");
    place.medmerge(&["init", "new"]).assert().code(0);
    place.medmerge(&["init", "new"]).assert().code(2).stderr(contains("new is not empty"));
    place
        .medmerge(&["init", "experiment.toml"])
        .assert()
        .code(2)
        .stderr(contains("failed to read experiment.toml"));
}
