//! The groups (patients, lesions) of the images that tables resample. Predictions do not have them: they are read from the
//! files of the data set, so that a table resamples by groups whenever its predictions were made.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{CollectError, evaluations};
use crate::dataset::SplitName;
use crate::plan::{Plan, PlannedDataset};

/// The group of each image that has one, by name.
type Groups = HashMap<String, String>;

/// The groups of data sets that have some, by what is read: the spec, as text, and the split.
pub(super) struct GroupsOfDatasets(HashMap<(String, SplitName), Groups>);

impl GroupsOfDatasets {
    /// Of the data sets whose images a table resamples by group. Each is read once.
    ///
    /// # Errors
    /// A file of a data set is missing or malformed.
    pub(super) fn read(plan: &Plan) -> Result<Self, CollectError> {
        let mut read: HashMap<(String, SplitName), Option<Groups>> = HashMap::new();
        for (stage, spec) in evaluations(plan) {
            let mut tables = plan.experiment.tables.values();
            if !tables.any(|table| table.draws_groups() && table.from.contains(&stage.name)) {
                continue;
            }
            for (_, dataset) in &stage.datasets {
                let error = |source| CollectError::Groups { dataset: dataset.name.clone(), source };
                if let Entry::Vacant(entry) = read.entry(key(dataset, spec.split)) {
                    entry.insert(dataset.spec.groups(spec.split).map_err(error)?);
                }
            }
        }
        Ok(Self(read.into_iter().filter_map(|(key, groups)| Some((key, groups?))).collect()))
    }

    /// The group of each image; `None` if the data set has no groups, or no table needs them.
    pub(super) fn of(
        &self,
        dataset: &PlannedDataset,
        split: SplitName,
        images: &[String],
    ) -> Option<Vec<Option<String>>> {
        let groups = self.0.get(&key(dataset, split))?;
        Some(images.iter().map(|image| groups.get(image).cloned()).collect())
    }
}

fn key(dataset: &PlannedDataset, split: SplitName) -> (String, SplitName) {
    (format!("{:?}", dataset.spec), split)
}
