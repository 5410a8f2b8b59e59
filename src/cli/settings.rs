//! Settings files: the user's `medmerge/settings.toml` in the folder of settings, and a project's `medmerge.toml`.

use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;
use crate::run::ExecutorKind;
use crate::run::executor::slurm;

/// The settings file of a project, in the folder where `medmerge` runs.
pub(super) const PROJECT: &str = "medmerge.toml";

/// A settings file. None of it affects results.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    executor: Executors,
}

/// `[executor.<kind>]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Executors {
    slurm: slurm::Settings,
}

/// Settings of Slurm: of flags, else of `--jobs`, of the project, or of the user. `None` if another executor is used.
///
/// # Errors
/// A settings file or a flag is invalid, or a flag is given for another executor.
pub(super) fn slurm(
    executor: ExecutorKind,
    flags: &slurm::Settings,
    jobs: Option<NonZeroUsize>,
) -> Result<Option<slurm::Settings>, Error> {
    if executor != ExecutorKind::Slurm {
        return match *flags == slurm::Settings::default() {
            true => Ok(None),
            false => Err(Error::Usage("a --slurm flag is for Slurm alone; add --executor slurm".into())),
        };
    }
    let jobs = slurm::Settings { allocations: jobs.map(NonZeroUsize::get), ..slurm::Settings::default() };
    let mut all = flags.clone().or(jobs);
    all.check().map_err(|message| Error::Usage(format!("failed to use a --slurm flag: {message}")))?;
    for path in [Some(PathBuf::from(PROJECT)), users()].into_iter().flatten() {
        let Settings { executor: Executors { slurm } } = read(&path)?;
        slurm.check().map_err(|message| invalid(&path, &message))?;
        all = all.or(slurm);
    }
    Ok(Some(all))
}

/// The user's settings file.
fn users() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let settings = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(settings.join("medmerge").join("settings.toml"))
}

/// Read a settings file; without one, nothing is set.
fn read(path: &Path) -> Result<Settings, Error> {
    let text = match fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Settings::default());
        }
        text => text.map_err(|error| invalid(path, &error.to_string()))?,
    };
    toml::from_str(&text).map_err(|error| invalid(path, error.to_string().trim_end()))
}

fn invalid(path: &Path, message: &str) -> Error {
    Error::Usage(format!("failed to read the settings {}: {message}", path.display()))
}
