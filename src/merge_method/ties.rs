//! Trim, elect sign, merge (TIES, arXiv 2306.01708).
//!
//! In each task vector τ_i = S_i − B, the elements of largest magnitude are kept and the others set to 0. The sign of
//! each position is that of the sum over the sources; its value is the mean of the nonzero elements with this sign.
//!
//! The paper trims the whole task vector at once. Here, as in mergekit, each tensor is trimmed separately, so that only
//! one layer must be in memory and layers with small changes are not zeroed by layers with large ones.

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{elements, start, tensor_like};
use super::{LARGEST_SCALING, MergeMethod, MergeTensors};

/// Task vectors trimmed, and averaged where their signs agree (TIES, arXiv 2306.01708).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TiesSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Fraction of each tensor's elements to keep, in (0, 1]; at least one element is kept. The paper uses 0.2.
    pub density: f64,
    /// Factor λ of the merged task vector, above 0. The paper uses 1 without validation data.
    pub scaling: f64,
}

impl Default for TiesSpec {
    fn default() -> Self {
        Self { base: None, density: 0.2, scaling: 1.0 }
    }
}

impl Identity for TiesSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for TiesSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction_above_0("density", self.density);
        problems.positive_up_to("scaling", self.scaling, LARGEST_SCALING);
    }
}

impl MergeMethod for TiesSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl TiesSpec {
    /// The formula of this spec.
    pub fn build(&self) -> Ties {
        Ties { density: self.density, scaling: self.scaling }
    }
}

/// B + λ · mean of the trimmed task vectors that agree in sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Ties {
    density: f64,
    scaling: f64,
}

impl MergeTensors for Ties {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let base = start(name, base)?;
        let task_vector = |source: &Tensor| {
            let mut elements = elements(&(source - base)?)?;
            trim(&mut elements, self.density);
            Ok(elements)
        };
        let trimmed = sources.iter().map(task_vector).collect::<Result<Vec<_>>>()?;
        let agreed =
            (0..base.elem_count()).map(|at| agreed(trimmed.iter().map(|vector| vector[at]))).collect();
        base + (tensor_like(base, agreed)? * self.scaling)?
    }
}

/// Zero all but the fraction `density` of largest magnitude; among equal magnitudes, the first are kept.
fn trim(elements: &mut [f32], density: f64) {
    let kept = ((density * elements.len() as f64) as usize).max(1);
    if kept >= elements.len() {
        return;
    }
    let mut magnitudes: Vec<f32> = elements.iter().map(|number| number.abs()).collect();
    let (larger, least, _) = magnitudes.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
    let least = *least;
    let mut equal = kept - larger.iter().filter(|magnitude| magnitude.total_cmp(&least).is_gt()).count();
    for number in elements {
        let order = number.abs().total_cmp(&least);
        let stays = order.is_gt() || (order.is_eq() && equal > 0);
        equal -= usize::from(stays && order.is_eq());
        if !stays {
            *number = 0.0;
        }
    }
}

/// The mean of the elements that have the sign of the sum; 0 if there are none.
fn agreed(elements: impl Iterator<Item = f32> + Clone) -> f32 {
    let sum: f32 = elements.clone().sum();
    let agree = elements.filter(|number| *number != 0.0 && (*number > 0.0) == (sum >= 0.0));
    let (sum, count) = agree.fold((0f32, 0u32), |(sum, count), number| (sum + number, count + 1));
    sum / count.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_of_largest_magnitude_is_kept_and_at_least_one_element() {
        let trimmed = |density| {
            let mut elements = [0.5, -3.0, 2.0, -2.0, 1.0];
            trim(&mut elements, density);
            elements
        };
        assert_eq!(trimmed(1.0), [0.5, -3.0, 2.0, -2.0, 1.0]);
        assert_eq!(trimmed(0.4), [0.0, -3.0, 2.0, 0.0, 0.0], "of two equal ones the first");
        assert_eq!(trimmed(0.01), [0.0, -3.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn elements_that_are_zero_or_of_the_other_sign_do_not_enter_the_mean() {
        assert_eq!(agreed([3.0, -1.0, 1.0, 0.0].into_iter()), 2.0);
        assert_eq!(agreed([-3.0, 1.0].into_iter()), -3.0);
        assert_eq!(agreed([0.0, 0.0].into_iter()), 0.0);
        assert_eq!(agreed([1.0, -1.0].into_iter()), 1.0, "a sum of 0 counts as positive");
    }
}
