//! A repaired network has the sources' statistics.

use std::sync::Arc;

use candle_core::Device;

use super::super::merge::{BatchNormStatistics, MergeSpec};
use super::*;
use dataset::DatasetKind as _;
use dataset::phantom::{Family, PhantomSpec};
use merge_method::MergeMethodSpec;
use merge_method::average::AverageSpec;
use merge_method::git_rebasin::testing::{CLASSES, backbone, difference, logits, model, shuffled};
use nn::Normalize;
use train::resume::Forgetful;

const VIT: &str = "vit_tiny = { image_size = 32, patch_size = 16 }";
const RESNET: &str = "resnet18 = { stem = 'small', width = 8 }";

fn checkpoint(spec: &BackboneSpec, tensors: StateDict) -> Checkpoint {
    let head = Head {
        dataset: Some(Fingerprint::of_parts(["cells"])),
        labeling: Default::default(),
        classes: (0..CLASSES).map(|c| c.to_string()).collect(),
    };
    let info = ModelInfo {
        backbone: spec.clone(),
        normalize: Normalize::default(),
        head: Some(head),
        preprocessing: Default::default(),
    };
    Checkpoint { info, tensors, history: Vec::new() }
}

/// Two models of a backbone, and 40 images: one batch.
fn context(spec: &BackboneSpec, sources: [StateDict; 2]) -> Context<'static> {
    let images = PhantomSpec { family: Family::Cells, size: 32, train: 40, val: 1, test: 1, seed: 0 };
    let inputs = sources.map(|tensors| Arc::new(Artifact::Model(checkpoint(spec, tensors))));
    Context {
        inputs: inputs.into(),
        datasets: vec![Arc::new(images.load(None).unwrap())],
        dataset_fingerprints: vec![Fingerprint::of_parts(["cells"])],
        input_fingerprints: ["a", "b"].map(|name| Fingerprint::of_parts([name])).to_vec(),
        device: Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    }
}

fn merged(context: &Context<'_>, method: MergeMethodSpec, batch_norm: BatchNormStatistics) -> Checkpoint {
    let sources = vec!["a".into(), "b".into()];
    let spec = MergeSpec { sources, method, batch_norm, dataset: Some("cells".into()) };
    match spec.run(context).unwrap() {
        Artifact::Model(model) => model,
        other => panic!("not a model: {other:?}"),
    }
}

fn average(weights: [f64; 2]) -> MergeMethodSpec {
    MergeMethodSpec::Average(AverageSpec { weights: Some(weights.into()) })
}

fn spreads(model: &Checkpoint, context: &Context<'_>) -> Spreads {
    let pass = Pass { info: &model.info, dataset: &context.datasets[0], context, number: 0, of: 1 };
    pass.spreads(&model.tensors, None).unwrap()
}

/// The largest difference of means and deviations from the goals, in units of the goal's deviation.
fn off(spreads: &Spreads, goals: &Spreads) -> f32 {
    let of_layer = |(layer, spread): (&String, &Spread)| {
        let goal = &goals[layer];
        let relative = |tensor: &Tensor, goal_tensor: &Tensor| {
            difference(&(tensor / &goal.deviation).unwrap(), &(goal_tensor / &goal.deviation).unwrap())
        };
        relative(&spread.mean, &goal.mean).max(relative(&spread.deviation, &goal.deviation))
    };
    spreads.iter().map(of_layer).fold(0.0, f32::max)
}

#[test]
fn every_channel_gets_the_mean_and_deviation_of_the_sources() {
    let spec = backbone(VIT);
    let context = context(&spec, [model(&spec, 1), model(&spec, 2)]);
    let mut goals = Spreads::new();
    for (i, share) in [0.75, 0.25].into_iter().enumerate() {
        add(&mut goals, spreads(context.model(i).unwrap(), &context), share).unwrap();
    }
    assert_eq!(goals.len(), 1 + 12 * 4, "the patch embedding, and four layers per block");
    let plain = merged(&context, average([3.0, 1.0]), BatchNormStatistics::Merged);
    assert!(off(&spreads(&plain, &context), &goals) > 0.5);
    let repaired = merged(&context, average([3.0, 1.0]), BatchNormStatistics::Repair);
    let off = off(&spreads(&repaired, &context), &goals);
    assert!(off < 5e-3, "{off}");
}

