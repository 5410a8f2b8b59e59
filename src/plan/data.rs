//! External data of stages: summaries of data sets and digests of files. Each is read once, in parallel, and cached for
//! later plans until its files change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::{PlannedDataset, dataset_fingerprint};
use dataset::{DataError, DatasetSpec, Summary};
use experiment::{DatasetInstance, Experiment, StageInstance};
use store::Digests;
use store::outside::Look;

/// External data of an experiment's stages.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Data sets, by index into [`Experiment::datasets`]; only those that a stage reads.
    pub(super) datasets: BTreeMap<usize, Arc<PlannedDataset>>,
    /// BLAKE3 hash of each file that a stage reads.
    pub(super) files: BTreeMap<PathBuf, String>,
}

impl Data {
    /// See [`warnings`].
    pub(super) fn warnings(&self, experiment: &Experiment) -> BTreeSet<String> {
        warnings(
            self.datasets.iter().map(|(index, planned)| (&experiment.datasets[*index], &planned.summary)),
        )
    }
}

/// Warnings about data sets, without duplicates: what is true of one at several values of its axes comes once.
pub fn warnings<'a>(
    datasets: impl IntoIterator<Item = (&'a DatasetInstance, &'a Summary)>,
) -> BTreeSet<String> {
    let mut warnings = BTreeSet::new();
    let mut concerns: IndexMap<(&str, String), Vec<String>> = IndexMap::new();
    for (dataset, summary) in datasets {
        warnings.extend(summary.warnings.iter().cloned());
        for concern in summary.concerns() {
            concerns.entry((&dataset.name, concern)).or_default().push(dataset.id());
        }
    }
    let sentence = |((name, concern), ids): ((&str, String), Vec<String>)| {
        let more = match ids.len() {
            1 => String::new(),
            several => format!(", and {} more of `{name}`,", several - 1),
        };
        format!("data set `{}`{more} {concern}", ids[0])
    };
    warnings.extend(concerns.into_iter().map(sentence));
    warnings
}

/// Looks at every data set and file that a stage reads, unless what was seen in it is remembered.
///
/// # Errors
/// Every data set and file that cannot be used.
pub(super) fn read(
    experiment: &Experiment,
    digests: &Digests<'_>,
    look: impl Fn(&DatasetSpec) -> Result<Look, DataError> + Sync,
) -> Result<Data, Vec<DataError>> {
    let mut errors = Vec::new();
    let datasets = datasets(experiment, |spec| digests.look_once(spec, &look), &mut errors);
    let files = files(&experiment.stages, digests, &mut errors);
    errors.extend(unexpected(&experiment.stages, digests));
    if errors.is_empty() { Ok(Data { datasets, files }) } else { Err(errors) }
}

fn datasets(
    experiment: &Experiment,
    look: impl Fn(&DatasetSpec) -> Result<Look, DataError> + Sync,
    errors: &mut Vec<DataError>,
) -> BTreeMap<usize, Arc<PlannedDataset>> {
    let used: BTreeSet<usize> = experiment.stages.iter().flat_map(|stage| &stage.datasets).copied().collect();
    let spec = |index: usize| &experiment.datasets[index].spec;
    // Compared as text: specs contain floats, which cannot be hashed.
    let used: Vec<(usize, String)> =
        used.into_iter().map(|index| (index, format!("{:?}", spec(index)))).collect();
    let distinct: IndexMap<&str, &DatasetSpec> =
        used.iter().map(|(index, text)| (text.as_str(), spec(*index))).collect();
    let specs: Vec<&DatasetSpec> = distinct.values().copied().collect();
    let looks: Vec<_> = specs.par_iter().map(|spec| look(spec)).collect();
    let looks: Vec<Option<Look>> = looks.into_iter().map(|look| keep(look, errors)).collect();
    let planned = |(index, text): &(usize, String)| {
        let look = looks[distinct.get_index_of(text.as_str())?].clone()?;
        Some((*index, Arc::new(keep(planned(experiment, *index, look), errors)?)))
    };
    used.iter().filter_map(planned).collect()
}

fn planned(
    experiment: &Experiment,
    index: usize,
    (size, summary): Look,
) -> Result<PlannedDataset, DataError> {
    let DatasetInstance { name, at, spec, labels, .. } = experiment.datasets[index].clone();
    let labels = labels.effective(&summary);
    let fingerprint = dataset_fingerprint(&spec, labels, &summary);
    let summary = labels.summary_of(&spec, summary)?;
    Ok(PlannedDataset { name, at, spec, labels, size, summary, fingerprint })
}

