//! Measuring methods, compared with references from PyTorch and NumPy (`tests/reference/measured_merges.safetensors`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use backbone::BackboneSpec;
use backbone::resnet::{ResnetSpec, Stem};
use dataset::{Dataset, Labeling, Pixels, Split};
use identity::Fingerprint;
use model::{Checkpoint, Context, Head, ModelInfo};
use nn::{Normalize, StateDict};
use train::resume::Forgetful;

use crate::fisher::{FisherSpec, information};
use crate::greedy_soup::{GreedySoup, GreedySoupSpec, score};
use crate::regmean::{Regmean, RegmeanSpec, grams};
use crate::{Merging, merge_in_memory};

const SIZE: usize = 12;
const CLASSES: usize = 3;

/// A file of `tests/reference/`.
pub(crate) fn reference_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference").join(name)
}

fn reference() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(reference_path("measured_merges.safetensors"), &Device::Cpu).unwrap()
}

/// The tensors whose names start with `prefix`, with the prefix removed.
pub(crate) fn part(all: &HashMap<String, Tensor>, prefix: &str) -> StateDict {
    let named = |(name, tensor): (&String, &Tensor)| {
        Some((name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned(), tensor.clone()))
    };
    all.iter().filter_map(named).collect()
}

pub(crate) fn info(dataset: &str) -> ModelInfo {
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    ModelInfo {
        backbone: BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 2 }),
        normalize: Normalize::default(),
        head: Some(Head {
            dataset: Some(Fingerprint::of_parts([dataset])),
            classes,
            labeling: Default::default(),
        }),
        preprocessing: Default::default(),
    }
}

pub(crate) fn sources(all: &HashMap<String, Tensor>) -> Vec<Checkpoint> {
    let source = |i: usize| Checkpoint {
        info: info("d"),
        tensors: part(all, &format!("source.{i}")),
        history: Vec::new(),
    };
    (0..2).map(source).collect()
}

/// A data set with the reference's images in each split and these labels.
pub(crate) fn dataset(all: &HashMap<String, Tensor>, labels: &[u32]) -> Dataset {
    let pixels: Vec<u8> = all["pixels"].flatten_all().unwrap().to_vec1().unwrap();
    let split = Split {
        pixels: Pixels::Owned(pixels.into()),
        labels: labels.to_vec().into(),
        names: (0..labels.len()).map(|i| i.to_string()).collect(),
        groups: None,
    };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset { classes, size: SIZE, pixels: None, train: split.clone(), val: split.clone(), test: split }
}

pub(crate) fn with_context<R>(dataset: Dataset, f: impl FnOnce(&Context<'_>) -> R) -> R {
    f(&Context {
        inputs: Vec::new(),
        datasets: vec![Arc::new(dataset)],
        dataset_fingerprints: vec![Fingerprint::of_parts(["d"])],
        input_fingerprints: Vec::new(),
        device: Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    })
}

pub(crate) fn merging<'a>(
    sources: &[&'a Checkpoint],
    names: &'a [String],
    context: &'a Context<'a>,
) -> Merging<'a> {
    Merging { context, sources: sources.to_vec(), names, reestimates: false }
}

fn information_of(models: &[&Checkpoint], context: &Context<'_>) -> Vec<StateDict> {
    information::information(&FisherSpec::default(), &merging(models, &[], context)).unwrap()
}

fn solved_weights(models: &[&Checkpoint], context: &Context<'_>) -> StateDict {
    grams::solved_weights(&RegmeanSpec::default(), &merging(models, &[], context)).unwrap()
}

pub(crate) const LABELS: [u32; 6] = [0, 1, 2, 0, 1, 2];

/// The largest difference is at most `tolerance` times the largest expected magnitude.
pub(crate) fn assert_close(what: &str, actual: &StateDict, expected: &StateDict, tolerance: f64) {
    assert!(!expected.is_empty(), "{what}");
    for (name, expected) in expected {
        let elements = |tensor: &Tensor| {
            let tensor = tensor.to_dtype(DType::F64).and_then(|tensor| tensor.flatten_all());
            tensor.and_then(|tensor| tensor.to_vec1::<f64>()).unwrap()
        };
        assert_eq!(actual[name].dims(), expected.dims(), "{what} {name}");
        let (actual, expected) = (elements(&actual[name]), elements(expected));
        let largest = expected.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
        let pairs = actual.iter().zip(&expected);
        let worst = pairs.map(|(a, e)| (a - e).abs()).fold(0.0, f64::max);
        assert!(actual.iter().all(|number| number.is_finite()), "{what} {name}");
        assert!(worst <= tolerance * largest, "{what} {name}: off by {worst:e}, the largest is {largest:e}");
    }
}

/// A model with these rows of the head, and zeros after them if asked for.
fn with_head(source: &Checkpoint, rows: &[usize], zeros: usize, labeling: Labeling) -> Checkpoint {
    let mut model = source.clone();
    for name in ["fc.weight", "fc.bias"] {
        let all = &source.tensors[name];
        let mut chosen: Vec<Tensor> = rows.iter().map(|&row| all.narrow(0, row, 1).unwrap()).collect();
        chosen.extend((0..zeros).map(|_| all.narrow(0, 0, 1).unwrap().zeros_like().unwrap()));
        model.tensors.insert(name.into(), Tensor::cat(&chosen, 0).unwrap());
    }
    let classes = (0..rows.len() + zeros).map(|class| class.to_string()).collect();
    model.info.head = Some(Head { dataset: None, classes, labeling });
    model
}

