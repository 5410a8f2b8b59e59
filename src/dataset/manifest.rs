//! A folder of JPEG and PNG images with a CSV `image,label,split[,group]`.
//!
//! Other columns are ignored. All images of a group (a patient, a lesion) must be in the same split. Within a split,
//! images are sorted by path, independent of the order of the rows.

mod aliases;
mod depth;
mod rows;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use identity::Identity;
use kind::{Kind, NamedPath, Problems};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::rows::{Row, read_rows};
use super::assemble::{PerSplit, check_classes, check_size, validate_size};
use super::cache::{self, Layout};
use super::image::{self, Encoded};
use super::{DataError, Dataset, DatasetKind, SplitName, Summary};

/// Maximum number of missing images listed in a message.
const NAMED_AT_MOST: usize = 3;

/// A folder of images with a CSV of labels and splits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestSpec {
    /// Path of the CSV, relative to the experiment file.
    pub path: PathBuf,
    /// Folder that the image paths are relative to; the folder of the CSV if absent.
    #[serde(default)]
    pub images: Option<PathBuf>,
    /// Side of the images in pixels, to which they are resized.
    pub size: usize,
    /// Class names in the order of the logits; if absent, the labels in the CSV, sorted, numerically if all are
    /// numbers.
    #[serde(default)]
    pub classes: Option<Vec<String>>,
    /// Bits per channel of the data in 16-bit images, from 1 to 16: with 12, level 4095 is white. If absent, all 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Largest number of pixels of an image file. A larger one is an error before it is decoded.
    #[serde(default = "max_pixels")]
    pub max_pixels: u64,
}

fn max_pixels() -> u64 {
    image::MAX_PIXELS
}

/// What is known of an image without decoding it.
struct Stored {
    hash: blake3::Hash,
    is_deep: bool,
}

/// The rows of a CSV, sorted by image, and the class names.
struct Contents {
    classes: Vec<String>,
    rows: Vec<Row>,
    labels: PerSplit<Vec<u32>>,
}

impl Identity for ManifestSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path", "images", "max_pixels"]
    }
}

impl Kind for ManifestSpec {
    fn validate(&self, problems: &mut Problems) {
        validate_size(problems, self.size);
        self.bits.iter().for_each(|&bits| problems.up_to("bits", bits as usize, 16));
        problems.check("max_pixels", self.max_pixels, self.max_pixels >= 1, "1 or more");
    }

    fn paths(&mut self) -> Vec<NamedPath<'_>> {
        let images = self.images.iter_mut().map(|path| NamedPath::folder("images", path));
        images.chain([NamedPath::file("path", &mut self.path)]).collect()
    }
}

impl DatasetKind for ManifestSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn size(&self) -> usize {
        self.size
    }

    /// The CSV and its images; only the CSV if it cannot be read.
    fn files(&self) -> Vec<PathBuf> {
        let rows = read_rows(&self.path).unwrap_or_default();
        let images = rows.iter().map(|row| self.image_path(row));
        std::iter::once(self.path.clone()).chain(images).collect()
    }

    fn summary(&self) -> Result<Summary, DataError> {
        let Contents { classes, rows, labels } = self.contents()?;
        let stored = self.stored(&rows)?;
        let hashes: Vec<blake3::Hash> = stored.iter().map(|image| image.hash).collect();
        aliases::check(&self.path, &rows, &hashes, |row| self.image_path(row))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"manifest");
        for (row, hash) in rows.iter().zip(&hashes) {
            for field in
                [row.image.as_bytes(), row.label.as_bytes(), row.split.as_str().as_bytes(), hash.as_bytes()]
            {
                hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
            }
        }
        if let Some(bits) = self.bits {
            hasher.update(b"bits").update(&[bits as u8]);
        }
        let deep: Vec<&Row> =
            rows.iter().zip(&stored).filter(|(_, image)| image.is_deep).map(|(row, _)| row).collect();
        let warnings =
            twins(&self.path, &rows, &hashes).into_iter().chain(self.depth_warning(&deep)).collect();
        Ok(Summary { warnings, ..Summary::new(classes, &labels, hasher.finalize()) })
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        let Contents { classes, rows, labels } = self.contents()?;
        let splits =
            SplitName::ALL.map(|split| rows.iter().filter(|row| row.split == split).collect::<Vec<_>>());
        let counts = splits.each_ref().map(Vec::len);
        let layout = Layout { revision: self.revision(), size: self.size, counts };
        let pixels = cache::pixels(cache, layout, |sink| {
            splits
                .iter()
                .try_for_each(|rows| sink.draw(rows.len(), &|index, out| self.decode(rows[index], out)))
        })?;
        let names = splits.map(|rows| rows.iter().map(|row| row.image.clone()).collect());
        Ok(Dataset::new(classes, self.size, labels, names, pixels))
    }
}

