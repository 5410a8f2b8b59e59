//! The (weighted) mean of every tensor.

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::combination;
use super::method::validate_shares;
use super::{MergeMethod, MergeTensors};

/// The (weighted) mean of every tensor: Σ_i w_i · S_i, where the weights w sum to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AverageSpec {
    /// Weights of the sources, one per source, divided by their sum; equal if absent.
    pub weights: Option<Vec<f64>>,
}

impl Identity for AverageSpec {}

impl Kind for AverageSpec {}

impl MergeMethod for AverageSpec {
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        validate_shares(self.weights.as_deref(), sources, problems);
    }

    fn shares(&self, sources: usize) -> Option<Vec<f64>> {
        Some(self.build(sources).shares().to_vec())
    }

    fn formula(&self, sources: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build(sources)))
    }
}

impl AverageSpec {
    /// The average of `sources` sources.
    pub fn build(&self, sources: usize) -> Average {
        let weights = self.weights.clone().unwrap_or_else(|| vec![1.0; sources]);
        let sum: f64 = weights.iter().sum();
        Average { shares: weights.into_iter().map(|weight| weight / sum).collect() }
    }
}

/// Σ_i w_i · S_i, where the shares w sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Average {
    shares: Vec<f64>,
}

impl Average {
    /// The normalized weights of the sources.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }
}

impl MergeTensors for Average {
    fn merge(&self, _: &str, sources: &[Tensor], _: Option<&Tensor>) -> Result<Tensor> {
        combination(sources.iter().zip(self.shares.iter().copied()))
    }

    fn merges_statistics(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn shares_are_normalized() {
        let sources = [[1f32, 2.0], [3.0, 6.0]].map(|values| Tensor::new(&values, &Device::Cpu).unwrap());
        let values = |spec: &AverageSpec| {
            spec.build(2).merge("a.weight", &sources, None).unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(values(&AverageSpec::default()), [2.0, 4.0]);
        assert_eq!(values(&AverageSpec { weights: Some(vec![3.0, 1.0]) }), [1.5, 3.0]);
    }
}
