//! The operators here agree with the CPU kernels, one by one, including gradients.

use candle_core::{Device, Result, Tensor};

use crate::batch_norm::{Then, batch_norm_eval};
use crate::conv2d::{ConvOptions, conv2d};
use crate::pool::max_pool2d;
use crate::testing::{assert_close, by_candle, random_tensor};
use crate::weighted_sum::weighted_sum;
use crate::{Tape, Value};

/// Checks that output and gradients of an operator agree.
fn same(what: &str, inputs: &[Tensor], operator: impl Fn(&[Value]) -> Result<Value>) -> Result<()> {
    let run = || -> Result<Vec<Tensor>> {
        let tape = Tape::default();
        let leaves: Vec<Value> = inputs.iter().map(|input| tape.leaf(input.clone())).collect();
        let y = operator(&leaves)?;
        let mut gradients = y.backward(random_tensor(9, y.dims()))?;
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
        let inputs = [random_tensor(1, &[2, h, w, 4]), random_tensor(2, &[6, 4 / groups, kernel, kernel])];
        same("conv2d", &inputs, |v| conv2d(&v[0], &v[1], options))?;
    }
    Ok(())
}

#[test]
fn max_pools_are_the_same_with_ties() -> Result<()> {
    for (kernel, stride, padding, side) in [(3, 2, 1, 9), (3, 2, 1, 8), (2, 2, 0, 7), (3, 1, 1, 5)] {
        // Rounded, so that windows contain equal values.
        let x = random_tensor(3, &[2, side, side, 5]).round()?;
        same("max pool", &[x], |v| max_pool2d(&v[0], kernel, stride, padding))?;
    }
    Ok(())
}

#[test]
fn nan_is_propagated() -> Result<()> {
    let x = Tensor::new(&[1.0, f64::NAN, -2.0, 0.5], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
    let run = || -> Result<[Tensor; 2]> {
        let value = |number: f64| Tensor::new(&[number], &Device::Cpu).map(Value::constant);
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
    let sources = random_tensor(4, &[3, 4, 2, 3, 3]);
    same("weighted sum", &[random_tensor(5, &[3, 4])], |v| weighted_sum(&v[0], &sources))
}
