//! Kernels as weighted sums of the kernels of several sources.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use super::cpu::lanes::sum;
use super::cpu::{Real, widest};
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// `W[k] = Σ_i w[i, k] · S[i, k]` for merge weights `w [n, kernels]` and the sources' tensors
/// `s [n, kernels, ..]`: `[kernels, ..]`. With `w [n, kernels · inputs]` and `s [n, kernels, inputs, ..]` each slice
/// `S[i, k, c]` has a merge weight of its own, in the order of `s`. The gradient flows to `w` alone:
/// `dL/dw[i, k] = ⟨dL/dW[k], S[i, k]⟩`.
///
/// # Errors
/// The shapes do not match.
pub fn weighted_sum(w: &Value, s: &Tensor) -> Result<Value> {
    let (n, kernels) = w.tensor().dims2()?;
    let divides = |end: usize| s.rank() >= end && s.dims()[1..end].iter().product::<usize>() == kernels;
    if s.rank() < 2 || s.dim(0)? != n || !(divides(2) || divides(3)) {
        bail!("merge weights {:?} do not match sources {:?}", w.dims(), s.shape());
    }
    let len = s.elem_count() / (n * kernels).max(1);
    if cuda::serves(s) {
        return cuda::weighted_sum::weighted_sum(w, &s.reshape((n, kernels, len))?)?.reshape(&s.dims()[1..]);
    }
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

/// How many pieces of `len` elements are worth a task of their own.
fn at_least(len: usize) -> usize {
    4096_usize.div_ceil(len.max(1))
}

fn merge<T: Real>(w: &[T], s: &[T], (n, kernels, len): (usize, usize, usize)) -> Vec<T> {
    let mut merged = vec![T::zero(); kernels * len];
    merged.par_chunks_mut(len.max(1)).enumerate().with_min_len(at_least(len)).for_each(|(k, merged)| {
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
    s.par_chunks(len.max(1)).enumerate().with_min_len(at_least(len)).map(product).collect()
}
