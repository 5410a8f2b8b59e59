//! The images of which a model is most confidently wrong, small enough for a report.

use std::collections::HashMap;

use image::{RgbImage, imageops};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Cell;
use crate::dataset::{Dataset, DatasetSpec, Split, SplitName};
use crate::error::Error;
use crate::identity::Fingerprint;
use crate::metric::Predictions;
use crate::plan::PlannedDataset;
use crate::report::Wrong;
use crate::stage::Prediction;
use crate::store::Store;

/// Images of each model on each data set.
const IMAGES: usize = 8;

/// Largest side in pixels.
const SIDE: u32 = 64;

/// Of JPEG, from 1 to 100.
const QUALITY: i32 = 85;

/// Of which data sets a report shows images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Thumbnails {
    /// Of none
    None,
    /// Of public and synthetic ones, not of the kinds `manifest` and `folder`, which may show patients
    #[default]
    Public,
    /// Of all
    All,
}

impl Thumbnails {
    fn shows(self, dataset: &PlannedDataset) -> bool {
        let is_own = matches!(dataset.spec, DatasetSpec::Manifest(_) | DatasetSpec::Folder(_));
        self == Self::All || self == Self::Public && !is_own
    }
}

/// Data sets whose images are shown, each loaded once.
#[derive(Debug)]
pub(super) struct Album<'s> {
    store: &'s Store,
    thumbnails: Thumbnails,
    /// `None` if it cannot be read.
    loaded: HashMap<Fingerprint, Option<Dataset>>,
}

impl<'s> Album<'s> {
    pub(super) fn new(store: &'s Store, thumbnails: Thumbnails) -> Self {
        Self { store, thumbnails, loaded: HashMap::new() }
    }

    /// The wrong predictions with the largest probability, the largest first; none for a multi-label data set.
    pub(super) fn wrong(&mut self, cell: &Cell<'_>, said: &Prediction, valid: &Predictions) -> Vec<Wrong> {
        if !self.thumbnails.shows(cell.dataset) {
            return Vec::new();
        }
        let (classes, split) = (&cell.dataset.summary.classes, cell.spec.split);
        let mut wrong: Vec<(f64, usize, [usize; 2])> = valid
            .images()
            .into_iter()
            .flatten()
            .enumerate()
            .filter(|(_, image)| image.label != image.predicted)
            .map(|(i, image)| (image.probabilities[image.predicted], i, [image.label, image.predicted]))
            .collect();
        wrong.sort_by(|(a, i, _), (b, j, _)| b.total_cmp(a).then(i.cmp(j)));
        wrong.truncate(IMAGES);
        let Some(split) = self.split(cell.dataset, split).filter(|_| !wrong.is_empty()) else {
            return Vec::new();
        };
        let shown = wrong.into_iter().filter_map(|(confidence, i, [label, predicted])| {
            let name = said.images[i].clone();
            let jpeg = jpeg(split, position(split, i, &name)?)?;
            let [label, predicted] = [label, predicted].map(|class| classes[class].clone());
            Some(Wrong { name, label, predicted, confidence, jpeg })
        });
        shown.collect()
    }

    fn split(&mut self, dataset: &PlannedDataset, split: SplitName) -> Option<&Split> {
        let store = self.store;
        let loaded = self.loaded.entry(dataset.fingerprint).or_insert_with(|| load(store, dataset));
        loaded.as_ref().map(|dataset| dataset.split(split))
    }
}

/// A report without pictures is better than none.
fn load(store: &Store, dataset: &PlannedDataset) -> Option<Dataset> {
    let cache = store.data_cache(&dataset.summary.digest, dataset.spec.size());
    // Without one, this user may have no permission to write there.
    let loaded = dataset.spec.load(cache.exists().then_some(cache.as_path())).map_err(Error::from);
    loaded.map_err(|error| tracing::warn!("the report shows no images of {}: {error}", dataset.name)).ok()
}

/// The position of an image in its split: that of its prediction, unless some images were not evaluated.
fn position(split: &Split, i: usize, name: &String) -> Option<usize> {
    if split.names.get(i) == Some(name) {
        Some(i)
    } else {
        split.names.iter().position(|other| other == name)
    }
}

/// An image at its side or the largest one.
fn jpeg(split: &Split, position: usize) -> Option<Vec<u8>> {
    let (bytes, side) = (split.image_bytes(), split.side() as u32);
    let pixels = split.pixels.get(position * bytes..(position + 1) * bytes)?;
    let mut image = RgbImage::from_raw(side, side, pixels.to_vec())?;
    if side > SIDE {
        image = imageops::thumbnail(&image, SIDE, SIDE);
    }
    compressed(&image).ok()
}

/// As small as JPEG can be: most of an image of this size would be tables of codes and of colors.
fn compressed(image: &RgbImage) -> turbojpeg::Result<Vec<u8>> {
    let is_gray = image.pixels().all(|image::Rgb([red, green, blue])| red == green && green == blue);
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pitch = PixelFormat::RGB.size() * width;
    let mut compressor = Compressor::new()?;
    compressor.set_quality(QUALITY)?;
    compressor.set_subsamp(if is_gray { Subsamp::Gray } else { Subsamp::Sub2x2 })?;
    compressor.set_optimize(true)?;
    compressor.compress_to_vec(Image {
        pixels: image.as_raw().as_slice(),
        width,
        pitch,
        height,
        format: PixelFormat::RGB,
    })
}
