//! Properties of learned merges.

use candle_core::{DType, Device, Result, Tensor};

use super::learner::{constants, onto_simplex};
use super::*;
use crate::learner::val_images;
use backbone::densenet::DensenetSpec;
use backbone::resnet::{ResnetSpec, Stem};
use backbone::vit::VitSpec;
use dataset::phantom::{Family, PhantomSpec};
use dataset::{Dataset, DatasetKind};
use merge_method::learned;
use nn::batch_norm::{Then, batch_norm_eval};
use nn::conv2d::{ConvOptions, conv2d};
use nn::init::initial_values;
use nn::{Mode, Net, Normalize, StateDict, Value, Values, gradients, leaves};
use train::batch::Batch;
use train::epoch::Task;
use train::learner::{Forward, Learner};
use train::resume::Forgetful;

const CLASSES: usize = 4;
const GRANULARITIES: [Granularity; 4] =
    [Granularity::Slice, Granularity::Kernel, Granularity::Layer, Granularity::Model];

fn dataset(size: usize) -> Dataset {
    let spec = PhantomSpec { family: Family::Cells, size, train: 24, val: 12, test: 8, seed: 0 };
    spec.load(None).unwrap()
}

fn resnet() -> BackboneSpec {
    BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 })
}

/// A ResNet with random running statistics, as after training.
fn model(seed: u64) -> Checkpoint {
    model_of(resnet(), seed)
}

fn model_of(backbone: BackboneSpec, seed: u64) -> Checkpoint {
    let head = Head {
        labeling: Default::default(),
        dataset: Some(Fingerprint::of_parts(["cells"])),
        classes: Family::Cells.classes().iter().map(|&class| class.into()).collect(),
    };
    let mut tensors =
        initial_values(&backbone.build().all_parameters(Some(CLASSES)), seed, &Device::Cpu).unwrap();
    for (name, tensor) in &mut tensors {
        let spread = |low: f32, high: f32| {
            let len = tensor.elem_count();
            let at = |i: usize| low + (high - low) * ((i as f32 * 1.7 + seed as f32).sin() + 1.0) / 2.0;
            Tensor::from_vec((0..len).map(at).collect(), tensor.shape(), &Device::Cpu).unwrap()
        };
        if name.ends_with("running_var") {
            *tensor = spread(0.5, 2.0);
        } else if name.ends_with("running_mean") || name.contains("bn") && name.ends_with("bias") {
            *tensor = spread(-0.3, 0.3);
        } else if name.contains("bn") && name.ends_with("weight") {
            *tensor = spread(0.6, 1.4);
        }
    }
    let info = ModelInfo {
        backbone,
        normalize: Normalize::default(),
        head: Some(head),
        preprocessing: Default::default(),
    };
    Checkpoint { info, tensors, history: Vec::new() }
}

fn spec(sources: usize, anchor: Option<usize>) -> LearnMergeWeightsSpec {
    LearnMergeWeightsSpec {
        sources: (0..sources).map(|i| format!("s{i}")).collect(),
        base: None,
        anchor: anchor.map(|i| format!("s{i}")),
        start: None,
        anchor_weight: AnchorWeight::Learned,
        constraint: Constraint::None,
        granularity: Granularity::Kernel,
        decay_to_start: 0.0,
        norms: Norms::Merged,
        head: StartingHead::Anchor,
        dataset: "cells".into(),
        train: TrainSpec::default(),
    }
}

