//! Learning rate schedules, with PyTorch's closed forms.

pub mod constant;
pub mod cosine;
pub mod multi_step;
pub mod one_cycle;

use kind::{Kind, kinds};

pub use constant::ConstantSpec;
pub use cosine::CosineSpec;
pub use multi_step::MultiStepSpec;
pub use one_cycle::OneCycleSpec;

kinds! {
    /// The learning rate schedule. The kind is the key.
    pub enum ScheduleSpec: Schedule {
        Constant(ConstantSpec),
        Cosine(CosineSpec),
        MultiStep(MultiStepSpec),
        OneCycle(OneCycleSpec),
    }
}

impl Default for ScheduleSpec {
    fn default() -> Self {
        Self::Cosine(CosineSpec::default())
    }
}

/// What every kind of schedule declares.
pub trait Schedule: Kind {
    /// Factor of the base learning rate in epoch `epoch` (from 0) of `epochs`.
    fn factor(&self, epoch: usize, epochs: usize) -> f64;

    /// Number of epochs of linear warm-up; must be below the number of epochs.
    fn warmup_epochs(&self) -> usize {
        0
    }
}

/// Warm-up factor: from 0.1 to 1 in equal steps; `None` after the warm-up.
pub(super) fn warm_up(warmup_epochs: usize, epoch: usize) -> Option<f64> {
    (epoch < warmup_epochs).then(|| 0.1 + 0.9 * epoch as f64 / warmup_epochs as f64)
}

/// Interpolates from `from` to `to` along half a cosine, as `share` goes from 0 to 1.
pub(super) fn half_cosine(from: f64, to: f64, share: f64) -> f64 {
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
    fn one_cycle_is_finite_for_any_number_of_epochs() {
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
