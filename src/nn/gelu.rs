//! The Gaussian error linear unit (Hendrycks and Gimpel 2016, arXiv 1606.08415), with its exact gradient.

use candle_core::Result;

use super::cpu::gelu as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// x · Φ(x), with Φ the standard normal CDF.
///
/// # Errors
/// candle cannot make the tensor.
pub fn gelu(x: &Value) -> Result<Value> {
    if cuda::serves(x.tensor()) {
        return cuda::elementwise::gelu(x);
    }
    let input = x.tensor().contiguous()?;
    let y = with_real!(input.dtype(), T => on_cpu(with_slice(&input, kernel::forward::<T>)?, x.dims())?);
    Ok(Value::result(y, &[x], move |gy| {
        let gy = gy.contiguous()?;
        with_real!(gy.dtype(), T => {
            let gx = with_slice(&input, |x| with_slice(&gy, |gy| kernel::gradient::<T>(x, gy)))??;
            Ok(vec![Some(on_cpu(gx, gy.dims())?)])
        })
    }))
}
