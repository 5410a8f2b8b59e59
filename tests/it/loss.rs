//! The losses against PyTorch's: tests/reference/losses.safetensors.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use medmerge::train::loss::{BinaryCrossEntropySpec, CrossEntropy, Loss as _, binary_cross_entropy};
use medmerge::train::{ClassCounts, ClassWeights, LossSpec, Targets};

const TOLERANCE: f32 = 1e-5;

fn reference() -> HashMap<String, Tensor> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/losses.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(ours: &Tensor, theirs: &Tensor, what: &str) {
    assert_eq!(ours.shape(), theirs.shape(), "{what}");
    for (ours, theirs) in numbers(ours).iter().zip(numbers(theirs)) {
        assert!((ours - theirs).abs() < TOLERANCE, "{what}: {ours}, not {theirs}");
    }
}

/// Holds a loss and its gradient against the reference's `<case>.loss` and `<case>.gz`.
fn check(reference: &HashMap<String, Tensor>, case: &str, logits: &Var, loss: &Tensor) {
    assert_close(loss, &reference[&format!("{case}.loss")], &format!("{case}.loss"));
    let gradients = loss.backward().unwrap();
    let gradient = gradients.get(logits).expect("the logits have a gradient");
    assert_close(gradient, &reference[&format!("{case}.gz")], &format!("{case}.gz"));
}

#[test]
fn cross_entropy_and_its_gradient_are_pytorchs() {
    let reference = reference();
    for shape in ["ce0", "ce1", "ce2"] {
        let logits = Var::from_tensor(&reference[&format!("{shape}.z")]).unwrap();
        let labels = reference[&format!("{shape}.t")].to_dtype(DType::U32).unwrap();
        let weights = numbers(&reference[&format!("{shape}.w")]).into_iter().map(f64::from).collect();
        let ones = vec![1.0; logits.dim(1).unwrap()];
        let cases: [(_, &Vec<f64>, _); 4] = [
            ("plain", &ones, 0.0),
            ("weighted", &weights, 0.0),
            ("smooth", &ones, 0.1),
            ("both", &weights, 0.1),
        ];
        for (case, weights, smoothing) in cases {
            let loss = CrossEntropy::new(weights, smoothing, &Device::Cpu).unwrap();
            let loss = loss.forward(&logits, &Targets::Classes(labels.clone())).unwrap();
            check(&reference, &format!("{shape}.{case}"), &logits, &loss);
        }
    }
}

#[test]
fn binary_cross_entropy_and_its_gradient_are_pytorchs() {
    let reference = reference();
    let logits = Var::from_tensor(&reference["bce.z"]).unwrap();
    let loss = binary_cross_entropy(&logits, &reference["bce.t"], &reference["bce.pos_weight"]).unwrap();
    check(&reference, "bce", &logits, &loss);
}

#[test]
fn binary_cross_entropy_takes_labels_as_one_hot_targets() {
    let logits = Tensor::new(&[[0.5f32, -1.0, 2.0], [0.0, 3.0, -2.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
    let targets = Tensor::new(&[[0f32, 0.0, 1.0], [1.0, 0.0, 0.0]], &Device::Cpu).unwrap();
    let pos_weight = Tensor::new(&[0.5f32, 2.0, 8.0], &Device::Cpu).unwrap();
    let spec = LossSpec::BinaryCrossEntropy(BinaryCrossEntropySpec { class_weights: ClassWeights::Balanced });
    let loss = spec.build(&ClassCounts::single_label(&[6, 3, 0]), &Device::Cpu).unwrap();
    let loss = loss.forward(&logits, &Targets::Classes(labels)).unwrap();
    assert_close(&loss, &binary_cross_entropy(&logits, &targets, &pos_weight).unwrap(), "one-hot");
}

#[test]
fn losses_of_huge_logits_are_finite_and_so_are_their_gradients() {
    let labels = Targets::Classes(Tensor::new(&[1u32, 0], &Device::Cpu).unwrap());
    let counts = ClassCounts::single_label(&[1, 1]);
    for spec in [LossSpec::default(), LossSpec::BinaryCrossEntropy(BinaryCrossEntropySpec::default())] {
        let logits = Var::new(&[[1e4f32, -1e4], [1e4, -1e4]], &Device::Cpu).unwrap();
        let loss = spec.build(&counts, &Device::Cpu).unwrap().forward(&logits, &labels).unwrap();
        let gradients = loss.backward().unwrap();
        assert!(loss.to_scalar::<f32>().unwrap() > 1e3);
        assert!(numbers(gradients.get(&logits).unwrap()).iter().all(|x| x.is_finite()), "{spec:?}");
    }
}
