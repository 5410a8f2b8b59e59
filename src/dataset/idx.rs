#![doc = include_str!("layout/idx.md")]

use std::io::Read;
use std::path::{Path, PathBuf};

use identity::Identity;
use kind::{Kind, NamedPath, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assemble::{numbered_classes, validate_size};
use super::natural::{Folder, Planes, check_feature, tenth};
use super::{DataError, Dataset, DatasetKind, Summary};

const IMAGES: [&str; 2] = ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte"];
const LABELS: [&str; 2] = ["train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"];

/// Magic numbers: the first four bytes of a file of images and of a file of labels.
const IMAGES_MAGIC: u32 = 2051;
const LABELS_MAGIC: u32 = 2049;

/// A folder of IDX files, as of MNIST: images for pretraining.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-layout" = include_str!("layout/idx.md")))]
pub struct IdxSpec {
    /// Path of the folder, relative to the experiment file.
    pub path: PathBuf,
    /// Side of the images in pixels, to which they are resized; the original side if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// Fraction of the training images that is set aside for validation, from 0 to below 1.
    #[serde(default = "tenth")]
    pub val_fraction: f64,
}

impl Identity for IdxSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path"]
    }
}

impl Kind for IdxSpec {
    fn validate(&self, problems: &mut Problems) {
        self.size.iter().for_each(|&size| validate_size(problems, "size", size));
        problems.inner_fraction("val_fraction", self.val_fraction);
    }

    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        vec![NamedPath::folder("path", &mut self.path)]
    }
}

impl DatasetKind for IdxSpec {
    fn revision(&self) -> u32 {
        2
    }

    fn size(&self) -> usize {
        self.size.unwrap_or_else(|| self.extents().map_or(0, |[_, width]| width))
    }

    fn files(&self) -> Vec<PathBuf> {
        [IMAGES, LABELS].concat().iter().map(|file| self.path.join(file)).collect()
    }

    fn summary(&self) -> Result<Summary, DataError> {
        self.folder()?.summary()
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        self.folder()?.load(cache, (self.revision(), self.size()), || self.read())
    }
}

impl IdxSpec {
    /// The folder, with its files checked against their headers.
    fn folder(&self) -> Result<Folder<'_>, DataError> {
        check_feature(&self.path)?;
        self.extents()?;
        let labels = [self.labels(0)?, self.labels(1)?];
        Ok(Folder {
            path: &self.path,
            kind: "idx",
            files: self.files(),
            classes: numbered_classes(&labels),
            labels,
            val_fraction: self.val_fraction,
        })
    }

    /// Height and width of the images, which must agree between both files, and be square if `size` is absent.
    fn extents(&self) -> Result<[usize; 2], DataError> {
        let [train, test] = IMAGES.map(|file| read_header::<3>(&self.path.join(file), IMAGES_MAGIC));
        let ([_, height, width], [_, test_height, test_width]) = (train?, test?);
        if [height, width] != [test_height, test_width] {
            let message = format!(
                "training images are {width} x {height}, test images {test_width} x {test_height} pixels"
            );
            return Err(DataError::new(&self.path, message));
        }
        if height * width == 0 {
            let message = format!("its images have no pixels ({width} x {height})");
            return Err(DataError::new(&self.path, message));
        }
        match self.size.is_some() || height == width {
            true => Ok([height, width]),
            false => {
                Err(DataError::new(&self.path, format!("images are {width} x {height} pixels; set `size`")))
            }
        }
    }

    fn labels(&self, part: usize) -> Result<Vec<u32>, DataError> {
        let path = self.path.join(LABELS[part]);
        let [count] = read_header(&path, LABELS_MAGIC)?;
        let [images, ..] = read_header::<3>(&self.path.join(IMAGES[part]), IMAGES_MAGIC)?;
        if count != images {
            return Err(DataError::new(
                &path,
                format!("{count} labels for {images} images in {}", IMAGES[part]),
            ));
        }
        let bytes =
            kind::file::read(&path, u64::MAX).map_err(|error| DataError::io(&path, "read", &error))?;
        Ok(bytes[8..].iter().copied().map(u32::from).collect())
    }

    #[cfg(feature = "natural-images")]
    fn read(&self) -> Result<[Planes; 2], DataError> {
        let [height, width] = self.extents()?;
        super::natural::read(
            &self.path,
            |path| candle_datasets::vision::mnist::load_dir(path),
            [1, height, width],
        )
    }

    #[cfg(not(feature = "natural-images"))]
    fn read(&self) -> Result<[Planes; 2], DataError> {
        Err(super::natural::without_feature(&self.path))
    }
}

