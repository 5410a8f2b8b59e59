//! The argument MODEL.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::entry::{made, named};
use super::experiments::Overrides;
use super::{Error, Global};
use crate::deploy::source::Source;
use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::store::Store;

/// A finished model.
#[derive(Debug, Args)]
pub(super) struct NamedModel {
    /// A .safetensors file, a folder of `medmerge export` or timm, a fingerprint, or with --experiment the name or id of
    /// a stage
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Take the model that a stage of this experiment made
    #[arg(long, value_name = "FILE")]
    experiment: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    pub(super) on: OnDevice,
}

impl NamedModel {
    /// The plan of an experiment that is named in place of a model.
    ///
    /// # Errors
    /// There is no such file, it has errors, or a stage is named, too.
    pub(super) fn plan(&self, store: &Store) -> Result<Plan, Error> {
        if self.experiment.is_some() {
            let message =
                "--experiment is for a stage's model; name the experiment file in place of the model";
            return Err(Error::Usage(message.into()));
        }
        let experiment = Experiment::load_with(&self.model, &self.overrides.set)?;
        Ok(Plan::new(Arc::new(experiment), store, self.on.numerics())?)
    }

    /// # Errors
    /// There is no such model.
    pub(super) fn open(&self, global: &Global) -> Result<Source, Error> {
        let name = self.model.to_string_lossy();
        if let Some(experiment) = &self.experiment {
            let store = global.open_store_to_read()?;
            let entry = made(&name, experiment, &self.overrides.set, &self.on, &store)?;
            return Source::of_entry(&store, &entry);
        }
        self.overrides.check_unused()?;
        if self.model.exists() {
            // A user who only received the file has no store.
            return Source::of_path(&self.model, Store::existing(&global.store).ok().as_ref());
        }
        let store = global.open_store_to_read()?;
        Source::of_entry(&store, &named(&store, &name)?)
    }
}
