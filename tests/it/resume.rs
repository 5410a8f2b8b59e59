//! A training that is stopped again and again ends as if it never had been.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use medmerge::dataset::phantom::{Family, PhantomSpec};
use medmerge::dataset::{Dataset, DatasetKind};
use medmerge::identity::Fingerprint;
use medmerge::stage::{Artifact, Context, StageError, StageSpec};
use medmerge::train::resume::{Forgetful, Resume, TrainState};
use medmerge::train::{EpochRecord, Interrupted, Progress};
use serde_json::{Value, json};

/// Keeps the last state in memory.
#[derive(Default)]
struct Keeper(Mutex<Option<TrainState>>);

impl Resume for Keeper {
    fn load(&self) -> Option<TrainState> {
        self.0.lock().unwrap().clone()
    }

    fn save(&self, state: &TrainState) {
        // Steps change variables in place: what is kept must be a copy.
        let copied = |tensors: &BTreeMap<String, Tensor>| -> BTreeMap<String, Tensor> {
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.force_contiguous().unwrap())).collect()
        };
        let TrainState { position, learner, optimizer, average, best } = state;
        *self.0.lock().unwrap() = Some(TrainState {
            position: position.clone(),
            learner: copied(learner),
            optimizer: copied(optimizer),
            average: average.as_ref().map(copied),
            best: best.as_ref().map(copied),
        });
    }
}

pub fn dataset() -> Arc<Dataset> {
    let spec = PhantomSpec { family: Family::Cells, size: 12, train: 44, val: 16, test: 8, seed: 0 };
    Arc::new(spec.load(None).unwrap())
}

pub fn run(
    spec: &StageSpec,
    inputs: &[Arc<Artifact>],
    resume: &dyn Resume,
    report: &(dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
) -> Result<Artifact, StageError> {
    spec.run(&Context {
        inputs: inputs.to_vec(),
        datasets: vec![dataset()],
        dataset_fingerprints: vec![Fingerprint::of_parts(["cells"])],
        input_fingerprints: (0..inputs.len())
            .map(|i| Fingerprint::of_parts([i.to_string().as_str()]))
            .collect(),
        device: Device::Cpu,
        report,
        resume,
        graphs: false,
    })
}

/// Runs it whole; each attempt is stopped after so many reports.
pub fn run_in_pieces(
    spec: &StageSpec,
    inputs: &[Arc<Artifact>],
    reports: usize,
    keeper: &dyn Resume,
) -> (Artifact, usize) {
    for attempt in 1.. {
        let left = AtomicUsize::new(reports);
        let report = |_| match left.fetch_sub(1, Ordering::Relaxed) {
            1 => Err(Interrupted),
            _ => Ok(()),
        };
        match run(spec, inputs, keeper, &report) {
            Ok(artifact) => return (artifact, attempt),
            Err(StageError::Interrupted(_)) => assert!(attempt < 100, "it does not get on"),
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("attempts do not end")
}

/// Every number of an artifact, by its bits, and its history.
pub fn content(artifact: &Artifact) -> (BTreeMap<String, Vec<u32>>, Vec<EpochRecord>) {
    let (tensors, history) = match artifact {
        Artifact::Model(model) => (&model.tensors, &model.history),
        Artifact::MergeWeights(weights) => (&weights.tensors, &weights.history),
        Artifact::Evaluation(_) => panic!("nothing is trained"),
    };
    let bits = |tensor: &Tensor| {
        let numbers = tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap();
        numbers.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    (tensors.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect(), history.clone())
}

/// Three epochs of three steps each make twelve reports.
pub fn train() -> Value {
    json!({
        "epochs": 3, "batch_size": 16, "seed": 5, "clip_norm": 1.0,
        "augment": [{ "crop": { "padding": 1 } }, { "horizontal_flip": {} }],
        "optimizer": { "adamw": { "lr": 0.01 } },
    })
}

/// The same with these options on top.
pub fn with(options: &Value) -> Value {
    let mut train = train();
    train.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    train
}

pub fn spec(kind: &str, mut body: Value, train: &Value) -> StageSpec {
    body["dataset"] = json!("cells");
    body["train"] = train.clone();
    serde_json::from_value(json!({ kind: body })).unwrap()
}

pub fn pretrain(seed: u64) -> (StageSpec, Arc<Artifact>) {
    let mut train = train();
    train["seed"] = json!(seed);
    let backbone = json!({ "resnet18": { "stem": "small", "width": 8 } });
    let spec = spec("pretrain", json!({ "backbone": backbone }), &train);
    let made = run(&spec, &[], &Forgetful, &|_| Ok(())).unwrap();
    (spec, Arc::new(made))
}

pub fn holds(spec: &StageSpec, inputs: &[Arc<Artifact>]) {
    let whole = content(&run(spec, inputs, &Forgetful, &|_| Ok(())).unwrap());
    for reports in [1, 2, 3, 4, 5, 7] {
        let (artifact, attempts) = run_in_pieces(spec, inputs, reports, &Keeper::default());
        assert!(attempts > 1, "{reports}");
        let pieces = content(&artifact);
        assert_eq!(pieces.1, whole.1, "{reports}");
        for (name, numbers) in &whole.0 {
            assert!(*numbers == pieces.0[name], "{name} differs if stopped after every {reports} reports");
        }
    }
}

#[test]
fn a_whole_network() {
    let (spec, _) = pretrain(1);
    holds(&spec, &[]);
}

#[test]
fn every_optimizer_and_early_stopping() {
    let (_, source) = pretrain(1);
    for optimizer in [json!({ "sgd": { "lr": 0.01, "momentum": 0.9 } }), json!({ "adam": { "lr": 0.01 } })] {
        let mut train = train();
        train["optimizer"] = optimizer;
        train["patience"] = json!(1);
        train["epochs"] = json!(5);
        holds(&spec("finetune", json!({ "from": "source" }), &train), std::slice::from_ref(&source));
    }
}

#[test]
fn a_head_on_a_frozen_backbone_with_features_remembered_or_not() {
    let (_, source) = pretrain(1);
    for augment in [json!([{ "horizontal_flip": {} }]), train()["augment"].clone()] {
        let mut train = train();
        train["augment"] = augment;
        let body = json!({ "from": "source", "trainable": "head" });
        holds(&spec("finetune", body, &train), std::slice::from_ref(&source));
    }
}

#[test]
fn merge_weights() {
    let sources = [pretrain(1).1, pretrain(2).1];
    for constraint in ["none", "convex"] {
        let body = json!({ "sources": ["a", "b"], "constraint": constraint });
        holds(&spec("learn_merge_weights", body, &train()), &sources);
    }
}
