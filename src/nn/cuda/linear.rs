//! Linear maps and biases with gradients; the products are cuBLAS's.

use candle_core::{DType, Result, Tensor};

use super::columns::Columns;
use super::launch::{Launch, cast, matmul};
use super::{to_be_written, wide};
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
    let rows = x.tensor().contiguous()?.reshape(((), inputs))?;
    let weights = cast(weight.tensor(), rows.dtype())?.contiguous()?;
    let product = matmul(&rows, &weights.t()?)?.reshape(size)?;
    let residual_tensor = residual.map(|residual| residual.tensor().contiguous()).transpose()?;
    let y = biased(&product, bias.tensor(), residual_tensor.as_ref())?;
    let mut tracked = vec![x, weight, bias];
    tracked.extend(residual);
    let has_residual = residual.is_some();
    let (of_x, of_weight, of_bias) = (x.is_tracked(), weight.is_tracked(), bias.is_tracked());
    let x_size = x.dims().to_vec();
    let of_parameters = weight.tensor().dtype();
    Ok(Value::result(y, &tracked, move |gy| {
        let gy = gy.contiguous()?;
        let g = gy.reshape(((), outputs))?;
        let gx = of_x.then(|| matmul(&g, &weights)?.reshape(x_size)).transpose()?;
        let gw = of_weight.then(|| cast(&matmul(&g.t()?, &rows)?, of_parameters)).transpose()?;
        let gb = of_bias.then(|| column_sums(&g)).transpose()?;
        let mut gradients = vec![gx, gw, gb];
        if has_residual {
            gradients.push(Some(gy));
        }
        Ok(gradients)
    }))
}

/// See [`add_bias`](crate::linear::add_bias).
pub(crate) fn add_bias(x: &Value, bias: &Value) -> Result<Value> {
    let y = biased(&x.tensor().contiguous()?, bias.tensor(), None)?;
    let (of_bias, size) = (bias.is_tracked(), bias.dims().to_vec());
    Ok(Value::result(y, &[x, bias], move |gy| {
        let gy = gy.contiguous()?;
        let gbias = of_bias.then(|| column_sums(&gy)?.reshape(size)).transpose()?;
        Ok(vec![Some(gy), gbias])
    }))
}

/// `x [.., c] + bias [c]`, plus the residual if given.
fn biased(x: &Tensor, bias: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
    let bias = cast(bias, wide(x.dtype()))?.contiguous()?;
    let y = to_be_written(x.shape(), x.dtype(), x)?;
    let launch = Launch::new("add_bias", x).tensor(x)?.tensor(&bias)?.optional(residual)?.tensor(&y)?;
    Columns::of(&[&[x, &y][..], &residual.into_iter().collect::<Vec<_>>()].concat())?.each(launch)?;
    Ok(y)
}

/// Sums over all dimensions but the last.
pub(super) fn column_sums(x: &Tensor) -> Result<Tensor> {
    let columns = Columns::of(&[x])?;
    let dtype: DType = wide(x.dtype());
    let sums = to_be_written(columns.channels, dtype, x)?;
    columns.sum(Launch::new("column_sums", x).tensor(x)?.tensor(&sums)?, x, |launch| launch)?;
    Ok(sums)
}
