//! Kernels as weighted sums of the kernels of several sources.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::cpu::lanes::sum;
use super::cpu::{Real, widest};
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// `W[k] = Σ_i w[i, k] · S[i, k]` for merge weights `w [n, kernels]` and the sources' tensors
/// `s [n, kernels, ..]`: `[kernels, ..]`. The gradient flows to `w` alone:
/// `dL/dw[i, k] = ⟨dL/dW[k], S[i, k]⟩`.
///
/// # Errors
/// The shapes do not match.
pub fn weighted_sum(w: &Value, s: &Tensor) -> Result<Value> {
    let (n, kernels) = w.tensor().dims2()?;
    if s.rank() < 2 || s.dims()[..2] != [n, kernels] {
        bail!("merge weights {:?} do not match sources {:?}", w.dims(), s.shape());
    }
    if cuda::serves(s) {
        return cuda::weighted_sum::weighted_sum(w, s);
    }
    let len = s.dims()[2..].iter().product();
    let (weights, sources) = (w.tensor().to_dtype(s.dtype())?.contiguous()?, s.contiguous()?);
    let merged = with_real!(s.dtype(), T => {
        let merged = with_slice(&weights, |w| with_slice(&sources, |s| merge::<T>(w, s, (n, kernels, len))))??;
        on_cpu(merged, &s.dims()[1..])?
    });
    Ok(Value::result(merged, &[w], move |g| {
        let g = g.contiguous()?;
        with_real!(g.dtype(), T => {
            let gw = with_slice(&g, |g| with_slice(&sources, |s| products::<T>(g, s, kernels, len)))??;
            Ok(vec![Some(on_cpu(gw, &[n, kernels])?)])
        })
    }))
}

fn merge<T: Real>(w: &[T], s: &[T], (n, kernels, len): (usize, usize, usize)) -> Vec<T> {
    let mut merged = vec![T::zero(); kernels * len];
    merged.par_chunks_mut(len.max(1)).enumerate().for_each(|(k, merged)| {
        for i in 0..n {
            let source = &s[(i * kernels + k) * len..][..len];
            widest(add_share, (&mut *merged, w[i * kernels + k], source));
        }
    });
    merged
}

#[inline(always)]
fn add_share<T: Real>((sum, share, x): (&mut [T], T, &[T])) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += share * *x);
}

#[inline(always)]
fn dot<T: Real>((a, b): (&[T], &[T])) -> T {
    sum(a, b, |a, b| a * b)
}

/// ⟨g[k], s[i, k]⟩ for every source i and kernel k.
fn products<T: Real>(g: &[T], s: &[T], kernels: usize, len: usize) -> Vec<T> {
    let product = |(row, source): (usize, &[T])| {
        let g = &g[(row % kernels) * len..][..len];
        widest(dot, (g, source))
    };
    s.par_chunks(len.max(1)).enumerate().map(product).collect()
}
