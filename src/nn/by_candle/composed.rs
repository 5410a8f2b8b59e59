//! Operators composed of candle's, restricted to those with correct gradients in candle. Its layer norm, softmax over
//! the last dimension and GELU are not among them.

use candle_core::{D, Result, Tensor};

use crate::Value;

/// See [`layer_norm`](crate::layer_norm::layer_norm).
pub(crate) fn layer_norm(x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    Value::composed(&[x, weight, bias], |t| {
        let centered = t[0].broadcast_sub(&t[0].mean_keepdim(D::Minus1)?)?;
        let std = (centered.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
        centered.broadcast_div(&std)?.broadcast_mul(&t[1])?.broadcast_add(&t[2])
    })
}

/// See [`gelu`](crate::gelu::gelu).
pub(crate) fn gelu(x: &Value) -> Result<Value> {
    Value::composed(&[x], |t| {
        let distribution = (((&t[0] * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)?;
        &t[0] * distribution
    })
}

/// See [`attention`](crate::attention::attention); the shapes are already checked.
pub(crate) fn attention(qkv: &Value, heads: usize) -> Result<Value> {
    let (n, tokens, width) = qkv.tensor().dims3()?;
    let (channels, head) = (width / 3, width / 3 / heads);
    Value::composed(&[qkv], |t| {
        let parts = t[0].reshape((n, tokens, 3, heads, head))?;
        let part = |i: usize| parts.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let keys = part(1)?.transpose(2, 3)?.contiguous()?;
        let scores = (part(0)?.matmul(&keys)? * (1.0 / (head as f64).sqrt()))?;
        let shares = candle_nn::ops::softmax(&scores, D::Minus1)?;
        shares.matmul(&part(2)?)?.transpose(1, 2)?.reshape((n, tokens, channels))
    })
}

/// See [`concat_channels`](crate::concat::concat_channels).
pub(crate) fn concat_channels(left: &Value, right: &Value) -> Result<Value> {
    Value::composed(&[left, right], |t| Tensor::cat(t, D::Minus1))
}

/// See [`first_token`](crate::token::first_token).
pub(crate) fn first_token(x: &Value) -> Result<Value> {
    Value::composed(&[x], |t| t[0].narrow(1, 0, 1)?.squeeze(1)?.contiguous())
}

/// See [`add_bias`](crate::linear::add_bias).
pub(crate) fn add_bias(x: &Value, bias: &Value) -> Result<Value> {
    Value::composed(&[x, bias], |t| t[0].broadcast_add(&t[1]))
}

/// See [`global_mean_pool`](crate::pool::global_mean_pool).
pub(crate) fn global_mean_pool(x: &Value) -> Result<Value> {
    let (n, h, w, c) = x.tensor().dims4()?;
    Value::composed(&[x], |t| t[0].reshape((n, h * w, c))?.mean(1))
}

/// See [`mean_pool2d`](crate::pool::mean_pool2d); the shapes are already checked.
pub(crate) fn mean_pool2d(x: &Value, side: usize) -> Result<Value> {
    let (n, h, w, c) = x.tensor().dims4()?;
    let (oh, ow) = (h / side, w / side);
    Value::composed(&[x], |t| {
        let whole = t[0].narrow(1, 0, oh * side)?.narrow(2, 0, ow * side)?.contiguous()?;
        whole
            .reshape((n * oh, side, ow, side * c))?
            .mean(1)?
            .reshape((n * oh * ow, side, c))?
            .mean(1)?
            .reshape((n, oh, ow, c))
    })
}

/// See [`weighted_sum`](crate::weighted_sum::weighted_sum); the shapes are already checked.
pub(crate) fn weighted_sum(w: &Value, s: &Tensor) -> Result<Value> {
    let (n, kernels) = w.tensor().dims2()?;
    let flat = s.reshape((n, kernels, ()))?;
    let size = s.dims()[1..].to_vec();
    Value::composed(&[w], |t| t[0].unsqueeze(2)?.broadcast_mul(&flat)?.sum(0)?.reshape(size))
}
