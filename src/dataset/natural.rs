//! What folders of natural images have in common: training and test images, read by candle-datasets. A seeded part of
//! the training images is set aside for validation.

use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;

use super::assemble::{PerSplit, check_classes, check_labels, check_size, numbered_names};
use super::cache::{self, Layout};
use super::{DataError, Dataset, Summary, image};
use rng::{Purpose, rng};

/// The two parts of such folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
}

/// A validated folder, without pixels.
pub(super) struct Folder<'a> {
    /// The folder.
    pub(super) path: &'a Path,
    /// The kind, which enters the digest.
    pub(super) kind: &'static str,
    /// Its files, in a fixed order.
    pub(super) files: Vec<PathBuf>,
    /// Class names.
    pub(super) classes: Vec<String>,
    /// Labels of the training and of the test images.
    pub(super) labels: [Vec<u32>; 2],
    /// Fraction of the training images for validation.
    pub(super) val_fraction: f64,
}

/// Images as stored.
#[derive(Debug)]
pub(super) struct Planes {
    /// `[n, channels, height, width]`
    pub(super) bytes: Vec<u8>,
    /// 1 (gray) or 3 (RGB).
    pub(super) channels: usize,
    /// Height of the images.
    pub(super) height: usize,
    /// Width of the images.
    pub(super) width: usize,
}

impl Folder<'_> {
    /// Counts, and a digest of the files and of the validation fraction.
    pub(super) fn summary(&self) -> Result<Summary, DataError> {
        let labels = self.labels_by_split()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.as_bytes()).update(&self.val_fraction.to_le_bytes());
        for path in &self.files {
            let mut file = blake3::Hasher::new();
            kind::file::open(path)
                .and_then(|bytes| file.update_reader(bytes).map(|_| ()))
                .map_err(|error| DataError::io(path, "read", &error))?;
            hasher.update(file.finalize().as_bytes());
        }
        Ok(Summary::new(self.classes.clone(), labels, hasher.finalize()))
    }

    /// All images, as RGB of `size` x `size` pixels. `read` returns the training and the test images.
    pub(super) fn load(
        &self,
        cache: Option<&Path>,
        (revision, size): (u32, usize),
        read: impl Fn() -> Result<[Planes; 2], DataError>,
    ) -> Result<Dataset, DataError> {
        check_size(self.path, size)?;
        let labels = self.labels_by_split()?;
        let sources = self.sources()?;
        let counts = sources.each_ref().map(Vec::len);
        let pixels = cache::pixels(cache, Layout { revision, sides: [size; 3], counts }, |sink| {
            let parts = read()?;
            sources.iter().try_for_each(|images| {
                sink.draw(images.len(), &|position, out| {
                    let (part, index) = images[position];
                    parts[part as usize].draw(index, size, out);
                    Ok(())
                })
            })
        })?;
        Ok(Dataset::new(self.classes.clone(), size, labels, numbered_names(counts), pixels))
    }

    fn labels_by_split(&self) -> Result<PerSplit<Vec<u32>>, DataError> {
        let labels = self.sources()?.map(|images| {
            images.into_iter().map(|(part, index)| self.labels[part as usize][index]).collect()
        });
        check_classes(self.path, &self.classes)?;
        check_labels(self.path, &self.classes, &labels)?;
        Ok(labels)
    }

    /// Part and index of each split's images. The validation images depend only on the counts.
    fn sources(&self) -> Result<PerSplit<Vec<(Part, usize)>>, DataError> {
        if !(0.0..1.0).contains(&self.val_fraction) {
            let message =
                format!("`val_fraction` is {}; it must be at least 0 and below 1", self.val_fraction);
            return Err(DataError::new(self.path, message));
        }
        let [train, test] = self.labels.each_ref().map(Vec::len);
        let aside = (train as f64 * self.val_fraction).round() as usize;
        let mut shuffled: Vec<usize> = (0..train).collect();
        shuffled.shuffle(&mut rng(0, Purpose::Subset, 0, 0));
        let (val, train) = shuffled.split_at_mut(aside);
        val.sort_unstable();
        train.sort_unstable();
        let of_train = |indices: &[usize]| indices.iter().map(|&index| (Part::Train, index)).collect();
        Ok([of_train(train), of_train(val), (0..test).map(|index| (Part::Test, index)).collect()])
    }
}

