//! Single tokens of sequences, with gradients.

use candle_core::{Result, Tensor, bail};

use super::cpu::concat::{columns, first_columns};
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// The class token `[1, 1, channels]`, then the patches `[n, tokens - 1, channels]` of each image, plus the embeddings of
/// their positions `[1, tokens, channels]`: `[n, tokens, channels]`, in the type of the patches.
///
/// # Errors
/// The shapes do not match.
pub fn embed_tokens(class: &Value, patches: &Value, positions: &Value) -> Result<Value> {
    let (n, others, channels) = patches.tensor().dims3()?;
    if class.dims() != [1, 1, channels] || positions.dims() != [1, others + 1, channels] {
        let (class, patches, positions) = (class.dims(), patches.dims(), positions.dims());
        bail!("the class token {class:?} or positions {positions:?} do not match patches {patches:?}");
    }
    if cuda::serves(patches.tensor()) {
        return cuda::elementwise::embed_tokens(class, patches, positions);
    }
    Value::composed(&[class, patches, positions], |t| {
        let class = t[0].broadcast_as((n, 1, channels))?;
        Tensor::cat(&[&class, &t[1]], 1)?.broadcast_add(&t[2])
    })
}

/// The first token of each sequence of `x [n, tokens, channels]`: `[n, channels]`.
///
/// # Errors
/// The number of dimensions is not 3.
pub fn first_token(x: &Value) -> Result<Value> {
    let (n, tokens, channels) = x.tensor().dims3()?;
    if cuda::serves(x.tensor()) {
        return cuda::elementwise::first_token(x);
    }
    let input = x.tensor().contiguous()?;
    let y = with_real!(input.dtype(), T => {
        let kernel = |x: &[T]| columns(x, tokens * channels, 0, channels);
        on_cpu(with_slice(&input, kernel)?, &[n, channels])?
    });
    Ok(Value::result(y, &[x], move |gy| {
        with_real!(gy.dtype(), T => {
            let kernel = |gy: &[T]| first_columns(gy, channels, tokens * channels);
            Ok(vec![Some(on_cpu(with_slice(&gy.contiguous()?, kernel)?, &[n, tokens, channels])?)])
        })
    }))
}
