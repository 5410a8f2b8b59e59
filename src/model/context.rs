//! What a running stage may use, and how it tells how far it is.

use std::sync::Arc;

use candle_core::Device;
use dataset::Dataset;
use identity::Fingerprint;
use train::epoch::Task;
use train::resume::Resume;
use train::{Interrupted, Progress, TrainError, TrainSpec};

use super::{Artifact, Checkpoint, Head};

/// What a running stage may use.
pub struct Context<'a> {
    /// The artifact of each input, in the order of the stage.
    pub inputs: Vec<Arc<Artifact>>,
    /// Each data set, in the order of the stage.
    pub datasets: Vec<Arc<Dataset>>,
    /// Fingerprint of each data set, in the same order.
    pub dataset_fingerprints: Vec<Fingerprint>,
    /// Fingerprint of each input, in the order of the stage.
    pub input_fingerprints: Vec<Fingerprint>,
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
        Head { dataset: Some(self.dataset_fingerprints[0]), classes: self.datasets[0].classes.clone() }
    }
}

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
    Data(#[from] dataset::DataError),
    /// An optimiser could not step, or take up its state.
    #[error(transparent)]
    Optimizer(#[from] train::OptimizerError),
    /// The person asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<TrainError> for StageError {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Failed(message) => Self::Failed(message),
            TrainError::Tensor(error) => Self::Tensor(error),
            TrainError::Optimizer(error) => Self::Optimizer(error),
            TrainError::Interrupted(interrupted) => Self::Interrupted(interrupted),
        }
    }
}

impl StageError {
    /// Whether the device had no memory left, which may be otherwise when the stage has it for itself.
    pub fn is_out_of_memory(&self) -> bool {
        let text = self.to_string().to_lowercase().replace('_', " ");
        matches!(self, Self::Tensor(_) | Self::Optimizer(_)) && text.contains("out of memory")
    }
}
