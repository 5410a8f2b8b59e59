//! A closer look at files outside the experiment, for `check`: headers of checkpoints and of images.

use indexmap::IndexMap;
use rayon::prelude::*;

use super::{Plan, PlanError, PlannedStage};
use dataset::{DataError, DatasetSpec};

impl Plan {
    /// Check the headers of all imported checkpoints and, if `images`, of the images of all data sets.
    ///
    /// # Errors
    /// Every checkpoint and data set that cannot be used.
    pub fn examine(&self, images: bool) -> Result<(), PlanError> {
        let stages: Vec<_> = self.stages().collect();
        let mut errors: Vec<DataError> = stages.iter().filter_map(|stage| of_stage(stage)).collect();
        let datasets = if images { distinct(&stages) } else { Vec::new() };
        errors.par_extend(datasets.into_par_iter().filter_map(|spec| spec.examine_images().err()));
        if errors.is_empty() { Ok(()) } else { Err(PlanError::Data(errors)) }
    }
}

fn of_stage(stage: &PlannedStage) -> Option<DataError> {
    let error = stage.spec.examine_files().err()?;
    Some(DataError { place: Some(format!("stage `{}`", stage.id)), ..error })
}

/// The specs of all data sets, compared as text: they contain floats, which cannot be hashed.
fn distinct<'a>(stages: &[&'a PlannedStage]) -> Vec<&'a DatasetSpec> {
    let specs = stages.iter().flat_map(|stage| &stage.datasets).map(|(_, dataset)| &dataset.spec);
    let distinct: IndexMap<String, &DatasetSpec> = specs.map(|spec| (format!("{spec:?}"), spec)).collect();
    distinct.into_values().collect()
}
