//! Training: the loop, losses, optimizers, schedules and augmentation.
//!
//! | file | what |
//! |---|---|
//! | [`epoch`] | the training loop; best epoch, early stopping |
//! | [`resume`] | saving and restoring the state of a training |
//! | [`loss`] | cross entropy, binary cross entropy |
//! | [`optimizer`] | SGD, Adam, AdamW with serializable state; gradient clipping |
//! | [`schedule`] | learning rate per epoch |
//! | [`progress`] | progress reports |
//! | [`batch`] | the order of images, and their pixels as tensors |
//! | [`augmentation`] | random transforms of u8 images |

pub mod augmentation;
pub mod batch;
pub mod epoch;
pub mod loss;
pub mod optimizer;
pub mod progress;
pub mod resume;
pub mod schedule;

use identity::options::replaced;
use identity::{Identity, Spec};
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use metric::{Metric, by_name};

pub use augmentation::Augment;
pub use loss::{ClassWeights, Loss, LossSpec};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSpec};
pub use progress::{EpochRecord, Interrupted, Progress, TrainError};
pub use schedule::ScheduleSpec;

/// Hyperparameters of training: the keys of `[train]`, any of which a training stage may override.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Number of passes over the training images.
    pub epochs: usize,
    /// Number of images per optimizer step. A last batch of a single image is dropped.
    pub batch_size: usize,
    /// Optimizer; default `adamw`.
    pub optimizer: OptimizerSpec,
    /// Learning rate schedule; default `cosine`.
    pub schedule: ScheduleSpec,
    /// Training loss; default `cross_entropy`.
    pub loss: LossSpec,
    /// Random transforms of the training images, applied in this order; default none.
    pub augment: Augment,
    /// Maximum L2 norm of the gradient over all parameters, above which it is scaled down; unlimited if absent.
    pub clip_norm: Option<f64>,
    /// Validation score that selects the best epoch; `none` keeps the last epoch.
    pub select: Select,
    /// Number of epochs without a better validation score after which training stops; unlimited if absent.
    pub patience: Option<usize>,
    /// Minimum improvement of the validation score that counts as better for `patience`.
    pub min_delta: f64,
    /// Seed of all randomness in the stage.
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
            augment: Augment::default(),
            clip_norm: None,
            select: Select::default(),
            patience: None,
            min_delta: 0.0,
            seed: 0,
        }
    }
}

impl TrainSpec {
    /// Checks that the options fit images with this side in pixels.
    ///
    /// # Errors
    /// Messages that say what to change.
    pub fn fits(&self, size: usize) -> Result<(), Vec<String>> {
        let misfits: Vec<String> =
            self.augment.0.iter().filter_map(|transform| transform.misfit(size)).collect();
        if misfits.is_empty() { Ok(()) } else { Err(misfits) }
    }
}

impl Identity for TrainSpec {
    fn options(&self) -> Value {
        replaced(self.to_json(), "augment", self.augment.options())
    }
}

impl Kind for TrainSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("epochs", self.epochs, 1);
        problems.at_least("batch_size", self.batch_size, 2);
        let optimizer = &self.optimizer;
        problems.under(&format!("optimizer.{}", optimizer.kind()), |problems| optimizer.validate(problems));
        let schedule = &self.schedule;
        problems.under(&format!("schedule.{}", schedule.kind()), |problems| schedule.validate(problems));
        problems.under(&format!("loss.{}", self.loss.kind()), |problems| self.loss.validate(problems));
        problems.under("augment", |problems| self.augment.validate(problems));
        self.clip_norm.iter().for_each(|&norm| problems.positive("clip_norm", norm));
        self.patience.iter().for_each(|&patience| problems.at_least("patience", patience, 1));
        problems.not_negative("min_delta", self.min_delta);
    }

    fn validate_together(&self, problems: &mut Problems) {
        let (warmup, epochs) = (self.schedule.warmup_epochs(), self.epochs);
        if warmup > 0 && warmup >= epochs {
            let key = format!("schedule.{}.warmup_epochs", self.schedule.kind());
            problems.add(&key, format!("`warmup_epochs` ({warmup}) must be below `epochs` ({epochs})"), None);
        }
        if self.patience.is_some() && self.select == Select::None {
            let help = "leave `patience` out, or name a score in `select`".to_owned();
            let message = "`patience` needs a validation score, but `select` is \"none\"";
            problems.add("patience", message, Some(help));
        }
    }
}

/// The validation score that selects the epoch to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The metric; `None` for no validation.
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
    fn every_selection_but_none_is_the_metric_of_that_name() {
        for select in
            [Select::MacroF1, Select::Accuracy, Select::BalancedAccuracy, Select::Auroc, Select::LogLoss]
        {
            let written = serde_json::to_value(select).unwrap();
            assert_eq!(select.metric().map(|metric| metric.name), written.as_str());
        }
        assert!(Select::None.metric().is_none());
    }
}
