//! Scaled dot-product attention of one sequence at a time.

use super::lanes::{largest, sum};
use super::matmul::Matrix;
use super::scratch::Scratch;
use super::{Real, widest, written_by_pieces};

/// Number of tokens, channels and heads of a sequence.
#[derive(Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) tokens: usize,
    pub(crate) channels: usize,
    pub(crate) heads: usize,
}

impl AttentionShape {
    fn head(&self) -> usize {
        self.channels / self.heads
    }

    /// 1 / √(channels of a head).
    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / (self.head() as f64).sqrt())
    }

    /// The queries (0), keys (1) or values (2) of a head in `[tokens, 3 · channels]`.
    fn part<'a, T>(&self, qkv: &'a [T], which: usize, head: usize) -> Matrix<'a, T> {
        Matrix::rows(&qkv[self.start(which, head)..], 3 * self.channels)
    }

    fn start(&self, which: usize, head: usize) -> usize {
        which * self.channels + head * self.head()
    }
}

/// softmax(q kᵀ / √d) v of every head: `[n, tokens, 3 · channels]` to `[n, tokens, channels]`.
pub(crate) fn forward<T: Real>(qkv: &[T], shape: AttentionShape) -> Vec<T> {
    let AttentionShape { tokens, channels, heads } = shape;
    let len = tokens * channels;
    let fill = |i: usize, y: &mut [T]| {
        let qkv = &qkv[i * 3 * len..][..3 * len];
        let mut weights = Scratch::new(tokens * tokens);
        for head in 0..heads {
            attention_weights(qkv, shape, head, &mut weights);
            let size = (tokens, shape.head(), tokens);
            let values = shape.part(qkv, 2, head);
            T::matmul(
                size,
                &mut y[shape.start(0, head)..],
                channels,
                Matrix::rows(&weights, tokens),
                values,
                false,
            );
        }
    };
    // SAFETY: the products of all heads write every element of the result.
    unsafe { written_by_pieces(qkv.len() / 3, len, fill) }
}

/// Gradient of [`forward`]; the attention weights are recomputed, which is cheaper than keeping them.
pub(crate) fn gradient<T: Real>(qkv: &[T], gy: &[T], shape: AttentionShape) -> Vec<T> {
    let AttentionShape { tokens, channels, heads } = shape;
    let len = tokens * channels;
    let fill = |i: usize, gqkv: &mut [T]| {
        let (qkv, gy) = (&qkv[i * 3 * len..][..3 * len], &gy[i * len..][..len]);
        let (mut weights, mut g) = (Scratch::new(tokens * tokens), Scratch::new(tokens * tokens));
        for head in 0..heads {
            attention_weights(qkv, shape, head, &mut weights);
            head_gradient(qkv, gy, shape, head, &weights, &mut g, gqkv);
        }
    };
    // SAFETY: the products of all heads write every element of the result.
    unsafe { written_by_pieces(qkv.len(), 3 * len, fill) }
}

/// softmax(q kᵀ / √d) of one head.
fn attention_weights<T: Real>(qkv: &[T], shape: AttentionShape, head: usize, weights: &mut [T]) {
    let t = shape.tokens;
    let (q, k) = (shape.part(qkv, 0, head), shape.part(qkv, 1, head));
    T::matmul((t, t, shape.head()), weights, t, q, k.transposed(), false);
    widest(softmax_rows, (weights, t, shape.scale()));
}

/// With scores S and attention weights P: gV = Pᵀ gY, gP = gY Vᵀ, gS = P ⊙ (gP − Σ gP ⊙ P), gQ = gS K, gK = gSᵀ Q.
fn head_gradient<T: Real>(
    qkv: &[T],
    gy: &[T],
    shape: AttentionShape,
    head: usize,
    weights: &[T],
    g: &mut [T],
    gqkv: &mut [T],
) {
    let (t, d, stride) = (shape.tokens, shape.head(), 3 * shape.channels);
    let [q, k, v] = [0, 1, 2].map(|which| shape.part(qkv, which, head));
    let gy = Matrix::rows(&gy[shape.start(0, head)..], shape.channels);
    let p = Matrix::rows(weights, t);
    T::matmul((t, d, t), &mut gqkv[shape.start(2, head)..], stride, p.transposed(), gy, false);
    T::matmul((t, t, d), g, t, gy, v.transposed(), false);
    widest(softmax_gradient_rows, (weights, &mut *g, t, shape.scale()));
    let g = Matrix::rows(g, t);
    T::matmul((t, d, t), &mut gqkv[shape.start(0, head)..], stride, g, k, false);
    T::matmul((t, d, t), &mut gqkv[shape.start(1, head)..], stride, g.transposed(), q, false);
}

/// Softmax of rows of `len` scores: exp(scale · (s − max)) divided by its sum.
#[inline(always)]
fn softmax_rows<T: Real>((scores, len, scale): (&mut [T], usize, T)) {
    for row in scores.chunks_exact_mut(len) {
        let largest = largest(row);
        row.iter_mut().for_each(|s| *s = ((*s - largest) * scale).exp());
        let sum = sum(row, row, |s, _| s);
        let share = T::from_f64(1.0 / sum.to_f64());
        row.iter_mut().for_each(|s| *s *= share);
    }
}

/// Gradients of attention weights to gradients of scores, in place.
#[inline(always)]
fn softmax_gradient_rows<T: Real>((weights, g, len, scale): (&[T], &mut [T], usize, T)) {
    for (p, g) in weights.chunks_exact(len).zip(g.chunks_exact_mut(len)) {
        let mean = sum(p, g, |p, g| p * g);
        p.iter().zip(g).for_each(|(p, g)| *g = *p * (*g - mean) * scale);
    }
}
