//! `medmerge check`.

use std::io::Write;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Files, every};
use super::{Error, Global};
use crate::plan::Plan;

/// Check experiment files and their data without running anything
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge check experiments/main.toml
  medmerge check experiments/            every .toml in the folder
  medmerge check experiments/main.toml --set train.epochs=1")]
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
        let plan = |experiment| Ok(Plan::new(Arc::clone(experiment), &store, self.on.numerics())?);
        let mut out = std::io::stdout().lock();
        for plan in every(experiments.iter().map(plan))? {
            let experiment = &plan.experiment;
            let (path, stages) = (experiment.source.path.display(), plan.stage_ids().len());
            writeln!(
                out,
                "{path}: {stages} stages, {} data sets: no errors found",
                experiment.datasets.len()
            )?;
        }
        Ok(())
    }
}
