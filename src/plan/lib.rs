//! Plans: the stages of an experiment, their results, and which of them must run and why.
//!
//! Nothing here reads a tensor or needs a GPU: data sets are summarized, not decoded.
//!
//! | file | what |
//! |---|---|
//! | [`graph`] | the plan: stages as a graph, in execution order |
//! | [`fingerprint`] | everything that a result depends on, and its hash |
//! | [`freshness`] | fresh or stale, and why |
//! | `cause` | the root causes of changed inputs |
//! | `ancestry` | the ancestry of a result, down to its sources |
//! | `assemble` | assembling the plan of an experiment |
//! | `data` | summaries of data sets and digests of files |
//! | `check` | checks before anything runs |
//! | `examine` | headers of checkpoints and images, for `check` |
//! | [`cost`] | time, memory and disk space of each stage |
//! | [`makespan`] | total time of stages, and the best number of parallel ones |
//! | `json` | `plan --json` |
//! | `draw` | `plan --dot`, `plan --mermaid` |

mod ancestry;
mod assemble;
mod cause;
mod check;
pub mod cost;
mod data;
mod draw;
pub mod error;
mod examine;
pub mod fingerprint;
pub mod freshness;
pub mod graph;
mod json;
pub mod makespan;
#[cfg(test)]
mod testing;

pub use cause::Cause;
pub use cost::{Estimate, Estimates};
pub use data::warnings;
pub use error::PlanError;
pub use fingerprint::{dataset_fields, dataset_fingerprint, stage_fields};
pub use freshness::{Status, Why};
pub use graph::{Plan, PlannedDataset, PlannedStage, StageId};
