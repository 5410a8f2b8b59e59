//! What training minimizes: a loss of the labels, or anything else about the logits of a batch.

use candle_core::{Result, Tensor};

use super::batch::Batch;
use super::epoch::Task;
use super::loss::CrossEntropy;
use super::{ClassCounts, Loss};

/// What training minimizes.
pub trait Objective {
    /// The mean over a batch's images of what its logits `[n, classes]` cost, a scalar, and the gradient with respect to
    /// them. A GPU is not waited for.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn with_gradient(&self, logits: &Tensor, batch: &Batch) -> Result<(Tensor, Tensor)>;

    /// The loss of the labels that this is, if a GPU can compute it in a step that is captured once and replayed.
    fn capturable(&self) -> Option<&CrossEntropy> {
        None
    }
}

/// The loss that the training options name.
pub struct NamedLoss(Box<dyn Loss>);

impl NamedLoss {
    /// That of a task, whose training images it counts.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn of(task: &Task<'_>) -> Result<Self> {
        let counts = ClassCounts::of(&task.dataset.train.labels, task.dataset.classes.len());
        Ok(Self(task.spec.loss.build(&counts, task.device)?))
    }
}

impl Objective for NamedLoss {
    fn with_gradient(&self, logits: &Tensor, batch: &Batch) -> Result<(Tensor, Tensor)> {
        self.0.with_gradient(logits, &batch.targets)
    }

    fn capturable(&self) -> Option<&CrossEntropy> {
        self.0.capturable()
    }
}