/// Dimensions of an IDX file of bytes; the length of the file must match.
fn read_header<const N: usize>(path: &Path, magic: u32) -> Result<[usize; N], DataError> {
    let open = |error: &std::io::Error| {
        let name = path.file_name().unwrap_or_default().display().to_string();
        DataError::new(path, format!("failed to open: {error}; if {name}.gz exists, unpack it with gunzip"))
    };
    let mut file = kind::file::open(path).map_err(|error| open(&error))?;
    let length = file.metadata().map_err(|error| open(&error))?.len();
    let mut word = || {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes)
            .map_err(|_| DataError::new(path, "the header is truncated; download the file again"))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let found = word()?;
    if found != magic {
        return Err(DataError::new(
            path,
            format!("not the expected IDX file: it starts with {found}, not {magic}"),
        ));
    }
    let mut extents = [0; N];
    for extent in &mut extents {
        *extent = word()? as usize;
    }
    let data = extents.iter().try_fold(1u64, |bytes, &extent| bytes.checked_mul(extent as u64));
    match data.is_some_and(|data| data.checked_add(4 + 4 * N as u64) == Some(length)) {
        true => Ok(extents),
        false => {
            let message = format!(
                "{length} bytes do not match dimensions {extents:?}: the file is truncated or damaged; download it again"
            );
            Err(DataError::new(path, message))
        }
    }
}

#[cfg(all(test, feature = "natural-images"))]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn write(path: &Path, magic: u32, extents: &[u32], data: &[u8]) {
        let header: Vec<u8> =
            std::iter::once(&magic).chain(extents).flat_map(|word| word.to_be_bytes()).collect();
        std::fs::write(path, [&header, data].concat()).unwrap();
    }

    /// Ten training images of 16 x 16 pixels, the first with every gray level, and two test images.
    fn folder() -> (TempDir, IdxSpec) {
        let folder = tempfile::tempdir().unwrap();
        let path = |file: &str| folder.path().join(file);
        let levels: Vec<u8> = (0..=255).collect();
        write(&path(IMAGES[0]), IMAGES_MAGIC, &[10, 16, 16], &levels.repeat(10));
        write(&path(LABELS[0]), LABELS_MAGIC, &[10], &[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        write(&path(IMAGES[1]), IMAGES_MAGIC, &[2, 16, 16], &[9; 512]);
        write(&path(LABELS[1]), LABELS_MAGIC, &[2], &[2, 3]);
        let spec = IdxSpec { path: folder.path().into(), size: None, val_fraction: 0.2 };
        (folder, spec)
    }

    #[test]
    fn gray_levels_are_preserved_and_validation_is_split_from_training() {
        let (_folder, spec) = folder();
        let data = spec.load(None).unwrap();
        assert_eq!((data.size, data.train.len(), data.val.len(), data.test.len()), (16, 8, 2, 2));
        let expected: Vec<u8> = (0..=255).flat_map(|level| [level; 3]).collect();
        assert_eq!(data.train.pixels[..768], expected);
        assert_eq!(data.test.labels.single().unwrap(), [2, 3]);
        assert_eq!(data.test.pixels[..], [9; 1536]);
        let summary = spec.summary().unwrap();
        assert_eq!(summary.classes, ["0", "1", "2", "3"]);
        assert_eq!(summary.counts.each_ref().map(|counts| counts.iter().sum::<usize>()), [8, 2, 2]);
    }

    #[test]
    fn images_are_resized_on_request() {
        let (_folder, mut spec) = folder();
        spec.size = Some(8);
        assert_eq!(spec.load(None).unwrap().test.pixels[..], [9; 384]);
    }

    #[test]
    fn files_are_checked_against_their_headers() {
        let (folder, spec) = folder();
        let images = folder.path().join(IMAGES[0]);
        let whole = std::fs::read(&images).unwrap();
        std::fs::write(&images, &whole[..100]).unwrap();
        assert!(spec.load(None).unwrap_err().to_string().contains("truncated or damaged"));
        write(&images, IMAGES_MAGIC, &[u32::MAX; 3], &[]);
        assert!(spec.load(None).unwrap_err().to_string().contains("truncated or damaged"));
        write(&images, IMAGES_MAGIC, &[10, 0, 16], &[]);
        write(&folder.path().join(IMAGES[1]), IMAGES_MAGIC, &[2, 0, 16], &[]);
        assert!(spec.summary().unwrap_err().to_string().contains("no pixels (16 x 0)"));
        write(&folder.path().join(IMAGES[1]), IMAGES_MAGIC, &[2, 16, 16], &[9; 512]);
        write(&images, 7, &[10, 16, 16], &[]);
        assert!(spec.summary().unwrap_err().to_string().contains("starts with 7"));
        write(&images, IMAGES_MAGIC, &[3, 16, 16], &[0; 768]);
        assert!(spec.summary().unwrap_err().to_string().contains("10 labels for 3 images"));
        std::fs::remove_file(&images).unwrap();
        assert!(spec.summary().unwrap_err().to_string().contains("gunzip"));
        assert_eq!(spec.size(), 0);
    }
}
