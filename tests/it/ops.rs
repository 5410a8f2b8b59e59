//! Operators against PyTorch's numbers (`tests/reference/ops.safetensors`).

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use medmerge::nn::attention::attention;
use medmerge::nn::batch_norm::{Moments, Then, batch_norm_eval, batch_norm_train};
use medmerge::nn::concat::concat_channels;
use medmerge::nn::conv2d::{ConvOptions, conv2d};
use medmerge::nn::gelu::gelu;
use medmerge::nn::layer_norm::layer_norm;
use medmerge::nn::linear::{add_bias, linear};
use medmerge::nn::pool::{max_pool2d, mean_pool2d};

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

#[test]
fn convolutions_agree_with_pytorch_forward_and_in_every_gradient() -> Result<()> {
    let all = tensors("ops.safetensors");
    let cases = cases(&all, "conv");
    assert_eq!(cases.len(), 11);
    for (i, case) in cases.iter().enumerate() {
        let config = config(case, "config_k_s_p_d_g");
        let options =
            ConvOptions { stride: config[1], padding: config[2], dilation: config[3], groups: config[4] };
        let x = Var::from_tensor(&channels_last(&case["x"]))?;
        let (w, b) = (Var::from_tensor(&case["w"])?, Var::from_tensor(&case["b"])?);
        let y = add_bias(&conv2d(&x, &w, options)?, &b)?;
        let grads = (&y * channels_last(&case["gy"]))?.sum_all()?.backward()?;
        assert_close(&format!("conv{i} y"), &channels_first(&y), &case["y"], 1e-4);
        let gradient = |var: &Var| grads.get(var).expect("a gradient").clone();
        assert_close(&format!("conv{i} gx"), &channels_first(&gradient(&x)), &case["gx"], 1e-4);
        assert_close(&format!("conv{i} gw"), &gradient(&w), &case["gw"], 1e-4);
        assert_close(&format!("conv{i} gb"), &gradient(&b), &case["gb"], 1e-4);
    }
    Ok(())
}

#[test]
fn max_pools_agree_with_pytorch_forward_and_backward() -> Result<()> {
    for (i, case) in cases(&tensors("ops.safetensors"), "maxpool").iter().enumerate() {
        let config = config(case, "config_k_s_p");
        let x = Var::from_tensor(&channels_last(&case["x"]))?;
        let y = max_pool2d(&x, config[0], config[1], config[2])?;
        let grads = (&y * channels_last(&case["gy"]))?.sum_all()?.backward()?;
        assert_close(&format!("maxpool{i} y"), &channels_first(&y), &case["y"], 1e-6);
        let gx = grads.get(&x).expect("a gradient");
        assert_close(&format!("maxpool{i} gx"), &channels_first(gx), &case["gx"], 1e-6);
    }
    Ok(())
}

#[test]
fn batch_norms_agree_with_pytorch_in_both_modes() -> Result<()> {
    for (i, case) in cases(&tensors("ops.safetensors"), "batchnorm").iter().enumerate() {
        let x = Var::from_tensor(&channels_last(&case["x"]))?;
        let (weight, bias) = (Var::from_tensor(&case["weight"])?, Var::from_tensor(&case["bias"])?);
        let moments = Moments::of(&x)?;
        let y = batch_norm_train(&x, &moments, &weight, &bias, Then::Nothing)?;
        let statistics = moments.statistics();
        let grads = (&y * channels_last(&case["gy"]))?.sum_all()?.backward()?;
        let gradient = |var: &Var| grads.get(var).expect("a gradient").clone();
        assert_close(&format!("batchnorm{i} y"), &channels_first(&y), &case["y"], 1e-4);
        assert_close(&format!("batchnorm{i} gx"), &channels_first(&gradient(&x)), &case["gx"], 1e-4);
        assert_close(&format!("batchnorm{i} gweight"), &gradient(&weight), &case["gweight"], 1e-4);
        assert_close(&format!("batchnorm{i} gbias"), &gradient(&bias), &case["gbias"], 1e-4);
        let follow = |old: &Tensor, new: Vec<f32>| -> Result<Tensor> {
            (old * 0.9)? + (Tensor::new(new, &Device::Cpu)? * 0.1)?
        };
        let mean = follow(&case["mean0"], statistics.mean)?;
        let variance = follow(&case["var0"], statistics.variance)?;
        assert_close(&format!("batchnorm{i} mean1"), &mean, &case["mean1"], 1e-5);
        assert_close(&format!("batchnorm{i} var1"), &variance, &case["var1"], 1e-5);
        let y = batch_norm_eval(&x, &weight, &bias, (&mean, &variance), Then::Nothing)?;
        assert_close(&format!("batchnorm{i} y_eval"), &channels_first(&y), &case["y_eval"], 1e-4);
    }
    Ok(())
}

