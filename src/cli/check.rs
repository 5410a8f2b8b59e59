//! `medmerge check`.

use std::io::Write;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Files, every, warn};
use super::output::stdout;
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

Besides everything that `plan` checks, it opens imported checkpoints and the headers of images. The lines below the
result say which stages each axis of the sweep multiplies.")]
pub(super) struct Check {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    on: OnDevice,
    /// Do not look into the images of data sets
    #[arg(long)]
    quick: bool,
}

impl Check {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let experiments = self.files.load()?;
        let store = global.open_store_to_read()?;
        let plan = |experiment: &Arc<Experiment>| {
            let plan = Plan::new(Arc::clone(experiment), &store, self.on.numerics())?;
            plan.examine(!self.quick)?;
            Ok(plan)
        };
        let plans = every(experiments.iter().map(plan))?;
        warn(&plans);
        let mut out = stdout();
        for plan in plans {
            let experiment = &plan.experiment;
            let (path, stages) = (experiment.source.path.display(), plan.stage_ids().len());
            writeln!(
                out,
                "{path}: {stages} stages, {} data sets: no errors found",
                experiment.datasets.len()
            )?;
            axes::list(&plan, &mut out)?;
        }
        Ok(())
    }
}
