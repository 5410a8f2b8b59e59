//! Fisher merging (Matena & Raffel 2022, arXiv 2111.09832): a mean weighted elementwise by Fisher information.

pub(crate) mod information;

use candle_core::{Result, Tensor};
use dataset::SplitName;
use identity::Identity;
use kind::{Kind, Problems};
use model::{KnownDataset, Networks, StageError, Work};
use nn::StateDict;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::average::{Average, AverageSpec};
use super::method::validate_shares;
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging};

/// The mean of the sources, weighted elementwise by their Fisher information (arXiv 2111.09832).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FisherSpec {
    /// Number of training images to estimate the Fisher information on; all if there are fewer.
    pub images: usize,
    /// Lower bound of the Fisher information, above 0; weights without influence on predictions are averaged.
    pub floor: f64,
    /// Factors λ_i of the sources, one per source; equal if absent.
    pub weights: Option<Vec<f64>>,
}

impl Default for FisherSpec {
    /// `floor` is the paper's; `images` is our choice.
    fn default() -> Self {
        Self { images: 256, floor: 1e-6, weights: None }
    }
}

impl Identity for FisherSpec {}

impl Kind for FisherSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("images", self.images, 1);
        problems.positive("floor", self.floor);
        for (i, &weight) in self.weights.iter().flatten().enumerate() {
            problems.not_negative(&format!("weights.{i}"), weight);
        }
    }
}

impl MergeMethod for FisherSpec {
    fn validate_for(&self, sources: usize, problems: &mut Problems) {
        validate_shares(self.weights.as_deref(), sources, problems);
    }

    fn splits(&self) -> &'static [SplitName] {
        &[SplitName::Train]
    }

    fn unmeasurable(&self, merge: &KnownMerge<'_>, _: &KnownDataset<'_>) -> Vec<String> {
        let headless = merge.names.iter().zip(&merge.sources).filter(|(_, source)| source.head.is_none());
        let problem = |(name, _)| {
            format!(
                "source `{name}` has no head, but Fisher information needs predictions; fine-tune or probe it first"
            )
        };
        headless.map(problem).collect()
    }

    fn measuring(&self, merge: &KnownMerge<'_>, _: u64, networks: &mut Networks) -> Work {
        information::work(self, &merge.sources, &merge.known.datasets[0], networks)
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        merging.by_formula(&self.build(information::information(self, merging)?), false)
    }
}

impl FisherSpec {
    /// The merge of sources with these diagonals of their Fisher information matrices, by tensor name.
    pub fn build(&self, information: Vec<StateDict>) -> Fisher {
        let weights = self.weights.clone().unwrap_or_else(|| vec![1.0; information.len()]);
        let average = AverageSpec { weights: Some(weights.clone()) }.build(information.len());
        Fisher { information, floor: self.floor, weights, average }
    }
}

/// Σ_i λ_i·F_i·θ_i / Σ_i λ_i·F_i, elementwise (equation 2 with weights); Σ_i λ_i·θ_i / Σ_i λ_i for tensors without
/// Fisher information (running statistics).
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
            .map(|elements: &[f32; 3]| StateDict::from([("a.weight".to_owned(), tensor(elements))]));
        let sources = [tensor(&[1.0, 2.0, 3.0]), tensor(&[5.0, 4.0, 7.0])];
        spec.build(information.into()).merge(name, &sources, None).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn elements_are_weighted_by_their_fisher_information() {
        let near = |actual: Vec<f32>, expected: [f32; 3]| {
            let pairs = actual.iter().zip(expected);
            assert!(pairs.clone().all(|(a, e)| (a - e).abs() < 1e-5), "{actual:?} should be {expected:?}");
        };
        near(merged(&FisherSpec::default(), "a.weight"), [2.0, 3.0, 5.0]);
        let weighted = FisherSpec { weights: Some(vec![1.0, 3.0]), ..FisherSpec::default() };
        near(merged(&weighted, "a.weight"), [3.0, 3.5, 6.0]);
        near(merged(&FisherSpec { floor: 10.0, ..FisherSpec::default() }, "a.weight"), [3.0, 3.0, 5.0]);
        near(merged(&weighted, "a.running_mean"), [4.0, 3.5, 6.0]);
    }
}
