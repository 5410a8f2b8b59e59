//! Multi-head self-attention with gradients; the products are cuBLAS's.

use candle_core::{Result, Tensor};

use super::columns::pack;
use super::launch::{Launch, library, matmul};
use super::to_be_written;
use crate::Value;

/// `Heads` in `kernels/transformer.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Heads {
    n: i32,
    tokens: i32,
    parts: i32,
    heads: i32,
    size: i32,
}

impl Heads {
    fn new(n: usize, tokens: usize, parts: usize, heads: usize, size: usize) -> Self {
        let [n, tokens, parts, heads, size] = [n, tokens, parts, heads, size].map(|number| number as i32);
        Self { n, tokens, parts, heads, size }
    }
}

/// See [`attention`](crate::attention::attention); the shapes are already checked.
pub(crate) fn attention(qkv: &Value, heads: usize) -> Result<Value> {
    let input = qkv.tensor().contiguous()?;
    let (n, tokens, width) = input.dims3()?;
    let (channels, size) = (width / 3, width / 3 / heads);
    let scale = 1.0 / (size as f64).sqrt();
    let (all, one) = (Heads::new(n, tokens, 3, heads, size), Heads::new(n, tokens, 1, heads, size));
    let matrices = (n * heads, tokens, size);
    let parts = reordered("split_heads", &input, &all)?.reshape((3, n * heads, tokens, size))?;
    let [q, k, v] = [parts.get(0)?, parts.get(1)?, parts.get(2)?];
    let shares = softmax(&matmul(&q, &k.t()?)?, scale)?;
    let y = reordered("join_heads", &matmul(&shares, &v)?, &one)?.reshape((n, tokens, channels))?;
    Ok(Value::result(y, &[qkv], move |gy| {
        let gy = reordered("split_heads", &gy.contiguous()?, &one)?.reshape(matrices)?;
        let gscores = softmax_gradient(&shares, &matmul(&gy, &v.t()?)?, scale)?;
        let gv = matmul(&shares.t()?, &gy)?;
        let (gq, gk) = (matmul(&gscores, &k)?, matmul(&gscores.t()?, &q)?);
        let all_parts = (3, n * heads, tokens, size);
        let gparts = library(all_parts, gq.dtype(), &shares, move || Tensor::stack(&[&gq, &gk, &gv], 0))?;
        Ok(vec![Some(reordered("join_heads", &gparts, &all)?.reshape((n, tokens, width))?)])
    }))
}

fn reordered(kernel: &'static str, x: &Tensor, heads: &Heads) -> Result<Tensor> {
    let x = x.contiguous()?;
    let y = to_be_written(x.elem_count(), x.dtype(), &x)?;
    let pack = pack(heads.size as usize, &[&x, &y])?;
    let launch = Launch::new(kernel, &x).tensor(&x)?.tensor(&y)?.table(heads).int(pack)?;
    launch.over_int(x.elem_count() / pack)?;
    Ok(y)
}

/// softmax(scale · x) over the last dimension.
fn softmax(x: &Tensor, scale: f64) -> Result<Tensor> {
    let columns = x.dim(candle_core::D::Minus1)?;
    let rows = x.elem_count() / columns;
    let y = to_be_written(x.shape(), x.dtype(), x)?;
    let launch = Launch::new("softmax", x).tensor(x)?.tensor(&y)?.double(scale);
    launch.long(rows).int(columns)?.over_rows(rows)?;
    Ok(y)
}

/// The gradient of the scores, given the shares and their gradient.
fn softmax_gradient(y: &Tensor, gy: &Tensor, scale: f64) -> Result<Tensor> {
    let columns = y.dim(candle_core::D::Minus1)?;
    let rows = y.elem_count() / columns;
    let gx = to_be_written(y.shape(), y.dtype(), y)?;
    let launch = Launch::new("softmax_gradient", y).tensor(y)?.tensor(gy)?.tensor(&gx)?.double(scale);
    launch.long(rows).int(columns)?.over_rows(rows)?;
    Ok(gx)
}