impl ManifestSpec {
    fn contents(&self) -> Result<Contents, DataError> {
        check_size(&self.path, self.size)?;
        let rows = read_rows(&self.path)?;
        let classes = self.classes.clone().unwrap_or_else(|| classes_of(&rows));
        check_classes(&self.path, &classes)?;
        let indices: HashMap<&str, u32> = (0..).zip(&classes).map(|(i, class)| (class.as_str(), i)).collect();
        let mut labels = PerSplit::<Vec<u32>>::default();
        for row in &rows {
            let class = indices.get(row.label.as_str()).ok_or_else(|| {
                let message = format!("label '{}' is not in `classes` ({})", row.label, listed(&classes));
                DataError::at(&self.path, row.place(), message)
            })?;
            labels[row.split as usize].push(*class);
        }
        self.check_images(&rows)?;
        Ok(Contents { classes, rows, labels })
    }

    fn check_images(&self, rows: &[Row]) -> Result<(), DataError> {
        let mut missing: Vec<_> = rows.iter().filter(|row| !self.image_path(row).is_file()).collect();
        missing.sort_by_key(|row| row.number);
        let Some(first) = missing.first() else { return Ok(()) };
        let name = |row: &Row| format!("{} ({})", self.image_path(row).display(), row.place());
        let named: Vec<_> = missing.iter().take(NAMED_AT_MOST).map(|row| name(row)).collect();
        let more = match missing.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "no such image: {}{more}; `images` is the folder that paths are relative to",
            named.join(", ")
        );
        Err(DataError::at(&self.path, first.place(), message))
    }

    /// What is known of each image without decoding it.
    fn stored(&self, rows: &[Row]) -> Result<Vec<Stored>, DataError> {
        let stored = |row: &Row| {
            self.with_image(row, |image| {
                Ok(Stored { hash: blake3::hash(image.bytes()), is_deep: image.is_deep })
            })
        };
        rows.par_iter().map(stored).collect::<Vec<_>>().into_iter().collect()
    }

    fn decode(&self, row: &Row, out: &mut [u8]) -> Result<(), DataError> {
        self.with_image(row, |image| image.draw(self.bits, self.size, out))
    }

    /// Applies a function to the image of a row; its errors name the row.
    fn with_image<T>(
        &self,
        row: &Row,
        apply: impl FnOnce(Encoded<'_>) -> Result<T, String>,
    ) -> Result<T, DataError> {
        let path = self.image_path(row);
        let image = Encoded::read(&path, self.max_pixels).and_then(apply);
        image.map_err(|message| DataError::at(&self.path, row.place(), message))
    }

    fn image_path(&self, row: &Row) -> PathBuf {
        let folder = self.images.as_deref().or_else(|| self.path.parent()).unwrap_or(Path::new(""));
        folder.join(&row.image)
    }
}

