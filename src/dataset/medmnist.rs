#![doc = include_str!("layout/medmnist.md")]

mod known;
#[cfg(test)]
mod tests;

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

/// How images of another size are resized, for the digest.
const RESIZING: &[u8] = b"as by Pillow";

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
        if self.is_resized(&contents.shapes) {
            hasher.update(RESIZING);
        }
        Ok(Summary::new(contents.classes, contents.labels, hasher.finalize()))
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        let mut npz = Npz::open(&self.path)?;
        let Contents { classes, labels, shapes } = self.contents(&mut npz)?;
        let size = self.size.unwrap_or(shapes[0].width);
        let counts = shapes.map(|shape| shape.count);
        let resized = self.is_resized(&shapes);
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
    fn is_resized(&self, shapes: &[Shape]) -> bool {
        let size = self.size.unwrap_or(shapes[0].width);
        shapes.iter().any(|shape| (shape.width, shape.height) != (size, size))
    }

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
                image::resize(stored, (shape.width, shape.height), (size, size), out);
            } else {
                let mut rgb = vec![0; bytes * 3];
                image::repeat_gray(stored, &mut rgb);
                image::resize(&rgb, (shape.width, shape.height), (size, size), out);
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
