//! `medmerge store gc`.

use std::io::Write;
use std::sync::Arc;

use clap::Args;

use super::{Error, mib};
use crate::cli::experiments::{Files, every};
use crate::cli::output::{count, stdout};
use crate::identity::Numerics;
use crate::plan::Plan;
use crate::store::gc::{Keep, Leftover};
use crate::store::{Store, StoreError};

/// Delete everything that none of these experiments needs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge store gc experiments/                   what would be deleted
  medmerge store gc experiments/ --yes             delete it
  medmerge store gc main.toml ablation.toml --yes  keep what these two need, and nothing else

Kept is what the experiments' stages make on any device, made or not, and the decoded images that they
read. Deleted are all other entries and images, what was set aside as damaged, unfinished training that
no stage can go on from, records of all but the newest 20 runs, and lock files that nobody holds. What
another process is making, and what a run at work needs, stays.")]
pub(in crate::cli) struct Gc {
    #[command(flatten)]
    files: Files,
    /// Delete; without it, only list what would be deleted
    #[arg(long)]
    yes: bool,
}

impl Gc {
    pub(super) fn execute(&self, store: &Store) -> Result<(), Error> {
        let experiments = self.files.load()?;
        let plans = experiments
            .iter()
            .map(|experiment| Ok(Plan::with_each(Arc::clone(experiment), store, &Numerics::ALL)?));
        let keep = keep(&every(plans)?.concat(), store);
        let leftovers = store.leftovers(&keep)?;
        let mut out = stdout();
        for leftover in &leftovers {
            writeln!(out, "{}", line(leftover))?;
        }
        if !self.yes {
            return Ok(writeln!(out, "{}; nothing was deleted; add --yes to delete", sum(&leftovers))?);
        }
        let Freed { freed, in_use, failed } = free(store, leftovers);
        writeln!(out, "{} deleted", sum(&freed))?;
        if !in_use.is_empty() {
            writeln!(out, "{} kept, because another process is using them", sum(&in_use))?;
        }
        Error::all(failed.into_iter().map(Error::from).collect())
    }
}

/// Everything that these plans make and read.
fn keep(plans: &[Plan], store: &Store) -> Keep {
    let stages = || plans.iter().flat_map(|plan| plan.stages());
    let datasets = stages().flat_map(|stage| &stage.datasets);
    Keep {
        entries: stages().map(|stage| stage.fingerprint).collect(),
        images: datasets.map(|(_, data)| store.data_cache(&data.summary.digest, data.size)).collect(),
    }
}

/// What became of leftovers.
#[derive(Default)]
struct Freed {
    freed: Vec<Leftover>,
    in_use: Vec<Leftover>,
    /// An error for each that could not be deleted.
    failed: Vec<StoreError>,
}

/// Delete what is not in use.
fn free(store: &Store, leftovers: Vec<Leftover>) -> Freed {
    let mut all = Freed::default();
    for leftover in leftovers {
        match store.free(&leftover) {
            Ok(true) => all.freed.push(leftover),
            Ok(false) => all.in_use.push(leftover),
            Err(error) => all.failed.push(error),
        }
    }
    all
}

fn line(leftover: &Leftover) -> String {
    let Leftover { sort, path, bytes, about } = leftover;
    format!("{:<7}  {:>8.1} MiB  {}  {about}", sort.as_str(), mib(*bytes), path.display()).trim_end().into()
}

fn sum(leftovers: &[Leftover]) -> String {
    let bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
    format!("{}, {:.1} MiB", count(leftovers.len(), "item", "items"), mib(bytes))
}
