//! GELU, concatenation, single tokens, and sums of gradients.

use candle_core::{D, Result, Tensor};

use super::columns::Columns;
use super::launch::Launch;
use super::{to_be_written, wide};
use crate::Value;

/// `sum += more`, for contiguous tensors of one type.
pub(crate) fn add_in_place(sum: &Tensor, more: &Tensor) -> Result<()> {
    Launch::new("add_in_place", sum).tensor(sum)?.tensor(more)?.over_packs(&[sum, more])
}

/// See [`gelu`](crate::gelu::gelu).
pub(crate) fn gelu(x: &Value) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let y = to_be_written(input.shape(), input.dtype(), &input)?;
    Launch::new("gelu", &input).tensor(&input)?.tensor(&y)?.over_packs(&[&input, &y])?;
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        let gx = to_be_written(input.shape(), input.dtype(), &input)?;
        let launch = Launch::new("gelu_gradient", &input).tensor(&input)?.tensor(&gy)?.tensor(&gx)?;
        launch.over_packs(&[&input, &gy, &gx])?;
        Ok(vec![Some(gx)])
    }))
}

/// See [`concat_channels`](crate::concat::concat_channels); the shapes are already checked.
pub(crate) fn concat_channels(left: &Value, right: &Value) -> Result<Value> {
    let y = side_by_side(left.tensor(), right.tensor())?;
    let sizes = [left.dims().to_vec(), right.dims().to_vec()];
    let wanted = [left.is_tracked(), right.is_tracked()];
    Ok(Value::result(y, &[left, right], move |gy| {
        let gy = gy.contiguous()?;
        let (mut gradients, mut start) = (Vec::new(), 0);
        for (size, wanted) in sizes.into_iter().zip(wanted) {
            let channels = size.last().copied().unwrap_or_default();
            let part = to_be_written(size, gy.dtype(), &gy)?;
            if wanted {
                columns("take_columns", &part, &gy, start)?;
            }
            gradients.push(wanted.then_some(part));
            start += channels;
        }
        Ok(gradients)
    }))
}

/// `[.., a]` and `[.., b]` as `[.., a + b]`.
pub(crate) fn side_by_side(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let (left, right) = (left.contiguous()?, right.contiguous()?);
    let (a, mut size) = (left.dim(D::Minus1)?, left.dims().to_vec());
    if let Some(channels) = size.last_mut() {
        *channels += right.dim(D::Minus1)?;
    }
    let both = to_be_written(size, left.dtype(), &left)?;
    columns("put_columns", &left, &both, 0)?;
    columns("put_columns", &right, &both, a)?;
    Ok(both)
}

/// Copies a matrix from or to the columns `start` and on of another.
fn columns(kernel: &'static str, part: &Tensor, whole: &Tensor, start: usize) -> Result<()> {
    let all = whole.dim(D::Minus1)?;
    let launch = Launch::new(kernel, part).tensor(part)?.tensor(whole)?.int(start)?.int(all)?;
    Columns::within(part, whole, start)?.each(launch)
}

/// See [`first_token`](crate::token::first_token). The result has the type of parameters.
pub(crate) fn first_token(x: &Value) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let (n, tokens, channels) = input.dims3()?;
    let dtype = input.dtype();
    let y = to_be_written((n, channels), wide(dtype), &input)?;
    let launch = Launch::new("first_token", &input).tensor(&input)?.tensor(&y)?;
    launch.int(tokens)?.int(channels)?.long(n * channels).over(n * channels)?;
    Ok(Value::result(y, &[x], move |gy| {
        let gy: Tensor = gy.contiguous()?;
        let gx = to_be_written((n, tokens, channels), dtype, &gy)?;
        let launch = Launch::new("first_token_gradient", &gx).tensor(&gy)?.tensor(&gx)?;
        launch.int(tokens)?.int(channels)?.long(gx.elem_count()).over(gx.elem_count())?;
        Ok(vec![Some(gx)])
    }))
}
