//! The operators here agree with the CPU's, one by one, including gradients, in f64 and for several orders of threads.

use candle_core::{DType, Device, Result, Tensor};

use super::launch::order_of_threads;
use crate::attention::attention;
use crate::batch_norm::{Moments, Then, batch_norm_eval, batch_norm_train};
use crate::concat::concat_channels;
use crate::conv2d::{ConvOptions, conv2d};
use crate::gelu::gelu;
use crate::layer_norm::layer_norm;
use crate::linear::{add_bias, linear};
use crate::pool::{global_mean_pool, max_pool2d, mean_pool2d};
use crate::testing::{as_on_a_gpu, assert_close, random_tensor};
use crate::token::{embed_tokens, first_token};
use crate::weighted_sum::weighted_sum;
use crate::{Tape, Value};

/// Orders of the threads of a block; the kernels must not depend on them.
const ORDERS: [u32; 3] = [1, 7, 129];

/// Checks that output and gradients of an operator agree, and do not depend on the order of threads.
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
    let expected = run()?;
    let mut first: Option<Vec<Vec<f64>>> = None;
    for order in ORDERS {
        let actual = order_of_threads(order, || as_on_a_gpu(run))?;
        expected.iter().zip(&actual).for_each(|(expected, actual)| assert_close(what, actual, expected));
        let bits = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f64>();
        let bits = actual.iter().map(bits).collect::<Result<Vec<_>>>()?;
        assert_eq!(*first.get_or_insert(bits.clone()), bits, "{what}: threads in order {order}");
    }
    Ok(())
}

/// Numbers of rows and channels: one block and several, whole packs of channels and others.
const SIZES: [(usize, usize); 5] = [(5, 3), (700, 6), (2100, 4), (3, 80), (64, 33)];

#[test]
fn batch_norms_are_the_same() -> Result<()> {
    for (rows, channels) in SIZES {
        let of_channels = |seed| random_tensor(seed, &[channels]);
        let image = |seed| random_tensor(seed, &[1, 1, rows, channels]);
        let inputs = [image(1), of_channels(2), of_channels(3), image(4)];
        // Far from 0, where sums of squares lose digits.
        let far = [(image(1) + 1e3)?, of_channels(2), of_channels(3)];
        same("batch norm", &far, |v| {
            batch_norm_train(&v[0], &Moments::compute(&v[0])?, &v[1], &v[2], Then::Nothing)
        })?;
        same("batch norm and ReLU", &inputs[..3], |v| {
            batch_norm_train(&v[0], &Moments::compute(&v[0])?, &v[1], &v[2], Then::Relu)
        })?;
        same("batch norm, residual and ReLU", &inputs, |v| {
            batch_norm_train(&v[0], &Moments::compute(&v[0])?, &v[1], &v[2], Then::AddRelu(&v[3]))
        })?;
        let (mean, variance) = (of_channels(5), (of_channels(6).sqr()? + 0.1)?);
        same("batch norm with given statistics", &inputs, |v| {
            batch_norm_eval(&v[0], &v[1], &v[2], (&mean, &variance), Then::AddRelu(&v[3]))
        })?;
    }
    Ok(())
}

#[test]
fn statistics_are_the_same() -> Result<()> {
    for (rows, channels) in SIZES {
        let x = Value::constant((random_tensor(1, &[rows, channels]) + 10.0)?);
        let statistics = || Moments::compute(&x)?.concat(Moments::compute(&x)?)?.statistics();
        let (expected, actual) = (statistics()?, as_on_a_gpu(statistics)?);
        assert_close("means", &actual.mean, &expected.mean);
        assert_close("variances", &actual.variance, &expected.variance);
    }
    Ok(())
}

#[test]
fn linear_layers_are_the_same() -> Result<()> {
    for (rows, inputs) in SIZES {
        let x = random_tensor(1, &[rows, inputs]);
        let [weight, bias] = [random_tensor(2, &[10, inputs]), random_tensor(3, &[10])];
        let residual = random_tensor(4, &[rows, 10]);
        let all = [x, weight, bias, residual];
        same("linear", &all[..3], |v| linear(&v[0], &v[1], &v[2], None))?;
        same("linear with residual", &all, |v| linear(&v[0], &v[1], &v[2], Some(&v[3])))?;
        let biased = [all[0].clone(), random_tensor(5, &[inputs])];
        same("bias", &biased, |v| add_bias(&v[0], &v[1]))?;
    }
    Ok(())
}

