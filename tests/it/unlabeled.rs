//! Training without labels against PyTorch: tests/reference/make_unlabeled.py.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use medmerge::backbone::BackboneSpec;
use medmerge::dataset::{Dataset, Labeling, Labels, Pixels, Split};
use medmerge::identity::{Averaged, Fingerprint};
use medmerge::nn::{Normalize, StateDict};
use medmerge::stage::{Artifact, Checkpoint, Context, Head, ModelInfo, StageSpec};
use medmerge::train::loss::entropy::{binary_entropy, entropy};
use medmerge::train::resume::Forgetful;
use medmerge::train::{ClassCounts, LossSpec, Softening, Targets};
use serde_json::{Value, json};

use crate::backbone::{assert_norms, filled, norm, uniform};
use crate::reference;

const TOLERANCE: f64 = 1e-5;
const CLASSES: usize = 4;
const SIZE: usize = 12;
const IMAGES: usize = 12;

fn check(reference: &HashMap<String, Tensor>, case: &str, (loss, gradient): (Tensor, Tensor)) {
    let loss = f64::from(loss.to_scalar::<f32>().unwrap());
    let expected = reference[&format!("{case}.loss")].to_scalar::<f32>().unwrap();
    let difference = (loss - f64::from(expected)).abs();
    assert!(difference <= TOLERANCE * f64::from(expected).max(1.0), "{case}: {loss}, not {expected}");
    reference::assert_close(case, &gradient, &reference[&format!("{case}.gz")], TOLERANCE);
}

#[test]
fn entropies_and_their_gradients_are_pytorchs_whatever_the_labels() {
    let reference = reference::tensors("unlabeled.safetensors");
    let z = &reference["entropy.z"];
    let loss: LossSpec = serde_json::from_value(json!({ "entropy": {} })).unwrap();
    let loss = loss.build(&ClassCounts::single_label(&[1; CLASSES]), &Device::Cpu).unwrap();
    let (n, zeros) = (z.dim(0).unwrap(), z.zeros_like().unwrap());
    for label in 0..CLASSES as u32 {
        let classes = Targets::Classes(Tensor::full(label, n, &Device::Cpu).unwrap());
        check(&reference, "entropy.single", loss.with_gradient(z, &classes).unwrap());
    }
    let labels = Targets::Labels { present: zeros.clone(), absent: zeros };
    check(&reference, "entropy.multi", loss.with_gradient(z, &labels).unwrap());
}

