//! A changed byte in a file of the store is noticed wherever it is; what was damaged is never used, and made
//! anew with the same result.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};
use crate::pipeline::folder;

/// A kind of stored file, the stage that made it, and what to make again so that it is used. Predictions are
/// used by every run.
const FILES: [(&str, &str, &[&str]); 6] = [
    ("manifest.json", "source_a", &["--rerun", "probe_a"]),
    ("model.safetensors", "source_a", &["--rerun", "probe_a"]),
    ("history.csv", "source_a", &["--rerun", "probe_a"]),
    ("log.txt", "source_a", &["--rerun", "probe_a"]),
    ("merge_weights.safetensors", "weights[seed=0]", &["--rerun", "merged"]),
    ("predictions.csv", "scores[seed=0]", &[]),
];

fn made() -> Workplace {
    let lab = Workplace::new(&EXPERIMENT.replace("seed = [0, 1]", "seed = [0]"));
    lab.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    lab
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect();
    paths.sort();
    paths
}

/// The file whose name ends so, of the entry that a stage made.
fn stored(lab: &Workplace, ending: &str, stage: &str) -> PathBuf {
    let is_of = |path: &PathBuf| {
        let manifest = fs::read_to_string(path.with_file_name("manifest.json"));
        manifest.is_ok_and(|manifest| manifest.contains(&format!("\"{stage}\"")))
    };
    let files =
        [lab.path(".medmerge/store"), lab.path(".medmerge/data")].map(|folder| below(&folder)).concat();
    let mut files = files.into_iter().filter(|path| path.to_str().unwrap().ends_with(ending));
    files.find(is_of).unwrap()
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Everything that was made, but for manifests, which hold times, and logs, which hold warnings.
fn results(lab: &Workplace) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = [".medmerge/store", ".medmerge/data", "results"].map(|folder| below(&lab.path(folder)));
    let told = |path: &PathBuf| path.ends_with("manifest.json") || path.ends_with("log.txt");
    let files = folders.concat().into_iter().filter(|path| !told(path));
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_run_notices_a_changed_byte_in_what_it_uses_and_gives_the_same_results() {
    let lab = made();
    let undamaged = results(&lab);
    for (file, stage, using) in FILES {
        flip(&stored(&lab, file, stage));
        let run = lab.medmerge(&[&["run", "experiment.toml"], using].concat()).assert().code(0);
        run.stderr(contains("set aside a damaged entry").and(contains("failed 0, skipped 0")));
        assert!(results(&lab) == undamaged, "{file}");
    }
    lab.medmerge(&["store", "verify"]).assert().code(0);
}

#[test]
fn verify_tells_every_changed_byte_and_the_next_run_makes_anew_what_it_needs() {
    let lab = made();
    let undamaged = results(&lab);
    for (file, stage, using) in FILES {
        let path = stored(&lab, file, stage);
        flip(&path);
        let verify = lab.medmerge(&["store", "verify"]).assert().code(4);
        let told = verify.stdout("9 entries, 8 intact, 1 set aside\n");
        told.stderr(contains(file).and(contains("set aside as .medmerge/damaged/")));
        assert!(!path.exists());
        lab.medmerge(&[&["run", "experiment.toml"], using].concat()).assert().code(0);
        assert!(results(&lab) == undamaged, "{file}");
    }
    lab.medmerge(&["store", "verify"]).assert().code(0).stdout("9 entries, all intact\n");
    assert_eq!(fs::read_dir(lab.path(".medmerge/damaged")).unwrap().count(), FILES.len());
}

#[test]
fn verify_goes_on_after_the_first_damage() {
    let lab = made();
    flip(&stored(&lab, "model.safetensors", "source_a"));
    flip(&stored(&lab, "history.csv", "source_b"));
    let verify = lab.medmerge(&["store", "verify"]).assert().code(4);
    let told = contains("the digest of model.safetensors differs")
        .and(contains("the digest of history.csv differs"));
    verify.stdout("9 entries, 7 intact, 2 set aside\n").stderr(told);
}

/// A run of an experiment with files of images, and where these lie decoded.
fn decoded() -> (Workplace, PathBuf) {
    let lab = folder("");
    lab.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let pixels = below(&lab.path(".medmerge/data")).remove(0);
    (lab, pixels)
}

#[test]
fn a_run_notices_a_changed_byte_in_decoded_images_and_decodes_them_again() {
    let (lab, pixels) = decoded();
    let undamaged = results(&lab);
    flip(&pixels);
    let run = lab.medmerge(&["run", "experiment.toml", "--rerun", "model"]).assert().code(0);
    run.stderr(contains("pixels is damaged or out of date; recreating it"));
    assert!(results(&lab) == undamaged);
}

#[test]
fn verify_sets_damaged_images_aside_and_the_next_run_decodes_them_again() {
    let (lab, pixels) = decoded();
    let undamaged = results(&lab);
    let whole = "2 entries, all intact\nimages of 1 data set, all intact\n";
    lab.medmerge(&["store", "verify"]).assert().code(0).stdout(whole);
    flip(&pixels);
    let verify = lab.medmerge(&["store", "verify"]).assert().code(4);
    let told =
        contains("/pixels: its decoded images are damaged").and(contains("set aside as .medmerge/damaged/"));
    verify.stdout("2 entries, all intact\nimages of 1 data set, 0 intact, 1 set aside\n").stderr(told);
    assert!(!pixels.exists());
    lab.medmerge(&["run", "experiment.toml", "--rerun", "model"]).assert().code(0);
    assert!(results(&lab) == undamaged);
}
