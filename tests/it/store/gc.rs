//! What nobody needs any more is found and removed, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use medmerge::identity::Fingerprint;
use medmerge::store::Store;
use medmerge::store::gc::{KEPT_RUNS, Keep, Leftover};
use predicates::prelude::*;
use predicates::str::contains;

use super::{artifacts, fingerprint, folder, put, store};
use crate::builder::{EXPERIMENT, Workplace};

/// Everything below a folder, name and content, but the lock that whoever opens a store tidies up.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
            if path.is_dir() {
                folders.push(path.clone());
            }
            if !path.ends_with("staging.lock") {
                files.insert(path, content);
            }
        }
    }
    files
}

fn write(store: &Store, path: &str, content: &str) {
    let path = store.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Writes the record of a run that has this entry in its plan.
fn record(store: &Store, name: &str, fingerprint: &Fingerprint) {
    let plan = serde_json::json!({ "stages": [{ "id": "source", "fingerprint": fingerprint }] });
    write(store, &format!("runs/{name}/plan.json"), &plan.to_string());
}

/// Keeps the first of [`artifacts`], what is made as `04…`, and the images `kept-28`.
fn keep(store: &Store) -> Keep {
    let entries = BTreeSet::from([fingerprint("01"), fingerprint("04")]);
    Keep { entries, images: BTreeSet::from([store.data_cache("kept", 28)]) }
}

/// A store with something of every sort, left over and not.
fn untidy() -> (tempfile::TempDir, Store) {
    let (folder, store) = store();
    for (fingerprint, artifact) in artifacts() {
        put(&store, &fingerprint, &artifact);
    }
    write(&store, &format!("damaged/{}-0/log.txt", fingerprint("02")), "epoch");
    write(&store, "damaged/gone-28-0", "pixels");
    for path in ["kept-28/pixels", "kept-28/.tmpA", "gone-28/pixels"] {
        write(&store, &format!("data/{path}"), "pixels");
    }
    for digits in ["01", "04", "05"] {
        write(&store, &format!("partial/{}/state.safetensors", fingerprint(digits)), "state");
    }
    for number in 0..KEPT_RUNS + 2 {
        record(&store, &format!("2026-01-01T00-00-{number:02}Z-tiny"), &fingerprint("01"));
    }
    write(&store, &format!("locks/{}.lock", fingerprint("02")), "");
    (folder, store)
}

/// Sort and path, fingerprints by their first digits.
fn lines(leftovers: &[Leftover]) -> String {
    let line = |leftover: &Leftover| {
        let mut path = leftover.path.display().to_string();
        for digits in ["01", "02", "03", "04", "05"] {
            path = path.replace(&fingerprint(digits).to_string(), &digits.repeat(2));
        }
        format!("{} {path} {}", leftover.sort.as_str(), leftover.about).trim_end().to_owned()
    };
    leftovers.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_left_over_is_listed_in_order_and_nothing_changes() {
    let (_folder, store) = untidy();
    let before = tree(store.root());
    let leftovers = store.leftovers(&keep(&store)).unwrap();
    insta::assert_snapshot!(lines(&leftovers), @r"
    entry store/02/0202 finetune tuned[seed=0]
    entry store/03/0303 finetune tuned[seed=0]
    damaged damaged/0202-0
    damaged damaged/gone-28-0
    images data/gone-28/pixels
    images data/kept-28/.tmpA
    partial partial/0101
    partial partial/0505
    run runs/2026-01-01T00-00-00Z-tiny
    run runs/2026-01-01T00-00-01Z-tiny
    lock locks/0202.lock
    lock locks/staging.lock
    ");
    let sizes: Vec<_> = leftovers[2..8].iter().map(|leftover| leftover.bytes).collect();
    assert_eq!(sizes, [5, 6, 6, 6, 5, 5]);
    assert_eq!(tree(store.root()), before);
}

#[test]
fn what_is_freed_is_gone_and_the_rest_is_as_it_was() {
    let (_folder, store) = untidy();
    let before = tree(store.root());
    for leftover in store.leftovers(&keep(&store)).unwrap() {
        assert!(store.free(&leftover).unwrap(), "{leftover:?}");
        assert!(!store.root().join(&leftover.path).exists(), "{leftover:?}");
    }
    assert_eq!(store.leftovers(&keep(&store)).unwrap(), []);
    assert_eq!(store.fingerprints().unwrap(), [fingerprint("01")]);
    store.get(&fingerprint("01")).unwrap();
    let after = tree(store.root());
    assert!(after.iter().all(|(path, content)| before[path] == *content));
    let root = store.root();
    for kept in ["data/kept-28/pixels", "runs/2026-01-01T00-00-02Z-tiny/plan.json"] {
        assert!(after.contains_key(&root.join(kept)), "{kept}");
    }
    assert!(after.contains_key(&root.join("partial").join(fingerprint("04").to_string())));
    assert!(!root.join("data/gone-28").exists());
}

#[test]
fn what_somebody_is_making_stays() {
    let (_folder, store) = untidy();
    let all = store.leftovers(&keep(&store)).unwrap();
    let _made = [store.lock(&fingerprint("02")).unwrap(), store.lock(&fingerprint("05")).unwrap()];
    let images = File::options().write(true).open(store.root().join("data/gone-28/pixels")).unwrap();
    images.lock().unwrap();
    let listed = lines(&store.leftovers(&keep(&store)).unwrap());
    let held =
        ["entry store/02/0202", "partial partial/0505", "images data/gone-28/pixels", "lock locks/0202.lock"];
    for held in held {
        assert!(!listed.contains(held), "{held} in\n{listed}");
    }
    // It began after the leftovers were listed.
    for leftover in all {
        let line = lines(std::slice::from_ref(&leftover));
        let is_held = held.iter().any(|held| line.starts_with(held));
        assert_eq!(store.free(&leftover).unwrap(), !is_held, "{line}");
        assert_eq!(store.root().join(&leftover.path).exists(), is_held, "{line}");
    }
    store.get(&fingerprint("02")).unwrap();
}

#[test]
fn what_a_run_at_work_has_in_its_plan_stays() {
    let (_folder, store) = untidy();
    record(&store, "2025-01-01T00-00-00Z-old", &fingerprint("03"));
    let at_work = store.lock_run("2025-01-01T00-00-00Z-old").unwrap();
    let listed = |store: &Store| lines(&store.leftovers(&keep(store)).unwrap());
    let during = listed(&store);
    assert!(!during.contains("0303") && !during.contains("2025-01-01"), "{during}");
    drop(at_work);
    let after = listed(&store);
    assert!(after.contains("entry store/03/0303") && after.contains("run runs/2025-01-01"), "{after}");
}

#[test]
fn a_run_at_work_whose_plan_cannot_be_read_stops_the_cleaning() {
    let (_folder, store) = untidy();
    write(&store, "runs/2027-01-01T00-00-00Z-new/plan.json", "{");
    let _at_work = store.lock_run("2027-01-01T00-00-00Z-new").unwrap();
    let error = store.leftovers(&keep(&store)).unwrap_err().to_string();
    assert!(error.contains("2027-01-01T00-00-00Z-new/plan.json") && error.contains("try again"), "{error}");
}

#[test]
fn the_command_keeps_what_its_experiments_need_and_deletes_only_if_told() {
    let one_seed = EXPERIMENT.replace("seed = [0, 1]", "seed = [0]");
    let lab = Workplace::new(&one_seed.replace("lr = 0.002", "lr = 0.003"));
    let run = |lab: &Workplace| lab.medmerge(&["run", "experiment.toml"]).assert().code(0);
    run(&lab);
    let lab = lab.with("experiment.toml", &one_seed);
    run(&lab).stderr(contains("executed 2, fresh 7"));
    let before = tree(&lab.path(".medmerge"));
    let listed = lab.medmerge(&["store", "gc", "experiment.toml"]).assert().code(0);
    let told = contains("finetune final[seed=0]\n").and(contains("evaluate scores[seed=0]\n"));
    listed
        .stdout(told.and(contains("2 items, ")).and(contains("nothing was deleted; add --yes to delete\n")));
    assert_eq!(tree(&lab.path(".medmerge")), before);

    let deleted = lab.medmerge(&["store", "gc", "experiment.toml", "--yes"]).assert().code(0);
    deleted.stdout(contains("2 items, ").and(contains(" deleted\n")));
    run(&lab).stderr(contains("executed 0, fresh 9"));
    lab.medmerge(&["store", "verify"]).assert().code(0).stdout(contains("9 entries, all intact\n"));
    let again = lab.medmerge(&["store", "gc", "experiment.toml", "--yes"]).assert().code(0);
    again.stdout("0 items, 0.0 MiB deleted\n");
}

#[test]
fn entries_of_every_device_are_kept() {
    let lab = Workplace::new(EXPERIMENT);
    let planned = |device: &[&str]| -> Vec<String> {
        let output =
            lab.medmerge(&[&["plan", "experiment.toml", "--json"], device].concat()).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let stages = plan["stages"].as_array().unwrap().iter();
        stages.map(|stage| stage["fingerprint"].as_str().unwrap().to_owned()).collect()
    };
    let store = Store::open(&lab.path(".medmerge")).unwrap();
    let [(_, artifact), ..] = artifacts();
    for precision in ["f32", "tf32", "bf16"] {
        put(&store, &planned(&["--device", "cuda", "--precision", precision])[0].parse().unwrap(), &artifact);
    }
    put(&store, &planned(&[])[0].parse().unwrap(), &artifact);
    let deleted = lab.medmerge(&["store", "gc", "experiment.toml", "--yes"]).assert().code(0);
    deleted.stdout(contains("0 items"));
    assert_eq!(store.fingerprints().unwrap().len(), 4);
}

#[test]
fn without_an_experiment_or_with_a_wrong_one_nothing_is_deleted() {
    let lab = Workplace::new("[experiment\n");
    let store = Store::open(&lab.path(".medmerge")).unwrap();
    let [(entry, artifact), ..] = artifacts();
    put(&store, &entry, &artifact);
    lab.medmerge(&["store", "gc", "--yes"]).assert().code(2).stderr(contains("<FILE>"));
    lab.medmerge(&["store", "gc", "experiment.toml", "--yes"])
        .assert()
        .code(2)
        .stderr(contains("experiment.toml"));
    assert!(folder(&store, &entry).exists());
}
