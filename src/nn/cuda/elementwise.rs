//! GELU, concatenation, single tokens, and sums of gradients.

use candle_core::{D, Result, Tensor, bail};

use super::columns::{Columns, pack};
use super::launch::Launch;
use super::linear::column_sums;
use super::{to_be_written, wide};
use crate::Value;

/// `sum += more`, for contiguous tensors of one type.
pub(crate) fn add_in_place(sum: &Tensor, more: &Tensor) -> Result<()> {
    Launch::new("add_in_place", sum).tensor(sum)?.tensor(more)?.over_packs(&[sum, more])
}

/// Copies elements, for contiguous tensors of one size and type.
///
/// # Errors
/// A tensor is not contiguous, their sizes or types differ, or the launch failed.
pub fn copy(from: &Tensor, to: &Tensor) -> Result<()> {
    if (from.elem_count(), from.dtype()) != (to.elem_count(), to.dtype()) {
        bail!("{:?} {:?} cannot be copied to {:?} {:?}", from.dtype(), from.shape(), to.dtype(), to.shape());
    }
    Launch::new("copy", from).tensor(from)?.tensor(to)?.over_packs(&[from, to])
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
    let widths = [left.tensor().dim(D::Minus1)?, right.tensor().dim(D::Minus1)?];
    Ok(Value::result(y, &[left, right], move |gy| {
        let gy = gy.contiguous()?;
        let parts = sizes.into_iter().zip(wanted);
        let parts =
            parts.map(|(size, wanted)| wanted.then(|| to_be_written(size, gy.dtype(), &gy)).transpose());
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let launch = Launch::new("apart", &gy).optional(parts[0].as_ref())?.optional(parts[1].as_ref())?;
        columns(launch.tensor(&gy)?, widths, &parts.iter().flatten().chain([&gy]).collect::<Vec<_>>())?;
        Ok(parts)
    }))
}

/// `[.., a]` and `[.., b]` as `[.., a + b]`.
pub(crate) fn side_by_side(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let (left, right) = (left.contiguous()?, right.contiguous()?);
    let widths = [left.dim(D::Minus1)?, right.dim(D::Minus1)?];
    let mut size = left.dims().to_vec();
    if let Some(channels) = size.last_mut() {
        *channels += widths[1];
    }
    let both = to_be_written(size, left.dtype(), &left)?;
    let launch = Launch::new("side_by_side", &left).tensor(&left)?.tensor(&right)?.tensor(&both)?;
    columns(launch, widths, &[&left, &right, &both])?;
    Ok(both)
}

/// Launches a kernel on two matrices of these widths and a third that holds both, all in `tensors`.
fn columns(launch: Launch<'_>, [a, b]: [usize; 2], tensors: &[&Tensor]) -> Result<()> {
    let rows = tensors.iter().map(|tensor| tensor.elem_count()).max().unwrap_or(0) / (a + b);
    // packs must neither cross the border nor start off it
    let pack = pack(a | b, tensors)?;
    Columns::new(rows, a.max(b), pack).both(launch.int(a)?.int(b)?)
}

/// See [`embed_tokens`](crate::token::embed_tokens); the shapes are already checked.
pub(crate) fn embed_tokens(class: &Value, patches: &Value, positions: &Value) -> Result<Value> {
    let input = patches.tensor().contiguous()?;
    let (n, others, channels) = input.dims3()?;
    let tokens = others + 1;
    let (first, embeddings) = (class.tensor().contiguous()?, positions.tensor().contiguous()?);
    let y = to_be_written((n, tokens, channels), input.dtype(), &input)?;
    let launch = Launch::new("embed_tokens", &input).tensor(&first)?.tensor(&input)?.tensor(&embeddings)?;
    launch.tensor(&y)?.int(tokens)?.int(channels)?.long(y.elem_count()).over(y.elem_count())?;
    let of_patches = patches.is_tracked();
    let (of_class, of_positions) = (first.shape().clone(), embeddings.shape().clone());
    Ok(Value::result(y, &[class, patches, positions], move |gy| {
        let gy = gy.contiguous()?.reshape((n, tokens * channels))?;
        let gfirst = to_be_written((n, channels), gy.dtype(), &gy)?;
        let gpatches =
            of_patches.then(|| to_be_written((n, others, channels), gy.dtype(), &gy)).transpose()?;
        let launch = Launch::new("apart", &gy).tensor(&gfirst)?.optional(gpatches.as_ref())?;
        let parts: Vec<_> = [&gfirst, &gy].into_iter().chain(gpatches.as_ref()).collect();
        columns(launch.tensor(&gy)?, [channels, others * channels], &parts)?;
        let gclass = column_sums(&gfirst)?.reshape(of_class)?;
        let gpositions = column_sums(&gy)?.reshape(of_positions)?;
        Ok(vec![Some(gclass), gpatches, Some(gpositions)])
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