impl Planes {
    /// Image `index` as `[size, size, 3]`.
    fn draw(&self, index: usize, size: usize, out: &mut [u8]) {
        let area = self.height * self.width;
        let planes = &self.bytes[index * self.channels * area..(index + 1) * self.channels * area];
        let mut rgb = vec![0; area * 3];
        match self.channels {
            1 => image::repeat_gray(planes, &mut rgb),
            _ => {
                for (position, pixel) in rgb.chunks_exact_mut(3).enumerate() {
                    pixel.copy_from_slice(&[0, 1, 2].map(|channel| planes[channel * area + position]));
                }
            }
        }
        image::resize(&rgb, (self.width, self.height), (size, size), out);
    }
}

/// Reads a folder with a `load_dir` function of candle-datasets, which returns f32 from 0 to 1, and converts to bytes.
#[cfg(feature = "natural-images")]
pub(super) fn read(
    path: &Path,
    load_dir: impl Fn(&Path) -> candle_core::Result<candle_datasets::vision::Dataset>,
    [channels, height, width]: [usize; 3],
) -> Result<[Planes; 2], DataError> {
    let planes = |images: candle_core::Tensor| -> candle_core::Result<Planes> {
        let levels = (images.flatten_all()? * 255.)?.round()?.to_dtype(candle_core::DType::U8)?;
        Ok(Planes { bytes: levels.to_vec1()?, channels, height, width })
    };
    let read = || -> candle_core::Result<_> {
        let set = load_dir(path)?;
        Ok([planes(set.train_images)?, planes(set.test_images)?])
    };
    read().map_err(|error: candle_core::Error| {
        DataError::new(path, format!("failed to read the images: {error}"))
    })
}

/// Checks that the program can read such folders.
///
/// # Errors
/// The program was built without the required feature.
pub(super) fn check_feature(path: &Path) -> Result<(), DataError> {
    match cfg!(feature = "natural-images") {
        true => Ok(()),
        false => Err(without_feature(path)),
    }
}

/// Error that says how to enable the feature.
pub(super) fn without_feature(path: &Path) -> DataError {
    let message = "this program was built without the feature `natural-images`, which reads such folders; \
                   build it with `cargo build --release --features natural-images`";
    DataError::new(path, message)
}

/// Default validation fraction.
pub(super) fn tenth() -> f64 {
    0.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(train: usize, val_fraction: f64) -> Folder<'static> {
        let labels = [(0..train as u32).map(|label| label % 2).collect(), vec![1, 0]];
        let classes = vec!["a".into(), "b".into()];
        Folder { path: Path::new("set"), kind: "idx", files: Vec::new(), classes, labels, val_fraction }
    }

    #[test]
    fn a_seeded_part_of_the_training_images_is_set_aside() {
        let [train, val, test] = folder(100, 0.1).sources().unwrap();
        assert_eq!((train.len(), val.len(), test.len()), (90, 10, 2));
        assert_eq!(folder(100, 0.1).sources().unwrap()[1], val);
        let mut all: Vec<_> = train.iter().chain(&val).map(|&(_, index)| index).collect();
        assert!(val.is_sorted_by_key(|image| image.1) && train.is_sorted_by_key(|image| image.1));
        assert_ne!(val.iter().map(|image| image.1).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(folder(100, 0.0).sources().unwrap()[1], []);
    }

    #[test]
    fn a_fraction_of_one_or_more_is_rejected() {
        for fraction in [1.0, -0.1, f64::NAN] {
            assert!(folder(10, fraction).summary().unwrap_err().to_string().contains("val_fraction"));
        }
    }

    #[test]
    fn the_fraction_is_part_of_the_digest() {
        let digest = |fraction| folder(100, fraction).summary().unwrap().digest;
        assert_eq!(digest(0.1), digest(0.1));
        assert_ne!(digest(0.1), digest(0.2));
    }

    #[test]
    fn planes_become_interleaved_rgb() {
        let planes = Planes { bytes: (0..24).collect(), channels: 3, height: 2, width: 2 };
        let mut rgb = [0; 12];
        planes.draw(1, 2, &mut rgb);
        assert_eq!(rgb, [12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23]);
    }
}
