//! Operators against PyTorch's numbers (`tests/reference/ops.safetensors`).

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use medmerge::nn::attention::attention;
use medmerge::nn::batch_norm::{Moments, Then, batch_norm_eval, batch_norm_train};
use medmerge::nn::concat::concat_channels;
use medmerge::nn::conv2d::{ConvOptions, conv2d};
use medmerge::nn::gelu::gelu;
use medmerge::nn::layer_norm::layer_norm;
use medmerge::nn::linear::{add_bias, linear};
use medmerge::nn::pool::{max_pool2d, mean_pool2d};
use medmerge::nn::token::first_token;
use medmerge::nn::{Tape, Value};

use crate::reference::{assert_close, tensors};

/// PyTorch's `[n, c, h, w]` as `[n, h, w, c]`.
fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
}

fn channels_first(tensor: &Tensor) -> Tensor {
    tensor.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

/// The tensors of a case, without its prefix.
fn case(all: &HashMap<String, Tensor>, name: &str) -> HashMap<String, Tensor> {
    let prefix = format!("{name}.");
    let parts =
        all.iter().filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?.to_string(), tensor.clone())));
    parts.collect()
}

fn cases(all: &HashMap<String, Tensor>, operator: &str) -> Vec<HashMap<String, Tensor>> {
    let parts = (0..).map(|i| case(all, &format!("{operator}{i}"))).take_while(|case| !case.is_empty());
    let cases: Vec<_> = parts.collect();
    assert!(!cases.is_empty(), "no case of {operator}");
    cases
}

fn config(case: &HashMap<String, Tensor>, name: &str) -> Vec<usize> {
    let values = case[name].to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    values.into_iter().map(|x| x as usize).collect()
}

/// An operator's result and the gradients of its inputs, given that of the result.
fn both_ways(
    inputs: &[Tensor],
    gy: impl FnOnce(&Tensor) -> Tensor,
    operator: impl FnOnce(&[Value]) -> Result<Value>,
) -> Result<(Tensor, Vec<Tensor>)> {
    let tape = Tape::default();
    let leaves: Vec<Value> = inputs.iter().map(|input| tape.leaf(input.clone())).collect();
    let y = operator(&leaves)?;
    let mut gradients = y.backward(gy(y.tensor()))?;
    let gradients = leaves.iter().map(|leaf| gradients.take(leaf).expect("a gradient"));
    Ok((y.tensor().clone(), gradients.collect()))
}

#[test]
fn convolutions_agree_with_pytorch_forward_and_in_every_gradient() -> Result<()> {
    let all = tensors("ops.safetensors");
    let cases = cases(&all, "conv");
    assert_eq!(cases.len(), 11);
    for (i, case) in cases.iter().enumerate() {
        let config = config(case, "config_k_s_p_d_g");
        let options =
            ConvOptions { stride: config[1], padding: config[2], dilation: config[3], groups: config[4] };
        let inputs = [channels_last(&case["x"]), case["w"].clone(), case["b"].clone()];
        let operator = |v: &[Value]| add_bias(&conv2d(&v[0], &v[1], options)?, &v[2]);
        let (y, gradients) = both_ways(&inputs, |_| channels_last(&case["gy"]), operator)?;
        assert_close(&format!("conv{i} y"), &channels_first(&y), &case["y"], 1e-4);
        assert_close(&format!("conv{i} gx"), &channels_first(&gradients[0]), &case["gx"], 1e-4);
        assert_close(&format!("conv{i} gw"), &gradients[1], &case["gw"], 1e-4);
        assert_close(&format!("conv{i} gb"), &gradients[2], &case["gb"], 1e-4);
    }
    Ok(())
}

#[test]
fn max_pools_agree_with_pytorch_forward_and_backward() -> Result<()> {
    for (i, case) in cases(&tensors("ops.safetensors"), "maxpool").iter().enumerate() {
        let config = config(case, "config_k_s_p");
        let operator = |v: &[Value]| max_pool2d(&v[0], config[0], config[1], config[2]);
        let inputs = [channels_last(&case["x"])];
        let (y, gradients) = both_ways(&inputs, |_| channels_last(&case["gy"]), operator)?;
        assert_close(&format!("maxpool{i} y"), &channels_first(&y), &case["y"], 1e-6);
        assert_close(&format!("maxpool{i} gx"), &channels_first(&gradients[0]), &case["gx"], 1e-6);
    }
    Ok(())
}

