//! What stages read from outside: summaries of data sets and digests of files, each read once, in parallel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::{PlannedDataset, dataset_fingerprint};
use crate::dataset::{DataError, DatasetSpec, Summary};
use crate::experiment::{Experiment, StageInstance};

/// What the stages of an experiment read.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// By index into [`Experiment::datasets`]; only those that a stage reads.
    pub(super) datasets: BTreeMap<usize, Arc<PlannedDataset>>,
    /// blake3 of the content of each file that a stage names.
    pub(super) files: BTreeMap<PathBuf, String>,
}

/// Side of the images in pixels, and the summary.
pub(super) type Look = (usize, Summary);

/// Looks at a data set without decoding images.
pub(super) fn look(spec: &DatasetSpec) -> Result<Look, DataError> {
    let source = spec.source();
    let summary = source.summary()?;
    Ok((source.size(), summary))
}

/// Looks at every data set and file that a stage reads.
///
/// # Errors
/// Every one that cannot be used.
pub(super) fn read(
    experiment: &Experiment,
    look: impl Fn(&DatasetSpec) -> Result<Look, DataError> + Sync,
) -> Result<Data, Vec<DataError>> {
    let mut errors = Vec::new();
    let datasets = datasets(experiment, look, &mut errors);
    let files = digests(&experiment.stages, &mut errors);
    if errors.is_empty() { Ok(Data { datasets, files }) } else { Err(errors) }
}

fn datasets(
    experiment: &Experiment,
    look: impl Fn(&DatasetSpec) -> Result<Look, DataError> + Sync,
    errors: &mut Vec<DataError>,
) -> BTreeMap<usize, Arc<PlannedDataset>> {
    let used: BTreeSet<usize> = experiment.stages.iter().flat_map(|stage| &stage.datasets).copied().collect();
    let spec = |index: usize| &experiment.datasets[index].spec;
    let mut distinct: Vec<&DatasetSpec> = Vec::new();
    for &index in &used {
        if !distinct.contains(&spec(index)) {
            distinct.push(spec(index));
        }
    }
    let looks: Vec<_> = distinct.par_iter().map(|spec| look(spec)).collect();
    let looks: Vec<Option<Look>> = looks.into_iter().map(|look| keep(look, errors)).collect();
    let planned = |index: usize| {
        let position = distinct.iter().position(|distinct| *distinct == spec(index))?;
        Some((index, Arc::new(planned(experiment, index, looks[position].clone()?))))
    };
    used.into_iter().filter_map(planned).collect()
}

fn planned(experiment: &Experiment, index: usize, (size, summary): Look) -> PlannedDataset {
    let instance = &experiment.datasets[index];
    let fingerprint = dataset_fingerprint(&instance.spec, &summary).0;
    let (name, at, spec) = (instance.name.clone(), instance.at.clone(), instance.spec.clone());
    PlannedDataset { name, at, spec, size, summary, fingerprint }
}

fn digests(stages: &[StageInstance], errors: &mut Vec<DataError>) -> BTreeMap<PathBuf, String> {
    let files =
        stages.iter().flat_map(|stage| stage.spec.stage().files().into_iter().zip(std::iter::repeat(stage)));
    let users: BTreeMap<PathBuf, &StageInstance> = files.collect();
    let users: Vec<_> = users.into_iter().collect();
    let digests: Vec<_> = users.par_iter().map(|(path, user)| digest(path, &user.name)).collect();
    let digests = users.into_iter().zip(digests).map(|((path, _), digest)| (path, digest));
    digests.filter_map(|(path, digest)| Some((path, keep(digest, errors)?))).collect()
}

fn digest(path: &Path, user: &str) -> Result<String, DataError> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize()));
    read.map(|digest| digest.to_hex().to_string()).map_err(|error| DataError {
        path: path.to_path_buf(),
        place: None,
        message: format!("failed to read the file that the stage `{user}` takes: {error}; put it there, or correct its path"),
    })
}

fn keep<T, E>(result: Result<T, E>, errors: &mut Vec<E>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::testing::{experiment, import, phantom, summary};
    use super::*;
    use crate::dataset::phantom::Family;

    #[test]
    fn equal_data_sets_are_looked_at_once_and_unused_ones_never() {
        let mut experiment = experiment();
        experiment.datasets.push(phantom("unused", Family::Xray));
        experiment.datasets.push(phantom("cells_again", Family::Cells));
        experiment.stages[0].datasets = vec![0, experiment.datasets.len() - 1];
        let looks = AtomicUsize::new(0);
        let data = read(&experiment, |_| {
            looks.fetch_add(1, Ordering::Relaxed);
            Ok((28, summary([[1, 1]; 3])))
        });
        let data = data.unwrap();
        assert_eq!(looks.into_inner(), 2, "cells and fundus");
        assert_eq!(data.datasets.len(), 3);
        assert_eq!(data.datasets[&0].fingerprint, data.datasets[&3].fingerprint, "the name is not in it");
    }

    #[test]
    fn everything_that_cannot_be_read_is_reported_at_once() {
        let mut experiment = experiment();
        experiment.stages.push(import("first", "/no/such/first.pth"));
        experiment.stages.push(import("second", "/no/such/second.pth"));
        let missing = |_: &DatasetSpec| {
            Err(DataError { path: "cells.npz".into(), place: None, message: "no such file".into() })
        };
        let errors = read(&experiment, missing).unwrap_err();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4, "{errors:#?}");
        assert!(
            errors[2].starts_with("/no/such/first.pth: failed to read the file that the stage `first` takes")
        );
    }

    #[test]
    fn a_file_enters_by_its_content_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a.pth", "b.pth"].map(|name| folder.path().join(name));
        let mut experiment = experiment();
        for path in &paths {
            std::fs::write(path, b"weights").unwrap();
            experiment.stages.push(import("imported", path));
        }
        let data = read(&experiment, |_| Ok((28, summary([[1, 1]; 3])))).unwrap();
        assert_eq!(data.files[&paths[0]], data.files[&paths[1]]);
        assert_eq!(data.files[&paths[0]], blake3::hash(b"weights").to_hex().as_str());
    }
}
