//! Kernels as weighted sums of several sources' kernels.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{slice, with_slice};

/// W[k] = Σ_i w[i, k] · S[i, k] for merge weights `w [n, kernels]` and the sources' tensors
/// `s [n, kernels, ..]`: `[kernels, ..]`. The gradient flows to `w` alone:
/// dL/dw[i, k] = ⟨dL/dW[k], S[i, k]⟩.
///
/// # Errors
/// Shapes that do not fit together.
pub fn weighted_sum(w: &Tensor, s: &Tensor) -> Result<Tensor> {
    w.contiguous()?.apply_op2(s, WeightedSum)
}

struct WeightedSum;

/// Sources, kernels, and numbers in a kernel.
fn sizes(w: &Shape, s: &Shape) -> Result<(usize, usize, usize)> {
    let (n, kernels) = w.dims2()?;
    if s.rank() < 2 || s.dims()[..2] != [n, kernels] {
        bail!("merge weights {w:?} do not fit sources {s:?}");
    }
    Ok((n, kernels, s.dims()[2..].iter().product()))
}

impl CustomOp2 for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted_sum"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        wl: &Layout,
        s: &CpuStorage,
        sl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, kernels, len) = sizes(wl.shape(), sl.shape())?;
        let (w, s) = (slice(w, wl)?, slice(s, sl)?);
        let mut merged = vec![0f32; kernels * len];
        merged.par_chunks_mut(len.max(1)).enumerate().for_each(|(k, merged)| {
            for i in 0..n {
                let source = &s[(i * kernels + k) * len..][..len];
                let share = w[i * kernels + k];
                merged.iter_mut().zip(source).for_each(|(sum, x)| *sum += share * x);
            }
        });
        Ok((CpuStorage::F32(merged), Shape::from(&sl.shape().dims()[1..])))
    }

    fn bwd(
        &self,
        w: &Tensor,
        s: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, kernels, len) = sizes(w.shape(), s.shape())?;
        let inner = |g: &[f32], s: &[f32]| -> Vec<f32> {
            let products = s.par_chunks(len.max(1)).enumerate().map(|(row, source)| {
                let g = &g[(row % kernels) * len..][..len];
                g.iter().zip(source).map(|(g, s)| f64::from(*g) * f64::from(*s)).sum::<f64>() as f32
            });
            products.collect()
        };
        let gw = with_slice(&g.contiguous()?, |g| with_slice(s, |s| inner(g, s)))??;
        Ok((Some(Tensor::from_vec(gw, w.shape(), w.device())?), None))
    }
}
