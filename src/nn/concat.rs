//! Concatenation along channels, with gradients.

use candle_core::{Result, Tensor, bail};

use super::cpu::concat as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// Concatenates `[.., a]` and `[.., b]` to `[.., a + b]`.
///
/// # Errors
/// Any other dimension differs.
pub fn concat_channels(left: &Value, right: &Value) -> Result<Value> {
    let (a, b, rows) = match (left.dims().split_last(), right.dims().split_last()) {
        (Some((&a, rows)), Some((&b, same))) if rows == same && a > 0 && b > 0 => (a, b, rows),
        _ => bail!("{:?} and {:?} cannot be concatenated along channels", left.dims(), right.dims()),
    };
    if cuda::serves(left.tensor()) {
        return cuda::elementwise::concat_channels(left, right);
    }
    let (first, second) = (left.tensor().contiguous()?, right.tensor().contiguous()?);
    let y = with_real!(first.dtype(), T => {
        let kernel = |left: &[T], right: &[T]| kernel::forward(left, right, (a, b));
        let y = with_slice(&first, |left| with_slice(&second, |right| kernel(left, right)))??;
        on_cpu(y, &[rows, &[a + b]].concat())?
    });
    let rows = rows.to_vec();
    let wanted = (left.is_tracked(), right.is_tracked());
    Ok(Value::result(y, &[left, right], move |gy| {
        let gy = gy.contiguous()?;
        let part = |start: usize, columns: usize| -> Result<Tensor> {
            with_real!(gy.dtype(), T => {
                let part = with_slice(&gy, |gy| kernel::columns::<T>(gy, a + b, start, columns))?;
                on_cpu(part, &[&rows[..], &[columns]].concat())
            })
        };
        Ok(vec![wanted.0.then(|| part(0, a)).transpose()?, wanted.1.then(|| part(a, b)).transpose()?])
    }))
}
