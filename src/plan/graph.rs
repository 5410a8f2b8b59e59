//! The plan: stages as a graph, in an order to run them.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use identity::{Field, Fingerprint, Numerics, Role};

use super::{Status, Why};
use dataset::{DatasetSpec, LabelBudget, Summary};
use experiment::{Coordinates, Experiment};
use stage::{DataInput, Description, Input, KnownDataset, StageSpec};

/// Every stage of an experiment, what it makes and whether it must run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was planned.
    pub experiment: Arc<Experiment>,
    /// Stages and their inputs.
    pub(super) graph: Graph,
    /// Inputs before users; in the order of the file among equals.
    pub(super) order: Vec<StageId>,
    /// The stages that are wanted; see [`Self::restrict`].
    pub(super) only: Option<BTreeSet<StageId>>,
    /// Where stages would run.
    pub numerics: Numerics,
    /// What is questionable about the data sets.
    pub warnings: BTreeSet<String>,
}

/// A stage of a plan, by its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(NodeIndex);

impl StageId {
    pub(super) fn new(position: usize) -> Self {
        Self(NodeIndex::new(position))
    }

    /// Its position among all stages of the plan.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Stages; an edge goes from an input to its user and carries the role.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph(DiGraph<PlannedStage, Role>);

impl Graph {
    /// A stage whose inputs were inserted before.
    pub(super) fn insert(&mut self, stage: PlannedStage) {
        let edges: Vec<_> = stage.inputs.iter().map(|(input, id)| (*id, input.role.clone())).collect();
        let user = self.0.add_node(stage);
        for (StageId(input), role) in edges {
            self.0.add_edge(input, user, role);
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = StageId> + use<> {
        self.0.node_indices().map(StageId)
    }

    pub(super) fn stages(&self) -> impl Iterator<Item = &PlannedStage> {
        self.0.node_weights()
    }

    pub(super) fn stages_mut(&mut self) -> impl Iterator<Item = &mut PlannedStage> {
        self.0.node_weights_mut()
    }
}

impl Index<StageId> for Graph {
    type Output = PlannedStage;

    fn index(&self, StageId(node): StageId) -> &PlannedStage {
        &self.0[node]
    }
}

impl IndexMut<StageId> for Graph {
    fn index_mut(&mut self, StageId(node): StageId) -> &mut PlannedStage {
        &mut self.0[node]
    }
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
    /// In the order of [`Stage::inputs`](stage::Stage::inputs).
    pub inputs: Vec<(Input, StageId)>,
    /// In the order of [`Stage::datasets`](stage::Stage::datasets).
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
    /// How many of its training images count.
    pub labels: LabelBudget,
    /// Side of its images in pixels.
    pub size: usize,
    /// Classes, counts within the label budget, digest.
    pub summary: Summary,
    /// Of its options and content.
    pub fingerprint: Fingerprint,
}

impl PlannedStage {
    /// Whether a name or an id means this stage: its name, its id, or its name with the values of some of
    /// its axes, as in `final[target=fundus]`, which means it with every seed.
    pub fn is_called(&self, name_or_id: &str) -> bool {
        let Some(rest) = name_or_id.strip_prefix(&self.name) else { return false };
        let at = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        rest.is_empty() || at.is_some_and(|at| are_at(at, &self.at))
    }
}

/// Whether `axis=value,…` are some of these coordinates. A value may itself hold a comma.
fn are_at(text: &str, at: &Coordinates) -> bool {
    at.iter().any(|(axis, value)| match text.trim_start().strip_prefix(&format!("{axis}={value}")) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(',').is_some_and(|rest| are_at(rest, at)),
        None => false,
    })
}

impl PlannedDataset {
    /// What a stage may know of it.
    pub fn known(&self) -> KnownDataset<'_> {
        let Self { name, fingerprint, size, summary, .. } = self;
        KnownDataset {
            name,
            fingerprint: *fingerprint,
            size: *size,
            cache_size: self.spec.cache_size(),
            pixels: self.spec.pixels(),
            summary,
        }
    }
}

impl Plan {
    /// A stage of this plan.
    pub fn stage(&self, id: StageId) -> &PlannedStage {
        &self.graph[id]
    }

    /// Every stage, inputs before users; in the order of the file among equals.
    pub fn stages(&self) -> impl Iterator<Item = &PlannedStage> {
        self.order.iter().map(|&id| &self.graph[id])
    }

    /// The ids of [`Self::stages`], in their order.
    pub fn stage_ids(&self) -> impl ExactSizeIterator<Item = StageId> + DoubleEndedIterator + '_ {
        self.order.iter().copied()
    }

    /// What a stage takes from, in the order of [`Stage::inputs`](stage::Stage::inputs).
    pub fn inputs(&self, id: StageId) -> impl Iterator<Item = (&Input, StageId)> {
        self.graph[id].inputs.iter().map(|(input, id)| (input, *id))
    }

