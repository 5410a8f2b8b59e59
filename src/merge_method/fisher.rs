//! Fisher merging (Matena & Raffel 2022, arXiv 2111.09832): a mean in which each number of each source weighs as much as
//! the source's predictions hang on it.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::MergeTensors;
use super::average::{Average, AverageSpec};
use nn::StateDict;

/// Options of Fisher merging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FisherSpec {
    /// Training images that each source is measured on; all, if there are fewer.
    pub images: usize,
    /// The least that a number weighs, so that one that no prediction hangs on is averaged.
    pub floor: f64,
    /// How much each source weighs beside (the paper's λ); all the same if absent.
    pub weights: Option<Vec<f64>>,
}

impl Default for FisherSpec {
    /// The number of images is ours; the floor is the paper's.
    fn default() -> Self {
        Self { images: 256, floor: 1e-6, weights: None }
    }
}

impl FisherSpec {
    /// The merge of sources with these diagonals of their Fisher information matrices, by the names of the tensors.
    pub fn of(&self, information: Vec<StateDict>) -> Fisher {
        let weights = self.weights.clone().unwrap_or_else(|| vec![1.0; information.len()]);
        let average = AverageSpec { weights: Some(weights.clone()) }.of(information.len());
        Fisher { information, floor: self.floor, weights, average }
    }
}

/// Σ_i λ_i·F_i·θ_i / Σ_i λ_i·F_i, number by number (equation 2 with weights); Σ_i λ_i·θ_i / Σ_i λ_i for tensors that
/// nothing was measured of (running statistics).
pub struct Fisher {
    information: Vec<StateDict>,
    floor: f64,
    weights: Vec<f64>,
    average: Average,
}

impl MergeTensors for Fisher {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let measured: Option<Vec<&Tensor>> = self.information.iter().map(|source| source.get(name)).collect();
        let Some(measured) = measured else { return self.average.merge(name, sources, base) };
        let mut sum = sources[0].zeros_like()?;
        let mut weight = sources[0].zeros_like()?;
        for ((source, information), factor) in sources.iter().zip(measured).zip(&self.weights) {
            let share = (information.maximum(self.floor)? * *factor)?;
            sum = (sum + (source * &share)?)?;
            weight = (weight + share)?;
        }
        sum / weight
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn merged(spec: &FisherSpec, name: &str) -> Vec<f32> {
        let information = [&[3.0, 0.0, 2.0], &[1.0, 0.0, 2.0]]
            .map(|numbers: &[f32; 3]| StateDict::from([("a.weight".to_owned(), tensor(numbers))]));
        let sources = [tensor(&[1.0, 2.0, 3.0]), tensor(&[5.0, 4.0, 7.0])];
        spec.of(information.into()).merge(name, &sources, None).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_number_weighs_as_much_as_predictions_hang_on_it() {
        let near = |actual: Vec<f32>, expected: [f32; 3]| {
            let pairs = actual.iter().zip(expected);
            assert!(pairs.clone().all(|(a, e)| (a - e).abs() < 1e-5), "{actual:?} is not {expected:?}");
        };
        near(merged(&FisherSpec::default(), "a.weight"), [2.0, 3.0, 5.0]);
        let weighted = FisherSpec { weights: Some(vec![1.0, 3.0]), ..FisherSpec::default() };
        near(merged(&weighted, "a.weight"), [3.0, 3.5, 6.0]);
        near(merged(&FisherSpec { floor: 10.0, ..FisherSpec::default() }, "a.weight"), [3.0, 3.0, 5.0]);
        near(merged(&weighted, "a.running_mean"), [4.0, 3.5, 6.0]);
    }
}
