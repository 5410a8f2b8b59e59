//! Model Stock (arXiv 2403.19522): interpolation from the common start to the mean of the sources, with a ratio that
//! depends on the angle θ between their task vectors: t = N·cos θ / (1 + (N − 1)·cos θ).
//!
//! cos θ is the mean over all pairs of sources, for each tensor separately. The paper does not cover cos θ < 0; here
//! the base is kept (t = 0), while mergekit extrapolates away from the mean.

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{combination, dot, elements, start};
use super::{MergeMethod, MergeTensors};

/// Interpolation from the common start to the mean of the sources, with a ratio from the angle between task vectors
/// (Model Stock, arXiv 2403.19522).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelStockSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
}

impl Identity for ModelStockSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for ModelStockSpec {}

impl MergeMethod for ModelStockSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl ModelStockSpec {
    /// The formula of this spec.
    pub fn build(&self) -> ModelStock {
        ModelStock
    }
}

/// (1 − t) · B + t · mean_i S_i.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelStock;

impl MergeTensors for ModelStock {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let base = start(name, base)?;
        let vectors = sources.iter().map(|source| elements(&(source - base)?)).collect::<Result<Vec<_>>>()?;
        let (n, cosine) = (sources.len() as f64, mean_cosine(&vectors).max(0.0));
        let t = n * cosine / (1.0 + (n - 1.0) * cosine);
        let of_base = (base, 1.0 - t);
        combination([of_base].into_iter().chain(sources.iter().map(|source| (source, t / n))))
    }
}

/// The mean cosine over all pairs; 0 for a pair with a zero vector.
fn mean_cosine(vectors: &[Vec<f32>]) -> f64 {
    let lengths: Vec<f64> = vectors.iter().map(|vector| dot(vector, vector).sqrt()).collect();
    let (mut sum, mut pairs) = (0.0, 0.0);
    for (i, a) in vectors.iter().enumerate() {
        for (j, b) in vectors.iter().enumerate().skip(i + 1) {
            let product = lengths[i] * lengths[j];
            sum += if product > 0.0 { dot(a, b) / product } else { 0.0 };
            pairs += 1.0;
        }
    }
    sum / f64::max(pairs, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn merged(sources: &[[f32; 2]]) -> Vec<f32> {
        let tensor = |values: &[f32; 2]| Tensor::new(values, &Device::Cpu).unwrap();
        let sources: Vec<Tensor> = sources.iter().map(tensor).collect();
        ModelStock.merge("a.weight", &sources, Some(&tensor(&[1.0, 1.0]))).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn sources_that_agree_move_the_base_and_those_that_do_not_leave_it() {
        assert_eq!(merged(&[[2.0, 1.0], [2.0, 1.0]]), [2.0, 1.0], "the same task vectors");
        assert_eq!(merged(&[[2.0, 1.0], [1.0, 2.0]]), [1.0, 1.0], "at right angles");
        assert_eq!(merged(&[[2.0, 1.0], [0.0, 1.0]]), [1.0, 1.0], "opposed");
        assert_eq!(merged(&[[1.0, 1.0], [0.0, 1.0]]), [1.0, 1.0], "one has not moved");
    }

    #[test]
    fn at_sixty_degrees_two_thirds_of_the_way_are_gone() {
        let merged = merged(&[[2.0, 1.0], [1.5, 1.0 + 3f32.sqrt() / 2.0]]);
        let expected = [1.0 + 2.0 / 3.0 * 0.75, 1.0 + 2.0 / 3.0 * 3f32.sqrt() / 4.0];
        assert!(merged.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{merged:?}");
    }
}
