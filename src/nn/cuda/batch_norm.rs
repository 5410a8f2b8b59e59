//! Batch normalization with gradients: two launches forward, two backward.

use candle_core::{Result, Tensor};

use super::columns::Columns;
use super::launch::Launch;
use super::{to_be_written, wide};
use crate::Value;

/// Statistics of each channel of `x [.., c]`: mean, biased and unbiased variance, `[3, c]`.
pub(crate) fn moments(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let columns = Columns::of(&[&x])?;
    let statistics = to_be_written((3, columns.channels), wide(x.dtype()), &x)?;
    let launch = Launch::new("batch_norm_moments", &x).tensor(&x)?.tensor(&statistics)?;
    columns.sum(launch, &x, |launch| launch)?;
    Ok(statistics)
}

/// What `x` is normalized with.
#[derive(Clone)]
pub(crate) struct Statistics {
    pub(crate) mean: Tensor,
    pub(crate) variance: Tensor,
    /// Whether they are those of `x`, so that the gradient flows through them.
    pub(crate) own: bool,
    /// Added to the variance.
    pub(crate) eps: f64,
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
    let input = x.tensor().contiguous()?;
    let (scale, shift) = (weight.tensor().contiguous()?, bias.tensor().contiguous()?);
    let added = residual.map(|residual| residual.tensor().contiguous()).transpose()?;
    let y = to_be_written(input.shape(), input.dtype(), &input)?;
    let columns =
        Columns::of(&[&[&input, &y][..], &added.as_ref().into_iter().collect::<Vec<_>>()].concat())?;
    let Statistics { mean, variance, own, eps } = statistics.clone();
    let launch = Launch::new("batch_norm_apply", &input).tensor(&input)?.tensor(&y)?;
    let launch = launch.tensor(&mean)?.tensor(&variance)?.tensor(&scale)?.tensor(&shift)?;
    columns.each(launch.optional(added.as_ref())?.int(relu.into())?.double(eps))?;
    let mut tracked = vec![x, weight, bias];
    tracked.extend(residual);
    let (mask, has_residual) = (Mask::new(relu, residual.map(|_| &y)), residual.is_some());
    let of_residual = residual.is_some_and(Value::is_tracked);
    Ok(Value::result(y, &tracked, move |gy| {
        let gy = gy.contiguous()?;
        let of_parameters = to_be_written((2, columns.channels), scale.dtype(), &input)?;
        let begun = |kernel| {
            let launch = Launch::new(kernel, &input).tensor(&input)?.tensor(&gy)?;
            let launch = launch.optional(mask.output())?.int(mask.number())?;
            launch.tensor(&mean)?.tensor(&variance)?.tensor(&scale)?.tensor(&shift)?.tensor(&of_parameters)
        };
        columns.sum(begun("batch_norm_sums")?, &input, |launch| launch.double(eps))?;
        let gx = to_be_written(input.shape(), input.dtype(), &input)?;
        // Without a ReLU the gradient of the residual is `gy` itself.
        let masked = match mask {
            Mask::Output(_) if of_residual => Some(to_be_written(input.shape(), input.dtype(), &input)?),
            _ => None,
        };
        let launch = begun("batch_norm_gradient")?.tensor(&gx)?.optional(masked.as_ref())?;
        columns.each(launch.int(own.into())?.double(eps))?;
        let mut gradients = vec![Some(gx), Some(of_parameters.get(0)?), Some(of_parameters.get(1)?)];
        if has_residual {
            gradients.push(if of_residual { masked.or(Some(gy)) } else { None });
        }
        Ok(gradients)
    }))
}

/// What tells where a ReLU passed its input on; `Mask` in `kernels/batch_norm.cu`.
enum Mask {
    /// There is no ReLU.
    None,
    /// Its output, if a residual was added.
    Output(Tensor),
    /// The input of the norm, from which that of the ReLU is computed again: one read less.
    Input,
}

impl Mask {
    fn new(relu: bool, y_with_residual: Option<&Tensor>) -> Self {
        match y_with_residual {
            _ if !relu => Self::None,
            Some(y) => Self::Output(y.clone()),
            None => Self::Input,
        }
    }

    fn number(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Output(_) => 1,
            Self::Input => 2,
        }
    }

    fn output(&self) -> Option<&Tensor> {
        if let Self::Output(y) = self { Some(y) } else { None }
    }
}
