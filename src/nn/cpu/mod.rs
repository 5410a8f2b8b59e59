//! Kernels on plain `f32` slices, for the processor.
//!
//! Activations lie as `[n, h, w, c]` (channels last): a pixel's channels are neighbours, so every inner
//! loop runs over channels and vectorises. Work is cut into pieces by the *shape* alone and partial sums
//! are added in a fixed order, so results do not depend on the number of threads.

pub(crate) mod batch_norm;
pub(crate) mod direct;
pub(crate) mod pool;
pub(crate) mod winograd;

/// Run `f` compiled for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// A matrix inside a slice: element (i, j) stands at `start + i * row + j * column`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another, `columns` apart.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Self {
        Self { data, row: stride, column: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, row: self.column, column: self.row }
    }

    fn covers(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `dst = lhs · rhs`, or `dst += lhs · rhs` if `accumulate`; `dst` is `[m, n]` with rows `dst_row` apart.
/// One thread; the same bits for the same shape.
pub(crate) fn matmul(
    (m, n, k): (usize, usize, usize),
    dst: &mut [f32],
    dst_row: usize,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        lhs.covers(m, k) && rhs.covers(k, n) && (m - 1) * dst_row + n <= dst.len(),
        "matrix out of bounds"
    );
    // SAFETY: the assertion above keeps every element that gemm touches inside its slice, and `dst` is
    // borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            dst_row as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.column as isize,
            lhs.row as isize,
            rhs.data.as_ptr(),
            rhs.column as isize,
            rhs.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Add `parts` element by element, in their order, into the first.
pub(crate) fn sum_in_order(mut parts: Vec<Vec<f32>>) -> Vec<f32> {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 14;
    let rest = parts.split_off(1.min(parts.len()));
    let mut total = parts.pop().unwrap_or_default();
    total.par_chunks_mut(PIECE).enumerate().for_each(|(i, piece)| {
        for part in &rest {
            let part = &part[i * PIECE..i * PIECE + piece.len()];
            piece.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
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
