//! What a running stage may use, and how it tells how far it is.

use std::sync::Arc;

use candle_core::Device;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Artifact, Checkpoint, Head};
use crate::dataset::Dataset;
use crate::train::TrainSpec;
use crate::train::epoch::Task;
use crate::train::resume::Resume;

/// What a running stage may use.
pub struct Context<'a> {
    /// The artifact of each input, in the order of [`Stage::inputs`].
    pub inputs: Vec<Arc<Artifact>>,
    /// Each data set, in the order of [`Stage::datasets`].
    pub datasets: Vec<Arc<Dataset>>,
    /// Fingerprint of each data set, in the same order.
    pub dataset_fingerprints: Vec<String>,
    /// Fingerprint of each input, in the order of [`Stage::inputs`].
    pub input_fingerprints: Vec<String>,
    /// Where tensors live.
    pub device: Device,
    /// Called often with how far the stage is; an error from it stops the stage (Ctrl-C).
    pub report: &'a (dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
    /// Keeps the state of a training, so that it can go on where it stopped.
    pub resume: &'a dyn Resume,
}

impl Context<'_> {
    /// The model that input `i` made.
    ///
    /// # Errors
    /// It made something else.
    pub fn model(&self, i: usize) -> Result<&Checkpoint, StageError> {
        match &*self.inputs[i] {
            Artifact::Model(checkpoint) => Ok(checkpoint),
            _ => Err(StageError::Failed(format!("input {i} is not a model"))),
        }
    }

    /// What training on data set 0 needs.
    pub fn task<'a>(&'a self, spec: &'a TrainSpec) -> Task<'a> {
        Task {
            dataset: &self.datasets[0],
            spec,
            device: &self.device,
            report: self.report,
            resume: self.resume,
        }
    }

    /// The classifier of a model that is trained on data set 0.
    pub fn head(&self) -> Head {
        Head { dataset: self.dataset_fingerprints[0].clone(), classes: self.datasets[0].classes.clone() }
    }
}

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

/// Why a stage did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A sentence for a person: what, where and what to do.
    #[error("{0}")]
    Failed(String),
    /// An operation on tensors failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A data set could not be read.
    #[error(transparent)]
    Data(#[from] crate::dataset::DataError),
    /// An optimiser could not step, or take up its state.
    #[error(transparent)]
    Optimizer(#[from] crate::train::OptimizerError),
    /// The person asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StageError {
    /// Whether the device had no memory left, which may be otherwise when the stage has it for itself.
    pub fn is_out_of_memory(&self) -> bool {
        let text = self.to_string().to_lowercase().replace('_', " ");
        matches!(self, Self::Tensor(_) | Self::Optimizer(_)) && text.contains("out of memory")
    }
}
