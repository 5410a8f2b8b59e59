//! Linear maps with gradients.

use candle_core::{Result, Tensor};

use super::precision::in_precision;
use crate::Value;

/// See [`linear`](crate::linear::linear); the shapes are already checked.
pub(crate) fn linear(
    x: &Value,
    weight: &Value,
    bias: &Value,
    residual: Option<&Value>,
    size: &[usize],
) -> Result<Value> {
    let (outputs, inputs) = weight.tensor().dims2()?;
    let rows = x.tensor().reshape(((), inputs))?;
    let weights = weight.tensor().clone();
    let mut y = product(&rows, &weights.t()?)?.broadcast_add(bias.tensor())?.reshape(size)?;
    if let Some(residual) = residual {
        y = (y + residual.tensor())?;
    }
    let mut tracked = vec![x, weight, bias];
    tracked.extend(residual);
    let has_residual = residual.is_some();
    let (of_x, of_weight) = (x.is_tracked(), weight.is_tracked());
    let x_size = x.dims().to_vec();
    Ok(Value::result(y, &tracked, move |gy| {
        let g = gy.reshape(((), outputs))?;
        let gx = || product(&g, &weights)?.reshape(x_size);
        let gx = of_x.then(gx).transpose()?;
        let gw = of_weight.then(|| product(&g.t()?, &rows)).transpose()?;
        let mut gradients = vec![gx, gw, Some(g.sum(0)?)];
        if has_residual {
            gradients.push(Some(gy));
        }
        Ok(gradients)
    }))
}

fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    in_precision(&a.contiguous()?, &b.contiguous()?, |a, b| a.matmul(b))
}
