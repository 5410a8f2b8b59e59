//! The (weighted) mean of every tensor.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use crate::nn::StateDict;

/// Options of the average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AverageSpec {
    /// One number a source; equal shares if absent. They are divided by their sum.
    pub weights: Option<Vec<f64>>,
}

/// Σ_i w_i · S_i of every floating-point tensor that all sources have in the same shape, with shares w
/// that add up to 1; counts (`num_batches_tracked`) are the first source's.
///
/// # Errors
/// A tensor operation failed.
pub fn merge(sources: &[&StateDict], spec: &AverageSpec) -> Result<StateDict> {
    let shares = shares(sources.len(), spec.weights.as_deref());
    let shared = sources[0].iter().filter(|(name, tensor)| {
        sources.iter().all(|source| source.get(*name).is_some_and(|other| other.dims() == tensor.dims()))
    });
    let merged = shared.map(|(name, tensor)| {
        if !tensor.dtype().is_float() {
            return Ok((name.clone(), tensor.clone()));
        }
        let mut sum = (tensor * shares[0])?;
        for (source, share) in sources.iter().zip(&shares).skip(1) {
            sum = (sum + (&source[name] * *share)?)?;
        }
        Ok((name.clone(), sum))
    });
    merged.collect()
}

fn shares(n: usize, weights: Option<&[f64]>) -> Vec<f64> {
    let weights = weights.map_or_else(|| vec![1.0; n], <[f64]>::to_vec);
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn source(values: &[f32]) -> StateDict {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        let count = Tensor::new(values.len() as i64, &Device::Cpu).unwrap();
        StateDict::from([("a.weight".into(), tensor), ("a.num_batches_tracked".into(), count)])
    }

    #[test]
    fn shares_are_normalised_and_counts_are_left_alone() {
        let (a, b) = (source(&[1.0, 2.0]), source(&[3.0, 6.0]));
        let values = |spec: &AverageSpec| {
            let merged = merge(&[&a, &b], spec).unwrap();
            assert_eq!(merged["a.num_batches_tracked"].to_scalar::<i64>().unwrap(), 2);
            merged["a.weight"].to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(&AverageSpec::default()), [2.0, 4.0]);
        assert_eq!(values(&AverageSpec { weights: Some(vec![3.0, 1.0]) }), [1.5, 3.0]);
    }

    #[test]
    fn a_tensor_of_different_shapes_is_left_out() {
        let merged = merge(&[&source(&[1.0]), &source(&[1.0, 2.0])], &AverageSpec::default()).unwrap();
        assert!(!merged.contains_key("a.weight"));
    }
}
