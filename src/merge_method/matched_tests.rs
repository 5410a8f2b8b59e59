//! ZipIt! and PLeaS: against the authors' function, dense matrices and least squares by PyTorch and NumPy
//! (`tests/reference/matched_merges.*`); and networks merged with themselves, which must stay as they are.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use backbone::BackboneSpec;
use dataset::{Dataset, Pixels, Split};
use model::{Checkpoint, Context, Head, ModelInfo};
use nn::{Mode, Net, Normalize, StateDict, Value};
use train::pixels;

use crate::git_rebasin::testing::{CLASSES, backbone, difference, model, shuffled};
use crate::measured_tests::{
    LABELS, assert_close, dataset, info, merging, part, reference_path, sources, with_context,
};
use crate::pleas::{Matching, PleasSpec};
use crate::zipit::ZipitSpec;
use crate::zipit::matching::{Options, groups};
use crate::{MergeMethod, Merged};

/// Small convolutional networks of each kind, with the side length of their images: so many positions that units are told
/// apart.
const CONVOLUTIONAL: [(&str, usize); 4] = [
    ("resnet18 = { stem = 'small', width = 8 }", 16),
    ("resnet18 = { width = 8 }", 64),
    ("resnet50 = { stem = 'small', width = 4 }", 16),
    ("densenet121 = { growth = 4 }", 96),
];
const TRANSFORMER: (&str, usize) = ("vit_tiny = { image_size = 32, patch_size = 16 }", 32);
const ZIPIT: ZipitSpec = ZipitSpec { images: 6, alpha: 0.5, beta: 1.0 };

fn pleas(matching: Matching) -> PleasSpec {
    PleasSpec { matching, images: 6, ridge: 1e-3 }
}

#[derive(Deserialize)]
struct Case {
    sources: usize,
    units: usize,
    alpha: f64,
    beta: f64,
    correlations: Vec<f64>,
    merged: Vec<Vec<u32>>,
    counts: Vec<u32>,
}

#[derive(Deserialize)]
struct Cases {
    matrices: Vec<Case>,
}

#[test]
fn units_are_grouped_as_by_the_authors_function() {
    let text = std::fs::read_to_string(reference_path("matched_merges.json")).unwrap();
    let Cases { matrices } = serde_json::from_str(&text).unwrap();
    assert_eq!(matrices.len(), 20);
    for Case { sources, units, alpha, beta, correlations, merged, counts } in matrices {
        let found = groups(correlations, sources, units, Options { alpha, beta });
        assert_eq!((found.merged, found.counts), (merged, counts), "{sources} {units} {alpha} {beta}");
    }
}

fn reference() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(reference_path("matched_merges.safetensors"), &Device::Cpu).unwrap()
}

fn merge(method: &dyn MergeMethod, models: &[&Checkpoint], dataset: Dataset) -> Merged {
    with_context(dataset, |context| method.merge(&merging(models, &[], context)).unwrap())
}

#[test]
fn zipped_layers_are_the_sum_of_mlu_and_pleas_is_the_least_squares_fit() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let methods: [(&str, &dyn MergeMethod, f64); 2] =
        [("zipit", &ZIPIT, 1e-5), ("pleas", &pleas(Matching::Activations), 1e-3)];
    for (name, method, tolerance) in methods {
        let merged = merge(method, &models, dataset(&all, &LABELS));
        let expected = part(&all, name);
        assert_eq!(merged.tensors.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert_close(name, &merged.tensors, &expected, tolerance);
        assert!(merged.head.is_some());
    }
}

#[test]
fn heads_of_different_data_sets_are_left_out() {
    let all = reference();
    let mut sources = sources(&all);
    sources[1].info = info("another");
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let methods: [&dyn MergeMethod; 3] = [&ZIPIT, &pleas(Matching::Weights), &pleas(Matching::Activations)];
    for method in methods {
        let merged = merge(method, &models, dataset(&all, &LABELS));
        assert!(merged.head.is_none() && !merged.tensors.contains_key("fc.weight"));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let merged = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let methods: [&(dyn MergeMethod + Sync); 2] = [&ZIPIT, &pleas(Matching::Activations)];
        pool.install(|| {
            let tensors = methods.map(|method| merge(method, &models, dataset(&all, &LABELS)).tensors);
            let bits = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            tensors.iter().flat_map(|tensors| tensors.values().map(bits)).collect::<Vec<_>>()
        })
    };
    assert!(merged(1) == merged(3));
}

/// Noise.
fn noise(side: usize) -> Dataset {
    const IMAGES: usize = 12;
    let pixel = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8;
    let pixels: Vec<u8> = (0..IMAGES * side * side * 3).map(pixel).collect();
    let split = Split {
        pixels: Pixels::Owned(pixels.into()),
        labels: vec![0; IMAGES].into(),
        names: (0..IMAGES).map(|i| i.to_string()).collect(),
        groups: None,
    };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Dataset { classes, size: side, pixels: None, train: split.clone(), val: split.clone(), test: split }
}

