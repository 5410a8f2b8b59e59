//! From specs to a plan: which stages there are, what they make, which of them must run and why.
//!
//! Nothing here reads a tensor or needs a GPU: data sets are summarised, not decoded.
//!
//! | file | what |
//! |---|---|
//! | [`graph`] | the plan: stages as a graph, in an order to run them |
//! | [`fingerprint`] | what decides a result, and its hash |
//! | [`freshness`] | fresh or stale, and why |
//! | `ancestry` | where a result comes from, down to its sources |
//! | `assemble` | from an experiment to its plan |
//! | `data` | summaries of data sets and digests of files, each read once |
//! | `check` | what can be known to be wrong before anything runs |
//! | [`cost`] | what each stage takes: time, memory, disk |
//! | [`makespan`] | how long stages take together, and how many of them at once are best |
//! | `json` | `plan --json` |
//! | `draw` | `plan --dot`, `plan --mermaid` |

mod ancestry;
mod assemble;
mod check;
pub mod cost;
mod data;
mod draw;
pub mod error;
pub mod fingerprint;
pub mod freshness;
pub mod graph;
mod json;
pub mod makespan;
#[cfg(test)]
mod testing;

pub use cost::{Estimate, Estimates};
pub use error::PlanError;
pub use fingerprint::{dataset_fields, dataset_fingerprint, stage_fields};
pub use freshness::{Status, Why};
pub use graph::{Plan, PlannedDataset, PlannedStage, StageId};
