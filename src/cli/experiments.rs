//! Experiments and plans that commands are about.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use crate::error::Error;
use crate::experiment::Experiment;
use crate::plan::{Plan, PlannedStage};
use crate::store::Store;

/// Arguments of commands about one experiment.
#[derive(Debug, Args)]
pub(super) struct OneFile {
    /// Experiment file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    on: OnDevice,
}

impl OneFile {
    pub(super) fn plan(&self, store: &Store) -> Result<Plan, Error> {
        Ok(Plan::new(load(&self.file)?, store, self.on.numerics())?)
    }
}

fn load(file: &Path) -> Result<Arc<Experiment>, Error> {
    Ok(Arc::new(Experiment::load(file)?))
}

/// Every experiment of these files; a folder means each `.toml` in it, by name.
///
/// # Errors
/// What is wrong with each of the files.
pub(super) fn load_all(paths: &[PathBuf]) -> Result<Vec<Arc<Experiment>>, Error> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(if path.is_dir() { toml_files(path)? } else { vec![path.clone()] });
    }
    every(files.iter().map(|file| load(file)))
}

/// All values, or all errors.
pub(super) fn every<T>(results: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut errors = Vec::new();
    let values = results.filter_map(|result| result.map_err(|error| errors.push(error)).ok()).collect();
    Error::all(errors).map(|()| values)
}

fn toml_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable =
        |error: std::io::Error| Error::Read { path: folder.to_owned(), message: error.to_string() };
    let entries = fs::read_dir(folder).map_err(unreadable)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut files = paths.map_err(unreadable)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        let message = "there is no .toml file in this folder; name an experiment file".to_owned();
        return Err(Error::Read { path: folder.to_owned(), message });
    }
    Ok(files)
}

/// The stages of that name or id, in the order of the plan.
///
/// # Errors
/// There is none; the message suggests one.
pub(super) fn stages_named<'p>(plan: &'p Plan, name: &str) -> Result<Vec<&'p PlannedStage>, Error> {
    let stages = plan.order.iter().map(|&node| &plan.graph[node]);
    let named: Vec<_> = stages.clone().filter(|stage| stage.id == name || stage.name == name).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let candidates = stages.flat_map(|stage| [&stage.name, &stage.id]);
    let similarity = |candidate: &&String| (strsim::jaro_winkler(candidate, name) * 1e6) as u64;
    let nearest = candidates.max_by_key(similarity).map(|nearest| format!("; did you mean {nearest:?}?"));
    let path = plan.experiment.source.path.display();
    Err(Error::Usage(format!("failed to find a stage {name:?} in {path}{}", nearest.unwrap_or_default())))
}
