//! From a checked experiment to its plan.

use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use super::check::{self, Describe};
use super::data::{self, Data};
use super::freshness::judge;
use super::{Fingerprint, Numerics, Plan, PlanError, PlannedStage, Status, instance_id, stage_fields};
use crate::experiment::{Experiment, StageInstance};
use crate::stage::{Description, Input};
use crate::store::Store;

type Graph = DiGraph<PlannedStage, String>;

impl Plan {
    /// Reads data set summaries (in parallel), describes every stage, fingerprints, asks the store what
    /// is fresh.
    ///
    /// # Errors
    /// Every data set and file that cannot be used; else everything that is wrong with the stages; else what
    /// is wrong with the store.
    pub fn new(experiment: Arc<Experiment>, store: &Store, numerics: Numerics) -> Result<Self, PlanError> {
        let data = data::read(&experiment, data::look).map_err(PlanError::Data)?;
        assemble(experiment, &data, store, numerics, |spec, known| spec.stage().describe(known))
    }
}

/// The plan of an experiment whose data was looked at.
pub(super) fn assemble(
    experiment: Arc<Experiment>,
    data: &Data,
    store: &Store,
    numerics: Numerics,
    describe: Describe,
) -> Result<Plan, PlanError> {
    let lacks = check::splits(&experiment, data);
    if !lacks.is_empty() {
        return Err(PlanError::Data(lacks));
    }
    let descriptions = check::describe(&experiment, data, describe)?;
    let mut graph = Graph::new();
    for (instance, description) in experiment.stages.iter().zip(descriptions) {
        let mut stage = planned(instance, description, &graph, data, numerics);
        stage.status = judge(&stage, &graph, &experiment.name, store)?;
        insert(&mut graph, stage);
    }
    let order = graph.node_indices().collect();
    Ok(Plan { experiment, graph, order })
}

/// A stage whose inputs are in the graph, each at the position that it has in the experiment.
fn planned(
    instance: &StageInstance,
    description: Description,
    graph: &Graph,
    data: &Data,
    numerics: Numerics,
) -> PlannedStage {
    let stage = instance.spec.stage();
    let inputs: Vec<(Input, NodeIndex)> =
        stage.inputs().into_iter().zip(instance.inputs.iter().map(|&index| NodeIndex::new(index))).collect();
    let datasets: Vec<_> = instance.datasets.iter().map(|index| Arc::clone(&data.datasets[index])).collect();
    let datasets: Vec<_> = stage.datasets().into_iter().zip(datasets).collect();
    let made: Vec<(&str, &Fingerprint)> =
        inputs.iter().map(|(input, node)| (input.role.as_str(), &graph[*node].fingerprint)).collect();
    let read: Vec<(&str, &str)> =
        datasets.iter().map(|(input, dataset)| (input.role.as_str(), dataset.fingerprint.as_str())).collect();
    let files: Vec<String> = stage.files().iter().map(|path| data.files[path].clone()).collect();
    let fields = stage_fields(stage, instance.spec.kind(), &instance.spec, &made, &read, &files, numerics);
    PlannedStage {
        id: instance_id(&instance.name, &instance.at),
        name: instance.name.clone(),
        at: instance.at.clone(),
        spec: Arc::new(instance.spec.clone()),
        fingerprint: Fingerprint::of(&fields),
        fields,
        inputs,
        datasets,
        description,
        status: Status::Fresh,
    }
}

fn insert(graph: &mut Graph, stage: PlannedStage) {
    let edges: Vec<_> = stage.inputs.iter().map(|(input, node)| (*node, input.role.clone())).collect();
    let user = graph.add_node(stage);
    for (input, role) in edges {
        graph.add_edge(input, user, role);
    }
}
