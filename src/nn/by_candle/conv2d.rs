//! Convolution: by cuDNN if the feature is enabled, otherwise as one product over gathered patches. candle's gradient
//! of a convolution fails for some odd sides, and its kernels for it are slow.

use candle_core::{Result, Tensor};

use super::precision::in_precision;
use crate::Value;
use crate::cpu::ConvShape;

/// See [`conv2d`](crate::conv2d::conv2d); the shapes are already checked.
pub(crate) fn conv2d(x: &Value, weight: &Value, shape: &ConvShape) -> Result<Value> {
    #[cfg(feature = "cudnn")]
    if x.tensor().device().is_cuda() {
        return super::cudnn::conv2d(x, weight, shape);
    }
    by_patches(x, weight, shape)
}

fn by_patches(x: &Value, weight: &Value, shape: &ConvShape) -> Result<Value> {
    let shape = *shape;
    Value::composed(&[x, weight], |t| {
        let patches = patches(&t[0], &shape)?;
        let (taps, ci, co) = (shape.kh * shape.kw, shape.ci_group(), shape.co_group());
        let rows = shape.n * shape.oh() * shape.ow();
        let group = |group: usize| -> Result<Tensor> {
            let patches = patches.narrow(2, group * ci, ci)?.reshape((rows, taps * ci))?;
            let kernels = t[1].narrow(0, group * co, co)?.permute((2, 3, 1, 0))?.reshape((taps * ci, co))?;
            in_precision(&patches, &kernels, |patches, kernels| patches.matmul(kernels))
        };
        let groups = (0..shape.groups).map(group).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&groups, 1)?.reshape((shape.n, shape.oh(), shape.ow(), shape.co))
    })
}

/// The pixels under every kernel position: `[n · oh · ow, kh · kw, ci]`.
fn patches(x: &Tensor, shape: &ConvShape) -> Result<Tensor> {
    let ConvShape { n, padding, ci, .. } = *shape;
    let padded = x.pad_with_zeros(1, padding, padding)?.pad_with_zeros(2, padding, padding)?;
    let (h, w) = (shape.h + 2 * padding, shape.w + 2 * padding);
    let mut pixels = Vec::new();
    for (oy, ox) in (0..shape.oh()).flat_map(|oy| (0..shape.ow()).map(move |ox| (oy, ox))) {
        for (ky, kx) in (0..shape.kh).flat_map(|ky| (0..shape.kw).map(move |kx| (ky, kx))) {
            let row = oy * shape.stride + ky * shape.dilation;
            let column = ox * shape.stride + kx * shape.dilation;
            pixels.push((row * w + column) as u32);
        }
    }
    let pixels = Tensor::new(pixels, x.device())?;
    let patches = padded.reshape((n, h * w, ci))?.index_select(&pixels, 1)?;
    patches.reshape((n * shape.oh() * shape.ow(), shape.kh * shape.kw, ci))
}
