//! An experiment as a folder for other programs.
//!
//! | file | what |
//! |---|---|
//! | `tensorboard` | the epochs of every training, as event files |
//! | `medmnist` | predictions as the evaluation files of MedMNIST |
//! | `ro_crate` | inputs, software, parameters and results as a Workflow Run RO-Crate |
//! | `event_file`, `crc32c` | TensorBoard's format of files |

mod crc32c;
mod event_file;
mod medmnist;
mod ro_crate;
mod tensorboard;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::export::folder;
use crate::error::Error;
use crate::merge_files::FileError;
use crate::plan::Plan;
use crate::store::Store;

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TensorBoard's event files.
    Tensorboard,
    /// MedMNIST's evaluation files.
    Medmnist,
    /// A Workflow Run RO-Crate.
    RoCrate,
}

/// An experiment to export.
#[derive(Debug)]
pub struct Records<'a> {
    /// Its plan.
    pub plan: &'a Plan,
    /// The store with what its stages made.
    pub store: &'a Store,
    /// Files of its results, for a crate.
    pub results: Vec<PathBuf>,
    /// License of a crate, as a URL.
    pub license: Option<String>,
    /// Who ran the experiment, for a crate.
    pub author: Option<String>,
}

impl Records<'_> {
    /// Write the folder, which must not exist or be empty. Returns what it has: `12 event files`.
    ///
    /// # Errors
    /// The store lacks what is exported, the folder cannot be written, or `interrupt` was raised.
    pub fn write(&self, format: Format, folder: &Path, interrupt: &AtomicBool) -> Result<String, Error> {
        let mut summary = String::new();
        folder::whole(folder, interrupt, |folder| {
            summary = self.fill(format, folder)?;
            Ok(())
        })?;
        Ok(summary)
    }

    fn fill(&self, format: Format, folder: &Path) -> Result<String, Error> {
        let (number, what) = match format {
            Format::Tensorboard => {
                (tensorboard::write(self.plan, self.store, folder)?, ["event file", "event files"])
            }
            Format::Medmnist => {
                (medmnist::write(self.plan, self.store, folder)?, ["evaluation file", "evaluation files"])
            }
            Format::RoCrate => (ro_crate::write(self, folder)?, ["entity", "entities"]),
        };
        Ok(format!("{number} {}", if number == 1 { what[0] } else { what[1] }))
    }
}

/// There is nothing to export.
fn nothing(plan: &Plan, what: &str) -> Error {
    let experiment = &plan.experiment;
    Error::Usage(format!(
        "failed to find {what} of {} in the store; run it first: medmerge run {}",
        experiment.name,
        experiment.source.path.display()
    ))
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    fs::write(path, content).map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |error| FileError::Write { path: path.clone(), problem: error.to_string() }.into()
}
