//! `medmerge store export`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::{Error, mib};
use crate::cli::device::OnDevice;
use crate::cli::entry::fingerprint;
use crate::cli::experiments::{every, load_all};
use crate::cli::interrupt;
use crate::cli::output::{count, stdout};
use crate::identity::Fingerprint;
use crate::kind::text::visible;
use crate::plan::{Plan, Status};
use crate::store::Store;

/// Write entries to one file, for the store of another machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge store export all.zip                                     every entry
  medmerge store export main.zip --experiment experiments/main.toml
  medmerge store export two.zip 1f0c9a 77ab                         first digits are enough

There: medmerge store import main.zip
The same entries give the same bytes.")]
pub(in crate::cli) struct Export {
    /// File to write; an existing one is replaced
    #[arg(value_name = "ARCHIVE.zip")]
    archive: PathBuf,
    /// Export the results of an experiment; a folder stands for every .toml file in it; may be repeated
    #[arg(long, value_name = "FILE")]
    experiment: Vec<PathBuf>,
    /// Entries to export
    #[arg(value_name = "FINGERPRINT")]
    fingerprints: Vec<String>,
    #[command(flatten)]
    on: OnDevice,
}

impl Export {
    pub(super) fn execute(&self, store: &Store) -> Result<(), Error> {
        let named = every(self.fingerprints.iter().map(|prefix| fingerprint(store, prefix)))?;
        let mut entries: BTreeSet<_> = named.into_iter().collect();
        if self.experiment.is_empty() && self.fingerprints.is_empty() {
            entries.extend(store.fingerprints()?);
        }
        entries.extend(self.made(store)?);
        if entries.is_empty() {
            let root = store.root().display();
            return Err(Error::Usage(format!(
                "failed to find anything to export in {root}; run the experiment first, or set the --device \
                 on which it ran"
            )));
        }
        let bytes = store.export(&entries, &self.archive, &*interrupt::listen()?)?;
        let (archive, number) =
            (self.archive.display().to_string(), count(entries.len(), "entry", "entries"));
        Ok(writeln!(stdout(), "{}: {number}, {:.1} MiB", visible(&archive), mib(bytes))?)
    }

    /// The entries of the experiments' stages; warns about missing ones.
    fn made(&self, store: &Store) -> Result<Vec<Fingerprint>, Error> {
        let experiments = load_all(&self.experiment, &[])?;
        let plan = |experiment| Ok(Plan::new(Arc::clone(experiment), store, self.on.numerics())?);
        let mut made = Vec::new();
        for plan in every(experiments.iter().map(plan))? {
            let stages = plan.stages();
            let (fresh, missing): (Vec<_>, Vec<_>) = stages.partition(|stage| stage.status == Status::Fresh);
            made.extend(fresh.into_iter().map(|stage| stage.fingerprint));
            if !missing.is_empty() {
                let missing: Vec<_> = missing.into_iter().map(|stage| stage.id.as_str()).collect();
                let (name, missing) = (&plan.experiment.name, missing.join(", "));
                tracing::warn!(
                    "the archive of {name} is incomplete; these stages have not finished: {missing}"
                );
            }
        }
        Ok(made)
    }
}
