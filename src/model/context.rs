//! The inputs of a running stage, its progress reports and its errors.

use std::sync::Arc;

use candle_core::Device;
use dataset::Dataset;
use identity::Fingerprint;
use train::epoch::Task;
use train::resume::Resume;
use train::{Interrupted, Progress, TrainError, TrainSpec};

use super::{Artifact, Checkpoint, Head, Preprocessing};

/// Everything that a running stage has access to.
pub struct Context<'a> {
    /// The artifact of each input, in the stage's order.
    pub inputs: Vec<Arc<Artifact>>,
    /// The data sets, in the stage's order.
    pub datasets: Vec<Arc<Dataset>>,
    /// Fingerprints of the data sets, in the same order.
    pub dataset_fingerprints: Vec<Fingerprint>,
    /// Fingerprints of the inputs, in the stage's order.
    pub input_fingerprints: Vec<Fingerprint>,
    /// The device of all tensors.
    pub device: Device,
    /// Progress callback, called often; an error from it stops the stage (Ctrl-C).
    pub report: &'a (dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
    /// Saves and restores training state, so that an interrupted training resumes.
    pub resume: &'a dyn Resume,
    /// Replay training steps on a GPU as graphs, where that is possible.
    pub graphs: bool,
}

impl Context<'_> {
    /// The model made by input `i`.
    ///
    /// # Errors
    /// Input `i` is not a model.
    pub fn model(&self, i: usize) -> Result<&Checkpoint, StageError> {
        match &*self.inputs[i] {
            Artifact::Model(checkpoint) => Ok(checkpoint),
            _ => Err(StageError::Failed(format!("input {i} is not a model"))),
        }
    }

    /// The training task on data set 0.
    pub fn task<'a>(&'a self, spec: &'a TrainSpec) -> Task<'a> {
        Task {
            dataset: &self.datasets[0],
            spec,
            device: &self.device,
            report: self.report,
            resume: self.resume,
            graphs: self.graphs,
        }
    }

    /// How images of data set 0 become the input of a model.
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing::new(self.datasets[0].size, self.datasets[0].pixels.as_ref())
    }

    /// The head of a model trained on data set 0.
    pub fn head(&self) -> Head {
        let dataset = &self.datasets[0];
        Head {
            dataset: Some(self.dataset_fingerprints[0]),
            classes: dataset.classes.clone(),
            labeling: dataset.labeling(),
        }
    }
}

/// Why a stage did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A message for the user: what failed, where, and what to do.
    #[error("{0}")]
    Failed(String),
    /// An operation on tensors failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A data set could not be read.
    #[error(transparent)]
    Data(#[from] dataset::DataError),
    /// An optimizer failed to step or to restore its state.
    #[error(transparent)]
    Optimizer(#[from] train::OptimizerError),
    /// The user interrupted.
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
    /// Whether the device ran out of memory. A retry may succeed when the stage has the device to itself.
    pub fn is_out_of_memory(&self) -> bool {
        let text = self.to_string().to_lowercase().replace('_', " ");
        matches!(self, Self::Tensor(_) | Self::Optimizer(_)) && text.contains("out of memory")
    }
}
