//! The store under damage, kills, crowds and missing rights.

mod archive;
mod damage;
mod disk;
mod gc;
mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use candle_core::{Device, Tensor};
use medmerge::backbone::BackboneSpec;
use medmerge::backbone::resnet::ResnetSpec;
use medmerge::identity::{Ancestry, Field, Fingerprint};
use medmerge::nn::Normalize;
use medmerge::stage::{Artifact, Checkpoint, Description, Evaluation, MergeWeights, ModelInfo, Prediction};
use medmerge::store::{EntryHeader, Store, StoreError};
use medmerge::train::EpochRecord;
use tempfile::TempDir;

use crate::not_tested::{Need, not_tested};

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("deep/inside")).unwrap();
    (folder, store)
}

fn fingerprint(digits: &str) -> Fingerprint {
    digits.repeat(64 / digits.len()).parse().unwrap()
}

fn info() -> ModelInfo {
    let backbone = BackboneSpec::Resnet18(ResnetSpec::default());
    let normalize = Normalize { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    ModelInfo { backbone, normalize, head: None, preprocessing: Default::default() }
}

fn history() -> Vec<EpochRecord> {
    let val = [("macro_f1".to_string(), 0.1 + 0.2)].into_iter().collect();
    vec![EpochRecord { epoch: 0, lr: 1e-3, train_loss: 0.7, val, best: true }]
}

fn tensors() -> BTreeMap<String, Tensor> {
    let weight = Tensor::new(&[[0.1f32, -2.], [3., 4.]], &Device::Cpu).unwrap();
    BTreeMap::from([("fc.weight".to_string(), weight)])
}

fn prediction() -> Prediction {
    Prediction {
        model: fingerprint("a1"),
        dataset: fingerprint("b2"),
        images: vec!["test/0".into()],
        labels: vec![1].into(),
        probabilities: vec![vec![0.1, 0.9]],
    }
}

/// One artifact of each sort, with fingerprints of their own.
fn artifacts() -> [(Fingerprint, Artifact); 3] {
    let model = Checkpoint { info: info(), tensors: tensors(), history: history() };
    let weights = MergeWeights { info: info(), tensors: tensors(), history: history() };
    let other = Prediction { model: fingerprint("c3"), ..prediction() };
    let scores = Evaluation { predictions: vec![prediction(), other] };
    [
        (fingerprint("01"), Artifact::Model(model)),
        (fingerprint("02"), Artifact::MergeWeights(weights)),
        (fingerprint("03"), Artifact::Evaluation(scores)),
    ]
}

fn header(fingerprint: &Fingerprint) -> EntryHeader {
    EntryHeader {
        fingerprint: *fingerprint,
        kind: "finetune".into(),
        revision: 1,
        fields: vec![Field { path: "train.epochs".into(), value: "3".into() }],
        inputs: vec![("model".into(), self::fingerprint("a1")), ("model".into(), self::fingerprint("c3"))],
        datasets: vec![("dataset".into(), self::fingerprint("b2"))],
        dataset_names: vec!["fundus".into()],
        ancestry: Ancestry::new(),
        stage_ids: vec!["tuned[seed=0]".into()],
        description: Description::Model(info()),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        seconds: 1.5,
        peak_memory: None,
    }
}

fn put(store: &Store, fingerprint: &Fingerprint, artifact: &Artifact) {
    store.put(header(fingerprint), artifact, "epoch 1 of 1\n").unwrap();
}

fn folder(store: &Store, fingerprint: &Fingerprint) -> PathBuf {
    store.root().join("store").join(&fingerprint.to_string()[..2]).join(fingerprint.to_string())
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

/// Debug text, with the numbers of the tensors.
fn text(artifact: &Artifact) -> String {
    let tensors = match artifact {
        Artifact::Model(model) => &model.tensors,
        Artifact::MergeWeights(weights) => &weights.tensors,
        Artifact::Evaluation(evaluation) => return format!("{evaluation:?}"),
    };
    let numbers: Vec<_> = tensors.values().map(|tensor| tensor.to_vec2::<f32>().unwrap()).collect();
    let (info, history) = match artifact {
        Artifact::Model(Checkpoint { info, history, .. }) => ("model", (info, history)),
        Artifact::MergeWeights(MergeWeights { info, history, .. }) => ("merge weights", (info, history)),
        Artifact::Evaluation(_) => unreachable!(),
    };
    format!("{:?} {numbers:?} {info:?} {history:?}", tensors.keys())
}

#[test]
fn every_sort_of_artifact_comes_back_as_it_was() {
    let (_folder, store) = store();
    for (fingerprint, artifact) in artifacts() {
        assert!(store.manifest(&fingerprint).unwrap().is_none());
        put(&store, &fingerprint, &artifact);
        assert_eq!(text(&store.get(&fingerprint).unwrap()), text(&artifact));
        let manifest = store.manifest(&fingerprint).unwrap().unwrap();
        assert_eq!(manifest.header, header(&fingerprint));
        assert_eq!(
            count(&folder(&store, &fingerprint)),
            manifest.files.len() + 1,
            "the manifest, and what it lists"
        );
    }
    assert_eq!(store.fingerprints().unwrap(), artifacts().map(|(fingerprint, _)| fingerprint));
    assert_eq!(count(&store.root().join("staging")), 0);
}

#[test]
fn a_trained_model_has_the_files_that_others_read() {
    let (_folder, store) = store();
    let [(model, artifact), _, (scores, evaluation)] = artifacts();
    put(&store, &model, &artifact);
    put(&store, &scores, &evaluation);
    let files = |fingerprint| -> Vec<String> {
        store.manifest(fingerprint).unwrap().unwrap().files.into_keys().collect()
    };
    assert_eq!(files(&model), ["model.safetensors", "history.csv", "log.txt"]);
    let pairs = ["a1a1a1a1a1a1.b2b2b2b2b2b2.predictions.csv", "c3c3c3c3c3c3.b2b2b2b2b2b2.predictions.csv"];
    assert_eq!(files(&scores), [pairs[0], pairs[1], "log.txt"]);
}

#[test]
fn the_same_work_gives_the_same_bytes_whatever_its_name_and_time() {
    let (_one, first) = store();
    let (_other, second) = store();
    for (fingerprint, artifact) in artifacts() {
        put(&first, &fingerprint, &artifact);
        let later = EntryHeader {
            stage_ids: vec!["another_name".into()],
            started: SystemTime::now(),
            seconds: 99.0,
            ..header(&fingerprint)
        };
        second.put(later, &artifact, "epoch 1 of 1\n").unwrap();
        let files = |store: &Store| store.manifest(&fingerprint).unwrap().unwrap().files;
        assert_eq!(files(&first), files(&second));
    }
}

#[test]
fn a_second_put_changes_nothing() {
    let (_folder, store) = store();
    let [(fingerprint, artifact), ..] = artifacts();
    put(&store, &fingerprint, &artifact);
    let again = EntryHeader { seconds: 99.0, ..header(&fingerprint) };
    let manifest = store.put(again, &artifact, "another log").unwrap();
    assert_eq!(manifest.header.seconds, 1.5);
}

#[test]
fn a_flipped_bit_in_any_file_is_noticed_and_the_entry_made_again() {
    for (fingerprint, artifact) in artifacts() {
        let (_folder, store) = store();
        put(&store, &fingerprint, &artifact);
        let files = store.manifest(&fingerprint).unwrap().unwrap().files;
        for (n, name) in files.keys().enumerate() {
            let path = folder(&store, &fingerprint).join(name);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            let error = store.get(&fingerprint).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name.as_str()), "{error}");
            assert!(matches!(store.get(&fingerprint), Err(StoreError::Missing { .. })));
            let aside = store.set_aside_as(&fingerprint).unwrap();
            assert!(aside.ends_with(format!("damaged/{fingerprint}-{n}")), "{}", aside.display());
            put(&store, &fingerprint, &artifact);
            store.get(&fingerprint).unwrap();
        }
    }
}

