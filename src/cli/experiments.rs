//! Arguments for experiments and plans, shared by commands.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::device::OnDevice;
use super::settings::PROJECT;
use crate::error::Error;
use crate::experiment::{Experiment, Override, Source, share_out};
use crate::kind::text::visible;
use crate::plan::{Plan, PlannedStage};
use crate::store::Store;

/// Overrides of keys in experiment files, before they are checked.
#[derive(Debug, Args)]
pub(super) struct Overrides {
    /// Override a key of the experiment file before it is checked; may be repeated
    ///
    /// KEY is the dotted path of a key in an existing section, as in train.epochs=5,
    /// stage.final.optimizer.adamw.lr=1e-4, dataset.fundus.train=100 or 'sweep.seed=[0, 1]'; the kind of a stage or
    /// data set is optional. VALUE is TOML; anything that is not valid TOML is a string, as in stage.final.from=merged.
    ///
    /// As in the file, [train] sets defaults: train.epochs=1 does not affect stages with their own epochs. With several
    /// files, each takes the overrides for its sections: train.epochs=1 applies to all of them, stage.final.epochs=1 to
    /// those with a stage `final`; at least one must have it.
    ///
    /// Results are written to the folder with the experiment's name. Give a trial its own name: experiment.name=trial.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<Override>,
}

impl Overrides {
    /// # Errors
    /// There are some, although no experiment is given.
    pub(super) fn check_unused(&self) -> Result<(), Error> {
        match self.set.is_empty() {
            true => Ok(()),
            false => Err(Error::Usage("--set changes an experiment: add --experiment FILE".into())),
        }
    }
}

/// Arguments of commands about one experiment.
#[derive(Debug, Args)]
pub(super) struct OneExperiment {
    /// Experiment file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

impl OneExperiment {
    /// # Errors
    /// All errors in the file.
    pub(super) fn load(&self) -> Result<Experiment, Error> {
        Ok(Experiment::load_with(&self.file, &self.overrides.set)?)
    }
}

/// Arguments of commands about the plan of one experiment.
#[derive(Debug, Args)]
pub(super) struct OneFile {
    #[command(flatten)]
    of: OneExperiment,
    #[command(flatten)]
    on: OnDevice,
}

impl OneFile {
    pub(super) fn plan(&self, store: &Store) -> Result<Plan, Error> {
        let plan = Plan::new(Arc::new(self.of.load()?), store, self.on.numerics())?;
        warn(std::slice::from_ref(&plan));
        Ok(plan)
    }
}

/// Arguments of commands about any number of experiments.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// Experiment files; a folder stands for every .toml file in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Files {
    /// Load the experiments in these files; a folder stands for every `.toml` file in it, by name.
    ///
    /// # Errors
    /// All errors in all files.
    pub(super) fn load(&self) -> Result<Vec<Arc<Experiment>>, Error> {
        let experiments = load_all(&self.files, &self.overrides.set)?;
        check_names(&experiments)?;
        Ok(experiments)
    }
}

/// Load the experiments in these files with overrides; a folder stands for every `.toml` file in it, by name.
///
/// # Errors
/// All errors in all files.
pub(super) fn load_all(paths: &[PathBuf], overrides: &[Override]) -> Result<Vec<Arc<Experiment>>, Error> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(if path.is_dir() { toml_files(path)? } else { vec![path.clone()] });
    }
    let mut sources: Vec<_> = files.iter().map(|file| Source::read(file)).collect();
    share_out(overrides, &mut sources.iter_mut().flatten().collect::<Vec<_>>());
    every(sources.into_iter().map(|source| Ok(Arc::new(Experiment::parse(source?)?))))
}

/// Checks that different files have different names: the results of one would overwrite those of another.
fn check_names(experiments: &[Arc<Experiment>]) -> Result<(), Error> {
    let mut files: HashMap<&str, &Path> = HashMap::new();
    let twice = experiments.iter().filter_map(|experiment| {
        let file = experiment.source.path.as_path();
        let first = *files.entry(&experiment.name).or_insert(file);
        (first != file).then(|| {
            let (first, file) = (first.display(), file.display());
            Error::Usage(format!(
                "{first} and {file} have the same `name`, `{}`: their results would overwrite each other; give one of them \
                 another",
                experiment.name
            ))
        })
    });
    Error::all(twice.collect())
}

/// Log the warnings of the plans, each once.
pub(super) fn warn(plans: &[Plan]) {
    let warnings: BTreeSet<&String> = plans.iter().flat_map(|plan| &plan.warnings).collect();
    warnings.into_iter().for_each(|warning| tracing::warn!("{}", visible(warning)));
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
    files.retain(|path| path.file_name().is_none_or(|name| name != PROJECT));
    files.sort();
    if files.is_empty() {
        let message = "there is no .toml file in this folder; pass an experiment file".to_owned();
        return Err(Error::Read { path: folder.to_owned(), message });
    }
    Ok(files)
}

/// The stages with a name or an id, in plan order.
///
/// # Errors
/// There is none; the message suggests a similar name.
pub(super) fn stages_named<'p>(plan: &'p Plan, name: &str) -> Result<Vec<&'p PlannedStage>, Error> {
    let named = plan.called(name);
    if !named.is_empty() {
        return Ok(named.into_iter().map(|node| plan.stage(node)).collect());
    }
    let path = plan.experiment.source.path.display();
    let nearest = did_you_mean(name, names(plan));
    Err(Error::Usage(format!("failed to find a stage {name:?} in {path}{nearest}")))
}

/// Names and ids of all stages.
pub(super) fn names(plan: &Plan) -> impl Iterator<Item = &str> {
    plan.stages().flat_map(|stage| [stage.name.as_str(), &stage.id])
}

/// The end of a message, which suggests the most similar candidate.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let similarity = |candidate: &&str| (strsim::jaro_winkler(candidate, word) * 1e6) as u64;
    let nearest = candidates.max_by_key(similarity);
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest:?}?"))
}