/// A sigmoid is the softmax of a logit and 0, and independent classes add their information.
#[test]
fn fisher_information_of_several_labels_is_the_sum_of_that_of_each() {
    let all = reference();
    let source = &sources(&all)[0];
    let multi = |rows: &[usize]| with_head(source, rows, 0, Labeling::MultiLabel);
    let models = [
        with_head(source, &[0], 1, Labeling::SingleLabel),
        with_head(source, &[1], 1, Labeling::SingleLabel),
        multi(&[0]),
        multi(&[0, 1]),
    ];
    let models: Vec<&Checkpoint> = models.iter().collect();
    let information = with_context(dataset(&all, &LABELS), |context| information_of(&models, context));
    let backbone = |information: &StateDict| -> StateDict {
        let own = information.iter().filter(|(name, _)| !name.starts_with("fc."));
        own.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    };
    let [first, second, one, both] = [0, 1, 2, 3].map(|i| backbone(&information[i]));
    assert_close("one", &one, &first, 1e-5);
    let sum = first.iter().map(|(name, tensor)| (name.clone(), (tensor + &second[name]).unwrap())).collect();
    assert_close("both", &both, &sum, 1e-5);
}

#[test]
fn fisher_information_is_autograds_squares() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let spec = FisherSpec::default();
    let information = with_context(dataset(&all, &LABELS), |context| information_of(&models, context));
    for (i, information) in information.iter().enumerate() {
        let expected = part(&all, &format!("fisher.{i}"));
        assert_eq!(information.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_close(&format!("source {i}"), information, &expected, 1e-4);
    }
    let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
    let merged = merge_in_memory(&spec.build(information), &state_dicts, None).unwrap();
    assert_close("merged", &merged, &part(&all, "fisher_merged"), 1e-3);
    let mean = ((&sources[0].tensors["bn1.running_mean"] + &sources[1].tensors["bn1.running_mean"]).unwrap()
        / 2.0)
        .unwrap();
    let of = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
    assert_eq!(of(&merged["bn1.running_mean"]), of(&mean), "there is no Fisher information for it");
}

#[test]
fn regmean_solves_numpys_equations() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let solved = with_context(dataset(&all, &LABELS), |context| solved_weights(&models, context));
    let expected = part(&all, "regmean");
    assert_eq!(solved.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_close("solved", &solved, &expected, 1e-3);
    let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
    let merged = merge_in_memory(&Regmean { solved }, &state_dicts, None).unwrap();
    assert_eq!(merged.len(), sources[0].tensors.len());
}

#[test]
fn heads_of_different_data_sets_are_not_solved_for() {
    let all = reference();
    let mut sources = sources(&all);
    sources[1].info = info("another");
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let solved = with_context(dataset(&all, &LABELS), |context| solved_weights(&models, context));
    assert!(!solved.contains_key("fc.weight") && solved.contains_key("conv1.weight"));
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let measured = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            with_context(dataset(&all, &LABELS), |context| {
                let mut all = information_of(&models, context);
                all.push(solved_weights(&models, context));
                let bits = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                all.iter().flat_map(|state| state.values().map(bits)).collect::<Vec<_>>()
            })
        })
    };
    assert!(measured(1) == measured(3));
}

#[test]
fn fewer_images_are_a_part_of_more() {
    let all = reference();
    let drawn =
        |images| with_context(dataset(&all, &LABELS), |context| merging(&[], &[], context).drawn(50, images));
    let (some, all) = (drawn(7), drawn(300));
    assert_eq!((some.len(), all.len()), (7, 50));
    assert_eq!(some, all[..7]);
    assert_ne!(some, (0..7).collect::<Vec<_>>());
}

/// One source predicts the labels, the other does not.
#[test]
fn a_soup_takes_what_helps_on_the_validation_images() {
    let all = reference();
    let mut sources = sources(&all);
    // It always predicts the same class, with certainty.
    let bias = Tensor::new(&[0f32, 1e4, 0.0], &Device::Cpu).unwrap();
    sources[1].tensors.insert("fc.bias".into(), bias);
    let logits: Vec<Vec<f32>> = all["logits.0"].to_dtype(DType::F32).unwrap().to_vec2().unwrap();
    let said = |row: &Vec<f32>| (0..3).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
    let labels: Vec<u32> = logits.iter().map(said).collect();
    assert!(!labels.contains(&1), "{labels:?}");
    let names = ["right".to_owned(), "wrong".to_owned(), "right again".to_owned()];
    let models = [&sources[0], &sources[1], &sources[0]];
    let chosen = |names: &[String], models: &[&Checkpoint], metric: &str| {
        let spec = GreedySoupSpec { metric: metric.into() };
        with_context(dataset(&all, &labels), |context| score::chosen(&spec, &merging(models, names, context)))
    };
    let soup = chosen(&names, &models, "accuracy").unwrap();
    assert_eq!(soup, GreedySoup::new(&[0, 2]));
    let soup = chosen(&names[1..], &models[1..], "accuracy").unwrap();
    assert_eq!(soup, GreedySoup::new(&[1]));
    let error = chosen(&names, &models, "clarity").unwrap_err().to_string();
    assert_eq!(error, "failed to score a soup: there is no metric `clarity`");
}
