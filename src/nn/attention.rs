//! Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762) with gradients.

use candle_core::{Result, bail};

use super::cost::Cost;
use super::cpu::attention::{self as kernel, AttentionShape};
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// softmax(q kᵀ / √d) v of every head. `qkv [n, tokens, 3 · channels]` is the concatenation of queries, keys and
/// values, each the concatenation of the heads, as in timm. Returns `[n, tokens, channels]`.
///
/// # Errors
/// The channels are not divisible among the heads.
pub fn attention(qkv: &Value, heads: usize) -> Result<Value> {
    let (n, tokens, width) = qkv.tensor().dims3()?;
    if heads == 0 || tokens == 0 || !width.is_multiple_of(3 * heads) {
        bail!("queries, keys and values {:?} cannot be divided among {heads} heads", qkv.dims());
    }
    if cuda::serves(qkv.tensor()) {
        return cuda::attention::attention(qkv, heads);
    }
    let shape = AttentionShape { tokens, channels: width / 3, heads };
    let input = qkv.tensor().contiguous()?;
    let y = with_real!(input.dtype(), T => {
        on_cpu(with_slice(&input, |qkv| kernel::forward::<T>(qkv, shape))?, &[n, tokens, shape.channels])?
    });
    Ok(Value::result(y, &[qkv], move |gy| {
        let gy = gy.contiguous()?;
        with_real!(gy.dtype(), T => {
            let gqkv = with_slice(&input, |qkv| with_slice(&gy, |gy| kernel::gradient::<T>(qkv, gy, shape)))??;
            Ok(vec![Some(on_cpu(gqkv, input.dims())?)])
        })
    }))
}

/// Cost of [`attention`] for `tokens` tokens of `channels` channels: the products of queries with keys, and of
/// attention weights with values.
pub fn attention_cost(tokens: usize, channels: usize) -> Cost {
    Cost::from_products(&[tokens, channels], &[2, tokens])
}