    /// The stages that take from a stage; one that does so twice is there twice.
    pub fn users(&self, id: StageId) -> impl Iterator<Item = StageId> {
        self.graph.0.neighbors(id.0).map(StageId)
    }

    /// Stages that the store lacks, inputs before users.
    pub fn stale(&self) -> impl Iterator<Item = StageId> {
        self.order.iter().copied().filter(|&node| self.graph[node].status.is_stale())
    }

    /// From now on only these stages are wanted; the others stay in the plan, and run if these need them.
    pub fn restrict(&mut self, wanted: BTreeSet<StageId>) {
        self.only = Some(wanted);
    }

    /// Whether a stage is wanted for itself: an `evaluate`, what a figure shows, and whatever no stage takes
    /// from, unless the plan was restricted to others.
    fn wants(&self, node: StageId) -> bool {
        match &self.only {
            Some(only) => only.contains(&node),
            None => {
                let has_users = self.users(node).next().is_some();
                !has_users || self.graph[node].description == Description::Scores || self.draws(node)
            }
        }
    }

    /// Whether a figure of the experiment shows a stage.
    pub fn draws(&self, node: StageId) -> bool {
        self.experiment.figures.values().any(|figure| figure.from().contains(&self.graph[node].name))
    }

    /// The stages that are wanted and all that these depend on, stale or fresh: every stage, unless the
    /// plan was restricted.
    pub fn reached(&self) -> BTreeSet<StageId> {
        let mut reached = BTreeSet::new();
        for &node in self.order.iter().rev() {
            if self.wants(node) || self.users(node).any(|user| reached.contains(&user)) {
                reached.insert(node);
            }
        }
        reached
    }

    /// The stale stages that must run: those that are wanted for themselves or were asked for, and those
    /// that a stage which must run takes from. Left out is a stale stage whose users are all fresh, and one
    /// that is not [reached](Self::reached).
    pub fn needed(&self) -> BTreeSet<StageId> {
        let reached = self.reached();
        let mut needed = BTreeSet::new();
        for &node in self.order.iter().rev().filter(|node| reached.contains(node)) {
            let status = &self.graph[node].status;
            let is_used = || self.users(node).any(|user| needed.contains(&user));
            if status.is_stale() && (self.wants(node) || status.is_asked() || is_used()) {
                needed.insert(node);
            }
        }
        needed
    }

    /// The stages that a name or an id means, in the order of the plan; see [`PlannedStage::is_called`].
    pub fn called(&self, name_or_id: &str) -> Vec<StageId> {
        self.order.iter().copied().filter(|&node| self.graph[node].is_called(name_or_id)).collect()
    }

    /// Mark the stages with this name or id as requested, so that they are made again.
    pub fn ask(&mut self, name_or_id: &str) {
        let asked = |stage: &&mut PlannedStage| stage.is_called(name_or_id);
        for stage in self.graph.stages_mut().filter(asked) {
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
        let edges = plan.graph.0.raw_edges().iter();
        let edges: Vec<_> = edges
            .map(|edge| (edge.source().index(), edge.weight.to_string(), edge.target().index()))
            .collect();
        assert_eq!(edges, [(0, "from".to_owned(), 1), (1, "model".to_owned(), 2)]);
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

    #[test]
    fn a_restricted_plan_needs_what_is_wanted_and_its_inputs() {
        let mut lab = Lab::new();
        lab.experiment.stages.push(finetune("probe", 0, 0));
        let mut plan = lab.plan();
        plan.restrict(plan.called("tuned").into_iter().collect());
        plan.ask("probe");
        assert_eq!(needed(&plan), ["source", "tuned"]);
        lab.make(&["source"]);
        let mut plan = lab.plan();
        plan.restrict(plan.called("tuned").into_iter().collect());
        assert_eq!((needed(&plan), plan.reached().len()), (vec!["tuned"], 2));
        plan.ask("source");
        assert_eq!(needed(&plan), ["source", "tuned"]);
        plan.restrict(BTreeSet::new());
        assert_eq!(plan.reached(), BTreeSet::new());
    }

    #[test]
    fn a_stage_is_called_by_its_name_its_id_or_some_of_its_axes() {
        let mut lab = Lab::new();
        let value = |text: &str| experiment::AxisValue::String(text.into());
        let at = [("seed", value("0")), ("target", value("a,b")), ("t", value("x]"))];
        lab.experiment.stages[1].at = at.map(|(axis, value)| (axis.to_owned(), value)).into_iter().collect();
        let plan = lab.plan();
        let tuned = &plan.graph[plan.order[1]];
        for name in ["tuned", "tuned[seed=0]", "tuned[target=a,b]", "tuned[target=a,b, seed=0]", &tuned.id] {
            assert!(tuned.is_called(name), "{name}");
        }
        for name in [
            "tune",
            "tuned2",
            "tuned[]",
            "tuned[seed=1]",
            "tuned[seed=0,]",
            "tuned[seed=0",
            "tuned[target=a]",
        ] {
            assert!(!tuned.is_called(name), "{name}");
        }
    }
}