#[test]
fn a_damaged_manifest_is_no_entry() {
    let [(fingerprint, artifact), (other, _), _] = artifacts();
    let damages: [fn(&Path, &Fingerprint); 4] = [
        |manifest, _| fs::remove_file(manifest).unwrap(),
        |manifest, _| fs::write(manifest, "{\"fingerprint\":").unwrap(),
        |manifest, _| fs::write(manifest, "").unwrap(),
        |manifest, other| {
            let text = fs::read_to_string(manifest).unwrap();
            fs::write(manifest, text.replace(&"01".repeat(32), &other.to_string())).unwrap();
        },
    ];
    for damage in damages {
        let (_folder, store) = store();
        put(&store, &fingerprint, &artifact);
        damage(&folder(&store, &fingerprint).join("manifest.json"), &other);
        assert!(store.manifest(&fingerprint).unwrap().is_none());
        assert!(store.set_aside_as(&fingerprint).is_some());
        put(&store, &fingerprint, &artifact);
        assert!(store.manifest(&fingerprint).unwrap().is_some());
    }
}

#[test]
fn a_file_that_is_missing_or_cut_is_noticed_without_reading_it() {
    for cut in [true, false] {
        let (_folder, store) = store();
        let [(fingerprint, artifact), ..] = artifacts();
        put(&store, &fingerprint, &artifact);
        let model = folder(&store, &fingerprint).join("model.safetensors");
        if cut {
            fs::File::options().write(true).open(&model).unwrap().set_len(10).unwrap();
        } else {
            fs::remove_file(&model).unwrap();
        }
        assert!(store.manifest(&fingerprint).unwrap().is_none());
    }
}

