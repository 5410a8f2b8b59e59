//! Kernels, to and from the transformed domain.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::transform::{KernelAdjoint, KernelTransform, both_sides, load, store};
use super::{IN, LANES, POSITIONS};
use crate::nn::cpu::scratch::Scratch;

/// G g Gᵀ of every kernel of `weight[co, ci, 3, 3]`, as `[36, ci, co]`; for the input gradient the kernels
/// are turned by 180° and lie as `[36, co, ci]`.
pub(super) fn transform_kernels(weight: &[f32], ci: usize, co: usize, turned: bool) -> Scratch {
    let (from, to) = if turned { (co, ci) } else { (ci, co) };
    // Strides of the two roles in `weight`.
    let strides = if turned { (ci * 9, 9) } else { (9, ci * 9) };
    // One block of lanes after another, each `[from, 36, LANES]`: blocks are written by separate threads.
    let mut by_block = Scratch::new(POSITIONS * from * to);
    by_block.par_chunks_mut(from * POSITIONS * LANES).enumerate().for_each(|(block, out)| {
        let weight = &weight[block * LANES * strides.1..];
        Arch::new().dispatch(KernelBlock { weight, strides, turned, out });
    });
    let mut kernels = Scratch::new(POSITIONS * from * to);
    kernels.par_chunks_mut(from * to).enumerate().for_each(|(p, out)| {
        for (f, out) in out.chunks_exact_mut(to).enumerate() {
            for (block, out) in out.chunks_exact_mut(LANES).enumerate() {
                let start = ((block * from + f) * POSITIONS + p) * LANES;
                out.copy_from_slice(&by_block[start..start + LANES]);
            }
        }
    });
    kernels
}

/// The kernels of [`LANES`] values of the second role, as `[from, 36, LANES]`.
struct KernelBlock<'a> {
    weight: &'a [f32],
    strides: (usize, usize),
    turned: bool,
    out: &'a mut [f32],
}

impl WithSimd for KernelBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weight, strides, turned, out } = self;
        for (f, out) in out.chunks_exact_mut(POSITIONS * LANES).enumerate() {
            let mut taps = [[0f32; LANES]; 9];
            for lane in 0..LANES {
                let kernel = &weight[f * strides.0 + lane * strides.1..][..9];
                for tap in 0..9 {
                    taps[if turned { 8 - tap } else { tap }][lane] = kernel[tap];
                }
            }
            for lane in (0..LANES).step_by(S::F32_LANES) {
                let mut kernel = [simd.splat_f32s(0.0); 9];
                for (tap, lanes) in kernel.iter_mut().enumerate() {
                    *lanes = load::<S>(&taps[tap], lane);
                }
                let tile = both_sides::<S, KernelTransform, 3, IN, 9, 18, POSITIONS>(simd, kernel);
                for (p, lanes) in tile.into_iter().enumerate() {
                    store::<S>(out, p * LANES + lane, lanes);
                }
            }
        }
    }
}

/// Gᵀ s G of every kernel's sums `[36, ci, co]`, as `[co, ci, 3, 3]`.
pub(super) fn gather_kernel_gradients(sums: &[f32], ci: usize, co: usize) -> Vec<f32> {
    let mut gradient = vec![0.0; co * ci * 9];
    gradient.par_chunks_mut(LANES * ci * 9).enumerate().for_each(|(block, out)| {
        Arch::new().dispatch(KernelGradientBlock { sums, ci, co, first: block * LANES, out });
    });
    gradient
}

/// The gradients of [`LANES`] kernels.
struct KernelGradientBlock<'a> {
    sums: &'a [f32],
    ci: usize,
    co: usize,
    first: usize,
    out: &'a mut [f32],
}

impl WithSimd for KernelGradientBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, ci, co, first, out } = self;
        for c in 0..ci {
            let mut taps = [[0f32; LANES]; 9];
            for lane in (0..LANES).step_by(S::F32_LANES) {
                let mut tile = [simd.splat_f32s(0.0); POSITIONS];
                for (p, lanes) in tile.iter_mut().enumerate() {
                    *lanes = load::<S>(sums, (p * ci + c) * co + first + lane);
                }
                let kernel = both_sides::<S, KernelAdjoint, IN, 3, POSITIONS, 18, 9>(simd, tile);
                for (tap, lanes) in taps.iter_mut().zip(kernel) {
                    store::<S>(tap, lane, lanes);
                }
            }
            for (lane, out) in out.chunks_exact_mut(ci * 9).enumerate() {
                for tap in 0..9 {
                    out[c * 9 + tap] = taps[tap][lane];
                }
            }
        }
    }
}
