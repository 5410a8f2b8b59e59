//! What the GPU computes for a training beside a network agrees with the CPU: optimizers and losses.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use nn::testing::{as_on_a_gpu, assert_close, launches, order_of_threads, random_tensor};
use serde_json::json;

use crate::optimizer::{Optimizer, OptimizerSpec};
use crate::{ClassCounts, LossSpec, Targets};

/// One element, several blocks, and more tensors than a launch takes.
fn shapes() -> Vec<Vec<usize>> {
    let mut shapes = vec![vec![1], vec![7, 3, 3, 3], vec![5000]];
    shapes.extend((0..400).map(|i| vec![i % 5 + 1]));
    shapes
}

/// Parameters, moments and counter after three steps.
fn stepped(
    spec: &OptimizerSpec,
    mut step_by: impl FnMut(&mut Optimizer, &BTreeMap<String, Tensor>),
) -> BTreeMap<String, Tensor> {
    let named = |seed: u64| {
        let tensor =
            |(i, shape): (usize, &Vec<usize>)| (format!("{i:03}"), random_tensor(seed + i as u64, shape));
        shapes().iter().enumerate().map(tensor).collect::<BTreeMap<_, _>>()
    };
    let variables: Vec<(String, Var)> =
        named(1).into_iter().map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap())).collect();
    let optimizer = Optimizer::new(spec, variables.clone()).unwrap();
    let mut optimizer = optimizer.with_lr_scales(|name| if name == "002" { 0.5 } else { 1.0 });
    for step in 0..3 {
        let mut gradients = named(100 + step);
        // as a convolution leaves it: input channels last in memory
        let kernels = gradients["001"].permute((0, 2, 3, 1)).and_then(|kernels| kernels.contiguous());
        gradients.insert("001".into(), kernels.and_then(|kernels| kernels.permute((0, 3, 1, 2))).unwrap());
        // a view that no optimizer takes as it is
        let wide = Tensor::cat(&[&gradients["002"], &gradients["002"]], 0).unwrap();
        let wide = wide.reshape((2, 5000)).and_then(|wide| wide.t()?.narrow(1, 0, 1)?.squeeze(1));
        gradients.insert("002".into(), wide.unwrap());
        step_by(&mut optimizer, &gradients);
    }
    let mut all = optimizer.state().unwrap();
    all.extend(variables.into_iter().map(|(name, var)| (name, var.as_detached_tensor())));
    all
}

fn specs() -> [OptimizerSpec; 5] {
    [
        json!({ "adamw": { "weight_decay": 0.1 } }),
        json!({ "adam": { "weight_decay": 0.1, "betas": [0.8, 0.95] } }),
        json!({ "sgd": { "momentum": 0.0, "weight_decay": 0.1 } }),
        json!({ "sgd": { "momentum": 0.9 } }),
        json!({ "sgd": { "momentum": 0.9, "nesterov": true } }),
    ]
    .map(|spec| serde_json::from_value(spec).unwrap())
}

#[test]
fn optimizers_take_the_same_steps() {
    let clipped = |optimizer: &mut Optimizer, gradients: &BTreeMap<String, Tensor>| {
        optimizer.step(gradients, 0.9, Some(3.0)).unwrap();
    };
    for spec in specs() {
        let expected = stepped(&spec, clipped);
        let before = launches();
        let actual = order_of_threads(7, || as_on_a_gpu(|| stepped(&spec, clipped)));
        assert_eq!(launches() - before, 3 * 2, "two launches a step for 403 tensors");
        for (name, expected) in &expected {
            assert_close(&format!("{name} of {spec:?}"), &actual[name], expected);
        }
    }
}

/// As captured steps have it.
#[test]
fn what_changes_from_step_to_step_is_read_from_memory_with_the_same_bits() {
    for spec in specs() {
        let mut rates = [0.9, 0.5, 0.1].into_iter().cycle();
        let expected = as_on_a_gpu(|| {
            stepped(&spec, |optimizer, gradients| {
                optimizer.step(gradients, rates.next().unwrap(), None).unwrap();
            })
        });
        let actual = as_on_a_gpu(|| {
            stepped(&spec, |optimizer, gradients| {
                let varying = optimizer.varying().unwrap();
                optimizer.advance(rates.next().unwrap(), &varying).unwrap();
                optimizer.launch(gradients, &varying).unwrap();
            })
        });
        let bits = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        for (name, expected) in &expected {
            assert_eq!(bits(&actual[name]).unwrap(), bits(expected).unwrap(), "{name} of {spec:?}");
        }
    }
}

#[test]
fn losses_and_their_gradients_are_the_same() {
    let counts = ClassCounts::single_label(&[5, 1, 9, 3]);
    let logits = (random_tensor(1, &[37, 4]) * 10.0).unwrap().to_dtype(DType::F32).unwrap();
    let labels: Vec<u32> = (0..37).map(|i| i * i % 4).collect();
    let targets = Targets::Classes(Tensor::new(labels, &Device::Cpu).unwrap());
    for spec in [json!({}), json!({ "class_weights": "balanced", "label_smoothing": 0.1 })] {
        let spec: LossSpec = serde_json::from_value(json!({ "cross_entropy": spec })).unwrap();
        let loss = spec.build(&counts, &Device::Cpu).unwrap();
        let (expected, expected_gradient) = loss.with_gradient(&logits, &targets).unwrap();
        let before = launches();
        let (actual, gradient) = as_on_a_gpu(|| loss.with_gradient(&logits, &targets)).unwrap();
        assert_eq!(launches() - before, 1);
        let [actual, expected] = [actual, expected].map(|loss| f64::from(loss.to_scalar::<f32>().unwrap()));
        assert!((actual - expected).abs() <= 1e-6 * expected, "{actual} {expected}");
        let off = (gradient - expected_gradient).unwrap().abs().unwrap().max_all().unwrap();
        assert!(off.to_scalar::<f32>().unwrap() <= 1e-7, "{off}");
    }
}
