//! Layer normalization (Ba et al. 2016, arXiv 1607.06450) with gradients.

use candle_core::{Result, bail};

use super::cpu::layer_norm as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// Normalizes each row of `x [.., c]` by its mean and variance, scales by `weight [c]` and shifts by `bias [c]`.
///
/// # Errors
/// The shapes do not match.
pub fn layer_norm(x: &Value, weight: &Value, bias: &Value, eps: f64) -> Result<Value> {
    if weight.dims() != bias.dims() || x.dims().last() != weight.dims().last() {
        bail!("layer norm weight {:?} and bias {:?} do not match {:?}", weight.dims(), bias.dims(), x.dims());
    }
    if cuda::serves(x.tensor()) {
        return cuda::layer_norm::layer_norm(x, weight, bias, eps);
    }
    let [input, scale, shift] = [x, weight, bias].map(|value| value.tensor().contiguous());
    let (input, scale, shift) = (input?, scale?, shift?);
    let y = with_real!(input.dtype(), T => {
        let kernel = |x: &[T], w: &[T], b: &[T]| kernel::forward(x, w, b, eps);
        let y = with_slice(&input, |x| with_slice(&scale, |w| with_slice(&shift, |b| kernel(x, w, b))));
        on_cpu(y???, input.dims())?
    });
    Ok(Value::result(y, &[x, weight, bias], move |gy| {
        let gy = gy.contiguous()?;
        with_real!(gy.dtype(), T => {
            let kernel = |x: &[T], w: &[T], gy: &[T]| kernel::gradients(x, w, gy, eps);
            let (gx, gw, gb) =
                with_slice(&input, |x| with_slice(&scale, |w| with_slice(&gy, |gy| kernel(x, w, gy))))???;
            let gx = on_cpu(gx, input.dims())?;
            Ok(vec![Some(gx), Some(on_cpu(gw, scale.dims())?), Some(on_cpu(gb, scale.dims())?)])
        })
    }))
}
