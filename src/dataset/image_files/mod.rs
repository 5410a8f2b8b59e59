//! What all kinds that read image files share.
//!
//! A kind lists image files with their labels ([`ImageFiles::list`]). Everything else is here: the split, classes,
//! checks, the digest, decoding.
//!
//! | file | what |
//! |---|---|
//! | `spec` | the keys that all these kinds share |
//! | `listing` | what a kind finds |
//! | `label` | the classes of an image |
//! | `csv` | CSV files with a header |
//! | `folder` | image files in a folder |
//! | `contents` | from a listing to rows with a split and a class |
//! | `leaks` | images that must not be in two splits |
//! | `depth` | the range of 16-bit images |
//! | `inspect` | everything that is wrong, for `medmerge data check` |

mod contents;
pub mod csv;
mod depth;
pub mod folder;
mod inspect;
pub(crate) mod label;
mod leaks;
pub(crate) mod listing;
pub(crate) mod spec;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kind::{Kind, Problems};
use rayon::prelude::*;

use self::contents::Contents;
use self::leaks::Leak;
use self::listing::Row;
use self::spec::Shared;
use crate::assemble::PerSplit;
use crate::cache::{self, Layout};
use crate::image::Encoded;
use crate::inspect::{CacheFolder, Inspection};
use crate::pixels::PixelSpec;
use crate::split::{SplitSpec, file};
use crate::{DataError, Dataset, DatasetKind, Labeling, Labels, SplitName, Summary};

pub use self::listing::{Listed, Listing};
pub use self::spec::Allowed;

/// What every kind that reads image files implements, beside its spec by `image_files!`.
pub trait ImageFiles: Kind {
    /// Name that enters the digest.
    const NAME: &'static str;

    /// Revision of the implementation, see [`DatasetKind::revision`].
    const REVISION: u32 = 2;

    /// What to do if image files are missing, as the end of a sentence.
    const IF_MISSING: &'static str = "; copy or download them again";

    /// The keys that all these kinds share.
    fn shared(&self) -> Shared<'_>;

    /// The split if the key `split` is absent.
    fn default_split(&self) -> SplitSpec {
        SplitSpec::default()
    }

    /// Whether a key that is not in the fingerprint states the classes, so that they enter the digest.
    fn classes_enter_digest(&self) -> bool {
        false
    }

    /// Reports own values that are invalid.
    fn validate_own(&self, problems: &mut Problems) {
        let _ = problems;
    }

    /// The image files and their labels.
    ///
    /// # Errors
    /// A file or folder is missing or malformed; the message names it, and what is expected there.
    fn list(&self) -> Result<Listing, DataError>;
}

/// What is known of an image without decoding it.
struct Stored {
    hash: blake3::Hash,
    is_deep: bool,
    is_dicom: bool,
    /// Width and height.
    extent: [u32; 2],
}

impl<T: ImageFiles> DatasetKind for T {
    fn revision(&self) -> u32 {
        T::REVISION
    }

    fn size(&self) -> usize {
        self.shared().size
    }

    fn cache_size(&self) -> Option<usize> {
        self.shared().cache_size
    }

    fn pixels(&self) -> Option<&PixelSpec> {
        Some(self.shared().pixels)
    }

    /// The files that list images, and the images; only the path if it cannot be read.
    fn files(&self) -> Vec<PathBuf> {
        let Ok(listing) = self.list() else { return vec![self.shared().path.into()] };
        let images = listing.images.into_iter().map(|image| image.file);
        let split = self.shared().split.into_iter().flat_map(|split| split.files()).map(Into::into);
        listing.files.into_iter().chain(split).chain(images).collect()
    }

    fn summary(&self) -> Result<Summary, DataError> {
        let (contents, shared) = (Contents::of(self)?, self.shared());
        let stored: Vec<Stored> =
            stored(&contents.rows, shared.pixels).into_iter().collect::<Result<_, _>>()?;
        let hashes: Vec<blake3::Hash> = stored.iter().map(|image| image.hash).collect();
        let digest = digest(T::NAME, &contents, &hashes, &shared);
        let Contents { classes, rows, labels, warnings, caveats, .. } = contents;
        leaks::check_aliases(&rows, &hashes)?;
        let allowed = shared.allows(Allowed::IdenticalImages);
        let identical = Leak::checked(leaks::identical(&rows, &hashes), allowed)?;
        let deep = rows.iter().zip(&stored).filter(|(_, image)| image.is_deep).map(|(row, _)| row);
        let window = depth::window_warning(&shared, stored.iter().any(|image| image.is_dicom));
        let depth = depth::warning(&shared, &deep.collect::<Vec<_>>());
        let warnings = warnings.into_iter().chain(depth).chain(window);
        Ok(Summary {
            warnings: warnings.collect(),
            caveats: caveats.into_iter().chain(identical).collect(),
            train_groups: train_groups(&rows, &labels),
            ..Summary::new(classes, labels, digest)
        })
    }

    fn load(&self, cache: Option<&Path>) -> Result<Dataset, DataError> {
        load(self, &Contents::of(self)?, cache)
    }