fn with_learner<R>(spec: &LearnMergeWeightsSpec, f: impl FnOnce(&mut MergeLearner<'_>) -> R) -> R {
    with_learner_of(&resnet(), 12, spec, f)
}

fn with_learner_of<R>(
    backbone: &BackboneSpec,
    size: usize,
    spec: &LearnMergeWeightsSpec,
    f: impl FnOnce(&mut MergeLearner<'_>) -> R,
) -> R {
    let dataset = dataset(size);
    let task = Task {
        dataset: &dataset,
        spec: &spec.train,
        device: &Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    let models: Vec<Checkpoint> =
        (0..spec.sources.len() as u64).map(|seed| model_of(backbone.clone(), seed)).collect();
    let base = spec.base.as_ref().map(|_| model_of(backbone.clone(), 100));
    let models: Vec<&Checkpoint> = models.iter().collect();
    let mut learner = MergeLearner::new(spec, &models, base.as_ref(), &task).unwrap();
    f(&mut learner)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar::<f32>().unwrap()
}

#[test]
fn the_anchors_head_follows_the_data_sets_order_of_classes() {
    let (data, spec) = (dataset(12), spec(2, Some(0)));
    let task = Task {
        dataset: &data,
        spec: &spec.train,
        device: &Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    let mut anchor = model(0);
    let logits = |anchor: &Checkpoint| {
        let mut learner = MergeLearner::new(&spec, &[anchor, &model(1)], None, &task).unwrap();
        learner.val_logits(&[0, 1]).unwrap().to_vec2::<f32>().unwrap()
    };
    let before = logits(&anchor);
    anchor.info.head.as_mut().unwrap().classes.reverse();
    let reversed = |row: Vec<f32>| row.into_iter().rev().collect::<Vec<_>>();
    assert_eq!(logits(&anchor), before.into_iter().map(reversed).collect::<Vec<_>>());
}

#[test]
fn at_the_first_step_it_is_the_probed_anchor() {
    for (sources, anchor) in [(2, 0), (2, 1), (3, 2)] {
        let anchor_model = model(anchor as u64);
        for granularity in GRANULARITIES {
            for constraint in [Constraint::None, Constraint::Convex, Constraint::Box] {
                let spec = LearnMergeWeightsSpec { granularity, constraint, ..spec(sources, Some(anchor)) };
                let positions: Vec<usize> = (0..12).collect();
                let (merged, x) = with_learner(&spec, |learner| {
                    let x = val_images(learner.task, &learner.normalize, &positions).unwrap();
                    (learner.val_logits(&positions).unwrap(), x)
                });
                let net = Net::new(&anchor_model.tensors, Mode::Eval);
                let backbone = anchor_model.info.backbone.build();
                let anchored = backbone.logits(&net, &Value::constant(x), CLASSES).unwrap();
                assert!(largest_difference(&merged, anchored.tensor()) <= 1e-5);
            }
        }
    }
}

/// Other families than ResNet: kernels are channels of convolutions, rows of linear layers, or norms.
#[test]
fn every_family_starts_at_the_anchor_and_has_right_gradients() -> Result<()> {
    let densenet = BackboneSpec::Densenet121(DensenetSpec { growth: 4 });
    let vit = BackboneSpec::VitTiny(VitSpec { image_size: 12, patch_size: 6 });
    for (backbone, size) in [(densenet, 32), (vit, 12)] {
        let spec = spec(2, Some(1));
        let positions: Vec<usize> = (0..12).collect();
        let anchor = model_of(backbone.clone(), 1);
        with_learner_of(&backbone, size, &spec, |learner| -> Result<()> {
            let x = Value::constant(val_images(learner.task, &learner.normalize, &positions)?);
            let anchored = learner.backbone.logits(&Net::new(&anchor.tensors, Mode::Eval), &x, CLASSES)?;
            assert!(largest_difference(&learner.val_logits(&positions)?, anchored.tensor()) <= 1e-5);
            let batch = Batch::prepare(learner.task, Some(&learner.normalize), 0, 0, &positions)?
                .on(learner.task.device)?;
            let Forward { logits, leaves } = learner.train_logits(&batch)?;
            let gradients = gradients(&logits, logits.tensor().ones_like()?, &leaves)?;
            for (name, _) in learner.variables() {
                assert!(gradients.contains_key(&name), "{name} of {backbone} has no gradient");
            }
            agrees_with_finite_differences(learner, mean_of_squares)
        })?;
    }
    Ok(())
}

/// Set merge weights far from their start, so that every source contributes.
fn scatter(learner: &MergeLearner<'_>) {
    for (_, var) in &learner.weight_variables {
        let value = |i: usize| 0.5 + 0.4 * (i as f32 * 2.3).sin();
        let values: Vec<f32> = (0..var.elem_count()).map(value).collect();
        var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap()).unwrap();
    }
}

/// The logits in evaluation mode, a smooth function of the merge weights except for ReLU's kinks.
fn logits(learner: &MergeLearner<'_>, weights: &Values, x: &Tensor) -> Result<Value> {
    let net = Net::with_values(&learner.rest, learner.values(weights, Values::new())?, Mode::Eval);
    learner.backbone.logits(&net, &Value::constant(x.clone()), CLASSES)
}

/// A number and its gradient with respect to logits.
type LossOfLogits = fn(&Tensor) -> Result<(f64, Tensor)>;

/// The mean of squared logits.
fn mean_of_squares(logits: &Tensor) -> Result<(f64, Tensor)> {
    let gradient = (logits * (2.0 / logits.elem_count() as f64))?;
    Ok((logits.sqr()?.mean_all()?.to_scalar()?, gradient))
}

#[test]
fn gradients_of_merge_weights_agree_with_finite_differences() -> Result<()> {
    for granularity in GRANULARITIES {
        for anchor_weight in [AnchorWeight::Learned, AnchorWeight::Fixed] {
            let spec = LearnMergeWeightsSpec { granularity, anchor_weight, ..spec(3, Some(1)) };
            with_learner(&spec, |learner| agrees_with_finite_differences(learner, mean_of_squares))?;
        }
    }
    Ok(())
}

/// Along the gradient: (L(w + hd) − L(w − hd)) / 2h = ⟨∇L, d⟩, variable by variable, in f64.
fn agrees_with_finite_differences(learner: &mut MergeLearner<'_>, loss: LossOfLogits) -> Result<()> {
    scatter(learner);
    let x =
        val_images(learner.task, &learner.normalize, &(0..8).collect::<Vec<_>>())?.to_dtype(DType::F64)?;
    learner.sources = in_f64(&learner.sources)?;
    learner.rest = in_f64(&learner.rest)?;
    let weights = in_f64(&learner.weights)?;
    let leaves = leaves(&weights, weights.keys());
    let result = logits(learner, &leaves, &x)?;
    let (_, of_logits) = loss(result.tensor())?;
    for (name, gradient) in &gradients(&result, of_logits, &leaves)? {
        let norm = gradient.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
        let direction = (gradient / norm)?;
        let at = |h: f64| -> Result<f64> {
            let mut moved = weights.clone();
            moved.insert(name.clone(), (&weights[name] + (&direction * h)?)?);
            Ok(loss(logits(learner, &constants(&moved), &x)?.tensor())?.0)
        };
        let h = 1e-6;
        let slope = (at(h)? - at(-h)?) / (2.0 * h);
        assert!((slope - norm).abs() <= 1e-4 * norm + 1e-8, "{name}: {slope}, expected {norm}");
    }
    Ok(())
}

fn in_f64(tensors: &StateDict) -> Result<StateDict> {
    let convert = |tensor: &Tensor| match tensor.dtype() {
        DType::F32 => tensor.detach().to_dtype(DType::F64),
        _ => Ok(tensor.clone()),
    };
    tensors.iter().map(|(name, tensor)| Ok((name.clone(), convert(tensor)?))).collect()
}

/// On a ResNet, whose norms follow convolutions, and a DenseNet, whose norms have their own merge weights.
#[test]
fn norms_can_stay_the_anchors() -> Result<()> {
    let densenet = BackboneSpec::Densenet121(DensenetSpec { growth: 4 });
    for (backbone, size) in [(resnet(), 12), (densenet, 32)] {
        let sources: Vec<Checkpoint> = (0..2).map(|seed| model_of(backbone.clone(), seed)).collect();
        let spec = LearnMergeWeightsSpec { norms: Norms::Anchor, ..spec(2, Some(1)) };
        let learned = with_learner_of(&backbone, size, &spec, |learner| {
            scatter(learner);
            learner.learned()
        })?;
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        let folded = learned::merge(&state_dicts, None, &backbone.build().kernel_groups(), &learned)?;
        let norms = norms(&backbone.build().parameters());
        assert!(norms.len() > 30 && norms.iter().all(|name| !name.contains("conv")), "{norms:?}");
        for (name, tensor) in folded.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            let from_anchor = largest_difference(tensor, &sources[1].tensors[name]) == 0.0;
            let is_merged = name.ends_with(".weight") && tensor.rank() == 4;
            assert_eq!(from_anchor, !is_merged, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_new_head_takes_the_place_of_the_anchors() {
    let spec = LearnMergeWeightsSpec { head: StartingHead::New, ..spec(2, Some(1)) };
    let anchor = model(1);
    with_learner(&spec, |learner| {
        let start = learner.learned().unwrap();
        assert!(largest_difference(&start["fc.weight"], &anchor.tensors["fc.weight"]) > 0.0);
        assert_eq!(largest_difference(&start["bn1.running_mean"], &anchor.tensors["bn1.running_mean"]), 0.0);
    });
}

#[test]
fn a_fixed_anchor_is_not_learned() {
    let spec = LearnMergeWeightsSpec { anchor_weight: AnchorWeight::Fixed, ..spec(2, Some(1)) };
    with_learner(&spec, |learner| {
        scatter(learner);
        let learned = learner.learned().unwrap();
        let numbers = learned["conv1.merge_weights"].to_vec2::<f32>().unwrap();
        assert!(numbers[1].iter().all(|w| *w == 1.0) && numbers[0].iter().all(|w| *w != 0.0));
    });
}

#[test]
fn constraints_hold_after_a_step() {
    let numbers = |constraint| {
        let spec = LearnMergeWeightsSpec { constraint, ..spec(3, None) };
        with_learner(&spec, |learner| {
            for (_, var) in &learner.weight_variables {
                var.set(&(var.as_tensor() * 5.0).unwrap().affine(1.0, -2.0).unwrap()).unwrap();
                let first = Tensor::full(3f32, (1, var.dim(1).unwrap()), var.device()).unwrap();
                let rest = var.as_tensor().narrow(0, 1, 2).unwrap();
                var.set(&Tensor::cat(&[first, rest], 0).unwrap()).unwrap();
            }
            learner.after_step(1e-2).unwrap();
            learner.learned().unwrap()["conv1.merge_weights"].t().unwrap().to_vec2::<f32>().unwrap()
        })
    };
    for column in numbers(Constraint::Box) {
        assert_eq!(column, [1.0, 0.0, 0.0]);
    }
    for column in numbers(Constraint::Convex) {
        assert!((column.iter().sum::<f32>() - 1.0).abs() < 1e-6 && column.iter().all(|w| *w >= 0.0));
        assert_eq!(column[0], 1.0);
    }
}

#[test]
fn merge_weights_decay_to_their_start() {
    let fixed = LearnMergeWeightsSpec { anchor_weight: AnchorWeight::Fixed, ..spec(2, Some(0)) };
    for spec in [spec(2, Some(1)), spec(3, None), fixed] {
        let spec = LearnMergeWeightsSpec { decay_to_start: 5.0, ..spec };
        with_learner(&spec, |learner| {
            let numbers = |learner: &MergeLearner<'_>| {
                learner.learned().unwrap()["conv1.merge_weights"].to_vec2::<f32>().unwrap()
            };
            scatter(learner);
            let before = numbers(learner);
            learner.after_step(1e-2).unwrap();
            for (source, (before, after)) in before.iter().zip(numbers(learner)).enumerate() {
                for (before, after) in before.iter().zip(after) {
                    let expected = before - 1e-2 * 5.0 * (before - spec.start(source));
                    assert!((after - expected).abs() < 1e-6, "{before} became {after}, expected {expected}");
                }
            }
        });
    }
}

#[test]
fn the_simplex_projection_leaves_points_of_the_simplex_alone() {
    let inside = Tensor::new(&[[0.2f32, 0.0], [0.5, 1.0], [0.3, 0.0]], &Device::Cpu).unwrap();
    assert!(largest_difference(&onto_simplex(&inside).unwrap(), &inside) < 1e-7);
    let outside = Tensor::new(&[[1.0f32], [1.0], [-3.0]], &Device::Cpu).unwrap();
    assert_eq!(
        onto_simplex(&outside).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        [0.5, 0.5, 0.0]
    );
}

mod feature_maps;
mod norms;
mod slices;
mod unlabeled;
