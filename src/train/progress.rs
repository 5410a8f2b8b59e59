//! Progress reports of a training, and why it may end early.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Progress of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "progress")]
pub enum Progress {
    /// Within an epoch.
    Step {
        /// Epoch, from 0.
        epoch: usize,
        /// Number of planned epochs.
        epochs: usize,
        /// Number of images seen in this epoch.
        images: usize,
        /// Number of images per epoch.
        of: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Training throughput so far, in images per second.
        images_per_second: f64,
    },
    /// An epoch is complete.
    Epoch(EpochRecord),
    /// Progress of anything else: units done, out of a total.
    Count {
        /// Number of units done.
        done: usize,
        /// Total number of units.
        of: usize,
        /// Name of the units, plural.
        what: String,
    },
}

impl Progress {
    /// Whether a stage that is stopped here is continued from here later: a training, which saves its state.
    pub fn is_continued(&self) -> bool {
        matches!(self, Self::Step { .. } | Self::Epoch(_))
    }
}

/// One row of `history.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Learning rate in the epoch.
    pub lr: f64,
    /// Mean training loss per image.
    pub train_loss: f64,
    /// Validation scores by name; empty without validation.
    pub val: IndexMap<String, f64>,
    /// Whether this is the best epoch so far.
    pub best: bool,
}

/// The user asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Why training did not finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A message for the user: what failed, where, and what to do.
    #[error("{0}")]
    Failed(String),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// An optimizer could not step or restore its state.
    #[error(transparent)]
    Optimizer(#[from] crate::OptimizerError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
