//! Trim, elect sign, merge (TIES, arXiv 2306.01708).
//!
//! Of each task vector τ_i = S_i − B the numbers of largest magnitude stay and the others become 0. Each position
//! takes the sign of the sum over the sources, and the mean of those that have this sign; 0 has none.
//!
//! The paper trims the whole task vector at once; here, as in mergekit, every tensor keeps its own share, so that
//! no more than one layer must be in memory and a layer of small changes is not silenced by one of large changes.

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{numbers, start, tensor_like};
use super::{MergeMethod, MergeTensors};

/// Task vectors trimmed, and averaged where they agree in sign (TIES, arXiv 2306.01708).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TiesSpec {
    /// The stage that made the common start of all sources.
    pub base: Option<String>,
    /// Share of each tensor's numbers that stay, above 0 and up to 1; at least one number does. The paper's is 0.2.
    pub density: f64,
    /// What the merged task vector is multiplied by, λ; above 0. The paper's is 1 where nothing can be measured.
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
        problems.positive("scaling", self.scaling);
    }
}

impl MergeMethod for TiesSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.of()))
    }
}

impl TiesSpec {
    /// The formula.
    pub fn of(&self) -> Ties {
        Ties { density: self.density, scaling: self.scaling }
    }
}

/// B + λ · the mean of those trimmed task vectors that agree in sign.
#[derive(Clone, Debug, PartialEq)]
pub struct Ties {
    density: f64,
    scaling: f64,
}

impl MergeTensors for Ties {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let base = start(name, base)?;
        let task_vector = |source: &Tensor| {
            let mut numbers = numbers(&(source - base)?)?;
            trim(&mut numbers, self.density);
            Ok(numbers)
        };
        let trimmed = sources.iter().map(task_vector).collect::<Result<Vec<_>>>()?;
        let agreed =
            (0..base.elem_count()).map(|at| agreed(trimmed.iter().map(|vector| vector[at]))).collect();
        base + (tensor_like(base, agreed)? * self.scaling)?
    }
}

/// Set all to 0 but the share of largest magnitude; of equal magnitudes, the first stay.
fn trim(numbers: &mut [f32], density: f64) {
    let kept = ((density * numbers.len() as f64) as usize).max(1);
    if kept >= numbers.len() {
        return;
    }
    let mut magnitudes: Vec<f32> = numbers.iter().map(|number| number.abs()).collect();
    let (larger, least, _) = magnitudes.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
    let least = *least;
    let mut equal = kept - larger.iter().filter(|magnitude| magnitude.total_cmp(&least).is_gt()).count();
    for number in numbers {
        let order = number.abs().total_cmp(&least);
        let stays = order.is_gt() || (order.is_eq() && equal > 0);
        equal -= usize::from(stays && order.is_eq());
        if !stays {
            *number = 0.0;
        }
    }
}

/// The mean of the numbers that have the sign of their sum; 0 if there are none.
fn agreed(numbers: impl Iterator<Item = f32> + Clone) -> f32 {
    let sum: f32 = numbers.clone().sum();
    let agree = numbers.filter(|number| *number != 0.0 && (*number > 0.0) == (sum >= 0.0));
    let (sum, count) = agree.fold((0f32, 0u32), |(sum, count), number| (sum + number, count + 1));
    sum / count.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_largest_magnitude_stays_and_never_less_than_one_number() {
        let trimmed = |density| {
            let mut numbers = [0.5, -3.0, 2.0, -2.0, 1.0];
            trim(&mut numbers, density);
            numbers
        };
        assert_eq!(trimmed(1.0), [0.5, -3.0, 2.0, -2.0, 1.0]);
        assert_eq!(trimmed(0.4), [0.0, -3.0, 2.0, 0.0, 0.0], "of two equal ones the first");
        assert_eq!(trimmed(0.01), [0.0, -3.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn those_that_disagree_with_the_sum_or_are_zero_have_no_part_in_the_mean() {
        assert_eq!(agreed([3.0, -1.0, 1.0, 0.0].into_iter()), 2.0);
        assert_eq!(agreed([-3.0, 1.0].into_iter()), -3.0);
        assert_eq!(agreed([0.0, 0.0].into_iter()), 0.0);
        assert_eq!(agreed([1.0, -1.0].into_iter()), 1.0, "a sum of 0 counts as positive");
    }
}
