//! One data set of an experiment, by name.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Error;
use crate::cli::experiments::{OneExperiment, did_you_mean};
use crate::experiment::{DatasetInstance, Experiment};
use crate::kind::file::{beside, publish};
use crate::merge_files::FileError;

/// A data set, and the file to write about it.
#[derive(Debug, Args)]
pub(super) struct OneDataset {
    #[command(flatten)]
    of: OneExperiment,
    /// Name of the data set, with the values of its axes if it has several: 'ham[fold=0]'
    #[arg(long, value_name = "NAME")]
    dataset: String,
    /// File to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

impl OneDataset {
    /// The experiment.
    ///
    /// # Errors
    /// It is invalid, or the file to write exists.
    pub(super) fn load(&self) -> Result<Experiment, Error> {
        if self.out.exists() && !self.force {
            return Err(exists(&self.out));
        }
        self.of.load()
    }

    /// The data set.
    ///
    /// # Errors
    /// There is none with this name, or several that differ.
    pub(super) fn find<'e>(&self, experiment: &'e Experiment) -> Result<&'e DatasetInstance, Error> {
        let is_named =
            |dataset: &&DatasetInstance| dataset.name == self.dataset || dataset.id() == self.dataset;
        let found: Vec<&DatasetInstance> = experiment.datasets.iter().filter(is_named).collect();
        match found.as_slice() {
            [] => Err(self.unknown(experiment)),
            [first, others @ ..] if others.iter().all(|other| is_same(first, other)) => Ok(first),
            several => Err(self.ambiguous(several)),
        }
    }

    fn unknown(&self, experiment: &Experiment) -> Error {
        let names = experiment.datasets.iter().map(|dataset| dataset.name.as_str());
        let (name, path) = (&self.dataset, experiment.source.path.display());
        let nearest = did_you_mean(name, names);
        Error::Usage(format!("failed to find a data set {name:?} in {path}{nearest}"))
    }

    fn ambiguous(&self, several: &[&DatasetInstance]) -> Error {
        let ids: Vec<String> = several.iter().map(|dataset| dataset.id()).collect();
        let (name, ids) = (&self.dataset, ids.join(", "));
        Error::Usage(format!("the data set {name:?} depends on axes; choose one of {ids}"))
    }

    /// The file to write.
    pub(super) fn out(&self) -> &Path {
        &self.out
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written, or exists now.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let written = beside(&self.out).and_then(|mut file| {
            file.write_all(bytes)?;
            publish(file, &self.out, self.force)
        });
        written.map(drop).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(&self.out),
            _ => FileError::Write { path: self.out.clone(), problem: error.to_string() }.into(),
        })
    }
}

fn is_same(a: &DatasetInstance, b: &DatasetInstance) -> bool {
    a.spec == b.spec && a.labels == b.labels
}

fn exists(path: &Path) -> Error {
    let path = path.display();
    Error::Usage(format!("{path} already exists; choose another --out, or replace it with --force"))
}
