//! What is trained: all that the training loop sees of a stage.

use candle_core::{Tensor, Var};
use nn::{Normalize, StateDict, Value, Values};

use super::batch::Batch;

/// A learner: all that the loop sees is variables and logits.
pub trait Learner {
    /// The variables to optimize, by name.
    fn variables(&self) -> Vec<(String, Var)>;

    /// Names of the variables of a backbone, by depth from input to output: what `lr_backbone` and `layer_decay` apply
    /// to.
    fn depths(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// The normalization of the training images that a batch is to bring along; `None` if it brings none.
    fn normalize(&self) -> Option<Normalize>;

    /// Logits `[n, classes]` of training images, with the tape of the backward pass.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn train_logits(&mut self, batch: &Batch) -> candle_core::Result<Forward>;

    /// Whether [`train_logits`](Self::train_logits) does nothing on a GPU but launches that change
    /// [`tensors`](Self::tensors) in place, and reads nothing else but the batch; and [`restore`](Self::restore) writes
    /// into the same tensors. Steps can then be captured once and replayed.
    fn can_be_captured(&self) -> bool {
        false
    }

    /// Called after each step with its learning rate, for changes to the variables beyond the gradient step (a decay, a
    /// constraint).
    ///
    /// # Errors
    /// A tensor operation failed.
    fn after_step(&mut self, _lr: f64) -> candle_core::Result<()> {
        Ok(())
    }

    /// Logits `[n, classes]` of validation images, without gradients.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn val_logits(&mut self, positions: &[usize]) -> candle_core::Result<Tensor>;

    /// Everything that training changes. Steps change these tensors.
    fn tensors(&self) -> StateDict;

    /// A copy of everything that training changes.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn state(&self) -> candle_core::Result<StateDict> {
        copied(&self.tensors())
    }

    /// Restores a copy.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()>;
}

/// A copy of tensors, which later steps do not change.
///
/// # Errors
/// The device is out of memory.
pub fn copied(tensors: &StateDict) -> candle_core::Result<StateDict> {
    tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.detach().force_contiguous()?))).collect()
}

/// Logits, and the leaves of their tape that correspond to variables.
pub struct Forward {
    /// `[n, classes]`.
    pub logits: Value,
    /// Leaves by name of the variable.
    pub leaves: Values,
}
