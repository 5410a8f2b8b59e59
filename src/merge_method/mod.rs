//! Merge methods: functions over named tensors; they never see an architecture.
//!
//! To add one: a file here with a spec and a `merge` function, a `mod` line, a variant of
//! [`MergeMethodSpec`] and its arms in [`crate::stage::merge`].

pub mod average;
pub mod learned;

use serde::{Deserialize, Serialize};

/// How models are merged: `method = "average"` or `method.<name> = { … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeMethodSpec {
    /// The (weighted) mean of every tensor.
    Average(average::AverageSpec),
    /// Every kernel with the numbers that a `learn_merge_weights` stage learnt.
    Learned(learned::LearnedSpec),
}