/// The fused forms equal the same thing written with candle's own primitives, gradients included.
#[test]
fn relu_and_residual_inside_batch_norm_equal_separate_operators() -> Result<()> {
    let case = &cases(&tensors("ops.safetensors"), "batchnorm")[2];
    let (weight, bias) = (Var::from_tensor(&case["weight"])?, Var::from_tensor(&case["bias"])?);
    let (x0, r0) = (channels_last(&case["x"]), channels_last(&case["gy"]));
    let running = (&case["mean0"], &case["var0"]);
    for training in [true, false] {
        let run = |fused: bool| -> Result<Vec<Tensor>> {
            let (x, r) = (Var::from_tensor(&x0)?, Var::from_tensor(&r0)?);
            let norm = |then: Then<'_>| match training {
                true => batch_norm_train(&x, &Moments::of(&x)?, &weight, &bias, then),
                false => batch_norm_eval(&x, &weight, &bias, running, then),
            };
            let y = if fused {
                norm(Then::AddRelu(&r))?
            } else {
                (norm(Then::Nothing)? + r.as_tensor())?.relu()?
            };
            let grads = y.sqr()?.sum_all()?.backward()?;
            let gradient = |var: &Var| grads.get(var).expect("a gradient").clone();
            Ok(vec![y.clone(), gradient(&x), gradient(&r), gradient(&weight), gradient(&bias)])
        };
        for (fused, separate) in run(true)?.iter().zip(run(false)?) {
            assert_close("fused", fused, &separate, 1e-5);
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
    operator: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let run = |dtype: DType| -> Result<Vec<Tensor>> {
        let var =
            |(i, shape): (usize, &&[usize])| Var::from_tensor(&numbers(i as u64, shape).to_dtype(dtype)?);
        let vars = shapes.iter().enumerate().map(var).collect::<Result<Vec<_>>>()?;
        let y = operator(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>())?;
        let grads = (&y * numbers(99, y.dims()).to_dtype(dtype)?)?.sum_all()?.backward()?;
        let gradients = vars.iter().map(|var| grads.get(var).expect("a gradient").clone());
        Ok(std::iter::once(y.detach()).chain(gradients).collect())
    };
    for (i, (narrow, exact)) in run(DType::F32)?.iter().zip(&run(DType::F64)?).enumerate() {
        assert_close(&format!("{what}, {}", if i == 0 { "result" } else { "gradient" }), narrow, exact, 2e-5);
    }
    Ok(())
}

#[test]
fn linear_layers_in_f32_agree_with_f64() -> Result<()> {
    for (rows, inputs, outputs) in [(1, 1, 1), (130, 70, 33), (97, 64, 192)] {
        f32_agrees_with_f64("linear", &[&[rows, inputs], &[outputs, inputs], &[outputs]], |t| {
            linear(&t[0], &t[1], &t[2])
        })?;
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
    f32_agrees_with_f64("gelu", &[&[5, 7001]], |t| gelu(&t[0]))?;
    f32_agrees_with_f64("attention", &[&[3, 19, 3 * 12]], |t| attention(&t[0], 3))?;
    f32_agrees_with_f64("attention", &[&[2, 40, 3 * 64]], |t| attention(&t[0], 1))?;
    f32_agrees_with_f64("mean pool", &[&[2, 6, 8, 5]], |t| mean_pool2d(&t[0], 2))?;
    f32_agrees_with_f64("mean pool, odd sides", &[&[2, 7, 5, 16]], |t| mean_pool2d(&t[0], 2))?;
    f32_agrees_with_f64("concat", &[&[2, 3, 4, 5], &[2, 3, 4, 7]], |t| concat_channels(&t[0], &t[1]))
}

/// By candle's own operators, which have right gradients for these.
#[test]
fn attention_and_mean_pool_agree_with_their_definitions() -> Result<()> {
    let (n, tokens, heads, head) = (2, 11, 3, 8);
    let qkv = Var::from_tensor(&numbers(1, &[n, tokens, 3 * heads * head]).to_dtype(DType::F64)?)?;
    let part = |i: usize| {
        qkv.reshape((n, tokens, 3, heads, head))?.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()
    };
    let scores = (part(0)?.matmul(&part(1)?.t()?.contiguous()?)? / (head as f64).sqrt())?;
    let shares = candle_nn::ops::softmax(&scores, candle_core::D::Minus1)?;
    let expected = shares.matmul(&part(2)?)?.transpose(1, 2)?.reshape((n, tokens, heads * head))?;
    let actual = attention(&qkv, heads)?;
    assert_close("attention", &actual, &expected, 1e-12);
    let gradient = |y: &Tensor| -> Result<Tensor> {
        let gy = numbers(2, y.dims()).to_dtype(DType::F64)?;
        Ok((y * gy)?.sum_all()?.backward()?.get(&qkv).expect("a gradient").clone())
    };
    assert_close("its gradient", &gradient(&actual)?, &gradient(&expected)?, 1e-12);

    let x = numbers(3, &[2, 6, 4, 3]);
    let expected = channels_last(&channels_first(&x).avg_pool2d(2)?);
    assert_close("mean pool", &mean_pool2d(&x, 2)?, &expected, 1e-6);
    Ok(())
}
