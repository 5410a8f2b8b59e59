//! Kernels as weighted sums of several sources' kernels.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use super::cpu::Real;
use super::{slice, with_real, with_slice};

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
        let merged = with_real!(s.dtype(), T => {
            T::to_cpu_storage_owned(merge::<T>(slice(w, wl)?, slice(s, sl)?, (n, kernels, len)))
        });
        Ok((merged, Shape::from(&sl.shape().dims()[1..])))
    }

    fn bwd(
        &self,
        w: &Tensor,
        s: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, kernels, len) = sizes(w.shape(), s.shape())?;
        with_real!(s.dtype(), T => {
            let g = g.contiguous()?;
            let gw = with_slice(&g, |g| with_slice(s, |s| products::<T>(g, s, kernels, len)))??;
            Ok((Some(Tensor::from_vec(gw, w.shape(), w.device())?), None))
        })
    }
}

fn merge<T: Real>(w: &[T], s: &[T], (n, kernels, len): (usize, usize, usize)) -> Vec<T> {
    let mut merged = vec![T::zero(); kernels * len];
    merged.par_chunks_mut(len.max(1)).enumerate().for_each(|(k, merged)| {
        for i in 0..n {
            let source = &s[(i * kernels + k) * len..][..len];
            let share = w[i * kernels + k];
            merged.iter_mut().zip(source).for_each(|(sum, x)| *sum += share * *x);
        }
    });
    merged
}

/// ⟨g[k], s[i, k]⟩ for every source i and kernel k, added up in f64.
fn products<T: Real>(g: &[T], s: &[T], kernels: usize, len: usize) -> Vec<T> {
    let product = |(row, source): (usize, &[T])| {
        let g = &g[(row % kernels) * len..][..len];
        T::from_f64(g.iter().zip(source).map(|(g, s)| g.to_f64() * s.to_f64()).sum::<f64>())
    };
    s.par_chunks(len.max(1)).enumerate().map(product).collect()
}
