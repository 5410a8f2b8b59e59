//! The stages and data sets of two plans.

use indexmap::IndexMap;
use serde::Serialize;

use super::Error;
use super::change::{Change, changes};
use super::scores::{self, Scores};
use crate::dataset::SplitName;
use crate::experiment::Coordinates;
use crate::identity::Field;
use crate::plan::fingerprint::dataset_fields;
use crate::plan::{Plan, PlannedDataset, PlannedStage};
use crate::store::Store;

/// In what two experiments differ.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// What the command line called them.
    pub(super) names: [String; 2],
    /// Number of stages that are the same.
    pub(super) same: usize,
    /// Stages with options, inputs or data sets of their own that differ.
    pub(super) changed: Vec<Changed>,
    /// Ids of stages that differ only because what they take from does.
    pub(super) inherited: Vec<String>,
    /// Ids of stages that only one of both has.
    pub(super) only: [Vec<String>; 2],
    /// Data sets that differ.
    pub(super) datasets: Vec<Changed>,
    pub(super) scores: Scores,
}

/// Stages or data sets that differ in the same way.
#[derive(Debug, Serialize)]
pub(super) struct Changed {
    /// Their common name.
    pub(super) name: String,
    /// Their ids.
    pub(super) ids: Vec<String>,
    pub(super) changes: Vec<Change>,
}

/// # Errors
/// An entry of the store is damaged.
pub(super) fn diff(plans: [&Plan; 2], names: [String; 2], store: &Store) -> Result<Difference, Error> {
    let stages =
        plans.map(|plan| plan.stages().map(|stage| (stage.id.as_str(), stage)).collect::<IndexMap<_, _>>());
    let [a, b] = &stages;
    let only = |these: &IndexMap<&str, &PlannedStage>, those: &IndexMap<&str, &PlannedStage>| {
        these.keys().filter(|id| !those.contains_key(*id)).map(|id| (*id).to_owned()).collect()
    };
    let mut groups = Groups::default();
    let (mut same, mut inherited) = (0, Vec::new());
    for (id, stage) in a {
        let Some(other) = b.get(id) else { continue };
        let changes = stage_changes(plans, [stage, other]);
        match changes.is_empty() {
            _ if stage.fingerprint == other.fingerprint => same += 1,
            true => inherited.push((*id).to_owned()),
            false => groups.add(&stage.name, id, changes),
        }
    }
    Ok(Difference {
        names,
        same,
        changed: groups.into_vec(),
        inherited,
        only: [only(a, b), only(b, a)],
        datasets: datasets(plans),
        scores: scores::diff(plans, store)?,
    })
}

/// What differs in the same way, together.
#[derive(Debug, Default)]
struct Groups(IndexMap<(String, Vec<Change>), Vec<String>>);

impl Groups {
    fn add(&mut self, name: &str, id: &str, changes: Vec<Change>) {
        self.0.entry((name.to_owned(), changes)).or_default().push(id.to_owned());
    }

    fn into_vec(self) -> Vec<Changed> {
        self.0.into_iter().map(|((name, changes), ids)| Changed { name, ids, changes }).collect()
    }
}

/// Options, and names of inputs and data sets.
fn stage_changes(plans: [&Plan; 2], stages: [&PlannedStage; 2]) -> Vec<Change> {
    let [a, b] = [0, 1].map(|i| own_fields(plans[i], stages[i]));
    changes(&a, &b)
}

/// With the names of inputs and data sets in place of their fingerprints.
fn own_fields(plan: &Plan, stage: &PlannedStage) -> Vec<Field> {
    let is_reference =
        |field: &&Field| field.path.starts_with("input.") || field.path.starts_with("dataset.");
    let options = stage.fields.iter().filter(|field| !is_reference(field)).cloned();
    let inputs = stage.inputs.iter();
    let inputs =
        inputs.map(|(input, from)| Field::new(input.role.to_string(), plan.stage(*from).name.clone()));
    let datasets = stage.datasets.iter();
    let datasets = datasets.map(|(input, dataset)| Field::new(input.role.to_string(), dataset.name.clone()));
    options.chain(inputs).chain(datasets).collect()
}

/// Data sets of the same name and axes that differ.
fn datasets(plans: [&Plan; 2]) -> Vec<Changed> {
    let [a, b] = plans.map(used);
    let mut groups = Groups::default();
    for (id, dataset) in &a {
        let Some(other) = b.get(id) else { continue };
        let [fields, others] = [dataset, other].map(|dataset| described(dataset));
        let changes = changes(&fields, &others);
        if !changes.is_empty() {
            groups.add(&dataset.name, id, changes);
        }
    }
    groups.into_vec()
}

/// Every data set of a plan, by its name and axes.
fn used(plan: &Plan) -> IndexMap<String, &PlannedDataset> {
    let all = plan.stages().flat_map(|stage| &stage.datasets).map(|(_, dataset)| dataset.as_ref());
    all.map(|dataset| (dataset.name.clone() + &at(&dataset.at), dataset)).collect()
}

fn at(at: &Coordinates) -> String {
    let axes: Vec<String> = at.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    if axes.is_empty() { String::new() } else { format!("[{}]", axes.join(",")) }
}

/// Options, content, and the number of images in each split.
fn described(dataset: &PlannedDataset) -> Vec<Field> {
    let PlannedDataset { spec, labels, summary, .. } = dataset;
    let mut fields = dataset_fields(spec, *labels, summary);
    let images = SplitName::ALL.map(|split| (split, summary.images(split)));
    fields.extend(
        images.map(|(split, images)| Field::new(format!("images.{}", split.as_str()), images.to_string())),
    );
    fields
}
