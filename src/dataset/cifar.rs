#![doc = include_str!("layout/cifar.md")]

use std::path::{Path, PathBuf};

use identity::Identity;
use kind::{Kind, NamedPath, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assemble::validate_size;
use super::natural::{Folder, Planes, check_feature, tenth};
use super::{DataError, Dataset, DatasetKind, Summary};

const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SIDE: usize = 32;
const RECORD_BYTES: usize = 1 + 3 * SIDE * SIDE;
const RECORDS: usize = 10_000;

/// A folder of CIFAR-10's binary batches: natural images for pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-layout" = include_str!("layout/cifar.md")))]
pub struct CifarSpec {
    /// Path of the folder, relative to the experiment file.
    pub path: PathBuf,
    /// Side of the images in pixels, to which they are resized; the original 32 if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// Fraction of the training images that is set aside for validation, from 0 to below 1.
    #[serde(default = "tenth")]
    pub val_fraction: f64,
}

impl Identity for CifarSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path"]
    }
}

impl Kind for CifarSpec {
    fn validate(&self, problems: &mut Problems) {
        self.size.iter().for_each(|&size| validate_size(problems, "size", size));
        problems.inner_fraction("val_fraction", self.val_fraction);
    }

    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        vec![NamedPath::folder("path", &mut self.path)]
    }
}

impl DatasetKind for CifarSpec {
    fn revision(&self) -> u32 {
        2
    }

    fn size(&self) -> usize {
        self.size.unwrap_or(SIDE)
    }

    fn files(&self) -> Vec<PathBuf> {
        FILES.iter().map(|file| self.path.join(file)).collect()
    }

    fn summary(&self) -> Result<Summary, DataError> {
        self.folder()?.summary()
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        self.folder()?.load(cache, (self.revision(), self.size()), || self.read())
    }
}

impl CifarSpec {
    /// The folder, with the lengths of its files checked.
    fn folder(&self) -> Result<Folder<'_>, DataError> {
        check_feature(&self.path)?;
        let files = self.files();
        let labels = files.iter().map(|path| read_labels(path)).collect::<Result<Vec<_>, _>>()?;
        let (train, test) = labels.split_at(FILES.len() - 1);
        Ok(Folder {
            path: &self.path,
            kind: "cifar",
            files,
            classes: CLASSES.map(String::from).into(),
            labels: [train.concat(), test.concat()],
            val_fraction: self.val_fraction,
        })
    }

    #[cfg(feature = "natural-images")]
    fn read(&self) -> Result<[Planes; 2], DataError> {
        super::natural::read(
            &self.path,
            |path| candle_datasets::vision::cifar::load_dir(path),
            [3, SIDE, SIDE],
        )
    }

    #[cfg(not(feature = "natural-images"))]
    fn read(&self) -> Result<[Planes; 2], DataError> {
        Err(super::natural::without_feature(&self.path))
    }
}

fn read_labels(path: &Path) -> Result<Vec<u32>, DataError> {
    let bytes = kind::file::read(path, u64::MAX).map_err(|error| {
        DataError::new(path, format!("failed to read: {error}; the folder must hold {}", FILES.join(", ")))
    })?;
    if bytes.len() != RECORDS * RECORD_BYTES {
        let message = format!(
            "{} bytes, not the {} of 10,000 CIFAR-10 images: the file is truncated or of another kind; download it again",
            bytes.len(),
            RECORDS * RECORD_BYTES
        );
        return Err(DataError::new(path, message));
    }
    Ok(bytes.iter().step_by(RECORD_BYTES).copied().map(u32::from).collect())
}

#[cfg(all(test, feature = "natural-images"))]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Full-size files: record `i` of file `f` has label `(f + i) % 10`, red `f`, green 100, blue `i % 256`.
    fn folder() -> (TempDir, CifarSpec) {
        let folder = tempfile::tempdir().unwrap();
        for (number, file) in FILES.iter().enumerate() {
            let record = |index: usize| {
                let plane = |level: usize| [level as u8; SIDE * SIDE];
                let label = [((number + index) % 10) as u8];
                [&label[..], &plane(number), &plane(100), &plane(index % 256)].concat()
            };
            std::fs::write(folder.path().join(file), (0..RECORDS).flat_map(record).collect::<Vec<_>>())
                .unwrap();
        }
        let spec = CifarSpec { path: folder.path().into(), size: Some(4), val_fraction: 0.1 };
        (folder, spec)
    }

    #[test]
    fn labels_and_colors_stay_with_their_images() {
        let (_folder, spec) = folder();
        let data = spec.load(None).unwrap();
        assert_eq!((data.train.len(), data.val.len(), data.test.len()), (45_000, 5_000, 10_000));
        assert_eq!(data.classes[9], "truck");
        for (index, image) in data.test.pixels.chunks_exact(48).enumerate() {
            assert_eq!(image[..3], [5, 100, (index % 256) as u8]);
            assert_eq!(data.test.labels.single().unwrap()[index], ((5 + index) % 10) as u32);
        }
        let summary = spec.summary().unwrap();
        assert_eq!(summary.counts[2], [1000; 10]);
        assert_eq!(summary.counts[0].iter().sum::<usize>(), 45_000);
    }

    #[test]
    fn a_missing_or_truncated_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let spec = CifarSpec { path: folder.path().into(), size: None, val_fraction: 0.1 };
        assert_eq!(spec.size(), 32);
        assert!(spec.load(None).unwrap_err().to_string().contains("data_batch_1.bin: failed to read"));
        std::fs::write(folder.path().join(FILES[0]), [0; 100]).unwrap();
        assert!(spec.summary().unwrap_err().to_string().contains("100 bytes, not the 30730000"));
    }
}
