//! The operators here equal the processor's kernels, one by one and as whole training steps.

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

use crate::backbone::BackboneSpec;
use crate::nn::batch_norm::{Then, batch_norm_eval};
use crate::nn::conv2d::{ConvOptions, conv2d};
use crate::nn::init::initial_values;
use crate::nn::pool::max_pool2d;
use crate::nn::weighted_sum::weighted_sum;
use crate::nn::{Mode, Net, StateDict, Tape, Value, gradients, leaves};

thread_local! {
    /// Whether the operators here compute on the processor, too.
    pub(super) static FORCED: Cell<bool> = const { Cell::new(false) };
}

const CLASSES: usize = 5;

fn by_candle<R>(f: impl FnOnce() -> R) -> R {
    FORCED.set(true);
    let result = f();
    FORCED.set(false);
    result
}

fn numbers(seed: u64, shape: &[usize]) -> Tensor {
    let value = |i: usize| (i as f64 * 0.7 + seed as f64 * 3.1).sin() * 1.5;
    let values: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn assert_close(what: &str, actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let of = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (actual, expected) = (of(actual), of(expected));
    // Some gradients are 0 but for rounding: batch norm takes them out.
    let largest = expected.iter().fold(1e-2f64, |m, x| m.max(x.abs()));
    let worst = actual.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0f64, f64::max);
    assert!(worst <= 1e-9 * largest, "{what}: off by {worst:e} of {largest:e}");
}

/// Result and gradients of an operator are the same both ways.
fn same(what: &str, inputs: &[Tensor], operator: impl Fn(&[Value]) -> Result<Value>) -> Result<()> {
    let run = || -> Result<Vec<Tensor>> {
        let tape = Tape::default();
        let leaves: Vec<Value> = inputs.iter().map(|input| tape.leaf(input.clone())).collect();
        let y = operator(&leaves)?;
        let mut gradients = y.backward(numbers(9, y.dims()))?;
        let mut all = vec![y.tensor().clone()];
        all.extend(leaves.iter().map(|leaf| gradients.take(leaf).expect("a gradient")));
        Ok(all)
    };
    let (expected, actual) = (run()?, by_candle(run)?);
    expected.iter().zip(&actual).for_each(|(expected, actual)| assert_close(what, actual, expected));
    Ok(())
}

#[test]
fn convolutions_are_the_same_on_every_border() -> Result<()> {
    for (h, w, kernel, stride, padding, dilation, groups) in [
        (8, 7, 3, 2, 1, 1, 1),
        (5, 6, 3, 1, 1, 1, 2),
        (9, 9, 3, 1, 2, 2, 1),
        (8, 8, 1, 2, 0, 1, 1),
        (7, 7, 7, 2, 3, 1, 1),
    ] {
        let options = ConvOptions { stride, padding, dilation, groups };
        let inputs = [numbers(1, &[2, h, w, 4]), numbers(2, &[6, 4 / groups, kernel, kernel])];
        same("conv2d", &inputs, |v| conv2d(&v[0], &v[1], options))?;
    }
    Ok(())
}

#[test]
fn max_pools_are_the_same_with_equal_values_too() -> Result<()> {
    for (kernel, stride, padding, side) in [(3, 2, 1, 9), (3, 2, 1, 8), (2, 2, 0, 7), (3, 1, 1, 5)] {
        // Rounded, so that windows hold equal values.
        let x = numbers(3, &[2, side, side, 5]).round()?;
        same("max pool", &[x], |v| max_pool2d(&v[0], kernel, stride, padding))?;
    }
    Ok(())
}

#[test]
fn what_is_not_a_number_stays_so() -> Result<()> {
    let x = Tensor::new(&[1.0, f64::NAN, -2.0, 0.5], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
    let run = || -> Result<[Tensor; 2]> {
        let value = |numbers: f64| Tensor::new(&[numbers], &Device::Cpu).map(Value::constant);
        let images = Value::constant(x.clone());
        let (mean, variance) = (Tensor::new(&[0.0], &Device::Cpu)?, Tensor::new(&[1.0], &Device::Cpu)?);
        let normed = batch_norm_eval(&images, &value(1.0)?, &value(0.0)?, (&mean, &variance), Then::Relu)?;
        Ok([normed.tensor().flatten_all()?, max_pool2d(&images, 2, 2, 0)?.tensor().flatten_all()?])
    };
    for [normed, pooled] in [run()?, by_candle(run)?] {
        let normed = normed.to_vec1::<f64>()?;
        assert!(normed[1].is_nan() && normed[2] == 0.0, "{normed:?}");
        assert!(pooled.to_vec1::<f64>()?[0].is_nan());
    }
    Ok(())
}

#[test]
fn merged_kernels_are_the_same() -> Result<()> {
    let sources = numbers(4, &[3, 4, 2, 3, 3]);
    same("weighted sum", &[numbers(5, &[3, 4])], |v| weighted_sum(&v[0], &sources))
}

/// Logits, running statistics and gradients of a training step.
fn step(spec: &BackboneSpec, tensors: &StateDict, x: &Tensor, mode: Mode) -> Result<StateDict> {
    let backbone = spec.build();
    let names: Vec<String> = backbone
        .all_parameters(Some(CLASSES))
        .into_iter()
        .filter(|parameter| parameter.is_trainable())
        .map(|parameter| parameter.name)
        .collect();
    let leaves = leaves(tensors, &names);
    let net = Net::with_values(tensors, leaves.clone(), mode);
    let logits = backbone.logits(&net, &Value::constant(x.clone()), CLASSES)?;
    let mut all = gradients(&logits, numbers(6, logits.dims()), &leaves)?;
    assert_eq!(all.len(), names.len(), "every parameter has a gradient");
    all.insert("logits".into(), logits.tensor().clone());
    for (layer, statistics) in net.into_observed() {
        all.insert(format!("{layer}.mean"), statistics.mean);
        all.insert(format!("{layer}.variance"), statistics.variance);
    }
    Ok(all)
}

#[test]
fn whole_training_steps_are_the_same() -> Result<()> {
    let specs = [
        (r#"{"resnet18": {"width": 8}}"#, 33),
        (r#"{"resnet50": {"width": 8, "stem": "small"}}"#, 9),
        (r#"{"densenet121": {"growth": 4}}"#, 40),
        (r#"{"vit_tiny": {"image_size": 8, "patch_size": 4}}"#, 8),
    ];
    for (spec, size) in specs {
        let spec: BackboneSpec = serde_json::from_str(spec).unwrap();
        let tensors = initial_values(&spec.build().all_parameters(Some(CLASSES)), 0, &Device::Cpu)?;
        let widen = |tensor: &Tensor| match tensor.dtype() {
            DType::F32 => tensor.to_dtype(DType::F64),
            _ => Ok(tensor.clone()),
        };
        let tensors =
            tensors.iter().map(|(name, t)| Ok((name.clone(), widen(t)?))).collect::<Result<StateDict>>()?;
        let x = numbers(7, &[3, size, size, 3]);
        for mode in [Mode::Train, Mode::Eval] {
            let expected = step(&spec, &tensors, &x, mode)?;
            let actual = by_candle(|| step(&spec, &tensors, &x, mode))?;
            for (name, expected) in &expected {
                assert_close(&format!("{name} of {spec}"), &actual[name], expected);
            }
        }
    }
    Ok(())
}