#[test]
fn batch_norms_agree_with_pytorch_in_both_modes() -> Result<()> {
    for (i, case) in cases(&tensors("ops.safetensors"), "batchnorm").iter().enumerate() {
        let inputs = [channels_last(&case["x"]), case["weight"].clone(), case["bias"].clone()];
        let moments = Moments::compute(&Value::constant(inputs[0].clone()))?;
        let operator = |v: &[Value]| batch_norm_train(&v[0], &moments, &v[1], &v[2], Then::Nothing);
        let (y, gradients) = both_ways(&inputs, |_| channels_last(&case["gy"]), operator)?;
        assert_close(&format!("batchnorm{i} y"), &channels_first(&y), &case["y"], 1e-4);
        assert_close(&format!("batchnorm{i} gx"), &channels_first(&gradients[0]), &case["gx"], 1e-4);
        assert_close(&format!("batchnorm{i} gweight"), &gradients[1], &case["gweight"], 1e-4);
        assert_close(&format!("batchnorm{i} gbias"), &gradients[2], &case["gbias"], 1e-4);
        let follow = |old: &Tensor, new: Tensor| -> Result<Tensor> { (old * 0.9)? + (new * 0.1)? };
        let statistics = moments.statistics()?;
        let mean = follow(&case["mean0"], statistics.mean)?;
        let variance = follow(&case["var0"], statistics.variance)?;
        assert_close(&format!("batchnorm{i} mean1"), &mean, &case["mean1"], 1e-5);
        assert_close(&format!("batchnorm{i} var1"), &variance, &case["var1"], 1e-5);
        let [x, weight, bias] = inputs.map(Value::constant);
        let y = batch_norm_eval(&x, &weight, &bias, (&mean, &variance), Then::Nothing)?;
        assert_close(&format!("batchnorm{i} y_eval"), &channels_first(y.tensor()), &case["y_eval"], 1e-4);
    }
    Ok(())
}

/// The fused forms equal the same thing written with candle's own primitives, gradients included.
#[test]
fn relu_and_residual_inside_batch_norm_equal_separate_operators() -> Result<()> {
    let case = &cases(&tensors("ops.safetensors"), "batchnorm")[2];
    let inputs =
        [channels_last(&case["x"]), case["weight"].clone(), case["bias"].clone(), channels_last(&case["gy"])];
    let running = (&case["mean0"], &case["var0"]);
    for training in [true, false] {
        let run = |fused: bool| {
            let operator = |v: &[Value]| {
                let norm = |then: Then<'_>| match training {
                    true => batch_norm_train(&v[0], &Moments::compute(&v[0])?, &v[1], &v[2], then),
                    false => batch_norm_eval(&v[0], &v[1], &v[2], running, then),
                };
                match fused {
                    true => norm(Then::AddRelu(&v[3])),
                    false => Value::composed(&[&norm(Then::Nothing)?, &v[3]], |t| (&t[0] + &t[1])?.relu()),
                }
            };
            both_ways(&inputs, |y| (y * 2.0).unwrap(), operator)
        };
        let ((fused, of_fused), (separate, of_separate)) = (run(true)?, run(false)?);
        assert_close("fused", &fused, &separate, 1e-5);
        for (fused, separate) in of_fused.iter().zip(&of_separate) {
            assert_close("gradient of fused", fused, separate, 1e-5);
        }
    }
    Ok(())
}

