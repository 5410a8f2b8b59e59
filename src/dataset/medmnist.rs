#![doc = include_str!("layout/medmnist.md")]

mod known;

use std::path::{Path, PathBuf};

use identity::Identity;
use kind::{Kind, NamedPath, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::assemble::{
    PerSplit, check_classes, check_labels, check_listable, check_size, numbered_classes, numbered_names,
    validate_size,
};
use super::cache::{self, Layout, Sink};
use super::npz::{Dtype, Header, Npz};
use super::{DataError, Dataset, DatasetKind, Labels, MultiLabels, SplitName, State, Summary, image};

pub use self::known::MedmnistSet;

/// A MedMNIST file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-layout" = include_str!("layout/medmnist.md")))]
pub struct MedmnistSpec {
    /// Path of the `.npz` file, relative to the experiment file.
    pub path: PathBuf,
    /// Side of the images in pixels, to which they are resized; the original side if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// Class names in the order of the labels; if absent, those of `set`, or `0`, `1`, ….
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// The published set. If it is named, the file must be the official one, and classes have its names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<MedmnistSet>,
}

/// The most classes of a multi-label file.
const MOST_CLASSES: usize = 1 << 16;

/// Everything that is read before the pixels.
struct Contents {
    classes: Vec<String>,
    labels: PerSplit<Labels>,
    shapes: PerSplit<Shape>,
}

/// Dimensions of an image array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
}

impl Identity for MedmnistSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path"]
    }
}

impl Kind for MedmnistSpec {
    fn validate(&self, problems: &mut Problems) {
        self.size.iter().for_each(|&size| validate_size(problems, "size", size));
    }

    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        vec![NamedPath::file("path", &mut self.path)]
    }
}

impl DatasetKind for MedmnistSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn size(&self) -> usize {
        let own = || Npz::open(&self.path).and_then(|mut npz| self.shape(&mut npz, SplitName::Train));
        self.size.unwrap_or_else(|| own().map_or(0, |shape| shape.width))
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn summary(&self) -> Result<Summary, DataError> {
        self.set.map_or(Ok(()), |set| set.check(&self.path))?;
        let mut npz = Npz::open(&self.path)?;
        let contents = self.contents(&mut npz)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"medmnist");
        for split in SplitName::ALL {
            let Shape { count, height, width, channels } = contents.shapes[split as usize];
            for extent in [count, height, width, channels] {
                hasher.update(&(extent as u64).to_le_bytes());
            }
            enter(&contents.labels[split as usize], &mut hasher);
            npz.hash(&images_of(split), &mut hasher)?;
        }
        Ok(Summary::new(contents.classes, contents.labels, hasher.finalize()))
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        let mut npz = Npz::open(&self.path)?;
        let Contents { classes, labels, shapes } = self.contents(&mut npz)?;
        let size = self.size.unwrap_or(shapes[0].width);
        let counts = shapes.map(|shape| shape.count);
        let resized = shapes.iter().any(|shape| (shape.width, shape.height) != (size, size));
        let layout = Layout { revision: self.revision(), sides: [size; 3], counts };
        let pixels = cache::pixels(cache.filter(|_| resized), layout, |sink| {
            SplitName::ALL
                .into_iter()
                .zip(shapes)
                .try_for_each(|(split, shape)| self.draw(split, shape, size, sink))
        })?;
        Ok(Dataset::new(classes, size, labels, numbered_names(counts), pixels))
    }
}

impl MedmnistSpec {
    /// Labels and shapes, checked for consistency and against the options.
    fn contents(&self, npz: &mut Npz) -> Result<Contents, DataError> {
        let (mut labels, mut shapes) = (Vec::new(), Vec::new());
        for split in SplitName::ALL {
            labels.push(self.labels(npz, split)?);
            shapes.push(self.shape(npz, split)?);
        }
        let labels: PerSplit<Labels> = labels.try_into().expect("three splits");
        let shapes: PerSplit<Shape> = shapes.try_into().expect("three splits");
        self.check_counts(&labels, &shapes)?;
        self.check_pixels(&shapes)?;
        self.check_sides(&shapes)?;
        let classes = self.checked_classes(&labels)?;
        Ok(Contents { classes, labels, shapes })
    }

