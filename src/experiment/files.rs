//! Files that an experiment names: relative to its own folder, and there.

use std::path::{Path, PathBuf};

use super::ranges::Findings;
use dataset::DatasetSpec;
use stage::StageSpec;

/// A path in a spec.
pub(super) struct Named<'s> {
    /// The key that it stands under.
    key: &'static str,
    path: &'s mut PathBuf,
    is_folder: bool,
}

/// A spec that may name files.
pub(super) trait NamesFiles {
    /// The paths that it holds.
    fn paths(&mut self) -> Vec<Named<'_>>;
}

impl NamesFiles for DatasetSpec {
    fn paths(&mut self) -> Vec<Named<'_>> {
        match self {
            Self::Phantom(_) => Vec::new(),
            Self::Medmnist(spec) => vec![Named { key: "path", path: &mut spec.path, is_folder: false }],
            Self::Manifest(spec) => {
                let images =
                    spec.images.iter_mut().map(|path| Named { key: "images", path, is_folder: true });
                images.chain([Named { key: "path", path: &mut spec.path, is_folder: false }]).collect()
            }
            Self::Idx(spec) => vec![Named { key: "path", path: &mut spec.path, is_folder: true }],
            Self::Cifar(spec) => vec![Named { key: "path", path: &mut spec.path, is_folder: true }],
        }
    }
}

impl NamesFiles for StageSpec {
    fn paths(&mut self) -> Vec<Named<'_>> {
        match self {
            Self::Import(spec) => vec![Named { key: "path", path: &mut spec.path, is_folder: false }],
            Self::Pretrain(_)
            | Self::Finetune(_)
            | Self::LearnMergeWeights(_)
            | Self::Merge(_)
            | Self::Evaluate(_) => Vec::new(),
        }
    }
}

/// Make the paths of a spec start from `folder`, and find those that lead nowhere.
pub(super) fn locate(spec: &mut impl NamesFiles, folder: &Path, findings: &mut Findings) {
    for Named { key, path, is_folder } in spec.paths() {
        *path = folder.join(&*path);
        let (found, what) = if is_folder { (path.is_dir(), "folder") } else { (path.is_file(), "file") };
        if !found {
            let help = path.is_relative().then(|| "paths start from the experiment file's folder".to_owned());
            findings.add(key, format!("no such {what}: {}", path.display()), help);
        }
    }
}
