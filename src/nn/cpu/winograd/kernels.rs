//! Transforms of kernels to and from the Winograd domain.

use pulp::{Arch, Simd, WithSimd};

use super::transform::{KernelAdjoint, KernelTransform, both_sides, load, store};
use super::{IN, Kernels, PANEL, POSITIONS};

/// G g Gᵀ of the kernels for the `block`-th [`PANEL`] output channels: panels `[36, from, PANEL]`.
pub(super) fn transform_block(kernels: &Kernels<'_>, block: usize, out: &mut [f32]) {
    let &Kernels { weight, ci, turned, .. } = kernels;
    // Strides in `weight` between input channels and between output channels.
    let strides = if turned { (ci * 9, 9) } else { (9, ci * 9) };
    let weight = &weight[block * PANEL * strides.1..];
    Arch::new().dispatch(KernelBlock { weight, strides, turned, out });
}

/// The kernels of [`PANEL`] output channels, as `[36, from, PANEL]`.
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
        let from = out.len() / (POSITIONS * PANEL);
        for f in 0..from {
            let mut taps = [[0f32; PANEL]; 9];
            for lane in 0..PANEL {
                let kernel = &weight[f * strides.0 + lane * strides.1..][..9];
                for tap in 0..9 {
                    taps[if turned { 8 - tap } else { tap }][lane] = kernel[tap];
                }
            }
            for lane in (0..PANEL).step_by(S::F32_LANES) {
                let mut kernel = [simd.splat_f32s(0.0); 9];
                for (tap, lanes) in kernel.iter_mut().enumerate() {
                    *lanes = load::<S>(&taps[tap], lane);
                }
                let tile = both_sides::<S, KernelTransform, 3, IN, 9, 18, POSITIONS>(simd, kernel);
                for (p, lanes) in tile.into_iter().enumerate() {
                    store::<S>(out, (p * from + f) * PANEL + lane, lanes);
                }
            }
        }
    }
}

/// Gᵀ s G of the sums of [`PANEL`] output channels, as `[PANEL, ci, 3, 3]`. `sums` holds `PANEL` contiguous elements
/// for each position and input channel, with these strides.
pub(super) fn gather_kernel_gradients(sums: &[f32], ci: usize, strides: (usize, usize), out: &mut [f32]) {
    Arch::new().dispatch(KernelGradientBlock { sums, ci, strides, out });
}

/// The gradients of [`PANEL`] kernels.
struct KernelGradientBlock<'a> {
    sums: &'a [f32],
    ci: usize,
    strides: (usize, usize),
    out: &'a mut [f32],
}

impl WithSimd for KernelGradientBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sums, ci, strides, out } = self;
        for c in 0..ci {
            let mut taps = [[0f32; PANEL]; 9];
            for lane in (0..PANEL).step_by(S::F32_LANES) {
                let mut tile = [simd.splat_f32s(0.0); POSITIONS];
                for (p, lanes) in tile.iter_mut().enumerate() {
                    *lanes = load::<S>(sums, p * strides.0 + c * strides.1 + lane);
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
