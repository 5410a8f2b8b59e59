//! Kernels on plain `f32` slices, for the processor.
//!
//! Activations lie as `[n, h, w, c]` (channels last): a pixel's channels are neighbours, so every inner
//! loop runs over channels and vectorises. Work is cut into pieces by the *shape* alone and partial sums
//! are added in a fixed order, so results do not depend on the number of threads.

pub(crate) mod batch_norm;
pub(crate) mod direct;
pub(crate) mod matmul;
pub(crate) mod pool;
pub(crate) mod scratch;
pub(crate) mod winograd;

/// A step frees and asks again for the same large activations; this allocator keeps their pages, where the
/// system's would give them back and have each touched anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Run `f` compiled for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// A type of numbers that kernels compute with: f32, and f64 to hold results against exact ones.
pub(crate) trait Real: candle_core::WithDType {
    /// `dst = lhs · rhs`, or `dst += lhs · rhs` if `accumulate`; see [`matmul::matmul`].
    fn matmul(
        size: (usize, usize, usize),
        dst: &mut [Self],
        stride: usize,
        lhs: matmul::Matrix<'_, Self>,
        rhs: matmul::Matrix<'_, Self>,
        accumulate: bool,
    );
}

impl Real for f32 {
    fn matmul(
        size: (usize, usize, usize),
        dst: &mut [Self],
        stride: usize,
        lhs: matmul::Matrix<'_, Self>,
        rhs: matmul::Matrix<'_, Self>,
        accumulate: bool,
    ) {
        matmul::matmul(size, dst, stride, lhs, rhs, accumulate);
    }
}

impl Real for f64 {
    fn matmul(
        size: (usize, usize, usize),
        dst: &mut [Self],
        stride: usize,
        lhs: matmul::Matrix<'_, Self>,
        rhs: matmul::Matrix<'_, Self>,
        accumulate: bool,
    ) {
        matmul::plain(size, dst, stride, lhs, rhs, accumulate);
    }
}

/// Add `parts` element by element, in their order, into the first.
pub(crate) fn sum_in_order<T: Real>(mut parts: Vec<Vec<T>>) -> Vec<T> {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 14;
    let rest = parts.split_off(1.min(parts.len()));
    let mut total = parts.pop().unwrap_or_default();
    total.par_chunks_mut(PIECE).enumerate().for_each(|(i, piece)| {
        for part in &rest {
            let part = &part[i * PIECE..i * PIECE + piece.len()];
            piece.iter_mut().zip(part).for_each(|(sum, x)| *sum += *x);
        }
    });
    total
}

/// The shape of a two-dimensional convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    /// Images.
    pub(crate) n: usize,
    /// Input height, width and channels.
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) ci: usize,
    /// Output channels.
    pub(crate) co: usize,
    /// Kernel height and width.
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
    pub(crate) dilation: usize,
    pub(crate) groups: usize,
}

impl ConvShape {
    /// Output height.
    pub(crate) fn oh(&self) -> usize {
        self.output_side(self.h, self.kh)
    }

    /// Output width.
    pub(crate) fn ow(&self) -> usize {
        self.output_side(self.w, self.kw)
    }

    /// Input channels of a group.
    pub(crate) fn ci_group(&self) -> usize {
        self.ci / self.groups
    }

    /// Output channels of a group.
    pub(crate) fn co_group(&self) -> usize {
        self.co / self.groups
    }

    /// Numbers in a kernel.
    pub(crate) fn kernel_len(&self) -> usize {
        self.ci_group() * self.kh * self.kw
    }

    fn output_side(&self, side: usize, kernel: usize) -> usize {
        (side + 2 * self.padding - self.dilation * (kernel - 1) - 1) / self.stride + 1
    }
}