/// The digest of each file that a stage reads.
fn files(
    stages: &[StageInstance],
    digests: &Digests<'_>,
    errors: &mut Vec<DataError>,
) -> BTreeMap<PathBuf, String> {
    let files = stages.iter().flat_map(|stage| stage.spec.files().into_iter().zip(std::iter::repeat(stage)));
    let users: BTreeMap<PathBuf, &StageInstance> = files.collect();
    let users: Vec<_> = users.into_iter().collect();
    let once = |path: &PathBuf, user: &StageInstance| {
        digests.file(path).map_err(|error| unreadable(path, &user.name, &error))
    };
    let digests: Vec<_> = users.par_iter().map(|(path, user)| once(path, user)).collect();
    let digests = users.into_iter().zip(digests).map(|((path, _), digest)| (path, digest));
    digests.filter_map(|(path, digest)| Some((path, keep(digest, errors)?))).collect()
}

/// The files that do not have the SHA-256 that a stage expects. Whether a stage is fresh makes no difference: its file
/// may be the wrong one all the same. Files that cannot be read are reported elsewhere.
fn unexpected(stages: &[StageInstance], digests: &Digests<'_>) -> Vec<DataError> {
    let expected: BTreeSet<_> = stages.iter().filter_map(|stage| stage.spec.expected_sha256()).collect();
    let expected: Vec<_> = expected.into_iter().collect();
    let error = |&(path, expected): &(&Path, &str)| {
        let found = digests.sha256(path).ok()?;
        let message =
            format!("its SHA-256 is {found}, expected {expected}; the file is damaged or a different one");
        let is_expected = found.starts_with(&expected.to_lowercase());
        (!is_expected).then(|| DataError { path: path.to_path_buf(), place: None, message })
    };
    expected.par_iter().filter_map(error).collect()
}

fn unreadable(path: &Path, user: &str, error: &std::io::Error) -> DataError {
    DataError {
        path: path.to_path_buf(),
        place: None,
        message: format!("failed to read the file of stage `{user}`: {error}; add it, or correct its path"),
    }
}