    /// The class names, which fit the labels.
    fn checked_classes(&self, labels: &PerSplit<Labels>) -> Result<Vec<String>, DataError> {
        let given = self.classes.clone().or_else(|| self.set.map(MedmnistSet::classes));
        if let Labels::Multi(train) = &labels[0] {
            let numbered = || (0..train.classes()).map(|class| class.to_string()).collect();
            let classes = given.unwrap_or_else(numbered);
            check_classes(&self.path, &classes)?;
            check_listable(&self.path, &classes)?;
            self.check_columns(&classes, labels)?;
            return Ok(classes);
        }
        let single = |(labels, split): (&Labels, SplitName)| match labels.single() {
            Some(labels) => Ok(labels.to_vec()),
            None => Err(self.other_labeling(split)),
        };
        let single = labels.iter().zip(SplitName::ALL).map(single).collect::<Result<Vec<_>, _>>()?;
        let single: PerSplit<Vec<u32>> = single.try_into().expect("three splits");
        let classes = given.unwrap_or_else(|| numbered_classes(&single));
        check_classes(&self.path, &classes)?;
        check_labels(&self.path, &classes, &single)?;
        Ok(classes)
    }

    /// Checks that all labels of a multi-label file have a column for each class.
    fn check_columns(&self, classes: &[String], labels: &PerSplit<Labels>) -> Result<(), DataError> {
        for (labels, split) in labels.iter().zip(SplitName::ALL) {
            let Labels::Multi(labels) = labels else { return Err(self.other_labeling(split)) };
            if labels.classes() != classes.len() {
                let (columns, classes) = (labels.classes(), classes.len());
                let message = format!("{columns} labels per image, but there are {classes} classes");
                return Err(DataError::at(&self.path, labels_of(split), message));
            }
        }
        Ok(())
    }

    fn other_labeling(&self, split: SplitName) -> DataError {
        let message = "either every split has one label per image, or every split has several";
        DataError::at(&self.path, labels_of(split), message)
    }

    fn check_counts(&self, labels: &PerSplit<Labels>, shapes: &PerSplit<Shape>) -> Result<(), DataError> {
        for (split, (labels, shape)) in SplitName::ALL.into_iter().zip(labels.iter().zip(shapes)) {
            if labels.len() != shape.count {
                let message =
                    format!("{} labels for {} images; each image needs one", labels.len(), shape.count);
                return Err(DataError::at(&self.path, labels_of(split), message));
            }
        }
        match labels.iter().all(Labels::is_empty) {
            true => Err(DataError::new(&self.path, "the file has no images")),
            false => Ok(()),
        }
    }

    fn check_pixels(&self, shapes: &PerSplit<Shape>) -> Result<(), DataError> {
        for (split, Shape { count, height, width, .. }) in SplitName::ALL.into_iter().zip(shapes) {
            if *count > 0 && (*height == 0 || *width == 0) {
                let message = format!("its images have no pixels ({height} x {width})");
                return Err(DataError::at(&self.path, images_of(split), message));
            }
        }
        Ok(())
    }

    fn check_sides(&self, shapes: &PerSplit<Shape>) -> Result<(), DataError> {
        if let Some(size) = self.size {
            return check_size(&self.path, size);
        }
        let sides = shapes.map(|shape| [shape.height, shape.width]);
        match sides.iter().flatten().all(|&side| side == shapes[0].width) {
            true => check_size(&self.path, shapes[0].width),
            false => Err(DataError::new(
                &self.path,
                format!(
                    "images are not all square and of the same size (height, width: {sides:?}); set `size`"
                ),
            )),
        }
    }

    fn shape(&self, npz: &mut Npz, split: SplitName) -> Result<Shape, DataError> {
        let array = images_of(split);
        let Header { dtype, shape } = npz.header(&array)?;
        match (dtype, &shape[..]) {
            (Dtype::U8, &[count, height, width]) => Ok(Shape { count, height, width, channels: 1 }),
            (Dtype::U8, &[count, height, width, 3]) => Ok(Shape { count, height, width, channels: 3 }),
            _ => {
                let message = format!(
                    "images must be uint8 of shape [n, height, width] or [n, height, width, 3], not {dtype:?} {shape:?}"
                );
                Err(DataError::at(&self.path, array, message))
            }
        }
    }