#[test]
fn what_a_killed_process_left_is_no_entry_and_is_swept_up() {
    let (_folder, store) = store();
    let left = store.root().join("staging/left/entry");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("model.safetensors"), "half a mod").unwrap();
    Store::open(store.root()).unwrap();
    assert_eq!(count(&store.root().join("staging")), 0);
    assert!(store.fingerprints().unwrap().is_empty());
}

#[test]
fn many_threads_put_one_entry_and_others_open_the_store_meanwhile() {
    let (_folder, store) = store();
    let [(fingerprint, artifact), ..] = artifacts();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                put(&store, &fingerprint, &artifact);
                store.get(&fingerprint).unwrap();
            });
            scope.spawn(|| Store::open(store.root()).unwrap());
        }
    });
    assert_eq!(store.fingerprints().unwrap(), [fingerprint]);
    assert_eq!(count(&store.root().join("staging")), 0);
    assert_eq!(count(&store.root().join("damaged")), 0);
}

#[test]
fn many_threads_find_one_damage_and_set_it_aside_once() {
    let (_folder, store) = store();
    let [(fingerprint, artifact), ..] = artifacts();
    put(&store, &fingerprint, &artifact);
    fs::write(folder(&store, &fingerprint).join("log.txt"), "epoch 2 of 1\n").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert!(store.get(&fingerprint).is_err());
            });
        }
    });
    assert_eq!(count(&store.root().join("damaged")), 1);
}

#[test]
fn one_at_a_time_has_the_right_to_make_an_entry() {
    let (_folder, store) = store();
    let (one, other) = (fingerprint("01"), fingerprint("02"));
    let lock = store.lock(&one).unwrap();
    assert!(store.try_lock(&one).unwrap().is_none());
    assert!(store.try_lock(&other).unwrap().is_some());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.lock(&one).map(|_| ()));
        drop(lock);
        waiting.join().unwrap().unwrap();
    });
    assert!(store.try_lock(&one).unwrap().is_some());
}

#[test]
fn a_removed_entry_can_be_made_again() {
    let (_folder, store) = store();
    let [(fingerprint, artifact), ..] = artifacts();
    store.remove(&fingerprint).unwrap();
    put(&store, &fingerprint, &artifact);
    store.remove(&fingerprint).unwrap();
    assert!(store.manifest(&fingerprint).unwrap().is_none());
    assert!(store.set_aside_as(&fingerprint).is_none(), "it was not damaged");
    put(&store, &fingerprint, &artifact);
    store.get(&fingerprint).unwrap();
}

#[test]
fn what_stages_last_were_is_remembered_per_experiment() {
    let (_folder, store) = store();
    let note = |stage: &str, digits| (stage.to_string(), fingerprint(digits));
    let last_made = |experiment, stage| store.last_made(experiment).remove(stage);
    assert_eq!(last_made("quickstart", "source"), None);
    store.remember("quickstart", &[note("source", "01"), note("tuned[seed=0]", "02")]).unwrap();
    store.remember("quickstart", &[note("source", "03")]).unwrap();
    assert_eq!(last_made("quickstart", "source"), Some(fingerprint("03")));
    assert_eq!(last_made("quickstart", "tuned[seed=0]"), Some(fingerprint("02")));
    assert_eq!(last_made("another", "source"), None);
    fs::write(store.root().join("experiments/quickstart.json"), "not JSON").unwrap();
    assert_eq!(last_made("quickstart", "source"), None);
    store.remember("quickstart", &[note("source", "01")]).unwrap();
    assert_eq!(last_made("quickstart", "source"), Some(fingerprint("01")));
}

#[test]
fn predictions_of_something_else_are_refused_and_leave_no_entry() {
    let (_folder, store) = store();
    let foreign = Prediction { model: fingerprint("d4"), ..prediction() };
    let artifact = Artifact::Evaluation(Evaluation { predictions: vec![foreign] });
    let error = store.put(header(&fingerprint("05")), &artifact, "").unwrap_err().to_string();
    assert!(error.contains("`d4d4d4d4d4d4.b2b2b2b2b2b2`"), "{error}");
    assert!(store.manifest(&fingerprint("05")).unwrap().is_none());
}

#[test]
fn a_root_that_cannot_be_a_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "a file").unwrap();
    let error = Store::open(&file.join("store")).unwrap_err().to_string();
    assert!(error.starts_with("failed to create the folder ") && error.contains("notes.txt"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_root_is_an_error_that_says_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::create_dir(folder.path().join("probe")).is_ok() {
        not_tested(Need::Permissions, "this user may write everywhere");
        return;
    }
    let error = Store::open(&folder.path().join("store")).unwrap_err();
    assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("--store"), "{error}");
}