#[test]
fn the_parts_of_a_transformer_are_the_same() -> Result<()> {
    for (rows, channels) in SIZES {
        let [weight, bias] = [2, 3].map(|seed| random_tensor(seed, &[channels]));
        let inputs = [random_tensor(1, &[rows, channels]), weight, bias];
        same("layer norm", &inputs, |v| layer_norm(&v[0], &v[1], &v[2], 1e-6))?;
        same("GELU", &inputs[..1], |v| gelu(&v[0]))?;
    }
    for (n, tokens, heads, size) in [(2, 5, 3, 4), (1, 40, 2, 8), (3, 1, 1, 2)] {
        let qkv = [random_tensor(1, &[n, tokens, 3 * heads * size])];
        same("attention", &qkv, |v| attention(&v[0], heads))?;
        same("first token", &qkv, |v| first_token(&v[0]))?;
    }
    Ok(())
}

#[test]
fn embedded_tokens_are_the_same() -> Result<()> {
    for (n, patches, channels) in [(2, 4, 3), (3, 9, 8), (1, 1, 1)] {
        let class = random_tensor(1, &[1, 1, channels]);
        let positions = random_tensor(2, &[1, patches + 1, channels]);
        let inputs = [class, random_tensor(3, &[n, patches, channels]), positions];
        same("embedded tokens", &inputs, |v| embed_tokens(&v[0], &v[1], &v[2]))?;
    }
    Ok(())
}

#[test]
fn concatenations_are_the_same() -> Result<()> {
    let inputs = [random_tensor(1, &[2, 3, 3, 5]), random_tensor(2, &[2, 3, 3, 4])];
    same("concatenation", &inputs, |v| concat_channels(&v[0], &v[1]))
}

#[test]
fn mean_pools_are_the_same() -> Result<()> {
    let x = [random_tensor(1, &[2, 7, 5, 6])];
    same("mean pool", &x, |v| mean_pool2d(&v[0], 2))?;
    same("global mean pool", &x, |v| global_mean_pool(&v[0]))
}

/// Halves of rounding: the kernels' bf16 is f32 cut to 8 bits.
#[test]
fn bf16_is_f32_with_rounded_inputs_and_outputs() -> Result<()> {
    for (rows, channels) in SIZES {
        let narrow = |seed| random_tensor(seed, &[rows, channels]).to_dtype(DType::BF16);
        let of_channels = |seed| random_tensor(seed, &[channels]).to_dtype(DType::F32);
        let (x, gy) = (narrow(1)?, narrow(2)?);
        let run = |dtype: DType| -> Result<Vec<Tensor>> {
            let tape = Tape::default();
            let leaves = [x.to_dtype(dtype)?, of_channels(3)?, of_channels(4)?].map(|leaf| tape.leaf(leaf));
            let moments = Moments::compute(&leaves[0])?;
            let y = batch_norm_train(&leaves[0], &moments, &leaves[1], &leaves[2], Then::Relu)?;
            let mut gradients = y.backward(gy.to_dtype(dtype)?)?;
            let mut all = vec![y.tensor().clone()];
            all.extend(leaves.iter().map(|leaf| gradients.take(leaf).expect("a gradient")));
            Ok(all)
        };
        let (expected, actual) = as_on_a_gpu(|| (run(DType::F32), run(DType::BF16)));
        for (expected, actual) in expected?.iter().zip(actual?) {
            let actual = actual.to_dtype(DType::F32)?;
            let off = (&actual - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            let largest = expected.abs()?.max_all()?.to_scalar::<f32>()?;
            // half a unit of 8 bits; a ReLU on the border may go either way
            assert!(off <= largest / 128.0, "off by {off} of {largest}");
        }
    }
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
    for [normed, pooled] in [run()?, as_on_a_gpu(run)?] {
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