/// Models with these tensors and heads for the same data set.
fn checkpoints(spec: &BackboneSpec, all: &[StateDict]) -> Vec<Checkpoint> {
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let head = Head { dataset: None, classes, labeling: Default::default() };
    let info = ModelInfo {
        backbone: spec.clone(),
        normalize: Normalize::default(),
        head: Some(head),
        preprocessing: Default::default(),
    };
    all.iter()
        .map(|tensors| Checkpoint { info: info.clone(), tensors: tensors.clone(), history: Vec::new() })
        .collect()
}

/// A random network in which all units fire: norms shrink what enters them and add a constant. A unit that is dead at the
/// end of its stream would match any other one that is.
fn lively(spec: &BackboneSpec, seed: u64) -> StateDict {
    let mut tensors = model(spec, seed);
    for (name, tensor) in &mut tensors {
        if tensor.rank() == 1 && name.ends_with("bias") {
            *tensor = (&*tensor + 0.5).unwrap();
        } else if tensor.rank() == 1 && name.ends_with("weight") {
            *tensor = (&*tensor * 0.2).unwrap();
        }
    }
    tensors
}

/// Logits on the data set's training images.
fn logits(spec: &BackboneSpec, tensors: &StateDict, context: &Context<'_>) -> Tensor {
    let dataset = &context.datasets[0];
    let all: Vec<usize> = (0..dataset.train.len()).collect();
    let images =
        pixels::images(&dataset.train, dataset.size, &all, &Normalize::default(), None, &Device::Cpu);
    let net = Net::new(tensors, Mode::Eval);
    spec.build().logits(&net, &Value::constant(images.unwrap()), CLASSES).unwrap().tensor().clone()
}

/// The largest difference that merging copies of a network makes to its logits, relative to the largest logit. The
/// copies are permuted, except the first.
fn change(method: &dyn MergeMethod, (text, side): (&str, usize), copies: usize, permuted: bool) -> f32 {
    let spec = backbone(text);
    let tensors = lively(&spec, 3);
    let copy = |i: usize| match i {
        i if i > 0 && permuted => {
            shuffled(&spec.build().symmetries(), i as u64).apply_to_all(&tensors).unwrap()
        }
        _ => tensors.clone(),
    };
    let sources = checkpoints(&spec, &(0..copies).map(copy).collect::<Vec<_>>());
    with_context(noise(side), |context| {
        let models: Vec<&Checkpoint> = sources.iter().collect();
        let merged = method.merge(&merging(&models, &[], context)).unwrap();
        let before = logits(&spec, &tensors, context);
        let largest: f32 = before.abs().unwrap().max_all().unwrap().to_scalar().unwrap();
        difference(&before, &logits(&spec, &merged.tensors, context)) / largest
    })
}

#[test]
fn a_network_zipped_with_copies_of_itself_computes_the_same() {
    for network in CONVOLUTIONAL {
        // a unit of a third copy is merged with a merged unit, which α must not prevent
        for (copies, permuted, alpha) in [(2, false, 0.3), (2, true, 0.3), (3, true, 1.0)] {
            let zipit = ZipitSpec { images: 12, alpha, ..ZipitSpec::default() };
            let off = change(&zipit, network, copies, permuted);
            assert!(off < 1e-5, "{} {copies} {permuted}: {off}", network.0);
        }
    }
}

#[test]
fn a_network_fitted_to_copies_of_itself_computes_the_same() {
    for matching in [Matching::Weights, Matching::Activations] {
        let pleas = PleasSpec { images: 12, matching, ..PleasSpec::default() };
        for network in CONVOLUTIONAL {
            for permuted in [false, true] {
                let off = change(&pleas, network, 2, permuted);
                assert!(off < 1e-5, "{} {matching:?} {permuted}: {off}", network.0);
            }
        }
    }
}

#[test]
fn a_transformer_fitted_to_a_permuted_copy_of_itself_computes_the_same() {
    let pleas = PleasSpec { images: 12, ..PleasSpec::default() };
    let off = change(&pleas, TRANSFORMER, 2, true);
    assert!(off < 1e-5, "{off}");
}

/// So Git Re-Basin is the limit.
#[test]
fn a_large_ridge_leaves_the_mean_of_the_permuted_sources() {
    let all = reference();
    let sources = sources(&all);
    let models: Vec<&Checkpoint> = sources.iter().collect();
    let merged =
        |ridge| merge(&PleasSpec { ridge, ..pleas(Matching::Weights) }, &models, dataset(&all, &LABELS));
    let (mean, fitted) = (merged(1e9), merged(1e-3));
    let bodies: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
    let aligned = crate::git_rebasin::GitRebasinSpec::default();
    let symmetries = sources[0].info.backbone.build().symmetries();
    let named: Vec<&dyn crate::NamedTensors> =
        bodies.iter().map(|body| *body as &dyn crate::NamedTensors).collect();
    let rebasin = aligned.build(&named, &symmetries).unwrap();
    let expected = crate::merge_in_memory(&rebasin, &bodies, None).unwrap();
    assert_close("mean", &mean.tensors, &expected, 1e-5);
    assert!(difference(&fitted.tensors["layer4.1.conv2.weight"], &expected["layer4.1.conv2.weight"]) > 1e-3);
    assert_eq!(difference(&fitted.tensors["bn1.weight"], &expected["bn1.weight"]), 0.0, "norms are averaged");
}
