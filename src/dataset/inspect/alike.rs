//! Near duplicates: the same picture in two splits, saved anew, resized or slightly changed.
//!
//! The decoded image is resized to 9 x 8 pixels and made gray. Its difference hash has a bit for each of the 8 x 8 pairs
//! of neighbors in a row: whether the right one is brighter. Two images are near duplicates if their hashes differ in
//! at most [`MOST_BITS`] bits and their gray pixels by at most [`MOST_LEVELS`] of 255 levels on average. Images with
//! identical content are reported elsewhere. Mirrored, turned and differently cut copies are not found.
//!
//! Source of the hash: N. Krawetz, "Kind of Like That", 2013; `dhash` of the Python package imagehash.

use rayon::prelude::*;
use serde::Serialize;

use super::{Content, NamedImage};
use crate::image::resize;
use crate::{Dataset, SplitName};

/// The most bits in which the hashes of near duplicates differ, of 64.
pub const MOST_BITS: u32 = 4;

/// The mean difference of their gray pixels, at most, in levels of 255.
pub const MOST_LEVELS: u32 = 3;

/// The most images that are compared, each with all others.
pub const MOST_IMAGES: usize = 100_000;

/// Pairs that are kept.
const KEPT: usize = 20;

const WIDTH: usize = 9;
const HEIGHT: usize = 8;
const AREA: usize = WIDTH * HEIGHT;

/// Near duplicates in different splits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearDuplicates {
    /// Number of pairs.
    pub count: usize,
    /// The 20 that differ least in their gray pixels.
    pub closest: Vec<Pair>,
}

/// Two images that look the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The images.
    pub images: [NamedImage; 2],
    /// Number of bits in which their difference hashes differ.
    pub bits: u32,
    /// Mean difference of their gray pixels, in levels of 255.
    pub levels: f64,
}

/// What is compared of an image.
pub(super) struct Glance {
    pub(super) hash: u64,
    pub(super) gray: [u8; AREA],
}

impl Glance {
    /// Of a square RGB image, `[size, size, 3]`.
    pub(super) fn at(rgb: &[u8], size: usize) -> Self {
        let mut small = [0; AREA * 3];
        resize(rgb, (size, size), (WIDTH, HEIGHT), &mut small);
        let (pixels, _) = small.as_chunks::<3>();
        let mut gray = [0; AREA];
        gray.iter_mut().zip(pixels).for_each(|(gray, pixel)| *gray = luma(*pixel));
        let rows = gray.chunks_exact(WIDTH).flat_map(|row| row.windows(2));
        let hash = rows.fold(0, |hash, pair| hash << 1 | u64::from(pair[1] > pair[0]));
        Self { hash, gray }
    }

    /// Sum of the differences of the gray pixels.
    fn difference(&self, other: &Self) -> u32 {
        self.gray.iter().zip(&other.gray).map(|(a, b)| u32::from(a.abs_diff(*b))).sum()
    }
}

/// Pillow's `convert("L")`: ITU-R BT.601 in fixed point.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let weighted = 19595 * u32::from(red) + 38470 * u32::from(green) + 7471 * u32::from(blue);
    ((weighted + 0x8000) >> 16) as u8
}

/// Sum of differences, bits, positions.
type Found = (u32, u32, usize, usize);

/// The closest pairs so far.
#[derive(Default)]
struct Closest {
    count: usize,
    pairs: Vec<Found>,
}

impl Closest {
    fn consider(&mut self, pair: Found, contents: &[Content]) {
        let (levels, _, i, j) = pair;
        if levels > MOST_LEVELS * AREA as u32 || contents[i].hash == contents[j].hash {
            return;
        }
        self.count += 1;
        self.pairs.push(pair);
        if self.pairs.len() >= 4 * KEPT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.pairs.sort_unstable();
        self.pairs.truncate(KEPT);
    }

    fn merged(mut self, other: Self) -> Self {
        self.count += other.count;
        self.pairs.extend(other.pairs);
        self.cut();
        self
    }
}

/// The near duplicates in different splits; `None` if there are too many images to compare. `contents` are the images
/// of all splits, in order.
pub(super) fn search(dataset: &Dataset, contents: &[Content]) -> Option<NearDuplicates> {
    if contents.len() > MOST_IMAGES {
        return None;
    }
    let glances = glances(dataset);
    let hashes: Vec<u64> = glances.iter().map(|glance| glance.hash).collect();
    let ends = ends(dataset);
    let compared = (0..contents.len()).into_par_iter().fold(Closest::default, |mut closest, i| {
        let later = ends[contents[i].image.split as usize];
        for (j, hash) in hashes.iter().enumerate().skip(later) {
            let bits = (hashes[i] ^ hash).count_ones();
            if bits <= MOST_BITS {
                closest.consider((glances[i].difference(&glances[j]), bits, i, j), contents);
            }
        }
        closest
    });
    Some(named(compared.reduce(Closest::default, Closest::merged), contents))
}

fn glances(dataset: &Dataset) -> Vec<Glance> {
    let of = |split: SplitName| {
        let (split, side) = (dataset.split(split), dataset.split(split).side());
        let images = split.pixels.par_chunks_exact(split.image_bytes().max(1));
        images.map(move |image| Glance::at(image, side))
    };
    let [train, val, test] = SplitName::ALL.map(of);
    train.chain(val).chain(test).collect()
}

/// Where the images of each split end.
fn ends(dataset: &Dataset) -> [usize; 3] {
    let mut end = 0;
    SplitName::ALL.map(|split| {
        end += dataset.split(split).len();
        end
    })
}

fn named(closest: Closest, contents: &[Content]) -> NearDuplicates {
    let pair = |(levels, bits, i, j): Found| Pair {
        images: [i, j].map(|position| contents[position].image.clone()),
        bits,
        levels: f64::from(levels) / AREA as f64,
    };
    NearDuplicates { count: closest.count, closest: closest.pairs.into_iter().map(pair).collect() }
}
