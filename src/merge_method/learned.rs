//! Every kernel with the numbers that a `learn_merge_weights` stage learnt (MedMerge).

use serde::{Deserialize, Serialize};

/// Options of the learned merge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedSpec {
    /// The `learn_merge_weights` stage whose numbers to use.
    #[serde(skip_serializing)]
    pub weights: String,
}
