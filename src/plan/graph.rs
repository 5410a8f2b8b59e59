//! The plan: stages as a graph, in an order to run them.

use std::collections::BTreeSet;
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use super::{Field, Fingerprint, Numerics, Status, Why};
use crate::dataset::{DatasetSpec, Summary};
use crate::experiment::{Coordinates, Experiment};
use crate::stage::{DataInput, Description, Input, KnownDataset, StageSpec};

/// Every stage of an experiment, what it makes and whether it must run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was planned.
    pub experiment: Arc<Experiment>,
    /// Stages; an edge goes from an input to its user and carries the role.
    pub graph: DiGraph<PlannedStage, String>,
    /// Inputs before users; in the order of the file among equals.
    pub order: Vec<NodeIndex>,
    /// Where stages would run.
    pub numerics: Numerics,
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

impl PlannedDataset {
    /// What a stage may know of it.
    pub fn known(&self) -> KnownDataset<'_> {
        let Self { name, fingerprint, size, summary, .. } = self;
        KnownDataset { name, fingerprint, size: *size, summary }
    }
}

impl Plan {
    /// Stages that the store lacks, inputs before users.
    pub fn stale(&self) -> impl Iterator<Item = NodeIndex> {
        self.order.iter().copied().filter(|&node| self.graph[node].status.is_stale())
    }

    /// The stale stages that must run: those that are wanted for themselves (`evaluate`, whatever no
    /// stage takes from, whatever was asked for), and those that a stage which must run takes from. Left
    /// out is a stale stage whose users are all fresh.
    pub fn needed(&self) -> BTreeSet<NodeIndex> {
        let mut needed = BTreeSet::new();
        for &node in self.order.iter().rev() {
            let stage = &self.graph[node];
            let mut users = self.graph.neighbors(node).peekable();
            let wanted =
                stage.description == Description::Scores || stage.status.is_asked() || users.peek().is_none();
            if stage.status.is_stale() && (wanted || users.any(|user| needed.contains(&user))) {
                needed.insert(node);
            }
        }
        needed
    }

    /// Marks the stages of a name or an id as asked for, so that they are made anew.
    pub fn ask(&mut self, name_or_id: &str) {
        let asked = |stage: &&mut PlannedStage| stage.name == name_or_id || stage.id == name_or_id;
        for stage in self.graph.node_weights_mut().filter(asked) {
            match &mut stage.status {
                Status::Fresh => stage.status = Status::Stale(vec![Why::Asked]),
                Status::Stale(why) if !why.contains(&Why::Asked) => why.push(Why::Asked),
                Status::Stale(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Lab, evaluate, finetune};
    use super::*;

    fn needed(plan: &Plan) -> Vec<&str> {
        plan.needed().into_iter().map(|node| plan.graph[node].id.as_str()).collect()
    }

    #[test]
    fn stages_are_linked_by_roles_and_stand_behind_their_inputs() {
        let plan = Lab::new().plan();
        let ids: Vec<_> = plan.order.iter().map(|&node| plan.graph[node].id.as_str()).collect();
        assert_eq!(ids, ["source", "tuned", "scores"]);
        let edges = plan.graph.raw_edges().iter();
        let edges: Vec<_> =
            edges.map(|edge| (edge.source().index(), edge.weight.as_str(), edge.target().index())).collect();
        assert_eq!(edges, [(0, "from", 1), (1, "model", 2)]);
    }

    #[test]
    fn everything_is_needed_at_first_and_nothing_at_last() {
        let lab = Lab::new();
        assert_eq!(needed(&lab.plan()), ["source", "tuned", "scores"]);
        lab.make(&["source", "tuned", "scores"]);
        assert_eq!(needed(&lab.plan()), [""; 0]);
    }

    #[test]
    fn a_stale_stage_is_not_needed_while_its_users_are_fresh() {
        let lab = Lab::new();
        lab.make(&["tuned", "scores"]);
        assert_eq!(lab.plan().stale().count(), 1, "the source");
        assert_eq!(needed(&lab.plan()), [""; 0]);
    }

    #[test]
    fn a_new_user_needs_its_stale_input_alone() {
        let mut lab = Lab::new();
        lab.make(&["tuned", "scores"]);
        lab.experiment.stages.push(finetune("probe", 0, 0));
        assert_eq!(needed(&lab.plan()), ["source", "probe"]);
    }

    #[test]
    fn an_evaluation_is_wanted_for_itself() {
        let mut lab = Lab::new();
        lab.make(&["source", "tuned"]);
        lab.experiment.stages.push(evaluate("again", &[1, 0], 0));
        assert_eq!(needed(&lab.plan()), ["scores", "again"]);
    }

    #[test]
    fn what_is_asked_for_runs_alone_even_if_it_is_fresh() {
        let lab = Lab::new();
        lab.make(&["source", "tuned", "scores"]);
        let mut plan = lab.plan();
        plan.ask("tuned");
        plan.ask("tuned");
        plan.ask("no_such_stage");
        assert_eq!(needed(&plan), ["tuned"]);
        assert_eq!(plan.graph[plan.order[1]].status, Status::Stale(vec![Why::Asked]));
    }
}
