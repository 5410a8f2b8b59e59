//! The learning rate over the epochs, with PyTorch's closed forms.

use serde::{Deserialize, Serialize};

/// The learning rate over the epochs. The kind is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleSpec {
    /// The same throughout.
    Constant(ConstantSpec),
    /// Down a half cosine.
    Cosine(CosineSpec),
    /// Multiplied by `gamma` at each milestone.
    MultiStep(MultiStepSpec),
    /// Up, then down to almost nothing (Smith and Topin 2019, arXiv 1708.07120).
    OneCycle(OneCycleSpec),
}

impl Default for ScheduleSpec {
    fn default() -> Self {
        Self::Cosine(CosineSpec::default())
    }
}

/// Options of the constant schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConstantSpec {
    /// Epochs over which the rate rises linearly from a tenth.
    pub warmup_epochs: usize,
}

/// Options of the cosine schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineSpec {
    /// Epochs over which the rate rises linearly from a tenth.
    pub warmup_epochs: usize,
    /// Where it ends, as a share of the learning rate.
    pub min_factor: f64,
}

/// Options of the multi-step schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepSpec {
    /// Epochs (from 0) at which the rate falls.
    pub milestones: Vec<usize>,
    /// Factor at each milestone.
    #[serde(default = "tenth")]
    pub gamma: f64,
    /// Epochs over which the rate rises linearly from a tenth.
    #[serde(default)]
    pub warmup_epochs: usize,
}

/// Options of the one-cycle schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleSpec {
    /// Share of the epochs in which the rate rises.
    pub rise: f64,
    /// The learning rate divided by this is where it starts.
    pub start_divisor: f64,
    /// The start divided by this is where it ends.
    pub end_divisor: f64,
}

impl Default for OneCycleSpec {
    fn default() -> Self {
        Self { rise: 0.3, start_divisor: 25.0, end_divisor: 1e4 }
    }
}

fn tenth() -> f64 {
    0.1
}

impl ScheduleSpec {
    /// The factor on the learning rate in an epoch (from 0) of so many.
    pub fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        match self {
            Self::Constant(spec) => warm_up(spec.warmup_epochs, epoch).unwrap_or(1.0),
            Self::Cosine(spec) => spec.factor(epoch, epochs),
            Self::MultiStep(spec) => spec.factor(epoch),
            Self::OneCycle(spec) => spec.factor(epoch, epochs),
        }
    }
}

impl CosineSpec {
    /// The cosine runs over the epochs after the warm-up.
    fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        warm_up(self.warmup_epochs, epoch).unwrap_or_else(|| {
            let rest = epochs.saturating_sub(self.warmup_epochs).max(1);
            half_cosine(1.0, self.min_factor, (epoch - self.warmup_epochs) as f64 / rest as f64)
        })
    }
}

impl MultiStepSpec {
    fn factor(&self, epoch: usize) -> f64 {
        warm_up(self.warmup_epochs, epoch).unwrap_or_else(|| {
            let passed = self.milestones.iter().filter(|&&milestone| milestone <= epoch);
            passed.fold(1.0, |factor, _| factor * self.gamma)
        })
    }
}

impl OneCycleSpec {
    /// As PyTorch's `OneCycleLR` with a step an epoch. With so few epochs that the rise has none to
    /// itself, it starts at the top (where PyTorch starts on the way down, or divides by zero).
    fn factor(&self, epoch: usize, epochs: usize) -> f64 {
        let (epoch, epochs) = (epoch as f64, epochs as f64);
        let start = 1.0 / self.start_divisor;
        let top = (self.rise * epochs - 1.0).max(0.0);
        let last = epochs - 1.0;
        if epoch < top {
            half_cosine(start, 1.0, epoch / top)
        } else if last > top {
            half_cosine(1.0, start / self.end_divisor, (epoch - top) / (last - top))
        } else {
            1.0
        }
    }
}

/// From a tenth up to 1 in equal steps; nothing once the warm-up is over.
fn warm_up(warmup_epochs: usize, epoch: usize) -> Option<f64> {
    (epoch < warmup_epochs).then(|| 0.1 + 0.9 * epoch as f64 / warmup_epochs as f64)
}

/// From `from` to `to` along half a cosine, as `share` goes from 0 to 1.
fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_comes_before_any_schedule() {
        let schedules = [
            ScheduleSpec::Constant(ConstantSpec { warmup_epochs: 2 }),
            ScheduleSpec::Cosine(CosineSpec { warmup_epochs: 2, min_factor: 0.0 }),
            ScheduleSpec::MultiStep(MultiStepSpec { milestones: vec![3], gamma: 0.1, warmup_epochs: 2 }),
        ];
        for schedule in schedules {
            let factors = [0, 1, 2].map(|epoch| schedule.factor(epoch, 10));
            assert_eq!(factors, [0.1, 0.55, 1.0], "{schedule:?}");
        }
    }

    #[test]
    fn a_warm_up_longer_than_the_training_never_ends() {
        let schedule = CosineSpec { warmup_epochs: 10, min_factor: 0.0 };
        assert_eq!([0, 1].map(|epoch| schedule.factor(epoch, 2)), [0.1, 0.19]);
    }

    #[test]
    fn one_cycle_is_finite_however_few_the_epochs() {
        for rise in [0.0, 0.1, 0.3, 0.5, 1.0] {
            let schedule = OneCycleSpec { rise, ..OneCycleSpec::default() };
            for (epochs, epoch) in (1..12).flat_map(|epochs| (0..epochs).map(move |epoch| (epochs, epoch))) {
                let factor = schedule.factor(epoch, epochs);
                assert!((0.0..=1.0).contains(&factor), "rise {rise}, epoch {epoch} of {epochs}: {factor}");
            }
            assert_eq!(schedule.factor(0, 1), 1.0);
        }
    }
}