#[test]
fn distillation_and_its_gradient_are_pytorchs() {
    let reference = reference::tensors("unlabeled.safetensors");
    let teachers: Vec<Tensor> = (0..3).map(|i| reference[&format!("distill.t{i}")].clone()).collect();
    let labelings = [("single", Labeling::SingleLabel), ("multi", Labeling::MultiLabel)];
    let mut cases = 0;
    for (name, labeling) in labelings {
        for count in [1, 3] {
            for temperature in [1.0, 3.0] {
                for of in [Averaged::Probabilities, Averaged::Logits] {
                    let softening = Softening { temperature, of, labeling };
                    let targets = softening.targets(&teachers[..count]).unwrap();
                    let made = softening.with_gradient(&reference["distill.z"], &targets).unwrap();
                    let case = format!("distill.{name}.{count}.{temperature:.1}.{}", of.as_str());
                    check(&reference, &case, made);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 16);
}

/// Logits of which single probabilities are 0 in f32.
#[test]
fn extreme_logits_give_finite_losses_and_gradients() {
    let z = Tensor::new(&[[1e4f32, -1e4, 0.0], [-300.0, 300.0, 299.0]], &Device::Cpu).unwrap();
    let other = Tensor::new(&[[-1e4f32, 1e4, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
    assert!(entropy(&z).unwrap().to_scalar::<f32>().unwrap().is_finite());
    assert!(binary_entropy(&z).unwrap().to_scalar::<f32>().unwrap().is_finite());
    for labeling in [Labeling::SingleLabel, Labeling::MultiLabel] {
        for of in [Averaged::Probabilities, Averaged::Logits] {
            let softening = Softening { temperature: 1.0, of, labeling };
            let targets = softening.targets(&[z.clone(), other.clone()]).unwrap();
            for logits in [&z, &other] {
                let (loss, gradient) = softening.with_gradient(logits, &targets).unwrap();
                let loss = loss.to_scalar::<f32>().unwrap();
                let sum = gradient.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(loss.is_finite() && loss >= 0.0 && sum.is_finite(), "{loss}, {sum}");
            }
        }
    }
}

fn backbone() -> BackboneSpec {
    serde_json::from_value(json!({ "resnet18": { "stem": "small", "width": 8 } })).unwrap()
}

/// Weights by the formula of the reference, the positions of names from `first` on.
fn weights(first: usize) -> StateDict {
    filled(&*backbone().build(), CLASSES, |j, i| uniform(first + j, i), 6.0)
}

fn classes() -> Vec<String> {
    (0..CLASSES).map(|class| format!("class {class}")).collect()
}

fn cells() -> Fingerprint {
    Fingerprint::of_parts(["cells"])
}

fn model(tensors: StateDict, normalize: Normalize) -> Arc<Artifact> {
    let head = Head { dataset: Some(cells()), classes: classes(), labeling: Labeling::SingleLabel };
    let (backbone, preprocessing) = (backbone(), Default::default());
    let info = ModelInfo { backbone, normalize, head: Some(head), preprocessing };
    Arc::new(Artifact::Model(Checkpoint { info, tensors, history: Vec::new() }))
}

/// The images of the reference, with these labels.
fn dataset(labels: Vec<u32>) -> Arc<Dataset> {
    let level = |k: usize| {
        let (n, y, x, c) = (k / (SIZE * SIZE * 3), k / (SIZE * 3) % SIZE, k / 3 % SIZE, k % 3);
        (((7 * n + 1) * x + (3 * n + 5) * y + (n + 2) * x * y + 40 * c) % 256) as u8
    };
    let split = |labels: Vec<u32>| Split {
        pixels: Pixels::Owned((0..IMAGES * SIZE * SIZE * 3).map(level).collect::<Vec<u8>>().into()),
        names: (0..labels.len()).map(|i| i.to_string()).collect(),
        labels: Labels::from(labels),
        groups: None,
    };
    let splits = [labels.clone(), labels.clone(), labels].map(split);
    let [train, val, test] = splits;
    Arc::new(Dataset { classes: classes(), size: SIZE, pixels: None, train, val, test })
}

fn labels() -> Vec<u32> {
    (0..IMAGES as u32).map(|i| i % CLASSES as u32).collect()
}

/// One step of plain gradient descent on all images.
fn made(kind: &str, mut body: Value, lr: f64, inputs: &[Arc<Artifact>], labels: Vec<u32>) -> Artifact {
    let options = json!({
        "epochs": 1, "batch_size": IMAGES, "select": "none", "schedule": { "constant": {} },
        "optimizer": { "sgd": { "lr": lr, "momentum": 0.0 } },
    });
    body["train"].as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    body["dataset"] = json!("cells");
    let spec: StageSpec = serde_json::from_value(json!({ kind: body })).unwrap();
    spec.run(&Context {
        inputs: inputs.to_vec(),
        datasets: vec![dataset(labels)],
        dataset_fingerprints: vec![cells()],
        input_fingerprints: (0..inputs.len())
            .map(|i| Fingerprint::of_parts([i.to_string().as_str()]))
            .collect(),
        device: Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    })
    .unwrap()
}

fn tensors(artifact: &Artifact) -> (&StateDict, f64) {
    match artifact {
        Artifact::Model(model) => (&model.tensors, model.history[0].train_loss),
        Artifact::MergeWeights(weights) => (&weights.tensors, weights.history[0].train_loss),
        Artifact::Evaluation(_) => panic!("nothing is trained"),
    }
}

fn assert_loss(loss: f64, expected: &Value) {
    let expected = expected["loss"].as_f64().unwrap();
    assert!((loss - expected).abs() <= 1e-4 * expected, "loss {loss}, not {expected}");
}

/// In f32; the tolerances are those of other training steps.
#[test]
fn the_first_step_of_a_student_is_pytorchs() {
    let expected = &reference::json("unlabeled_steps.json")["distilled"];
    let other = Normalize { mean: [0.25; 3], std: [0.75; 3] };
    let own = Normalize::default();
    let inputs = [model(weights(0), own), model(weights(1000), own), model(weights(2000), other)];
    let body = json!({ "from": "a", "teachers": ["b", "c"], "temperature": 3.0, "train": {} });
    let lr = 100.0;
    let made = made("distill", body, lr, &inputs, labels());
    let (after, loss) = tensors(&made);
    assert_loss(loss, expected);
    let is_trained = |name: &&String| !name.contains("running") && !name.ends_with("num_batches_tracked");
    let (before, in_f64) = (weights(0), |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap());
    let moved = |name: &String| {
        let difference = (in_f64(&before[name]) - in_f64(&after[name])).unwrap();
        (name.clone(), norm(&difference) / lr)
    };
    let moved: BTreeMap<String, f64> = after.keys().filter(is_trained).map(moved).collect();
    assert_norms("gradient", &moved, &expected["grad_l2"], 3e-2);
}

/// The base, and sources that differ from it by a tenth of other weights.
fn task_vectors() -> [Arc<Artifact>; 3] {
    let base = weights(0);
    let source = |first: usize| {
        let add = |(name, tensor): (String, Tensor)| match tensor.dtype() {
            DType::F32 => {
                let [base, other] = [&base[&name], &tensor].map(|t| t.to_dtype(DType::F64).unwrap());
                (name, (base + (other * 0.1).unwrap()).unwrap().to_dtype(DType::F32).unwrap())
            }
            _ => (name, tensor),
        };
        weights(first).into_iter().map(add).collect()
    };
    let own = Normalize::default();
    [model(source(1000), own), model(source(2000), own), model(base, own)]
}

fn adamerging() -> Value {
    json!({
        "sources": ["s0", "s1"], "base": "start", "anchor": "s0", "start": 0.3, "granularity": "layer",
        "train": { "loss": { "entropy": {} } },
    })
}

/// θ₀ + Σ λ τ by layer, λ = 0.3, one step on the entropy.
#[test]
fn the_first_step_of_coefficients_by_layer_is_pytorchs() {
    let expected = &reference::json("unlabeled_steps.json")["adapted"];
    let [a, b, base] = task_vectors();
    let made = made("learn_merge_weights", adamerging(), 1.0, &[a.clone(), b, base, a], labels());
    let (learned, loss) = tensors(&made);
    assert_loss(loss, expected);
    let gradients: BTreeMap<String, Vec<f64>> =
        serde_json::from_value(expected["gradients"].clone()).unwrap();
    let largest = gradients.values().flatten().fold(0f64, |most, gradient| most.max(gradient.abs()));
    for (layer, gradient) in gradients {
        let weights = learned[&format!("{layer}.merge_weights")].to_vec2::<f32>().unwrap();
        assert_eq!(weights.len(), 2);
        for (row, gradient) in weights.iter().zip(gradient) {
            assert!(row.iter().all(|w| w == &row[0]), "one coefficient a layer");
            let moved = f64::from(0.3f32) - f64::from(row[0]);
            let tolerance = 1e-2 * gradient.abs() + 1e-3 * largest;
            assert!((moved - gradient).abs() <= tolerance, "{layer}: {moved}, not {gradient}");
        }
    }
}

#[test]
fn other_labels_of_the_training_images_change_no_bit() {
    let shuffled: Vec<u32> = labels().into_iter().rev().map(|label| (label + 1) % 2).collect();
    let [a, b, base] = task_vectors();
    let inputs = [a.clone(), b.clone(), base, a.clone()];
    let bits = |artifact: &Artifact| crate::resume::content(artifact);
    let learned = |labels| bits(&made("learn_merge_weights", adamerging(), 1.0, &inputs, labels));
    assert!(learned(labels()) == learned(shuffled.clone()));
    let student = |label_weight: f64, labels| {
        let body = json!({ "from": "a", "teachers": ["b"], "label_weight": label_weight, "train": {} });
        bits(&made("distill", body, 0.1, &[a.clone(), b.clone()], labels))
    };
    assert!(student(0.0, labels()) == student(0.0, shuffled.clone()));
    assert!(student(0.5, labels()) != student(0.5, shuffled));
}
