//! `medmerge show`.

mod json;
mod python;
mod text;
mod weights;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use safetensors::SafeTensors;

use super::device::OnDevice;
use super::entry::{made, named};
use super::experiments::Overrides;
use super::output::stdout;
use super::{Error, Global};
use crate::identity::Fingerprint;
use crate::merge_files::not_safetensors;
use crate::stage::{Artifact, Description, ModelInfo};
use crate::store::{Lineage, Manifest, Store, checkpoint, map_file, provenance};
use weights::SourceWeights;

/// The kind of stages whose result is not a model.
const LEARNING: &str = "learn_merge_weights";

/// The kind of stages that copy the best of several models.
const SELECTING: &str = "select";

/// Show the origins of a checkpoint or store entry, down to its sources
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge show .medmerge/store/1f/1f0c…/model.safetensors
  medmerge show 1f0c9a                     the first digits of a fingerprint are enough
  medmerge show 1f0c9a --json              everything, for programs
  medmerge show 'merged[seed=0]' --experiment experiments/main.toml
                                           what a stage made

What a stage took from stands below it. A checkpoint that was copied elsewhere tells what it and its
ancestors depend on; names of stages and data sets are in the store. For a model, the path of its
file and the lines of Python that load it are printed; for a selected one, the scores of all
candidates, too. Of merge weights, mean and standard deviation over the kernels of each layer are
printed, and the share of kernels for which each source has the largest weight in magnitude.")]
pub(super) struct Show {
    /// A .safetensors file, a fingerprint, or with --experiment the name or id of a stage
    #[arg(value_name = "FILE.safetensors|FINGERPRINT|STAGE")]
    what: PathBuf,
    /// Show what a stage of this experiment made
    #[arg(long, value_name = "FILE")]
    experiment: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    on: OnDevice,
    /// Show every option of every stage, and every tensor
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that can be shown.
struct Shown {
    /// The file of a model, and what is known of it.
    model: Option<(PathBuf, ModelInfo)>,
    /// `None` for a file that medmerge did not write.
    lineage: Option<Lineage>,
    /// The manifest of an entry.
    manifest: Option<Manifest>,
    /// For a selected model: the log, which holds the scores of the candidates.
    selection: Option<String>,
    /// Metadata of a file, except its provenance.
    metadata: BTreeMap<String, String>,
    /// Name, type and shape of each tensor of a file.
    tensors: Vec<(String, String, Vec<usize>)>,
    /// Statistics of merge weights.
    weights: Vec<SourceWeights>,
}

impl Show {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        if self.experiment.is_none() {
            self.overrides.check_unused()?;
        }
        let shown = if let Some(experiment) = &self.experiment {
            let store = global.open_store_to_read()?;
            let name = self.what.to_string_lossy();
            of_entry(&store, &made(&name, experiment, &self.overrides.set, &self.on, &store)?)?
        } else if self.what.is_file() {
            // A user who only received the file has no store.
            of_file(&self.what, Store::existing(&global.store).ok().as_ref())?
        } else {
            let store = global.open_store_to_read()?;
            of_entry(&store, &named(&store, &self.what.to_string_lossy())?)?
        };
        if self.json {
            return Ok(writeln!(std::io::stdout(), "{}", json::json(&shown).trim_end())?);
        }
        Ok(writeln!(stdout(), "{}", text::text(&shown, self.all).trim_end())?)
    }
}

fn of_file(path: &Path, store: Option<&Store>) -> Result<Shown, Error> {
    let unreadable = |message: String| Error::Read { path: path.to_owned(), message };
    let map = map_file(path).map_err(|error| unreadable(error.to_string()))?;
    let (_, header) = SafeTensors::read_metadata(&map).map_err(|error| {
        let problem = not_safetensors(&map, &error);
        unreadable(format!("{problem}; how to import one: medmerge guide own-data-and-checkpoints"))
    })?;
    let mut metadata: BTreeMap<_, _> = header.metadata().clone().unwrap_or_default().into_iter().collect();
    let mut tensors: Vec<_> = header
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, format!("{:?}", tensor.dtype), tensor.shape.clone()))
        .collect();
    tensors.sort();
    let Some(says) = provenance::provenance(path)? else {
        return Ok(Shown {
            model: None,
            lineage: None,
            manifest: None,
            selection: None,
            metadata,
            tensors,
            weights: Vec::new(),
        });
    };
    metadata.remove(checkpoint::KEY);
    let is_model = says.kind != LEARNING;
    let model = is_model.then(|| (path.to_owned(), says.info.clone()));
    let lineage = Lineage::of_checkpoint(&says, store)?;
    let weights = match says.kind == LEARNING {
        true => weights::source_weights(says.info, checkpoint::load(path)?.0, &lineage)
            .map_err(|error| unreadable(error.to_string()))?,
        false => Vec::new(),
    };
    let lineage = Some(lineage);
    Ok(Shown { model, lineage, manifest: None, selection: None, metadata, tensors, weights })
}

fn of_entry(store: &Store, fingerprint: &Fingerprint) -> Result<Shown, Error> {
    let (short, root) = (fingerprint.short(), store.root().display());
    let gone = || Error::Usage(format!("entry {short} of {root} is damaged and was set aside"));
    let manifest = store.manifest(fingerprint)?.ok_or_else(gone)?;
    let lineage = Lineage::of_entry(store, fingerprint)?;
    let unreadable = |error: candle_core::Error| Error::Read {
        path: store.root().to_owned(),
        message: format!("the merge weights of {short}: {error}"),
    };
    let model = match &manifest.header.description {
        Description::Model(info) => store.model_file(&manifest).map(|path| (path, info.clone())),
        _ => None,
    };
    let weights = match manifest.header.kind == LEARNING {
        true => match store.get(fingerprint)? {
            Artifact::MergeWeights(learned) => {
                weights::source_weights(learned.info, learned.tensors, &lineage).map_err(unreadable)?
            }
            _ => Vec::new(),
        },
        false => Vec::new(),
    };
    let selection = (manifest.header.kind == SELECTING).then(|| store.log(&manifest)).transpose()?.flatten();
    let (metadata, tensors) = (BTreeMap::new(), Vec::new());
    let (lineage, manifest) = (Some(lineage), Some(manifest));
    Ok(Shown { model, lineage, manifest, selection, metadata, tensors, weights })
}