    fn labels(&self, npz: &mut Npz, split: SplitName) -> Result<Labels, DataError> {
        let array = labels_of(split);
        let (Header { dtype, shape }, data) = npz.read(&array)?;
        match &shape[..] {
            &[_] | &[_, 1] => {}
            &[_, columns] if (2..=MOST_CLASSES).contains(&columns) => {
                return self.multi_labels(&array, columns, numbers(dtype, &data)).map(Labels::Multi);
            }
            _ => {
                let message = format!("labels must be of shape [n, 1] or [n, classes], not {shape:?}");
                return Err(DataError::at(&self.path, array, message));
            }
        }
        match dtype {
            Dtype::U8 => Ok(Labels::Single(data.into_iter().map(u32::from).collect())),
            Dtype::I64 => self.signed_labels(&array, &data).map(Labels::Single),
        }
    }

    fn multi_labels(&self, array: &str, classes: usize, numbers: Vec<i64>) -> Result<MultiLabels, DataError> {
        let mut labels = MultiLabels::new(classes);
        for (image, row) in numbers.chunks_exact(classes).enumerate() {
            let state = |(class, number): (usize, &i64)| match number {
                0 => Ok(State::Absent),
                1 => Ok(State::Present),
                -1 => Ok(State::Unknown),
                _ => {
                    let message = format!(
                        "label {number}: with several labels per image, each must be 0 or 1, or -1 if unknown"
                    );
                    Err(DataError::at(&self.path, format!("{array}[{image}, {class}]"), message))
                }
            };
            labels.push(&row.iter().enumerate().map(state).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(labels)
    }

    fn signed_labels(&self, array: &str, data: &[u8]) -> Result<Vec<u32>, DataError> {
        let labels = data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes));
        let checked = labels.enumerate().map(|(index, label)| match u16::try_from(label) {
            Ok(label) => Ok(u32::from(label)),
            Err(_) => {
                let message = format!("label {label} is not a class; labels start from 0");
                Err(DataError::at(&self.path, format!("{array}[{index}]"), message))
            }
        });
        checked.collect()
    }

    fn draw(&self, split: SplitName, shape: Shape, size: usize, sink: &mut Sink) -> Result<(), DataError> {
        let (_, data) = Npz::open(&self.path)?.read(&images_of(split))?;
        let bytes = shape.height * shape.width * shape.channels;
        sink.draw(shape.count, &|index, out| {
            let stored = &data[index * bytes..(index + 1) * bytes];
            if shape.channels == 3 {
                image::resize(stored, shape.width, shape.height, size, out);
            } else {
                let mut rgb = vec![0; bytes * 3];
                image::repeat_gray(stored, &mut rgb);
                image::resize(&rgb, shape.width, shape.height, size, out);
            }
            Ok(())
        })
    }
}

/// The elements of an array.
fn numbers(dtype: Dtype, data: &[u8]) -> Vec<i64> {
    match dtype {
        Dtype::U8 => data.iter().map(|&byte| byte.into()).collect(),
        Dtype::I64 => data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
    }
}

/// Adds labels to a digest.
fn enter(labels: &Labels, hasher: &mut blake3::Hasher) {
    match labels {
        Labels::Single(labels) => labels.iter().for_each(|label| _ = hasher.update(&label.to_le_bytes())),
        Labels::Multi(labels) => {
            hasher.update(b"multi_label").update(&(labels.classes() as u64).to_le_bytes());
            labels.rows().flatten().for_each(|state| _ = hasher.update(&[*state as u8]));
        }
    }
}

fn images_of(split: SplitName) -> String {
    format!("{}_images", split.as_str())
}

