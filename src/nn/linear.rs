//! Linear maps and biases.

use candle_core::{D, Result, Tensor, bail};

use super::cpu::linear as kernel;
use super::{Value, cuda, on_cpu, with_real, with_slice};

/// `x [.., in] · weightᵀ + bias` with `weight [out, in]` and `bias [out]`, plus a `residual [.., out]` if given.
/// Returns `[.., out]`.
///
/// # Errors
/// The shapes do not match.
pub fn linear(x: &Value, weight: &Value, bias: &Value, residual: Option<&Value>) -> Result<Value> {
    let (outputs, inputs) = weight.tensor().dims2()?;
    let Some((&last, rows)) = x.dims().split_last() else { bail!("a linear layer needs rows, got a scalar") };
    let size = [rows, &[outputs]].concat();
    let fits = residual.is_none_or(|residual| residual.dims() == size);
    if last != inputs || bias.dims() != [outputs] || !fits {
        let (weight, x) = (weight.dims(), x.dims());
        bail!("a linear layer with weight {weight:?} does not match {x:?}, its bias or its residual");
    }
    if cuda::serves(x.tensor()) {
        return cuda::linear::linear(x, weight, bias, residual, &size);
    }
    let (input, weights) = (x.tensor().contiguous()?, weight.tensor().contiguous()?);
    let y = forward(&input, &weights, bias.tensor(), residual.map(Value::tensor), &size)?;
    let (of_x, of_weight, of_bias) = (x.is_tracked(), weight.is_tracked(), bias.is_tracked());
    let (input, weights) = (of_weight.then_some(input), of_x.then_some(weights));
    let mut tracked = vec![x, weight, bias];
    tracked.extend(residual);
    let x_size = x.dims().to_vec();
    let has_residual = residual.is_some();
    Ok(Value::result(y, &tracked, move |gy| {
        let gy = gy.contiguous()?;
        with_real!(gy.dtype(), T => {
            let gx = |w: Tensor| -> Result<Tensor> {
                let gx = with_slice(&gy, |gy| with_slice(&w, |w| kernel::input_gradient::<T>(gy, w, inputs)))??;
                on_cpu(gx, &x_size)
            };
            let gw = |x: Tensor| -> Result<Tensor> {
                let kernel = |x: &[T], gy: &[T]| kernel::weight_gradient(x, gy, (inputs, outputs));
                on_cpu(with_slice(&x, |x| with_slice(&gy, |gy| kernel(x, gy)))??, &[outputs, inputs])
            };
            let gb = || -> Result<Tensor> {
                on_cpu(with_slice(&gy, |gy| kernel::bias_gradient::<T>(gy, outputs))?, &[outputs])
            };
            let gw = input.map(gw).transpose()?;
            let gb = of_bias.then(gb).transpose()?;
            let mut gradients = vec![weights.map(gx).transpose()?, gw, gb];
            if has_residual {
                gradients.push(Some(gy));
            }
            Ok(gradients)
        })
    }))
}

fn forward(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    size: &[usize],
) -> Result<Tensor> {
    let bias = bias.contiguous()?;
    let residual = residual.map(Tensor::contiguous).transpose()?;
    with_real!(x.dtype(), T => {
        let of = |residual: Option<&[T]>| {
            with_slice(x, |x| {
                with_slice(weight, |w| with_slice(&bias, |b| kernel::forward::<T>(x, w, b, residual)))
            })
        };
        let y = match &residual {
            Some(residual) => with_slice(residual, |residual| of(Some(residual)))?,
            None => of(None),
        };
        on_cpu(y???, size)
    })
}

/// `x [.., c] + bias [c]`.
///
/// # Errors
/// The shapes do not match.
pub fn add_bias(x: &Value, bias: &Value) -> Result<Value> {
    let channels = bias.tensor().elem_count();
    if x.tensor().dim(D::Minus1)? != channels {
        bail!("a bias of {:?} does not match {:?}", bias.dims(), x.dims());
    }
    if cuda::serves(x.tensor()) {
        return cuda::linear::add_bias(x, bias);
    }
    let (input, shift) = (x.tensor().contiguous()?, bias.tensor().contiguous()?);
    let y = with_real!(input.dtype(), T => {
        on_cpu(with_slice(&input, |x| with_slice(&shift, |bias| kernel::add_bias::<T>(x, bias)))??, x.dims())?
    });
    let of_bias = bias.is_tracked();
    Ok(Value::result(y, &[x, bias], move |gy| {
        let gy = gy.contiguous()?;
        let sums = || -> Result<Tensor> {
            with_real!(gy.dtype(), T => {
                on_cpu(with_slice(&gy, |gy| kernel::bias_gradient::<T>(gy, channels))?, &[channels])
            })
        };
        let gbias = of_bias.then(sums).transpose()?;
        Ok(vec![Some(gy), gbias])
    }))
}