#[test]
fn a_merge_of_equals_needs_no_repair() {
    let spec = backbone(VIT);
    let tensors = model(&spec, 1);
    let context = context(&spec, [tensors.clone(), tensors.clone()]);
    let repaired = merged(&context, average([1.0, 1.0]), BatchNormStatistics::Repair).tensors;
    assert!(difference(&logits(&spec, &tensors, 32), &logits(&spec, &repaired, 32)) < 1e-4);
}

#[test]
fn statistics_are_those_of_aligned_sources() {
    let spec = backbone(VIT);
    let tensors = model(&spec, 1);
    let permuted = shuffled(&spec.build().symmetries(), 2).apply_to_all(&tensors).unwrap();
    let context = context(&spec, [tensors.clone(), permuted]);
    let rebasin = MergeMethodSpec::GitRebasin(Default::default());
    let repaired = merged(&context, rebasin, BatchNormStatistics::Repair).tensors;
    assert!(difference(&logits(&spec, &tensors, 32), &logits(&spec, &repaired, 32)) < 1e-4);
}

#[test]
fn with_batch_norm_it_is_re_estimation() {
    let spec = backbone(RESNET);
    let context = context(&spec, [model(&spec, 1), model(&spec, 2)]);
    let [repaired, reestimated, plain] =
        [BatchNormStatistics::Repair, BatchNormStatistics::Reestimate, BatchNormStatistics::Merged]
            .map(|batch_norm| merged(&context, average([1.0, 1.0]), batch_norm).tensors);
    let floats = || reestimated.iter().filter(|(_, tensor)| tensor.dtype().is_float());
    assert!(floats().all(|(name, tensor)| difference(tensor, &repaired[name]) == 0.0));
    assert!(floats().any(|(name, tensor)| difference(tensor, &plain[name]) > 0.1));
}

/// Why that is enough: after a batch norm each channel has the mean β and the deviation |γ|, whatever its input, and
/// these are the means over the sources if each source has its own statistics.
#[test]
fn re_estimated_batch_norms_make_the_channels_that_repair_would() {
    use nn::batch_norm::{Then, batch_norm_eval};
    let x = Tensor::rand(-1f32, 3f32, (64, 5), &Device::Cpu).unwrap();
    let moments = Moments::compute(&Value::constant(x.clone())).unwrap().statistics().unwrap();
    let [gamma, beta] = [[0.5f32, 1.0, 2.0, -1.0, 0.1], [0.0, 1.0, -1.0, 3.0, 0.5]]
        .map(|numbers| Tensor::new(&numbers, &Device::Cpu).unwrap());
    let [x, weight, bias] = [&x, &gamma, &beta].map(|tensor| Value::constant(tensor.clone()));
    let statistics = (&moments.mean, &moments.variance);
    let y = batch_norm_eval(&x, &weight, &bias, statistics, Then::Nothing).unwrap();
    let after = Moments::compute(&y).unwrap().statistics().unwrap();
    assert!(difference(&after.mean, &beta) < 1e-5);
    assert!(difference(&after.variance.sqrt().unwrap(), &gamma.abs().unwrap()) < 1e-4);
}

#[test]
fn a_channel_that_does_not_vary_is_moved_and_not_scaled() {
    let of = |mean: f32, deviation: f32| {
        let [mean, deviation] = [mean, deviation].map(|x| Tensor::new(&[x], &Device::Cpu).unwrap());
        Spread { mean, deviation }
    };
    let tensor = |x: f32| Tensor::new(&[[x]], &Device::Cpu).unwrap();
    for (own, goal, x, expected) in [
        (of(2.0, 0.0), of(5.0, 1.0), 2.0, 5.0),
        (of(2.0, 0.0), of(5.0, 0.0), 2.0, 5.0),
        (of(2.0, 0.5), of(5.0, 1.0), 3.0, 7.0),
        (of(2.0, 0.5), of(5.0, 0.0), 3.0, 5.0),
    ] {
        let moved = own.moved_to(&goal, &tensor(x)).unwrap();
        assert_eq!(moved.to_vec2::<f32>().unwrap(), [[expected]]);
    }
}