fn labels_of(split: SplitName) -> String {
    format!("{}_labels", split.as_str())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use zip::CompressionMethod::{self, Deflated, Stored};

    use super::super::npz::write::{npy, npz};
    use super::*;

    type Arrays = Vec<(&'static str, Vec<u8>)>;

    /// Two, one and one gray images of 4 x 4 pixels; labels 0 2 / 1 / 0.
    fn gray() -> Arrays {
        let pixels: Vec<u8> = (0..32).collect();
        vec![
            ("train_images", npy("|u1", &[2, 4, 4], &pixels)),
            ("train_labels", npy("|u1", &[2, 1], &[0, 2])),
            ("val_images", npy("|u1", &[1, 4, 4], &pixels[..16])),
            ("val_labels", npy("|u1", &[1, 1], &[1])),
            ("test_images", npy("|u1", &[1, 4, 4], &pixels[16..])),
            ("test_labels", npy("|u1", &[1, 1], &[0])),
        ]
    }

    fn with(name: &'static str, array: Vec<u8>) -> Arrays {
        let replace = |(key, old)| if key == name { (key, array.clone()) } else { (key, old) };
        gray().into_iter().map(replace).collect()
    }

    fn spec(compression: CompressionMethod, arrays: &Arrays) -> (TempDir, MedmnistSpec) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.npz");
        npz(&path, compression, arrays);
        (folder, MedmnistSpec { path, size: None, classes: None, set: None })
    }

    fn error(arrays: &Arrays) -> String {
        let (_folder, spec) = spec(Deflated, arrays);
        let error = spec.load(None).unwrap_err().to_string();
        assert_eq!(spec.summary().unwrap_err().to_string(), error);
        error
    }

    #[test]
    fn gray_images_become_rgb_and_classes_span_all_splits() {
        let (_folder, spec) = spec(Deflated, &gray());
        let data = spec.load(None).unwrap();
        assert_eq!((data.size, spec.size()), (4, 4));
        assert_eq!(data.classes, ["0", "1", "2"]);
        assert_eq!(data.train.pixels[..6], [0, 0, 0, 1, 1, 1]);
        assert_eq!(data.test.pixels[..3], [16, 16, 16]);
        assert_eq!((data.train.labels, data.val.labels), (vec![0, 2].into(), vec![1].into()));
        assert_eq!(data.train.names, ["train/0", "train/1"]);
        assert_eq!(spec.summary().unwrap().counts, [vec![1, 0, 1], vec![0, 1, 0], vec![1, 0, 0]]);
    }

    #[test]
    fn the_digest_depends_on_the_content_and_not_on_its_storage() {
        let (_a, deflated) = spec(Deflated, &gray());
        let (_b, stored) = spec(Stored, &gray());
        let (_c, signed) = spec(Stored, &with("val_labels", npy("<i8", &[1], &1i64.to_le_bytes())));
        let (_d, other) = spec(Stored, &with("val_labels", npy("|u1", &[1, 1], &[2])));
        let (_e, pixel) = spec(Stored, &with("val_images", npy("|u1", &[1, 4, 4], &[9; 16])));
        let expected = deflated.summary().unwrap();
        assert_eq!(stored.summary().unwrap(), expected);
        assert_eq!(signed.summary().unwrap(), expected);
        assert_ne!(other.summary().unwrap().digest, expected.digest);
        assert_ne!(pixel.summary().unwrap().digest, expected.digest);
    }

    #[test]
    fn images_are_resized_and_cached_only_if_their_size_differs() {
        let rgb: Vec<u8> = (0..48).collect();
        let (folder, mut spec) = spec(Stored, &with("val_images", npy("|u1", &[1, 4, 4, 3], &rgb)));
        let cache = folder.path().join("cache");
        assert_eq!(spec.load(Some(&cache)).unwrap().val.pixels[..], rgb);
        assert!(!cache.exists());
        spec.size = Some(2);
        let data = spec.load(Some(&cache)).unwrap();
        assert_eq!((data.size, data.val.pixels.len()), (2, 12));
        assert_eq!(data.val.pixels[..], spec.load(None).unwrap().val.pixels[..]);
        assert!(cache.join("pixels").exists());
    }

    #[test]
    fn images_that_are_not_square_need_a_size() {
        let oblong = with("test_images", npy("|u1", &[1, 2, 8], &[7; 16]));
        assert!(error(&oblong).contains("set `size`"));
        let (_folder, mut spec) = spec(Stored, &oblong);
        spec.size = Some(4);
        assert_eq!(spec.load(None).unwrap().test.pixels[..], [7; 48]);
    }

    #[test]
    fn errors_name_the_array() {
        assert!(error(&gray()[1..].to_vec()).contains("train_images: the array is missing"));
        let several = with("val_labels", npy("|u1", &[1, 14], &[0; 14]));
        assert!(error(&several).contains("val_labels: either every split has one label per image, or every"));
        assert!(error(&with("val_labels", npy("|u1", &[2, 1], &[0; 2]))).contains("2 labels for 1 images"));
        assert!(
            error(&with("val_labels", npy("<f4", &[1, 1], &[0; 4])))
                .contains("val_labels: its type is '<f4'")
        );
        let negative = npy("<i8", &[1, 1], &(-1i64).to_le_bytes());
        assert!(error(&with("test_labels", negative)).contains("test_labels[0]: label -1"));
        let volume = npy("|u1", &[1, 2, 2, 4], &[0; 16]);
        assert!(error(&with("test_images", volume)).contains("test_images: images must be uint8"));
    }

    #[test]
    fn labels_must_fit_the_given_classes() {
        let (_folder, mut spec) = spec(Deflated, &gray());
        spec.classes = Some(vec!["a".into(), "b".into()]);
        assert!(spec.summary().unwrap_err().to_string().contains("train_labels[1]: label 2 is out of range"));
        spec.classes = Some(["a", "b", "c", "d"].map(String::from).into());
        assert_eq!(spec.summary().unwrap().counts[0], [1, 0, 1, 0]);
    }

    /// The labels of [`gray`] for two classes; −1 is unknown.
    fn several(val: &[i64]) -> Arrays {
        let bytes =
            |numbers: &[i64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let labels = |name: &str| match name {
            "train_labels" => Some(npy("|u1", &[2, 2], &[0, 0, 1, 1])),
            "val_labels" => Some(npy("<i8", &[1, val.len()], &bytes(val))),
            "test_labels" => Some(npy("|u1", &[1, 2], &[0, 1])),
            _ => None,
        };
        gray().into_iter().map(|(name, array)| (name, labels(name).unwrap_or(array))).collect()
    }

    #[test]
    fn several_labels_per_image_are_a_multi_label_data_set() {
        let (_folder, mut spec) = spec(Deflated, &several(&[-1, 1]));
        let (data, summary) = (spec.load(None).unwrap(), spec.summary().unwrap());
        assert_eq!(
            (data.classes, data.train.labels.texts()),
            (vec!["0".into(), "1".into()], vec!["00".into(), "11".into()])
        );
        assert_eq!(
            (data.val.labels.texts(), data.test.labels.texts()),
            (vec!["?1".to_owned()], vec!["01".to_owned()])
        );
        assert_eq!(summary.counts, [[1, 1], [0, 1], [0, 1]]);
        let multi = summary.multi_label.unwrap();
        assert_eq!((multi.images, multi.unknown[1].as_slice()), ([2, 1, 1], &[1, 0][..]));
        spec.classes = Some(vec!["a".into()]);
        let message = spec.load(None).unwrap_err().to_string();
        assert!(message.contains("train_labels: 2 labels per image, but there are 1 classes"), "{message}");
        spec.classes = Some(vec!["a|b".into(), "c".into()]);
        assert!(
            spec.load(None).unwrap_err().to_string().contains("must not have `|` in its name, unlike 'a|b'")
        );
    }

    #[test]
    fn a_label_among_several_that_is_none_is_an_error_that_says_where() {
        let endless = with("train_labels", npy("|u1", &[0, 1 << 40], &[]));
        assert!(
            error(&endless)
                .contains("train_labels: labels must be of shape [n, 1] or [n, classes], not [0, ")
        );
        let message = error(&several(&[0, 2]));
        assert!(
            message.contains("val_labels[0, 1]: label 2: with several labels per image, each must"),
            "{message}"
        );
        assert!(
            error(&several(&[0, 1, 0])).contains("val_labels: 3 labels per image, but there are 2 classes")
        );
    }

    #[test]
    fn a_truncated_file_is_an_error_with_advice() {
        let (_folder, spec) = spec(Deflated, &gray());
        let whole = std::fs::read(&spec.path).unwrap();
        std::fs::write(&spec.path, &whole[..whole.len() / 2]).unwrap();
        assert!(spec.load(None).unwrap_err().to_string().contains("download it again"));
        assert_eq!(spec.size(), 0);
    }

    #[test]
    fn f22_images_without_pixels_are_an_error() {
        let (_folder, mut spec) = spec(Stored, &with("val_images", npy("|u1", &[1, 0, 4], &[])));
        spec.size = Some(4);
        for error in [spec.summary().unwrap_err(), spec.load(None).unwrap_err()] {
            assert!(error.to_string().contains("val_images: its images have no pixels (0 x 4)"), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn f22_a_device_is_refused() {
        let spec = MedmnistSpec { path: "/dev/zero".into(), size: None, classes: None, set: None };
        let message = spec.summary().unwrap_err().to_string();
        assert_eq!(message, "/dev/zero: failed to open: it is a pipe or a device, not a file");
    }
}
