//! Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762) with gradients.

use candle_core::{Result, bail};

use super::cost::Cost;
use super::cpu::attention::{self as kernel, AttentionShape};
use super::{Value, by_candle, on_cpu, with_real, with_slice};

/// softmax(q kᵀ / √d) v of every head. `qkv [n, tokens, 3 · channels]` holds queries, keys and values one after
/// another, each with its heads one after another, as timm lays them out: `[n, tokens, channels]`.
///
/// # Errors
/// Channels that cannot be shared out among the heads.
pub fn attention(qkv: &Value, heads: usize) -> Result<Value> {
    let (n, tokens, width) = qkv.tensor().dims3()?;
    if heads == 0 || tokens == 0 || !width.is_multiple_of(3 * heads) {
        bail!("queries, keys and values {:?} cannot be shared out among {heads} heads", qkv.dims());
    }
    if by_candle::serves(qkv.tensor()) {
        return by_candle::composed::attention(qkv, heads);
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

/// What [`attention`] costs for so many tokens of `channels` numbers: the products of queries with keys, and of those with
/// values.
pub fn attention_cost(tokens: usize, channels: usize) -> Cost {
    Cost::of(&[tokens, channels], &[2, tokens])
}
