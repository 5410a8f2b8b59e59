//! CPU kernels on plain slices of f32, and of f64 for reference.
//!
//! Activations are `[n, h, w, c]` (channels last): the channels of a pixel are contiguous, so every inner loop runs
//! over channels and vectorizes. Work is divided by the *shape* alone and partial sums are added in a fixed order, so
//! results do not depend on the number of threads.

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod concat;
pub(crate) mod direct;
mod elementary;
pub(crate) mod gelu;
pub(crate) mod lanes;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod matmul;
pub(crate) mod pool;
mod room;
pub(crate) mod scratch;
pub(crate) mod winograd;

use self::matmul::{Matrix, Panels};
use self::room::{Room, to_be_written};
use self::scratch::Scratch;

/// Calls `kernel(args)`, compiled for the widest vectors of this CPU. The kernel must be a function that is always
/// inlined: the body of a closure might be compiled separately, without the wide instructions.
#[inline(always)]
pub(crate) fn widest<A, R>(kernel: impl FnOnce(A) -> R, args: A) -> R {
    struct Call<K, A>(K, A);
    impl<A, R, K: FnOnce(A) -> R> pulp::WithSimd for Call<K, A> {
        type Output = R;

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) -> R {
            (self.0)(self.1)
        }
    }
    pulp::Arch::new().dispatch(Call(kernel, args))
}

/// Element type of kernels: f32, and f64 as the reference.
pub(crate) trait Real: candle_core::WithDType + bytemuck::Pod {
    /// `dst = lhs · rhs`, or `dst += lhs · rhs` if `accumulate`, for `lhs [m, k]` and `rhs [k, n]`; `dst` is
    /// `[m, n]` with rows `stride` apart.
    fn multiply(
        m: usize,
        dst: &mut [Self],
        stride: usize,
        lhs: Matrix<'_, Self>,
        rhs: Panels<'_, Self>,
        accumulate: bool,
    );

    /// e^x.
    fn exp(self) -> Self;

    /// The error function.
    fn erf(self) -> Self;

    /// The product for a right matrix used only once. `size` is (m, n, k).
    fn matmul(
        (m, n, k): (usize, usize, usize),
        dst: &mut [Self],
        stride: usize,
        lhs: Matrix<'_, Self>,
        rhs: Matrix<'_, Self>,
        accumulate: bool,
    ) {
        let mut room = Scratch::new(0);
        Self::multiply(m, dst, stride, lhs, Panels::from_matrix(rhs, (k, n), &mut room), accumulate);
    }
}

impl Real for f32 {
    fn multiply(
        m: usize,
        dst: &mut [Self],
        stride: usize,
        lhs: Matrix<'_, Self>,
        rhs: Panels<'_, Self>,
        accumulate: bool,
    ) {
        matmul::multiply(m, dst, stride, lhs, rhs, accumulate);
    }

    #[inline(always)]
    fn exp(self) -> Self {
        elementary::exp(self)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        elementary::erf(self)
    }
}

impl Real for f64 {
    fn multiply(
        m: usize,
        dst: &mut [Self],
        stride: usize,
        lhs: Matrix<'_, Self>,
        rhs: Panels<'_, Self>,
        accumulate: bool,
    ) {
        matmul::plain(m, dst, stride, lhs, rhs, accumulate);
    }

    fn exp(self) -> Self {
        f64::exp(self)
    }

    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f64(self)
    }
}

/// What is done with each piece of a result while it is in the cache: it gets the index of the first element, and whole
/// pixels.
pub(crate) type Finish<'a, T> = &'a (dyn Fn(usize, &mut [T]) + Sync);

/// Leaves a piece as it is.
pub(crate) fn as_is<T>(_: usize, _: &mut [T]) {}

/// Makes `len` elements in pieces of `piece` elements on all threads: `fill` gets the index of a piece and its
/// elements, initially zero. Zeroing a piece in the cache saves a pass over memory.
pub(crate) fn by_pieces<T: Real>(len: usize, piece: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    // SAFETY: every piece is written completely before `fill` sees it.
    unsafe {
        written_by_pieces(len, piece, |i, elements| {
            elements.fill(T::zero());
            fill(i, elements);
        })
    }
}

/// The same for a `fill` that writes every element of its piece and reads none before: they are not zeroed.
///
/// # Safety
/// `fill` does so.
pub(crate) unsafe fn written_by_pieces<T: Real>(
    len: usize,
    piece: usize,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    use rayon::prelude::*;
    let mut room = Room::new(len);
    room.parts().par_chunks_mut(piece.max(1)).enumerate().for_each(|(i, piece)| {
        // SAFETY: the caller promises that no element is read before it is written.
        fill(i, unsafe { to_be_written(piece) });
    });
    // SAFETY: the caller promises that every piece was written, and the pieces cover the room.
    unsafe { room.written() }
}

/// sum += more, element by element.
pub(crate) fn add_in_place<T: Real>(sum: &mut [T], more: &[T]) {
    use rayon::prelude::*;
    const PIECE: usize = 1 << 14;
    sum.par_chunks_mut(PIECE)
        .zip(more.par_chunks(PIECE))
        .for_each(|(sum, more)| widest(add_piece, (sum, more)));
}

#[inline(always)]
fn add_piece<T: Real>((sum, more): (&mut [T], &[T])) {
    sum.iter_mut().zip(more).for_each(|(sum, x)| *sum += *x);
}

/// Adds `parts` element by element, in order, into the first.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvShape {
    /// Number of images.
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

    /// Number of elements of a kernel.
    pub(crate) fn kernel_len(&self) -> usize {
        self.ci_group() * self.kh * self.kw
    }

    fn output_side(&self, side: usize, kernel: usize) -> usize {
        (side + 2 * self.padding - self.dilation * (kernel - 1) - 1) / self.stride + 1
    }
}