    fn inspect(&self, cache: &CacheFolder<'_>) -> Result<Inspection, DataError> {
        inspect::inspect(self, cache)
    }

    fn split_csv(&self) -> Result<Option<Vec<u8>>, DataError> {
        Ok(Some(file::csv_of(&Contents::of(self)?.rows)))
    }

    fn groups(&self, split: SplitName) -> Result<Option<HashMap<String, String>>, DataError> {
        let rows = Contents::listed(self)?.rows.into_iter().filter(|row| row.split == split);
        let grouped = rows.filter_map(|Row { image, .. }| Some((image.name, image.group?)));
        let groups: HashMap<String, String> = grouped.collect();
        Ok((!groups.is_empty()).then_some(groups))
    }
}

/// Decodes the images, or takes them from the cache.
fn load<T: ImageFiles>(kind: &T, contents: &Contents, cache: Option<&Path>) -> Result<Dataset, DataError> {
    let Contents { classes, rows, labels, .. } = contents;
    let shared = kind.shared();
    let Shared { size, pixels: choice, .. } = shared;
    let splits = SplitName::ALL.map(|split| rows.iter().filter(|row| row.split == split).collect::<Vec<_>>());
    let counts = splits.each_ref().map(Vec::len);
    let layout = Layout { revision: T::REVISION, sides: shared.sides(), counts };
    let pixels = cache::pixels(cache, layout, |sink| {
        splits.iter().zip(shared.sides()).try_for_each(|(rows, side)| {
            sink.draw(rows.len(), &|index, out| {
                with_image(rows[index], choice, |image| image.draw(side, out))
            })
        })
    })?;
    let groups = splits.each_ref().map(|rows| numbered_groups(rows.iter().copied()));
    let names = splits.map(|rows| rows.iter().map(|row| row.name.clone()).collect());
    let mut dataset = Dataset::new(classes.clone(), size, labels.clone(), names, pixels);
    [dataset.train.groups, dataset.val.groups, dataset.test.groups] = groups;
    Ok(dataset)
}

/// The number of each row's group, in the order of its first row, a row without a group by itself; `None` if no row has
/// one.
fn numbered_groups<'r>(rows: impl Iterator<Item = &'r Row> + Clone) -> Option<Vec<u32>> {
    if rows.clone().all(|row| row.group.is_none()) {
        return None;
    }
    let (mut numbers, mut next) = (HashMap::new(), 0..);
    let number = |row: &'r Row| match row.group.as_deref() {
        Some(group) => *numbers.entry(group).or_insert_with(|| next.next()),
        None => next.next(),
    };
    rows.map(number).collect()
}

/// The training images of each group: position and label, which is 0 in a multi-label data set.
fn train_groups(rows: &[Row], labels: &PerSplit<Labels>) -> Option<Vec<Vec<(u32, u32)>>> {
    let numbers = numbered_groups(rows.iter().filter(|row| row.split == SplitName::Train))?;
    let mut groups: Vec<Vec<(u32, u32)>> = Vec::new();
    let labels = labels[SplitName::Train as usize].single();
    for (position, number) in numbers.into_iter().enumerate() {
        groups.resize_with(groups.len().max(number as usize + 1), Vec::new);
        groups[number as usize].push((position as u32, labels.map_or(0, |labels| labels[position])));
    }
    Some(groups)
}

/// What is known of each image without decoding it.
fn stored(rows: &[Row], pixels: &PixelSpec) -> Vec<Result<Stored, DataError>> {
    let stored = |image: Encoded<'_>| {
        let (hash, is_deep, is_dicom) = (image.digest(), image.is_deep, image.is_dicom());
        Ok(Stored { hash, is_deep, is_dicom, extent: image.extent })
    };
    rows.par_iter().map(|row| with_image(row, pixels, stored)).collect()
}

/// The digest of names, labels, splits and bytes, and of the classes unless the fingerprint has them.
fn digest(name: &str, contents: &Contents, hashes: &[blake3::Hash], shared: &Shared<'_>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    for (row, hash) in contents.rows.iter().zip(hashes) {
        enter(&mut hasher, row.name.as_bytes());
        row.label.enter(&mut hasher);
        enter(&mut hasher, row.split.as_str().as_bytes());
        enter(&mut hasher, hash.as_bytes());
    }
    if contents.labels[0].labeling() == Labeling::MultiLabel {
        hasher.update(b"multi_label");
    }
    if contents.classes_enter_digest {
        hasher.update(b"classes");
        contents.classes.iter().for_each(|class| enter(&mut hasher, class.as_bytes()));
    }
    shared.enter(&mut hasher);
    hasher.finalize()
}

fn enter(hasher: &mut blake3::Hasher, field: &[u8]) {
    hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
}

/// Applies a function to the image of a row; its errors name the row.
fn with_image<T>(
    row: &Row,
    pixels: &PixelSpec,
    apply: impl FnOnce(Encoded<'_>) -> Result<T, String>,
) -> Result<T, DataError> {
    Encoded::read(&row.file, pixels).and_then(apply).map_err(|message| row.error(message))
}
