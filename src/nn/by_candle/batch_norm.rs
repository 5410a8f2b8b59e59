//! Batch normalization with gradients.

use candle_core::{Result, Tensor};

use crate::Value;

/// Mean and biased variance of each channel of `x [.., c]`.
pub(crate) fn moments(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let x = rows(x)?;
    let mean = x.mean(0)?;
    let variance = x.broadcast_sub(&mean)?.sqr()?.mean(0)?;
    Ok((mean, variance))
}

/// Statistics, and whether they are those of the batch, so that the gradient flows through them.
pub(crate) struct Statistics {
    pub(crate) mean: Tensor,
    pub(crate) inverse_std: Tensor,
    pub(crate) own: bool,
}

/// Normalizes, scales and shifts; then adds the residual, if any, and applies ReLU if asked.
pub(crate) fn batch_norm(
    x: &Value,
    statistics: Statistics,
    weight: &Value,
    bias: &Value,
    residual: Option<&Value>,
    relu: bool,
) -> Result<Value> {
    let Statistics { mean, inverse_std, .. } = &statistics;
    let scale = (weight.tensor() * inverse_std)?;
    let shift = (bias.tensor() - (&scale * mean)?)?;
    let mut y = x.tensor().broadcast_mul(&scale)?.broadcast_add(&shift)?;
    if let Some(residual) = residual {
        y = (y + residual.tensor())?;
    }
    if relu {
        // candle's relu maps NaN to 0 on some devices, which would hide divergence.
        y = y.lt(0f64)?.where_cond(&y.zeros_like()?, &y)?;
    }
    let mut tracked = vec![x, weight, bias];
    tracked.extend(residual);
    let (input, passed) = (x.tensor().clone(), relu.then(|| y.clone()));
    let has_residual = residual.is_some();
    Ok(Value::result(y, &tracked, move |gy| {
        let g = match passed {
            Some(y) => y.le(0f64)?.where_cond(&gy.zeros_like()?, &gy)?,
            None => gy,
        };
        let mut gradients: Vec<_> = gradients(&input, &g, &scale, &statistics)?.map(Some).into();
        if has_residual {
            gradients.push(Some(g));
        }
        Ok(gradients)
    }))
}

/// With x̂ = (x − mean) / std over m values: gx = scale · (g − Σg / m − x̂ · Σ(g x̂) / m). With given statistics the
/// two sums are dropped.
fn gradients(x: &Tensor, g: &Tensor, scale: &Tensor, statistics: &Statistics) -> Result<[Tensor; 3]> {
    let (x_rows, g_rows) = (rows(x)?, rows(g)?);
    let Statistics { mean, inverse_std, own } = statistics;
    let normalized = x_rows.broadcast_sub(mean)?.broadcast_mul(inverse_std)?;
    let gbias = g_rows.sum(0)?;
    let gweight = (&g_rows * &normalized)?.sum(0)?;
    let mut g = g_rows;
    if *own {
        let m = x_rows.dim(0)? as f64;
        g = g.broadcast_sub(&(&gbias / m)?)?.sub(&normalized.broadcast_mul(&(&gweight / m)?)?)?;
    }
    Ok([g.broadcast_mul(scale)?.reshape(x.shape())?, gweight, gbias])
}

/// `[.., c]` as `[rows, c]`.
fn rows(x: &Tensor) -> Result<Tensor> {
    let channels = x.dim(candle_core::D::Minus1)?;
    x.reshape(((), channels))
}
