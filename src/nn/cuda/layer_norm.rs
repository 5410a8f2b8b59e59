//! Layer normalization with gradients.

use candle_core::Result;

use super::columns::Columns;
use super::launch::Launch;
use super::{to_be_written, wide};
use crate::Value;

/// See [`layer_norm`](crate::layer_norm::layer_norm); the shapes are already checked.
pub(crate) fn layer_norm(x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let (scale, shift) = (weight.tensor().contiguous()?, bias.tensor().contiguous()?);
    let columns = Columns::of(&[&input])?;
    let Columns { rows, channels, .. } = columns;
    let y = to_be_written(input.shape(), input.dtype(), &input)?;
    let statistics = to_be_written((rows, 2), wide(input.dtype()), &input)?;
    let launch = Launch::new("layer_norm", &input).tensor(&input)?.tensor(&scale)?.tensor(&shift)?;
    let launch = launch.tensor(&y)?.tensor(&statistics)?.double(eps);
    launch.long(rows).int(channels)?.over_rows(rows)?;
    Ok(Value::result(y, &[x, weight, bias], move |gy| {
        let gy = gy.contiguous()?;
        let gx = to_be_written(input.shape(), input.dtype(), &input)?;
        let launch = Launch::new("layer_norm_gradient", &input).tensor(&input)?.tensor(&gy)?;
        let launch = launch.tensor(&scale)?.tensor(&statistics)?.tensor(&gx)?;
        launch.long(rows).int(channels)?.over_rows(rows)?;
        let of_parameters = to_be_written((2, channels), scale.dtype(), &input)?;
        let launch = Launch::new("layer_norm_sums", &input).tensor(&input)?.tensor(&gy)?;
        let columns = Columns::of(&[&input, &gy])?;
        columns.sum(launch.tensor(&statistics)?.tensor(&of_parameters)?, &input, |launch| launch)?;
        Ok(vec![Some(gx), Some(of_parameters.get(0)?), Some(of_parameters.get(1)?)])
    }))
}
