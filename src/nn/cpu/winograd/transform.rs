//! The one-dimensional transforms of F(4, 3), on vectors of channels.

use pulp::Simd;

use super::{IN, OUT};

#[inline(always)]
pub(super) fn load<S: Simd>(elements: &[f32], start: usize) -> S::f32s {
    S::as_simd_f32s(&elements[start..start + S::F32_LANES]).0[0]
}

#[inline(always)]
pub(super) fn store<S: Simd>(elements: &mut [f32], start: usize, lanes: S::f32s) {
    S::as_mut_simd_f32s(&mut elements[start..start + S::F32_LANES]).0[0] = lanes;
}

/// A one-dimensional transform of `N` vectors to `M`. A trait rather than a closure: a closure that is not inlined
/// would lose the wide instructions.
pub(super) trait Transform<const N: usize, const M: usize> {
    fn line<S: Simd>(simd: S, from: [S::f32s; N]) -> [S::f32s; M];
}

/// Applies a transform to the columns, then to the rows, of an `N`x`N` tile.
#[inline(always)]
pub(super) fn both_sides<
    S: Simd,
    T: Transform<N, M>,
    const N: usize,
    const M: usize,
    const NN: usize,
    const MN: usize,
    const MM: usize,
>(
    simd: S,
    tile: [S::f32s; NN],
) -> [S::f32s; MM] {
    let mut line = [simd.splat_f32s(0.0); N];
    let mut half = [simd.splat_f32s(0.0); MN];
    for column in 0..N {
        for row in 0..N {
            line[row] = tile[row * N + column];
        }
        let done = T::line(simd, line);
        for row in 0..M {
            half[row * N + column] = done[row];
        }
    }
    let mut whole = [simd.splat_f32s(0.0); MM];
    for row in 0..M {
        for column in 0..N {
            line[column] = half[row * N + column];
        }
        let done = T::line(simd, line);
        for column in 0..M {
            whole[row * M + column] = done[column];
        }
    }
    whole
}

/// a + factor · b.
#[inline(always)]
fn add<S: Simd>(simd: S, a: S::f32s, factor: f32, b: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), b, a)
}

/// factor · a.
#[inline(always)]
fn times<S: Simd>(simd: S, factor: f32, a: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), a)
}

/// Bᵀ d.
pub(super) struct InputTransform;

impl Transform<IN, IN> for InputTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
        let (low, high) = (add(simd, d[4], -4.0, d[2]), add(simd, d[3], -4.0, d[1]));
        let (even, odd) = (simd.sub_f32s(d[4], d[2]), simd.sub_f32s(d[3], d[1]));
        [
            add(simd, add(simd, d[4], 4.0, d[0]), -5.0, d[2]),
            simd.add_f32s(low, high),
            simd.sub_f32s(low, high),
            add(simd, even, 2.0, odd),
            add(simd, even, -2.0, odd),
            add(simd, add(simd, d[5], 4.0, d[1]), -5.0, d[3]),
        ]
    }
}

/// Aᵀ m.
pub(super) struct OutputTransform;

impl Transform<IN, OUT> for OutputTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
        let (a, b) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (c, d) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        [
            simd.add_f32s(m[0], simd.add_f32s(a, c)),
            add(simd, b, 2.0, d),
            add(simd, a, 4.0, c),
            simd.add_f32s(m[5], add(simd, b, 8.0, d)),
        ]
    }
}

/// A y: the adjoint of [`OutputTransform`].
pub(super) struct OutputAdjoint;

impl Transform<OUT, IN> for OutputAdjoint {
    #[inline(always)]
    fn line<S: Simd>(simd: S, y: [S::f32s; OUT]) -> [S::f32s; IN] {
        let (a, b) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
        let c = add(simd, y[0], 4.0, y[2]);
        let d = add(simd, simd.add_f32s(y[1], y[1]), 8.0, y[3]);
        [y[0], simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.add_f32s(c, d), simd.sub_f32s(c, d), y[3]]
    }
}

const SIXTH: f32 = 1.0 / 6.0;
const TWELFTH: f32 = 1.0 / 12.0;
const TWENTY_FOURTH: f32 = 1.0 / 24.0;

/// G g.
pub(super) struct KernelTransform;

impl Transform<3, IN> for KernelTransform {
    #[inline(always)]
    fn line<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; IN] {
        let outer = times(simd, -SIXTH, simd.add_f32s(g[0], g[2]));
        let inner = add(simd, times(simd, TWENTY_FOURTH, g[0]), SIXTH, g[2]);
        [
            times(simd, 0.25, g[0]),
            add(simd, outer, -SIXTH, g[1]),
            add(simd, outer, SIXTH, g[1]),
            add(simd, inner, TWELFTH, g[1]),
            add(simd, inner, -TWELFTH, g[1]),
            g[2],
        ]
    }
}

/// Gᵀ s: the adjoint of [`KernelTransform`].
pub(super) struct KernelAdjoint;

impl Transform<IN, 3> for KernelAdjoint {
    #[inline(always)]
    fn line<S: Simd>(simd: S, s: [S::f32s; IN]) -> [S::f32s; 3] {
        let (outer, inner) = (simd.add_f32s(s[1], s[2]), simd.add_f32s(s[3], s[4]));
        let outer_difference = simd.sub_f32s(s[2], s[1]);
        let inner_difference = simd.sub_f32s(s[3], s[4]);
        [
            add(simd, add(simd, times(simd, 0.25, s[0]), -SIXTH, outer), TWENTY_FOURTH, inner),
            add(simd, times(simd, SIXTH, outer_difference), TWELFTH, inner_difference),
            add(simd, s[5], SIXTH, simd.sub_f32s(inner, outer)),
        ]
    }
}
