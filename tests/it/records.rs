//! `medmerge export` of an experiment: event files, evaluation files, a crate. `tests/readers.py` reads them with the
//! programs that they are for.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::sync::OnceLock;

use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::builder::{EXPERIMENT, Workplace};

fn workplace() -> &'static Workplace {
    static WORKPLACE: OnceLock<Workplace> = OnceLock::new();
    WORKPLACE.get_or_init(|| {
        let place = Workplace::new(EXPERIMENT);
        place.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
        place
    })
}

fn export(arguments: &[&str]) -> assert_cmd::assert::Assert {
    workplace().medmerge(&[&["export", "experiment.toml"][..], arguments].concat()).assert()
}

/// The data of each record of an event file.
fn records(mut file: &[u8]) -> Vec<&[u8]> {
    let mut records = Vec::new();
    while !file.is_empty() {
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        records.push(&file[12..12 + length]);
        file = &file[16 + length..];
    }
    records
}

#[test]
fn each_training_has_an_event_file_with_a_record_per_epoch() {
    export(&["logs", "--to", "tensorboard"]).code(0).stdout(contains("logs: 10 event files"));
    let folders: BTreeSet<String> = fs::read_dir(workplace().path("logs"))
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(folders.contains("source_a") && folders.contains("final_seed=1_"), "{folders:?}");
    for folder in folders {
        let files: Vec<_> = fs::read_dir(workplace().path("logs").join(folder)).unwrap().collect();
        assert_eq!(files.len(), 1);
        let file = files[0].as_ref().unwrap();
        assert!(file.file_name().to_string_lossy().starts_with("events.out.tfevents."));
        let file = fs::read(file.path()).unwrap();
        let records = records(&file);
        assert_eq!(records.len(), 2, "the version, and one epoch");
        assert!(records[0].ends_with(b"brain.Event:2"));
        assert!(records[1].windows(10).any(|bytes| bytes == b"train/loss"));
    }
}

fn graph(folder: &str) -> Vec<Value> {
    let metadata = workplace().path(folder).join("ro-crate-metadata.json");
    let metadata: Value = serde_json::from_str(&fs::read_to_string(metadata).unwrap()).unwrap();
    metadata["@graph"].as_array().unwrap().clone()
}

/// Every `@id` that is referred to.
fn references(value: &Value, is_entity: bool, found: &mut HashSet<String>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("@id").filter(|_| !is_entity).map(|id| id.as_str().unwrap().to_owned()));
            object.values().for_each(|value| references(value, false, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, false, found)),
        _ => {}
    }
}

#[test]
fn a_crate_has_its_files_and_describes_all_that_it_refers_to() {
    let by = ["--license", "https://spdx.org/licenses/CC-BY-4.0", "--author", "A. Name"];
    export(&[&["crate", "--to", "ro-crate"][..], &by].concat()).code(0);
    let graph = graph("crate");
    let ids: HashSet<String> =
        graph.iter().map(|entity| entity["@id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), graph.len(), "an entity is described once");
    let mut referred = HashSet::new();
    graph.iter().for_each(|entity| references(entity, true, &mut referred));
    let outside = referred.difference(&ids).filter(|id| !id.starts_with("https://"));
    assert_eq!(outside.count(), 0, "{referred:?}");
    for entity in graph.iter().filter(|entity| entity["@type"] == "File") {
        assert!(workplace().path("crate").join(entity["@id"].as_str().unwrap()).is_file(), "{entity}");
    }
    let actions = graph.iter().filter(|entity| entity["@type"] == "CreateAction");
    assert!(actions.clone().all(|action| action["agent"]["@id"] == "#author"));
    assert_eq!(actions.count(), 17, "the run, and each stage");
    let ours = |name: &str| fs::read(workplace().path(name)).unwrap();
    assert_eq!(ours("crate/results/metrics.csv"), ours("results/tiny/metrics.csv"));
    assert_eq!(ours("crate/experiment/experiment.toml"), EXPERIMENT.as_bytes());
}

#[test]
fn a_crate_needs_neither_author_nor_license() {
    export(&["plain", "--to", "ro-crate"]).code(0);
    let graph = graph("plain");
    let root = graph.iter().find(|entity| entity["@id"] == "./").unwrap();
    assert!(root["license"].as_str().unwrap().contains("ask the authors"), "{root}");
    let wrong = export(&["other", "--to", "ro-crate", "--license", "CC-BY-4.0"]).code(2);
    wrong.stderr(contains("--license must be a URL"));
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_no_folder() {
    let refused: [(&[&str], &str); 4] = [
        (
            &["none", "--to", "medmnist"],
            "failed to find predictions for a MedMNIST file of tiny in the store",
        ),
        (&["none", "--to", "tensorboard", "--size", "32"], "--size is for models"),
        (
            &["none", "--to", "tensorboard", "--author", "A. Name"],
            "--license and --author are for --to ro-crate",
        ),
        (
            &["none", "--to", "tensorboard", "--experiment", "experiment.toml"],
            "name the experiment file in place",
        ),
    ];
    for (arguments, says) in refused {
        export(arguments).code(2).stderr(contains(says));
    }
    let nothing = Workplace::new(EXPERIMENT);
    for (to, what) in [("tensorboard", "a training"), ("ro-crate", "a stage")] {
        let export = nothing.medmerge(&["export", "experiment.toml", "none", "--to", to]).assert().code(2);
        export.stderr(
            contains(format!("failed to find {what} of tiny")).and(contains("medmerge run experiment.toml")),
        );
    }
    assert!(!workplace().path("none").exists() && !nothing.path("none").exists());
}
