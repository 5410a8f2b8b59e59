//! Models: what identifies them, what is known of them before anything runs, and what stages and merge methods do
//! with them.
//!
//! | file | what |
//! |---|---|
//! | [`artifact`] | what stages make: checkpoints, merge weights, evaluations |
//! | [`describe`] | what is known of inputs and data sets before anything runs |
//! | [`context`] | what running work may use, and why it may fail |
//! | [`inference`] | logits of whole splits |
//! | [`batch_norm`] | running statistics |
//! | [`head`] | classifiers |
//! | [`work`] | time, memory and disk, counted before anything runs |

pub mod artifact;
pub mod batch_norm;
pub mod context;
pub mod describe;
pub mod head;
pub mod inference;
pub mod work;

pub use artifact::{Artifact, Checkpoint, Evaluation, MergeWeights, Prediction};
pub use context::{Context, StageError};
pub use describe::{Description, Head, Known, KnownDataset, ModelInfo};
pub use work::{Networks, Work};
