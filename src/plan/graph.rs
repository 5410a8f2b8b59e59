//! The plan: stages as a graph, in an order to run them.

use std::collections::BTreeSet;
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use super::{Field, Fingerprint, Numerics, PlanError, Status};
use crate::dataset::{DatasetSpec, Summary};
use crate::experiment::{Coordinates, Experiment};
use crate::stage::{DataInput, Description, Input, StageSpec};
use crate::store::Store;

/// Every stage of an experiment, what it makes and whether it must run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was planned.
    pub experiment: Arc<Experiment>,
    /// Stages; an edge goes from an input to its user and carries the role.
    pub graph: DiGraph<PlannedStage, String>,
    /// Inputs before users; in the order of the file among equals.
    pub order: Vec<NodeIndex>,
}

/// A stage at one combination of its axes. Stages with one fingerprint are the same work.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// `name[axis=value,…]`, or `name` if it depends on no axis.
    pub id: String,
    /// As written: `[stage.<name>.…]`.
    pub name: String,
    /// The axes that it depends on.
    pub at: Coordinates,
    /// Its section.
    pub spec: Arc<StageSpec>,
    /// Of all that its result depends on.
    pub fingerprint: Fingerprint,
    /// All that its result depends on.
    pub fields: Vec<Field>,
    /// In the order of [`Stage::inputs`](crate::stage::Stage::inputs).
    pub inputs: Vec<(Input, NodeIndex)>,
    /// In the order of [`Stage::datasets`](crate::stage::Stage::datasets).
    pub datasets: Vec<(DataInput, Arc<PlannedDataset>)>,
    /// What it makes.
    pub description: Description,
    /// Whether the store has it.
    pub status: Status,
}

/// A data set at one combination of its axes.
#[derive(Clone, Debug)]
pub struct PlannedDataset {
    /// As written: `[dataset.<name>.…]`.
    pub name: String,
    /// The axes that it mentions.
    pub at: Coordinates,
    /// Its section.
    pub spec: DatasetSpec,
    /// Side of its images in pixels.
    pub size: usize,
    /// Classes, counts, digest.
    pub summary: Summary,
    /// Of its options and content.
    pub fingerprint: String,
}

impl Plan {
    /// Reads data set summaries (in parallel), describes every stage, fingerprints, asks the store what
    /// is fresh.
    ///
    /// # Errors
    /// Every data set that cannot be used; else everything that is wrong with the stages; else what
    /// is wrong with the store.
    pub fn new(_experiment: Arc<Experiment>, _store: &Store, _numerics: Numerics) -> Result<Self, PlanError> {
        unimplemented!()
    }

    /// Stages that the store lacks, inputs before users.
    pub fn stale(&self) -> impl Iterator<Item = NodeIndex> {
        self.order.iter().copied().filter(|&node| self.graph[node].status.is_stale())
    }

    /// The stale stages that must run: those that are wanted for themselves (`evaluate`, and whatever no
    /// stage takes from), and those that a stage which must run takes from. Left out is a stale stage
    /// whose users are all fresh.
    pub fn needed(&self) -> BTreeSet<NodeIndex> {
        unimplemented!()
    }

    /// What `plan --json` prints.
    pub fn to_json(&self) -> serde_json::Value {
        unimplemented!()
    }
}
