//! Single tokens of sequences, with gradients.

use candle_core::Result;

use super::cpu::concat::{columns, first_columns};
use super::{Value, cuda, on_cpu, with_real, with_slice};

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
