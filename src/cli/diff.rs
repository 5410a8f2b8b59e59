//! `medmerge diff`.
//!
//! | file | what |
//! |---|---|
//! | this one | arguments; what is compared with what |
//! | `change` | options that differ between two lists of fields |
//! | `experiments` | the stages and data sets of two plans |
//! | `scores` | the scores of two experiments |
//! | `models` | where two models come from, their weights and scores |
//! | `text` | what is printed |

mod change;
mod experiments;
mod models;
mod scores;
mod text;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::experiments::{Overrides, warn};
use super::output::{folded, stdout};
use super::{Error, Global};
use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::store::Store;

/// Show in what two experiments, or two models, differ: options, data, scores
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge diff experiments/main.toml experiments/trial.toml
  medmerge diff experiments/main.toml experiments/main.toml --set train.epochs=5
                                       the file, and the same with a change
  medmerge diff 1f0c9a 77ab01          entries of the store, by their first digits
  medmerge diff a.safetensors b.safetensors
  medmerge diff 1f0c9a 77ab01 --json   for programs

Stages of experiments are compared by their names and axes. Of a stage that differs only because an
input or a data set does, that is said. `final × 6` are six stages of that name; --json has their ids.
--set changes B only. Nothing runs: scores are those in the store.")]
pub(super) struct Diff {
    /// An experiment file; a .safetensors file; or a fingerprint
    #[arg(value_name = "A")]
    a: String,
    /// Another one of the same sort
    #[arg(value_name = "B")]
    b: String,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    on: OnDevice,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let names = [self.a.as_str(), self.b.as_str()];
        let (json, text) = match names.map(is_experiment) {
            [true, true] => {
                let found = self.experiments(&global.open_store_to_read()?)?;
                (serde_json::to_value(&found), text::of_experiments(&found))
            }
            [false, false] => {
                self.overrides.check_unused()?;
                let found = models::diff(names, global)?;
                (serde_json::to_value(&found), text::of_models(&found))
            }
            _ => {
                let message =
                    "one is an experiment file (.toml) and one is not; name two experiments, or two models";
                return Err(Error::Usage(message.into()));
            }
        };
        match self.json {
            true => writeln!(std::io::stdout(), "{:#}", json.expect("keys are strings"))?,
            false => write!(stdout(), "{}", folded(&text))?,
        }
        Ok(())
    }

    fn experiments(&self, store: &Store) -> Result<experiments::Difference, Error> {
        let a = Experiment::load(Path::new(&self.a))?;
        let b = Experiment::load_with(Path::new(&self.b), &self.overrides.set)?;
        let plan = |experiment| Plan::new(Arc::new(experiment), store, self.on.numerics());
        let plans = [plan(a)?, plan(b)?];
        warn(&plans);
        let changed = if self.overrides.set.is_empty() { "" } else { " with --set" };
        let names = [self.a.clone(), self.b.clone() + changed];
        experiments::diff([&plans[0], &plans[1]], names, store)
    }
}

fn is_experiment(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "toml")
}
