//! Assembling the plan of a checked experiment.

use std::sync::Arc;

use super::graph::{Graph, StageId};
use rayon::prelude::*;

use super::check::{self, Describe};
use super::data::{self, Data};
use super::freshness::judge;
use identity::{Field, Fingerprint, Numerics};

use super::{Plan, PlanError, PlannedStage, Status, stage_fields};
use experiment::{Experiment, StageInstance};
use stage::{Description, Input, Known, StageSpec};
use store::outside::look;
use store::{Digests, Store, StoreError};

impl Plan {
    /// Read data set summaries in parallel, describe and fingerprint every stage, and query the store for fresh ones.
    /// Warnings about questionable data are in [`Plan::warnings`].
    ///
    /// # Errors
    /// Every data set and file that cannot be used; otherwise all errors of the stages; otherwise an error of the
    /// store.
    pub fn new(experiment: Arc<Experiment>, store: &Store, numerics: Numerics) -> Result<Self, PlanError> {
        Ok(Self::with_each(experiment, store, &[numerics])?.remove(0))
    }

    /// A plan for each of these numerics, in order. Data sets are read once.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn with_each(
        experiment: Arc<Experiment>,
        store: &Store,
        numerics: &[Numerics],
    ) -> Result<Vec<Self>, PlanError> {
        let data = data::read(&experiment, &Digests::new(store), look).map_err(PlanError::Data)?;
        let plan = |&numerics: &Numerics| assemble(Arc::clone(&experiment), &data, store, numerics, describe);
        numerics.iter().map(plan).collect()
    }
}

fn describe(spec: &StageSpec, known: &Known<'_>) -> Result<Description, Vec<String>> {
    spec.describe(known)
}

/// The plan of an experiment with known data.
pub(super) fn assemble(
    experiment: Arc<Experiment>,
    data: &Data,
    store: &Store,
    numerics: Numerics,
    describe: Describe,
) -> Result<Plan, PlanError> {
    let mut plan = join(experiment, data, numerics, describe)?;
    judge_all(&mut plan, store)?;
    Ok(plan)
}

/// The same with every stage marked as fresh.
fn join(
    experiment: Arc<Experiment>,
    data: &Data,
    numerics: Numerics,
    describe: Describe,
) -> Result<Plan, PlanError> {
    let mut lacks = check::splits(&experiment, data);
    lacks.extend(check::one_class(&experiment, data));
    if !lacks.is_empty() {
        return Err(PlanError::Data(lacks));
    }
    let identities = identify(&experiment, data, numerics);
    let descriptions = check::describe(&experiment, data, &identities, describe)?;
    check::figures(&experiment, &descriptions)?;
    let mut graph = Graph::default();
    for ((instance, identity), description) in experiment.stages.iter().zip(identities).zip(descriptions) {
        graph.insert(planned(instance, identity, description, data));
    }
    let order = graph.ids().collect();
    let warnings = data.warnings(&experiment);
    Ok(Plan { experiment, graph, order, numerics, only: None, warnings })
}

/// Set the status of every stage.
///
/// # Errors
/// The store fails; the error of the first such stage.
fn judge_all(plan: &mut Plan, store: &Store) -> Result<(), StoreError> {
    let last_made = store.last_made(&plan.experiment.name);
    let graph = &plan.graph;
    let judged = plan.order.par_iter().map(|&node| judge(&graph[node], graph, &last_made, store));
    let judged: Vec<_> = judged.collect();
    for (&node, status) in plan.order.iter().zip(judged) {
        plan.graph[node].status = status?;
    }
    Ok(())
}

/// Everything that a stage's result depends on, and its fingerprint.
pub(super) struct Identity {
    fields: Vec<Field>,
    pub(super) fingerprint: Fingerprint,
    pub(super) began_at: Option<Fingerprint>,
}

/// The identity of every stage, in the order of [`Experiment::stages`].
fn identify(experiment: &Experiment, data: &Data, numerics: Numerics) -> Vec<Identity> {
    let mut identities: Vec<Identity> = Vec::new();
    for instance in &experiment.stages {
        let stage = &instance.spec;
        let (inputs, datasets) = (stage.inputs(), stage.datasets());
        let made = inputs.iter().zip(&instance.inputs);
        let made: Vec<_> = made.map(|(input, &i)| (input.role.clone(), identities[i].fingerprint)).collect();
        let read = datasets.iter().zip(&instance.datasets);
        let read: Vec<_> =
            read.map(|(input, i)| (input.role.clone(), data.datasets[i].fingerprint)).collect();
        let files: Vec<String> = stage.files().iter().map(|path| data.files[path].clone()).collect();
        let fields = stage_fields(stage, &made, &read, &files, numerics);
        let fingerprint = Fingerprint::of(&fields);
        let starts: Vec<_> = instance.inputs.iter().map(|&i| identities[i].began_at).collect();
        let began_at = stage.began_at(fingerprint, &starts);
        identities.push(Identity { fields, fingerprint, began_at });
    }
    identities
}

/// A stage without a status. Its inputs have the same positions in the graph as in the experiment.
fn planned(
    instance: &StageInstance,
    identity: Identity,
    description: Description,
    data: &Data,
) -> PlannedStage {
    let stage = &instance.spec;
    let inputs: Vec<(Input, StageId)> =
        stage.inputs().into_iter().zip(instance.inputs.iter().map(|&index| StageId::new(index))).collect();
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
