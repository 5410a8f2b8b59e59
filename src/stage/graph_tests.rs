//! Trainings that replay captured steps give the same bits as those that do not: parameters, moments, running
//! statistics, moving averages, losses and scores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

use super::learner::train_whole;
use super::*;
use dataset::{Pixels, Split};
use nn::init::initial_values;
use nn::testing::{as_on_a_gpu, launches};
use nn::{Normalize, StateDict};
use train::epoch::Task;
use train::resume::{Resume, TrainState};
use train::{Interrupted, Progress};

const CLASSES: usize = 3;
/// In batches of 3: full ones, and one that is smaller.
const IMAGES: usize = 11;
const EPOCHS: usize = 3;
/// All steps of a training.
const STEPS: usize = 4 * EPOCHS;

/// Keeps the state that a training leaves when it is interrupted.
#[derive(Default)]
struct Kept(Mutex<Option<TrainState>>);

impl Resume for Kept {
    fn load(&self) -> Option<TrainState> {
        None
    }

    fn save(&self, state: &TrainState) {
        *self.0.lock().unwrap() = Some(state.clone());
    }
}

fn split(n: usize, size: usize) -> Split {
    Split {
        pixels: Pixels::Owned(
            (0..n * size * size * 3).map(|i| (i * i % 251) as u8).collect::<Vec<_>>().into(),
        ),
        labels: (0..n).map(|i| (i % CLASSES) as u32).collect::<Vec<_>>().into(),
        names: (0..n).map(|i| i.to_string()).collect(),
        groups: None,
    }
}

fn info(backbone: BackboneSpec) -> ModelInfo {
    ModelInfo { backbone, normalize: Normalize::default(), head: None, preprocessing: Default::default() }
}

/// What a training has come to after its last step, and the number of launches that it took.
fn trained(backbone: &str, size: usize, options: Value, graphs: bool) -> (TrainState, usize) {
    let info = info(serde_json::from_str(backbone).unwrap());
    let mut spec: TrainSpec = serde_json::from_value(options).unwrap();
    (spec.batch_size, spec.epochs) = (3, EPOCHS);
    let dataset = Dataset {
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        size,
        pixels: None,
        train: split(IMAGES, size),
        val: split(4, size),
        test: split(1, size),
    };
    let (taken, kept) = (AtomicUsize::new(0), Kept::default());
    let report = |progress: Progress| match progress {
        Progress::Step { .. } if taken.fetch_add(1, Ordering::Relaxed) + 1 == STEPS => Err(Interrupted),
        _ => Ok(()),
    };
    let task =
        Task { dataset: &dataset, spec: &spec, device: &Device::Cpu, report: &report, resume: &kept, graphs };
    let tensors = initial_values(&info.backbone.build().all_parameters(Some(CLASSES)), 0, &Device::Cpu);
    let before = launches();
    let interrupted = as_on_a_gpu(|| train_whole(info, tensors.unwrap(), &task));
    let ended = interrupted.map(|_| "it was not interrupted").map_err(|error| error.to_string());
    assert_eq!(ended, Err(Interrupted.to_string()));
    let state = kept.0.into_inner().unwrap().expect("an interrupted training saves its state");
    (state, launches() - before)
}

/// Elements, bit by bit.
fn bits(tensor: &Tensor) -> Vec<u64> {
    let elements = tensor.flatten_all().and_then(|tensor| tensor.to_dtype(DType::F64)).unwrap();
    elements.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

fn assert_same(what: &str, actual: &StateDict, expected: &StateDict) {
    assert!(actual.keys().eq(expected.keys()));
    for (name, expected) in expected {
        assert_eq!(bits(&actual[name]), bits(expected), "{what}: {name}");
    }
}

/// Whether a training replays steps; either way it comes to the same.
fn replays(backbone: &str, size: usize, options: Value) -> bool {
    let (expected, many) = trained(backbone, size, options.clone(), false);
    let (actual, few) = trained(backbone, size, options, true);
    assert_same(backbone, &actual.learner, &expected.learner);
    assert_same(backbone, &actual.optimizer, &expected.optimizer);
    assert_same(backbone, &actual.average.unwrap_or_default(), &expected.average.unwrap_or_default());
    assert_same(backbone, &actual.best.unwrap_or_default(), &expected.best.unwrap_or_default());
    assert_eq!(actual.position, expected.position, "{backbone}: losses and scores");
    // two steps, one that is captured, and the smaller batches, of 12
    if few != many {
        assert!(few * 3 < many * 2, "{backbone}: {few} launches instead of {many}");
    }
    few != many
}

#[test]
fn replayed_steps_of_every_family_give_the_same_bits() {
    for (backbone, size) in [
        (r#"{"resnet18": {"width": 4, "stem": "small"}}"#, 8),
        (r#"{"resnet50": {"width": 4, "stem": "small"}}"#, 8),
        (r#"{"densenet121": {"growth": 4}}"#, 32),
        (r#"{"vit_tiny": {"image_size": 8, "patch_size": 4}}"#, 8),
    ] {
        assert!(replays(backbone, size, json!({})), "{backbone}");
    }
}

#[test]
fn replayed_steps_give_the_same_bits_under_every_optimizer() {
    let resnet = r#"{"resnet18": {"width": 4}}"#;
    for options in [
        json!({ "ema": 0.9, "layer_decay": 0.7, "select": "none" }),
        json!({ "optimizer": { "adam": { "weight_decay": 0.1 } } }),
        json!({ "optimizer": { "sgd": { "nesterov": true } }, "schedule": { "cosine": { "warmup_epochs": 1 } } }),
        json!({ "optimizer": { "sgd": { "momentum": 0.0 } }, "loss": { "cross_entropy": { "label_smoothing": 0.1 } } }),
    ] {
        assert!(replays(resnet, 33, options.clone()), "{options}");
    }
}

#[test]
fn steps_that_cannot_be_captured_are_taken_as_before() {
    let resnet = r#"{"resnet18": {"width": 4, "stem": "small"}}"#;
    for options in
        [json!({ "loss": { "binary_cross_entropy": {} } }), json!({ "augment": [{ "mixup": {} }] })]
    {
        assert!(!replays(resnet, 8, options.clone()), "{options}");
    }
}