/// The numbers of a seed.
fn numbers(seed: u64, shape: &[usize]) -> Tensor {
    let value = |i: usize| ((i as f64 * 0.7 + seed as f64 * 3.1).sin() * 1.5) as f32;
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Result and gradients of an operator in f32 are those in f64, which whole networks hold against PyTorch.
fn f32_agrees_with_f64(
    what: &str,
    shapes: &[&[usize]],
    operator: impl Fn(&[Value]) -> Result<Value>,
) -> Result<()> {
    let run = |dtype: DType| {
        let input = |(i, shape): (usize, &&[usize])| numbers(i as u64, shape).to_dtype(dtype);
        let inputs = shapes.iter().enumerate().map(input).collect::<Result<Vec<_>>>()?;
        both_ways(&inputs, |y| numbers(99, y.dims()).to_dtype(dtype).unwrap(), &operator)
    };
    let ((narrow, of_narrow), (exact, of_exact)) = (run(DType::F32)?, run(DType::F64)?);
    assert_close(what, &narrow, &exact, 2e-5);
    for (narrow, exact) in of_narrow.iter().zip(&of_exact) {
        assert_close(&format!("gradient of {what}"), narrow, exact, 2e-5);
    }
    Ok(())
}

#[test]
fn linear_layers_in_f32_agree_with_f64() -> Result<()> {
    for (rows, inputs, outputs) in [(1, 1, 1), (130, 70, 33), (97, 64, 192)] {
        let shapes: [&[usize]; 4] = [&[rows, inputs], &[outputs, inputs], &[outputs], &[rows, outputs]];
        f32_agrees_with_f64("linear", &shapes[..3], |v| linear(&v[0], &v[1], &v[2], None))?;
        f32_agrees_with_f64("linear and residual", &shapes, |v| linear(&v[0], &v[1], &v[2], Some(&v[3])))?;
    }
    Ok(())
}

#[test]
fn layer_norm_in_f32_agrees_with_f64() -> Result<()> {
    for (rows, channels) in [(3, 5), (70, 192), (65, 20)] {
        f32_agrees_with_f64("layer norm", &[&[rows, channels], &[channels], &[channels]], |t| {
            layer_norm(&t[0], &t[1], &t[2], 1e-6)
        })?;
    }
    Ok(())
}

#[test]
fn gelu_attention_and_pools_in_f32_agree_with_f64() -> Result<()> {
    f32_agrees_with_f64("gelu", &[&[5, 7001]], |v| gelu(&v[0]))?;
    f32_agrees_with_f64("attention", &[&[3, 19, 3 * 12]], |v| attention(&v[0], 3))?;
    f32_agrees_with_f64("attention", &[&[2, 40, 3 * 64]], |v| attention(&v[0], 1))?;
    f32_agrees_with_f64("mean pool", &[&[2, 6, 8, 5]], |v| mean_pool2d(&v[0], 2))?;
    f32_agrees_with_f64("mean pool, odd sides", &[&[2, 7, 5, 16]], |v| mean_pool2d(&v[0], 2))?;
    f32_agrees_with_f64("concat", &[&[2, 3, 4, 5], &[2, 3, 4, 7]], |v| concat_channels(&v[0], &v[1]))
}

/// By candle's own operators, which have right gradients for these.
#[test]
fn operators_agree_with_their_definitions() -> Result<()> {
    let (n, tokens, heads, head) = (2, 11, 3, 8);
    let attended = |v: &[Value]| {
        Value::composed(&[&v[0]], |t| {
            let part = |i: usize| {
                let parts = t[0].reshape((n, tokens, 3, heads, head))?;
                parts.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
            };
            let scores = (part(0)?.matmul(&part(1)?.t()?.contiguous()?)? / (head as f64).sqrt())?;
            let shares = candle_nn::ops::softmax(&scores, candle_core::D::Minus1)?;
            shares.matmul(&part(2)?)?.transpose(1, 2)?.reshape((n, tokens, heads * head))
        })
    };
    equals_its_definition(
        "attention",
        &[n, tokens, 3 * heads * head],
        |v| attention(&v[0], heads),
        attended,
    )?;
    let gelu_by_candle = |v: &[Value]| Value::composed(&[&v[0]], |t| t[0].gelu_erf());
    equals_its_definition("gelu", &[5, 40], |v| gelu(&v[0]), gelu_by_candle)?;
    let first = |v: &[Value]| Value::composed(&[&v[0]], |t| t[0].narrow(1, 0, 1)?.squeeze(1));
    equals_its_definition("first token", &[3, 4, 5], |v| first_token(&v[0]), first)?;
    let pooled = |v: &[Value]| {
        Value::composed(&[&v[0]], |t| t[0].permute((0, 3, 1, 2))?.avg_pool2d(2)?.permute((0, 2, 3, 1)))
    };
    equals_its_definition("mean pool", &[2, 6, 4, 3], |v| mean_pool2d(&v[0], 2), pooled)
}

fn equals_its_definition(
    what: &str,
    shape: &[usize],
    operator: impl FnOnce(&[Value]) -> Result<Value>,
    definition: impl FnOnce(&[Value]) -> Result<Value>,
) -> Result<()> {
    let inputs = [numbers(1, shape).to_dtype(DType::F64)?];
    let gy = |y: &Tensor| numbers(2, y.dims()).to_dtype(DType::F64).unwrap();
    let (actual, of_actual) = both_ways(&inputs, gy, operator)?;
    let (expected, of_expected) = both_ways(&inputs, gy, definition)?;
    assert_close(what, &actual, &expected, 1e-12);
    assert_close(&format!("gradient of {what}"), &of_actual[0], &of_expected[0], 1e-6);
    Ok(())
}
