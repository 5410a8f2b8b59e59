//! `medmerge data check`.

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{Error, findings};
use crate::cli::Global;
use crate::cli::experiments::Files;
use crate::cli::output::stdout;
use crate::dataset::{DataError, Inspection};
use crate::error::Exit;
use crate::experiment::{DatasetInstance, Experiment};
use crate::store::Store;

/// Read every image of each data set, and report everything that is wrong or questionable
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge data check experiments/main.toml
  medmerge data check experiments/                  every .toml in the folder
  medmerge data check experiments/main.toml --json | jq '.[].inspection.moments'

Shown are counts per class and split, extents of image files, damaged images, byte-identical images, near
duplicates in different splits, groups in several splits, questionable classes, and mean and standard deviation of
the training pixels. Data sets that differ only in their label budget are read once, whole.

Exit code: 0, or 3 if images are damaged, or leak from one split into another where `allow` does not allow it.")]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    files: Files,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A data set and what was found in it.
struct Checked<'e> {
    dataset: &'e DatasetInstance,
    outcome: Result<Inspection, DataError>,
}

impl Check {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Error> {
        let experiments = self.files.load()?;
        let store = global.open_store_to_read()?;
        let checked = distinct(&experiments).into_iter().map(|dataset| checked(dataset, &store));
        match self.json {
            true => print_json(checked.collect()),
            false => print(checked),
        }
    }
}

/// The data sets that differ in more than their label budget, compared as text: specs contain floats.
fn distinct(experiments: &[Arc<Experiment>]) -> Vec<&DatasetInstance> {
    let mut distinct = IndexMap::new();
    for dataset in experiments.iter().flat_map(|experiment| &experiment.datasets) {
        distinct.entry(format!("{:?}", dataset.spec)).or_insert(dataset);
    }
    distinct.into_values().collect()
}

fn checked<'e>(dataset: &'e DatasetInstance, store: &Store) -> Checked<'e> {
    let cache = |digest: &str| store.data_cache(digest, dataset.spec.size());
    Checked { dataset, outcome: dataset.spec.inspect(&cache) }
}

/// Prints each data set as soon as it is checked.
fn print<'e>(checked: impl Iterator<Item = Checked<'e>>) -> Result<Exit, Error> {
    let mut errors = Vec::new();
    let mut is_wrong = false;
    for Checked { dataset, outcome } in checked {
        match outcome {
            Ok(inspection) => {
                findings::show(dataset, &inspection, &mut stdout())?;
                is_wrong |= inspection.is_wrong();
            }
            Err(error) => errors.push(error),
        }
    }
    ended(errors, is_wrong)
}

fn print_json(checked: Vec<Checked<'_>>) -> Result<Exit, Error> {
    let list: Vec<Value> = checked.iter().map(to_json).collect();
    writeln!(std::io::stdout(), "{:#}", Value::from(list))?;
    let is_wrong = checked.iter().any(|one| one.outcome.as_ref().is_ok_and(Inspection::is_wrong));
    ended(checked.into_iter().filter_map(|one| one.outcome.err()).collect(), is_wrong)
}

fn to_json(checked: &Checked<'_>) -> Value {
    let Checked { dataset, outcome } = checked;
    json!({
        "id": dataset.id(),
        "kind": dataset.spec.kind(),
        "size": dataset.spec.size(),
        "is_wrong": outcome.as_ref().is_ok_and(Inspection::is_wrong) || outcome.is_err(),
        "error": outcome.as_ref().err().map(ToString::to_string),
        "inspection": outcome.as_ref().ok(),
    })
}

fn ended(errors: Vec<DataError>, is_wrong: bool) -> Result<Exit, Error> {
    Error::all(errors.into_iter().map(Error::from).collect())?;
    Ok(if is_wrong { Exit::Data } else { Exit::Done })
}
