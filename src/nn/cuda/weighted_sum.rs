//! Kernels as weighted sums of the kernels of several sources, with the gradient of the weights.

use candle_core::{Result, Tensor};

use super::launch::Launch;
use super::to_be_written;
use crate::Value;

/// See [`weighted_sum`](crate::weighted_sum::weighted_sum); the shapes are already checked.
pub(crate) fn weighted_sum(w: &Value, s: &Tensor) -> Result<Value> {
    let (sources, kernels) = w.tensor().dims2()?;
    let of_sources = s.contiguous()?;
    let weights = w.tensor().to_dtype(s.dtype())?.contiguous()?;
    let merged = to_be_written(&s.dims()[1..], s.dtype(), s)?;
    let len = merged.elem_count() / kernels.max(1);
    let launch = Launch::new("weighted_sum", s).tensor(&weights)?.tensor(&of_sources)?.tensor(&merged)?;
    launch.int(sources)?.int(kernels)?.int(len)?.over(merged.elem_count())?;
    Ok(Value::result(merged, &[w], move |g| {
        let g = g.contiguous()?;
        let gw = to_be_written((sources, kernels), g.dtype(), &g)?;
        let launch = Launch::new("weighted_sum_gradient", &g).tensor(&g)?.tensor(&of_sources)?.tensor(&gw)?;
        launch.int(sources)?.int(kernels)?.int(len)?.over_rows(sources * kernels)?;
        Ok(vec![Some(gw)])
    }))
}
