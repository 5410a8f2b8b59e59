//! `medmerge check`.

use std::io::Write;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Files, every, warn};
use super::output::{count, folded, stdout};
use super::{Error, Global, axes};
use crate::experiment::Experiment;
use crate::plan::Plan;

/// Check experiment files and their data without running anything
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge check experiments/main.toml
  medmerge check experiments/            every .toml in the folder
  medmerge check experiments/main.toml --set train.epochs=1

Like `plan`, it checks the headers of all images. Besides, it opens imported checkpoints. The lines
below the result say which stages each axis of the sweep multiplies.")]
pub(super) struct Check {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    on: OnDevice,
}

impl Check {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let experiments = self.files.load()?;
        let store = global.open_store_to_read()?;
        let plan = |experiment: &Arc<Experiment>| {
            let plan = Plan::new(Arc::clone(experiment), &store, self.on.numerics())?;
            plan.examine()?;
            Ok(plan)
        };
        let plans = every(experiments.iter().map(plan))?;
        warn(&plans);
        let mut out = stdout();
        for plan in plans {
            let experiment = &plan.experiment;
            let stages = count(plan.stage_ids().len(), "stage", "stages");
            let datasets = count(experiment.datasets.len(), "data set", "data sets");
            let path = experiment.source.path.display();
            writeln!(out, "{}", folded(&format!("{path}: {stages}, {datasets}: no errors found")))?;
            axes::list(&plan, &mut out)?;
        }
        Ok(())
    }
}
