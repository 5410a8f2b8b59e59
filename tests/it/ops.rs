//! Operators against PyTorch's numbers (`tests/reference/ops.safetensors`).

use std::collections::HashMap;

use candle_core::{Device, Result, Tensor, Var};
use medmerge::nn::batch_norm::{Then, batch_norm_eval, batch_norm_train};
use medmerge::nn::conv2d::{ConvOptions, conv2d};
use medmerge::nn::linear::add_bias;
use medmerge::nn::pool::max_pool2d;

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
    let values = case[name].to_dtype(candle_core::DType::F64).unwrap().to_vec1::<f64>().unwrap();
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
        let (y, statistics) = batch_norm_train(&x, &weight, &bias, Then::Nothing)?;
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
                true => batch_norm_train(&x, &weight, &bias, then).map(|(y, _)| y),
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
