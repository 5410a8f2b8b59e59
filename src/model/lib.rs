//! Models: their descriptions, weights and costs, and what stages and merge methods share.
//!
//! | file | what |
//! |---|---|
//! | [`artifact`] | results of stages: checkpoints, merge weights, evaluations |
//! | [`describe`] | descriptions of inputs and data sets before anything runs |
//! | [`context`] | inputs and errors of a running stage |
//! | [`inference`] | logits of images and of whole splits |
//! | [`batch_norm`] | running statistics |
//! | [`head`] | classifiers |
//! | [`preprocessing`] | how images became the input of a model |
//! | [`work`] | operations, memory and disk space, estimated before anything runs |

pub mod artifact;
pub mod batch_norm;
pub mod context;
pub mod describe;
pub mod head;
pub mod inference;
pub mod preprocessing;
pub mod work;

pub use artifact::{Artifact, Checkpoint, Evaluation, MergeWeights, Prediction};
pub use context::{Context, StageError};
pub use describe::{Description, Head, Known, KnownDataset, ModelInfo};
pub use preprocessing::Preprocessing;
pub use work::{Networks, Work};