/// The first classes, for a message.
fn listed(classes: &[String]) -> String {
    const SHOWN: usize = 24;
    let more = if classes.len() > SHOWN { ", …" } else { "" };
    classes[..classes.len().min(SHOWN)].join(", ") + more
}

/// The labels that occur, sorted; numerically (`2` before `10`) if all are numbers.
fn classes_of(rows: &[Row]) -> Vec<String> {
    let mut classes: Vec<_> = rows.iter().map(|row| row.label.clone()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.iter().all(|class| class.parse::<u32>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<u32>().ok());
    }
    classes
}

/// A warning about byte-identical images in different splits.
fn twins(path: &Path, rows: &[Row], hashes: &[blake3::Hash]) -> Option<String> {
    let mut by_hash: Vec<_> = hashes.iter().map(blake3::Hash::as_bytes).zip(rows).collect();
    by_hash.sort_by_key(|&(hash, row)| (hash, row.split));
    let leak = |pair: &&[(&[u8; 32], &Row)]| pair[0].0 == pair[1].0 && pair[0].1.split != pair[1].1.split;
    let leaks: Vec<_> = by_hash.windows(2).filter(leak).collect();
    let Some([(_, a), (_, b)]) = leaks.first() else { return None };
    let name = |row: &Row| format!("{} ({}, {})", row.image, row.place(), row.split.as_str());
    Some(format!(
        "{}: {} pairs of identical images are in different splits, so scores may be too good; the first: {} and {}",
        path.display(),
        leaks.len(),
        name(a),
        name(b)
    ))
}

#[cfg(test)]
mod tests {
    use ::image::{Rgb, RgbImage};
    use tempfile::TempDir;

    use super::*;

