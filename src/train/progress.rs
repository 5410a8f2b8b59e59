//! What a training tells while it goes on, and why it may end early.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// How far a stage is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "progress")]
pub enum Progress {
    /// Within an epoch.
    Step {
        /// From 0.
        epoch: usize,
        /// Planned epochs.
        epochs: usize,
        /// Images seen in this epoch.
        images: usize,
        /// Images in an epoch.
        of: usize,
        /// Mean loss of the epoch so far.
        loss: f64,
        /// Training throughput so far.
        images_per_second: f64,
    },
    /// An epoch is over.
    Epoch(EpochRecord),
    /// Anything else that takes a while: done, total, of what.
    Count {
        /// Units done.
        done: usize,
        /// Units in all.
        of: usize,
        /// Name of a unit, in the plural.
        what: String,
    },
}

/// One row of `history.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: usize,
    /// Learning rate of the epoch.
    pub lr: f64,
    /// Mean training loss over the images.
    pub train_loss: f64,
    /// Validation scores by name; empty without validation.
    pub val: IndexMap<String, f64>,
    /// Whether this is the best epoch so far.
    pub best: bool,
}

/// The person asked to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Why a training did not finish.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A sentence for a person: what, where and what to do.
    #[error("{0}")]
    Failed(String),
    /// An operation on tensors failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// An optimizer could not step, or take up its state.
    #[error(transparent)]
    Optimizer(#[from] crate::OptimizerError),
    /// The person asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
