//! Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762) with gradients.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};

use super::cpu::attention::{self as kernel, AttentionShape};
use super::{slice, with_real, with_slice};

/// softmax(q kᵀ / √d) v of every head. `qkv [n, tokens, 3 · channels]` holds queries, keys and values one after
/// another, each with its heads one after another, as timm lays them out: `[n, tokens, channels]`.
///
/// # Errors
/// Channels that cannot be shared out among the heads.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    qkv.contiguous()?.apply_op1(Attention { heads })
}

struct Attention {
    heads: usize,
}

impl Attention {
    fn shape(&self, qkv: &Shape) -> Result<(usize, AttentionShape)> {
        let (n, tokens, width) = qkv.dims3()?;
        let heads = self.heads;
        if heads == 0 || tokens == 0 || !width.is_multiple_of(3 * heads) {
            bail!("queries, keys and values {qkv:?} cannot be shared out among {heads} heads");
        }
        Ok((n, AttentionShape { tokens, channels: width / 3, heads }))
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, shape) = self.shape(layout.shape())?;
        let y = with_real!(qkv.dtype(), T => {
            T::to_cpu_storage_owned(kernel::forward::<T>(slice(qkv, layout)?, shape))
        });
        Ok((y, (n, shape.tokens, shape.channels).into()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, gy: &Tensor) -> Result<Option<Tensor>> {
        let (_, shape) = self.shape(qkv.shape())?;
        let gy = gy.contiguous()?;
        let gradient = || {
            with_real!(qkv.dtype(), T => {
                let gqkv = with_slice(qkv, |qkv| with_slice(&gy, |gy| kernel::gradient::<T>(qkv, gy, shape)))??;
                Tensor::from_vec(gqkv, qkv.shape(), qkv.device())
            })
        };
        qkv.track_op().then(gradient).transpose()
    }
}
