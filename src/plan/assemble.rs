//! From a checked experiment to its plan.

use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use super::check::{self, Describe};
use super::data::{self, Data};
use super::freshness::judge;
use super::{Field, Fingerprint, Numerics, Plan, PlanError, PlannedStage, Status, stage_fields};
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
        Ok(Self::with_each(experiment, store, &[numerics])?.remove(0))
    }

    /// A plan for each of these numerics, in their order. Data sets are looked at once.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_each(
        experiment: Arc<Experiment>,
        store: &Store,
        numerics: &[Numerics],
    ) -> Result<Vec<Self>, PlanError> {
        let data = data::read(&experiment, data::look).map_err(PlanError::Data)?;
        let plan = |&numerics: &Numerics| {
            let describe: Describe = |spec, known| spec.stage().describe(known);
            assemble(Arc::clone(&experiment), &data, store, numerics, describe)
        };
        numerics.iter().map(plan).collect()
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
    let identities = identify(&experiment, data, numerics);
    let descriptions = check::describe(&experiment, data, &identities, describe)?;
    let mut graph = Graph::new();
    for ((instance, identity), description) in experiment.stages.iter().zip(identities).zip(descriptions) {
        let mut stage = planned(instance, identity, description, data);
        stage.status = judge(&stage, &graph, &experiment.name, store)?;
        insert(&mut graph, stage);
    }
    let order = graph.node_indices().collect();
    Ok(Plan { experiment, graph, order })
}

/// What decides a stage's result, and its fingerprint.
pub(super) struct Identity {
    fields: Vec<Field>,
    pub(super) fingerprint: Fingerprint,
}

/// The identity of every stage, in the order of [`Experiment::stages`].
fn identify(experiment: &Experiment, data: &Data, numerics: Numerics) -> Vec<Identity> {
    let mut identities: Vec<Identity> = Vec::new();
    for instance in &experiment.stages {
        let stage = instance.spec.stage();
        let (inputs, datasets) = (stage.inputs(), stage.datasets());
        let made = inputs.iter().zip(&instance.inputs);
        let made: Vec<_> =
            made.map(|(input, &i)| (input.role.as_str(), &identities[i].fingerprint)).collect();
        let read = datasets.iter().zip(&instance.datasets);
        let read: Vec<_> =
            read.map(|(input, i)| (input.role.as_str(), data.datasets[i].fingerprint.as_str())).collect();
        let files: Vec<String> = stage.files().iter().map(|path| data.files[path].clone()).collect();
        let fields =
            stage_fields(stage, instance.spec.kind(), &instance.spec, &made, &read, &files, numerics);
        identities.push(Identity { fingerprint: Fingerprint::of(&fields), fields });
    }
    identities
}

/// A stage whose inputs are in the graph, each at the position that it has in the experiment.
fn planned(
    instance: &StageInstance,
    identity: Identity,
    description: Description,
    data: &Data,
) -> PlannedStage {
    let stage = instance.spec.stage();
    let inputs: Vec<(Input, NodeIndex)> =
        stage.inputs().into_iter().zip(instance.inputs.iter().map(|&index| NodeIndex::new(index))).collect();
    let datasets: Vec<_> = instance.datasets.iter().map(|index| Arc::clone(&data.datasets[index])).collect();
    let datasets: Vec<_> = stage.datasets().into_iter().zip(datasets).collect();
    PlannedStage {
        id: instance.id(),
        name: instance.name.clone(),
        at: instance.at.clone(),
        spec: Arc::new(instance.spec.clone()),
        fingerprint: identity.fingerprint,
        fields: identity.fields,
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
