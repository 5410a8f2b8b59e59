//! GELU, concatenation, single tokens, and sums of gradients.

use candle_core::{Result, Tensor};

use super::launch::Launch;
use super::{to_be_written, wide};
use crate::Value;

/// `sum += more`, for contiguous tensors of one type.
pub(crate) fn add_in_place(sum: &Tensor, more: &Tensor) -> Result<()> {
    let n = sum.elem_count();
    Launch::new("add_in_place", sum).tensor(sum)?.tensor(more)?.long(n).over(n)
}

/// See [`gelu`](crate::gelu::gelu).
pub(crate) fn gelu(x: &Value) -> Result<Value> {
    let input = x.tensor().contiguous()?;
    let n = input.elem_count();
    let y = to_be_written(input.shape(), input.dtype(), &input)?;
    Launch::new("gelu", &input).tensor(&input)?.tensor(&y)?.long(n).over(n)?;
    Ok(Value::result(y, &[x], move |gy| {
        let gx = to_be_written(input.shape(), input.dtype(), &input)?;
        let launch = Launch::new("gelu_gradient", &input).tensor(&input)?.tensor(&gy.contiguous()?)?;
        launch.tensor(&gx)?.long(n).over(n)?;
        Ok(vec![Some(gx)])
    }))
}

/// See [`concat_channels`](crate::concat::concat_channels); the shapes are already checked.
pub(crate) fn concat_channels(left: &Value, right: &Value) -> Result<Value> {
    let (first, second) = (left.tensor().contiguous()?, right.tensor().contiguous()?);
    let (sizes, last) = ([first.dims().to_vec(), second.dims().to_vec()], first.rank() - 1);
    let (a, b) = (sizes[0][last], sizes[1][last]);
    let mut size = sizes[0].clone();
    size[last] = a + b;
    let both = to_be_written(size, first.dtype(), &first)?;
    let n = both.elem_count();
    let launch = Launch::new("concat_channels", &first).tensor(&first)?.tensor(&second)?.tensor(&both)?;
    launch.int(a)?.int(b)?.long(n).over(n)?;
    Ok(Value::result(both, &[left, right], move |gy| {
        let gy = gy.contiguous()?;
        let [gleft, gright] = sizes.map(|size| to_be_written(size, gy.dtype(), &gy));
        let (gleft, gright) = (gleft?, gright?);
        let launch = Launch::new("split_channels", &gy).tensor(&gy)?.tensor(&gleft)?.tensor(&gright)?;
        launch.int(a)?.int(b)?.long(n).over(n)?;
        Ok(vec![Some(gleft), Some(gright)])
    }))
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

/// The rows of two matrices `[rows, a]` and `[rows, b]` one behind the other: `[rows, a + b]`.
pub(crate) fn side_by_side(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    concat_channels(&Value::constant(left.clone()), &Value::constant(right.clone())).map(|both| both.tensor().clone())
}