fn keep<T, E>(result: Result<T, E>, errors: &mut Vec<E>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::testing::{Lab, experiment, import, phantom, summary};
    use super::*;
    use dataset::phantom::Family;

    /// Read with a fixed summary for every data set; also returns how many were read.
    fn read_counting(experiment: &Experiment, digests: Digests<'_>) -> (Data, usize) {
        let looks = AtomicUsize::new(0);
        let look = |_: &DatasetSpec| {
            looks.fetch_add(1, Ordering::Relaxed);
            Ok((28, summary([[1, 1]; 3])))
        };
        let data = read(experiment, &digests, look).unwrap();
        (data, looks.into_inner())
    }

    #[test]
    fn equal_data_sets_are_read_once_and_unused_ones_never() {
        let mut experiment = experiment();
        experiment.datasets.push(phantom("unused", Family::Xray));
        experiment.datasets.push(phantom("cells_again", Family::Cells));
        experiment.stages[0].datasets = vec![0, experiment.datasets.len() - 1];
        let lab = Lab::new();
        let (data, looks) = read_counting(&experiment, Digests::new(&lab.store));
        assert_eq!(looks, 2, "cells and fundus");
        assert_eq!(data.datasets.len(), 3);
        assert_eq!(data.datasets[&0].fingerprint, data.datasets[&3].fingerprint, "the name is not in it");
    }

    #[test]
    fn a_file_is_read_once_for_all_label_budgets() {
        let mut experiment = experiment();
        let mut half = experiment.datasets[0].clone();
        half.labels.label_fraction = 0.5;
        experiment.datasets.push(half);
        experiment.stages[0].datasets = vec![0, experiment.datasets.len() - 1];
        let lab = Lab::new();
        let looks = AtomicUsize::new(0);
        let look = |_: &DatasetSpec| {
            looks.fetch_add(1, Ordering::Relaxed);
            Ok((28, summary([[8, 3], [4, 4], [2, 2]])))
        };
        let data = read(&experiment, &Digests::new(&lab.store), look).unwrap();
        assert_eq!(looks.into_inner(), 2, "cells and fundus");
        assert_eq!(data.datasets[&2].summary.counts, [[4, 2], [4, 4], [2, 2]]);
        assert_ne!(data.datasets[&0].fingerprint, data.datasets[&2].fingerprint);
    }

    #[test]
    fn everything_that_cannot_be_read_is_reported_at_once() {
        let mut experiment = experiment();
        experiment.stages.push(import("first", "/no/such/first.pth"));
        experiment.stages.push(import("second", "/no/such/second.pth"));
        let missing = |_: &DatasetSpec| {
            Err(DataError { path: "cells.npz".into(), place: None, message: "no such file".into() })
        };
        let errors = read(&experiment, &Digests::new(&Lab::new().store), missing).unwrap_err();
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4, "{errors:#?}");
        assert!(errors[2].starts_with("/no/such/first.pth: failed to read the file of stage `first`"));
    }

    #[test]
    fn a_file_is_identified_by_its_content_and_not_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a.pth", "b.pth"].map(|name| folder.path().join(name));
        let mut experiment = experiment();
        for path in &paths {
            std::fs::write(path, b"weights").unwrap();
            experiment.stages.push(import("imported", path));
        }
        let (data, _) = read_counting(&experiment, Digests::new(&Lab::new().store));
        assert_eq!(data.files[&paths[0]], data.files[&paths[1]]);
        assert_eq!(data.files[&paths[0]], blake3::hash(b"weights").to_hex().as_str());
    }

    /// [`experiment`] with a data set `cells` in a file of three bytes.
    #[cfg(unix)]
    fn with_file(folder: &Path) -> (PathBuf, Experiment) {
        let path = folder.join("cells.npz");
        std::fs::write(&path, "abc").unwrap();
        let mut experiment = experiment();
        let text = format!("medmnist = {{ path = {:?} }}", path.display().to_string());
        experiment.datasets[0].spec = toml::from_str(&text).unwrap();
        (path, experiment)
    }

    #[test]
    #[cfg(unix)]
    fn a_data_set_is_read_again_only_if_its_files_or_options_change() {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let (path, mut experiment) = with_file(folder.path());
        let looks = |experiment: &Experiment| read_counting(experiment, Digests::later(&lab.store)).1;
        assert_eq!(looks(&experiment), 2, "cells and fundus");
        assert_eq!(looks(&experiment), 1, "fundus has no file");
        let DatasetSpec::Medmnist(cells) = &mut experiment.datasets[0].spec else { panic!("a file") };
        cells.size = Some(64);
        assert_eq!((looks(&experiment), looks(&experiment)), (2, 1), "another size");
        std::fs::write(path, "abcd").unwrap();
        assert_eq!((looks(&experiment), looks(&experiment)), (2, 1), "another content");
    }

    #[test]
    #[cfg(unix)]
    fn f24_a_data_set_is_read_again_if_a_limit_changes_which_is_not_in_its_fingerprint() {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, "image,label,split\n").unwrap();
        let looks = |max_pixels: u64| {
            let mut experiment = experiment();
            let path = path.display().to_string();
            let text =
                format!("manifest = {{ path = {path:?}, size = 28, pixels.max_pixels = {max_pixels} }}");
            experiment.datasets[0].spec = toml::from_str(&text).unwrap();
            read_counting(&experiment, Digests::later(&lab.store)).1
        };
        assert_eq!((looks(1000), looks(1000)), (2, 1), "fundus has no file");
        assert_eq!((looks(10), looks(10)), (2, 1), "it may hold larger images");
    }

    #[test]
    fn f24_what_is_true_of_a_data_set_at_several_values_of_an_axis_is_reported_once() {
        let experiment = experiment();
        let mut cells = vec![experiment.datasets[0].clone(); 3];
        for (dataset, seed) in cells.iter_mut().zip(0..) {
            dataset.at.insert("seed".into(), experiment::AxisValue::Integer(seed));
        }
        let (few, enough) = (summary([[1, 9], [1, 1], [1, 1]]), summary([[9, 9], [1, 1], [1, 1]]));
        let told = |summaries: [&Summary; 3]| Vec::from_iter(warnings(cells.iter().zip(summaries)));
        let of = |which: &str| {
            vec![format!("data set {which} has fewer than 3 training images of `well` (1); add some")]
        };
        assert_eq!(told([&few, &few, &few]), of("`cells[seed=0]`, and 2 more of `cells`,"));
        assert_eq!(told([&enough, &few, &enough]), of("`cells[seed=1]`"));
    }

    #[test]
    #[cfg(unix)]
    fn a_cached_summary_equals_the_original() {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let (_, experiment) = with_file(folder.path());
        let [first, second] = [(); 2].map(|()| read_counting(&experiment, Digests::later(&lab.store)).0);
        assert_eq!(first.datasets[&0].summary, second.datasets[&0].summary);
        assert_eq!(first.datasets[&0].fingerprint, second.datasets[&0].fingerprint);
        assert_eq!(second.datasets[&0].size, 28);
    }

    #[test]
    #[cfg(unix)]
    fn a_replaced_checkpoint_is_noticed() {
        let (lab, folder) = (Lab::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("a.pth");
        let mut experiment = experiment();
        experiment.stages.push(import("imported", &path));
        let digest = |content: &str| {
            let beside = folder.path().join("beside");
            std::fs::write(&beside, content).unwrap();
            std::fs::rename(beside, &path).unwrap();
            [(); 2].map(|()| read_counting(&experiment, Digests::later(&lab.store)).0.files[&path].clone())
        };
        let hash = |content: &str| [(); 2].map(|()| blake3::hash(content.as_bytes()).to_hex().to_string());
        assert_eq!(digest("weights"), hash("weights"));
        assert_eq!(digest("Weights"), hash("Weights"));
    }
}
