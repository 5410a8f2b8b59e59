//! Converts planned stages to orders.

use std::collections::HashMap;

use super::message::{Order, OrderDataset, OrderFile};
use identity::{Field, Fingerprint, Role};
use kind::NamedPath;
use plan::{Plan, PlannedDataset, PlannedStage, StageId};
use stage::{DataInput, Input, StageSpec};

/// Makes the orders of a plan's jobs.
#[derive(Debug)]
pub struct Orders<'a> {
    plan: &'a Plan,
    /// The stage of each job, by job number.
    nodes: &'a [StageId],
    /// Ids of all stages with the same fingerprint.
    same_work: HashMap<Fingerprint, Vec<String>>,
    /// The job that reruns a requested stage; other stages with the same fingerprint do not rerun it.
    rerun: HashMap<Fingerprint, usize>,
}

impl<'a> Orders<'a> {
    /// Job `j` is the stage `nodes[j]` of the plan.
    pub fn new(plan: &'a Plan, nodes: &'a [StageId]) -> Self {
        let mut same_work: HashMap<_, Vec<String>> = HashMap::new();
        for stage in plan.stages() {
            same_work.entry(stage.fingerprint).or_default().push(stage.id.clone());
        }
        Self { plan, nodes, same_work, rerun: HashMap::new() }
    }

    /// The id of a job's stage.
    pub fn id(&self, job: usize) -> &'a str {
        &self.stage(job).id
    }

    /// The order of a job, with this number of threads.
    pub fn order(&mut self, job: usize, threads: usize) -> Order {
        let stage = self.stage(job);
        let spec = absolute(stage.spec.as_ref().clone());
        Order {
            stages: self.same_work[&stage.fingerprint].clone(),
            files: files(&spec, &stage.fields),
            spec,
            fingerprint: stage.fingerprint,
            fields: stage.fields.clone(),
            inputs: stage.inputs.iter().map(|input| self.input(input)).collect(),
            datasets: stage.datasets.iter().map(|(input, dataset)| ordered(input, dataset)).collect(),
            ancestry: self.plan.ancestry(stage),
            description: stage.description.clone(),
            numerics: self.plan.numerics,
            threads,
            rerun: stage.status.is_asked() && *self.rerun.entry(stage.fingerprint).or_insert(job) == job,
        }
    }

    fn stage(&self, job: usize) -> &'a PlannedStage {
        self.plan.stage(self.nodes[job])
    }

    fn input(&self, (input, node): &(Input, StageId)) -> (Role, Fingerprint) {
        (input.role.clone(), self.plan.stage(*node).fingerprint)
    }
}

fn ordered(input: &DataInput, dataset: &PlannedDataset) -> OrderDataset {
    let mut spec = dataset.spec.clone();
    spec.paths().into_iter().for_each(make_absolute);
    OrderDataset {
        role: input.role.clone(),
        spec,
        labels: dataset.labels,
        name: dataset.name.clone(),
        digest: dataset.summary.digest.clone(),
        fingerprint: dataset.fingerprint,
    }
}

/// The files of a stage, with digests from its fields.
fn files(spec: &StageSpec, fields: &[Field]) -> Vec<OrderFile> {
    let digest = |i: usize| {
        let path = format!("file.{i}");
        let field = fields.iter().find(|field| field.path == path);
        field.map(|field| field.value.clone()).unwrap_or_default()
    };
    let files = spec.files().into_iter().enumerate();
    files.map(|(i, path)| OrderFile { path, digest: digest(i) }).collect()
}

/// Make paths absolute: a worker may have another working directory.
fn absolute(mut spec: StageSpec) -> StageSpec {
    spec.paths().into_iter().for_each(make_absolute);
    spec
}

fn make_absolute(named: NamedPath<'_>) {
    if let Ok(absolute) = std::path::absolute(&*named.path) {
        *named.path = absolute;
    }
}
