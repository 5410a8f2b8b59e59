//! A closer look at files outside the experiment, for `check`: headers of checkpoints. Those of images were read for the
//! summaries of their data sets.

use super::{Plan, PlanError, PlannedStage};
use dataset::DataError;

impl Plan {
    /// Check the headers of all imported checkpoints.
    ///
    /// # Errors
    /// Every checkpoint that cannot be used.
    pub fn examine(&self) -> Result<(), PlanError> {
        let errors: Vec<DataError> = self.stages().filter_map(of_stage).collect();
        if errors.is_empty() { Ok(()) } else { Err(PlanError::Data(errors)) }
    }
}

fn of_stage(stage: &PlannedStage) -> Option<DataError> {
    let error = stage.spec.examine_files().err()?;
    Some(DataError { place: Some(format!("stage `{}`", stage.id)), ..error })
}
