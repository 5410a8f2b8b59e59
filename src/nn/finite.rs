//! Values that no model can compute with: NaN, infinities, and variances below 0.

use candle_core::{DType, Device, Result, Tensor};

use super::StateDict;

/// Whether every element of a tensor is a number: neither NaN nor infinite.
///
/// # Errors
/// The tensor cannot be read.
pub fn is_finite(tensor: &Tensor) -> Result<bool> {
    if !tensor.dtype().is_float() {
        return Ok(true);
    }
    let elements = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
    Ok(elements.to_vec1::<f32>()?.iter().all(|element| element.is_finite()))
}

/// Name of the first tensor with elements that are NaN or infinite.
///
/// # Errors
/// A tensor cannot be read.
pub fn first_non_finite(tensors: &StateDict) -> Result<Option<&str>> {
    for (name, tensor) in tensors {
        if !is_finite(tensor)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether a tensor is batch norm's running variance, as PyTorch names it, and has an element below 0.
///
/// # Errors
/// The tensor cannot be read.
pub fn is_negative_variance(name: &str, tensor: &Tensor) -> Result<bool> {
    if !name.ends_with(".running_var") {
        return Ok(false);
    }
    let elements = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
    Ok(elements.to_vec1::<f32>()?.iter().any(|element| *element < 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tensor_with_an_element_that_is_not_finite_is_named() {
        let tensor = |elements: &[f32]| Tensor::new(elements, &Device::Cpu).unwrap();
        let mut tensors =
            StateDict::from([("a".into(), tensor(&[1.0, f32::MAX])), ("b".into(), tensor(&[]))]);
        tensors.insert("count".into(), Tensor::new(i64::MAX, &Device::Cpu).unwrap());
        assert_eq!(first_non_finite(&tensors).unwrap(), None);
        tensors.insert("d".into(), tensor(&[f32::NAN]));
        tensors.insert("c".into(), tensor(&[0.0, f32::NEG_INFINITY]));
        assert_eq!(first_non_finite(&tensors).unwrap(), Some("c"));
    }

    #[test]
    fn only_variances_below_0_are_negative_variances() {
        let is_negative = |name: &str, elements: &[f32]| {
            is_negative_variance(name, &Tensor::new(elements, &Device::Cpu).unwrap()).unwrap()
        };
        assert!(is_negative("bn1.running_var", &[1.0, -0.5]));
        assert!(!is_negative("bn1.running_var", &[1.0, 0.0]));
        assert!(!is_negative("bn1.running_mean", &[-0.5]));
    }
}