    /// A folder of single-color images: PNG `a`, `c`, `e`, JPEG `b`, `d`; red is 10, 20, …
    fn images() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (index, name) in ["a.png", "b.jpg", "c.png", "d.jpg", "e.png"].iter().enumerate() {
            let color = Rgb([10 * (index as u8 + 1), 100, 200]);
            RgbImage::from_pixel(12, 9, color).save(folder.path().join(name)).unwrap();
        }
        folder
    }

    fn spec(folder: &TempDir, csv: &str) -> ManifestSpec {
        let path = folder.path().join("labels.csv");
        std::fs::write(&path, csv).unwrap();
        ManifestSpec { path, images: None, size: 4, classes: None, bits: None, max_pixels: max_pixels() }
    }

    fn error(csv: &str) -> String {
        let folder = images();
        let spec = spec(&folder, csv);
        let error = spec.summary().unwrap_err().to_string();
        assert_eq!(spec.load(None).unwrap_err().to_string(), error);
        error
    }

    const CSV: &str = "note,image,label,split,group\nx,c.png,nv,train,1\n,a.png, mel ,train,1\n\
                       ,b.jpg,nv,valid,\n,d.jpg,nv,validation,\n,e.png,mel,test,2\n";

    #[test]
    fn images_are_read_in_the_order_of_their_paths() {
        let folder = images();
        let spec = spec(&folder, CSV);
        let data = spec.load(None).unwrap();
        assert_eq!(data.classes, ["mel", "nv"]);
        assert_eq!(
            (&data.train.names[..], &data.train.labels[..]),
            (&["a.png".into(), "c.png".into()][..], &[0, 1][..])
        );
        assert_eq!(data.train.pixels[..3], [10, 100, 200]);
        assert_eq!(data.train.pixels[48..51], [30, 100, 200]);
        assert!(data.val.pixels[0].abs_diff(20) < 4, "JPEG");
        assert_eq!(spec.summary().unwrap().counts, [vec![1, 1], vec![0, 2], vec![1, 0]]);
        assert_eq!(spec.files().len(), 6);
    }

    #[test]
    fn the_digest_follows_paths_labels_splits_and_bytes_only() {
        let folder = images();
        let digest = |csv: &str| spec(&folder, csv).summary().unwrap().digest;
        let first = digest("image,label,split\na.png,x,train\nb.jpg,y,test\n");
        assert_eq!(digest("split,image,group,label\ntest,b.jpg,7,y\ntrain,a.png,8,x\n"), first);
        assert_ne!(digest("image,label,split\na.png,y,train\nb.jpg,y,test\n"), first);
        assert_ne!(digest("image,label,split\na.png,x,val\nb.jpg,y,test\n"), first);
        assert_ne!(digest("image,label,split\na.png,x,train\nc.png,y,test\n"), first);
        std::fs::copy(folder.path().join("c.png"), folder.path().join("a.png")).unwrap();
        assert_ne!(digest("image,label,split\na.png,x,train\nb.jpg,y,test\n"), first);
    }

    #[test]
    fn identical_images_in_two_splits_give_a_warning() {
        let folder = images();
        assert_eq!(spec(&folder, CSV).summary().unwrap().warnings, [""; 0]);
        std::fs::copy(folder.path().join("c.png"), folder.path().join("e.png")).unwrap();
        let [warning] = &spec(&folder, CSV).summary().unwrap().warnings[..] else { panic!("one warning") };
        let pair = "1 pairs of identical images are in different splits, so scores may be too good; the first: \
                    c.png (row 2, train) and e.png (row 6, test)";
        assert!(warning.ends_with(pair), "{warning}");
    }

    #[test]
    fn decoded_images_come_from_the_cache_the_second_time() {
        let folder = images();
        let cache = folder.path().join("cache");
        let first = spec(&folder, CSV).load(Some(&cache)).unwrap();
        std::fs::write(folder.path().join("a.png"), "gone").unwrap();
        let second = spec(&folder, CSV).load(Some(&cache)).unwrap();
        assert_eq!(first.train.pixels[..], second.train.pixels[..]);
        assert_eq!(first.test.names, second.test.names);
    }

    #[test]
    fn a_leak_between_splits_is_an_error_that_names_both_rows() {
        let twice = error("image,label,split\na.png,x,train\nb.jpg,x,val\n./a.png,x,test\n");
        assert!(
            twice.contains("row 4: image './a.png' is in two splits: test here and train in row 2"),
            "{twice}"
        );
        let group = error("image,label,split,group\na.png,x,train,p1\nb.jpg,x,train,\nc.png,x,test,p1\n");
        assert!(
            group.contains("row 4: group 'p1' is in two splits: test here and train in row 2"),
            "{group}"
        );
        let repeated = error("image,label,split\na.png,x,train\na.png,y,train\n");
        assert!(repeated.contains("row 3: image 'a.png' is a duplicate of row 2"), "{repeated}");
    }

    #[test]
    fn rows_that_cannot_be_used_are_named() {
        let is = |csv: &str, expected: &str| {
            let message = error(csv);
            assert!(message.contains(expected), "{message}");
        };
        is(
            "image,label,split\na.png,x,training\n",
            "row 2: unknown split 'training'; it must be train, val or test",
        );
        is("image,label,split\na.png,x,train\nb.jpg, ,train\n", "row 3: the label is empty");
        is("image,label,split\n,x,train\n", "row 2: the image is empty");
        is("image,label,split\na.png,x\n", "row 2: failed to read the CSV");
        is("image,class,split\na.png,x,train\n", "row 1: column 'label' is missing");
        is("image,label,split\n", "the CSV has no rows");
        is("", "row 1: column 'image' is missing");
    }

    #[test]
    fn missing_images_are_listed_up_to_three() {
        let rows: String = (0..5).map(|row| format!("{row}.png,x,train\n")).collect();
        let message = error(&format!("image,label,split\na.png,x,train\n{rows}"));
        assert!(message.contains("row 3: no such image: ") && message.contains("0.png (row 3)"), "{message}");
        assert!(message.contains("2.png (row 5) and 2 more; `images`"), "{message}");
    }

    #[test]
    fn labels_must_be_among_the_given_classes_whose_order_counts() {
        let folder = images();
        let mut spec = spec(&folder, CSV);
        spec.classes = Some(vec!["nv".into(), "mel".into()]);
        assert_eq!(spec.load(None).unwrap().train.labels, [1, 0]);
        spec.classes = Some(vec!["nv".into()]);
        let message = spec.summary().unwrap_err().to_string();
        assert!(message.contains("row 3: label 'mel' is not in `classes` (nv)"), "{message}");
    }

    #[test]
    fn numbers_are_sorted_as_numbers() {
        let folder = images();
        let rows = "image,label,split\na.png,10,train\nb.jpg,9,train\nc.png,2,train\n";
        assert_eq!(spec(&folder, rows).summary().unwrap().classes, ["2", "9", "10"]);
    }

    #[test]
    fn the_content_determines_the_format_and_text_is_not_an_image() {
        let folder = images();
        std::fs::rename(folder.path().join("a.png"), folder.path().join("png.jpg")).unwrap();
        std::fs::write(folder.path().join("text.jpg"), "not an image").unwrap();
        let good = spec(&folder, "\u{feff}image,label,split\npng.jpg,x,train\n");
        assert_eq!(good.load(None).unwrap().train.pixels[..3], [10, 100, 200]);
        let bad = spec(&folder, "image,label,split\nb.jpg,x,train\ntext.jpg,x,val\n");
        let message = bad.load(None).unwrap_err().to_string();
        assert!(message.contains("row 3: ") && message.contains("text.jpg cannot be decoded"), "{message}");
        assert_eq!(bad.summary().unwrap_err().to_string(), message);
    }

    #[test]
    fn f02_a_truncated_image_is_refused_with_its_row() {
        let folder = images();
        for name in ["b.jpg", "c.png"] {
            let path = folder.path().join(name);
            let whole = std::fs::read(&path).unwrap();
            std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
            let message = spec(&folder, &format!("image,label,split\na.png,x,train\n{name},x,val\n"));
            let message = message.summary().unwrap_err().to_string();
            assert!(
                message.contains("labels.csv, row 3: ") && message.contains("it is truncated"),
                "{message}"
            );
        }
    }

    #[test]
    fn f22_limits_of_pixels_and_bits_are_errors_with_the_row() {
        let folder = images();
        let csv = "image,label,split\na.png,x,train\n";
        let small = ManifestSpec { max_pixels: 107, ..spec(&folder, csv) };
        for message in [small.summary().unwrap_err(), small.load(None).unwrap_err()] {
            assert!(message.to_string().contains("row 2: "), "{message}");
            assert!(
                message.to_string().contains("12 x 9 = 108 pixels, more than `max_pixels` (107)"),
                "{message}"
            );
        }
        let enough = ManifestSpec { max_pixels: 108, ..spec(&folder, csv) };
        assert_eq!(enough.options(), spec(&folder, csv).options(), "the limit changes no result");
        assert_eq!(enough.summary().unwrap(), spec(&folder, csv).summary().unwrap());
    }

    #[test]
    fn f22_options_are_those_of_before_without_the_new_keys() {
        let folder = images();
        let options = spec(&folder, CSV).options();
        assert_eq!(options, serde_json::json!({ "size": 4, "classes": null }));
    }

    #[test]
    #[cfg(unix)]
    fn f22_a_pipe_or_device_is_refused_as_image_and_as_csv() {
        let folder = images();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.png")).unwrap();
        let message =
            spec(&folder, "image,label,split\nzero.png,x,train\n").summary().unwrap_err().to_string();
        assert!(message.contains("row 2: no such image: "), "{message}");
        let zero = ManifestSpec { path: "/dev/zero".into(), ..spec(&folder, CSV) };
        let message = zero.summary().unwrap_err().to_string();
        assert!(message.contains("it is a pipe or a device, not a file"), "{message}");
    }
}
