//! Training: the loop, losses, optimisers, schedules and augmentation.
//!
//! | file | what |
//! |---|---|
//! | [`epoch`] | the loop, which reads like the paper; best epoch, early stopping |
//! | [`resume`] | a training's state, to go on where it stopped |
//! | [`loss`] | cross entropy, binary cross entropy |
//! | [`optimizer`] | SGD, Adam, AdamW with readable state; gradient clipping |
//! | [`schedule`] | learning rate per epoch |
//! | [`progress`] | what a training tells while it goes on |
//! | [`batch`] | which images come when, and their pixels as tensors |
//! | [`augment`] | flips and random crops on u8 images |

pub mod augment;
pub mod batch;
pub mod epoch;
pub mod loss;
pub mod optimizer;
pub mod progress;
pub mod resume;
pub mod schedule;

use serde::{Deserialize, Serialize};

use metric::{Metric, by_name};

pub use augment::AugmentSpec;
pub use loss::{ClassWeights, Loss, LossSpec};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSpec};
pub use progress::{EpochRecord, Interrupted, Progress, TrainError};
pub use schedule::ScheduleSpec;

/// How a stage trains: the keys of `[train]`, which every training stage may override one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in an optimiser step. A last batch of a single image is left out.
    pub batch_size: usize,
    /// Update rule; `adamw` unless named.
    pub optimizer: OptimizerSpec,
    /// Learning rate over the epochs; `cosine` unless named.
    pub schedule: ScheduleSpec,
    /// What is minimised; `cross_entropy` unless named.
    pub loss: LossSpec,
    /// Random changes of the training images; none unless named.
    pub augment: AugmentSpec,
    /// Gradients are scaled down to this L2 norm over all parameters; unlimited if absent.
    pub clip_norm: Option<f64>,
    /// The validation score by which the best epoch is kept; `none` keeps the last.
    pub select: Select,
    /// Stop after so many epochs without a better validation score; never if absent.
    pub patience: Option<usize>,
    /// By how much a score must beat the best so far to count as better for `patience`.
    pub min_delta: f64,
    /// Everything random in the stage follows from it.
    pub seed: u64,
}

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 64,
            optimizer: OptimizerSpec::default(),
            schedule: ScheduleSpec::default(),
            loss: LossSpec::default(),
            augment: AugmentSpec::default(),
            clip_norm: None,
            select: Select::default(),
            patience: None,
            min_delta: 0.0,
            seed: 0,
        }
    }
}

/// The validation score that picks the epoch to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// Highest macro F1.
    #[default]
    MacroF1,
    /// Highest accuracy.
    Accuracy,
    /// Highest balanced accuracy.
    BalancedAccuracy,
    /// Highest one-vs-rest macro AUROC.
    Auroc,
    /// Lowest log loss.
    LogLoss,
    /// No validation: keep the last epoch.
    None,
}

impl Select {
    /// The metric that it names; `None` for no validation.
    pub fn metric(self) -> Option<&'static Metric> {
        by_name(match self {
            Self::MacroF1 => "macro_f1",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::Auroc => "auroc",
            Self::LogLoss => "log_loss",
            Self::None => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selection_but_none_is_a_metric_of_the_name_it_is_written_with() {
        for select in
            [Select::MacroF1, Select::Accuracy, Select::BalancedAccuracy, Select::Auroc, Select::LogLoss]
        {
            let written = serde_json::to_value(select).unwrap();
            assert_eq!(select.metric().map(|metric| metric.name), written.as_str());
        }
        assert!(Select::None.metric().is_none());
    }
}
