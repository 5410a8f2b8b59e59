use std::sync::Arc;

use super::alike::Glance;
use super::*;
use crate::{Pixels, Split};

/// A split of square images of 16 pixels.
fn split(name: SplitName, images: &[Vec<u8>]) -> Split {
    Split {
        pixels: Pixels::Owned(Arc::from(images.concat())),
        labels: vec![0; images.len()].into(),
        names: (0..images.len()).map(|i| format!("{}/{i}", name.as_str())).collect(),
        groups: None,
    }
}

fn dataset(splits: [&[Vec<u8>]; 3]) -> Dataset {
    let [train, val, test] = SplitName::ALL.map(|name| split(name, splits[name as usize]));
    Dataset { classes: vec!["a".into()], size: 16, pixels: None, train, val, test }
}

/// A gray pattern of 16 x 16 pixels: waves of this frequency, brighter by `plus`.
fn waves(frequency: usize, plus: u8) -> Vec<u8> {
    let level = |x: usize, y: usize| ((frequency * (3 * x + 5 * y) + x * y * frequency) % 97) as u8 + 60;
    let pixels = (0..256).map(|i| level(i % 16, i / 16) + plus);
    pixels.flat_map(|level| [level; 3]).collect()
}

fn inspected(dataset: &Dataset) -> Inspection {
    let labels = [0, 1, 2].map(|split| dataset.split(SplitName::ALL[split]).labels.clone());
    let summary = Summary::new(dataset.classes.clone(), labels, blake3::hash(b""));
    Inspection::of_pixels(summary, dataset)
}

fn image(split: SplitName, index: usize) -> NamedImage {
    NamedImage { split, name: format!("{}/{index}", split.as_str()) }
}

#[test]
fn identical_images_are_grouped_within_and_across_splits() {
    let [a, b, c] = [1, 2, 3].map(|frequency| waves(frequency, 0));
    let found = inspected(&dataset([&[a.clone(), b.clone(), a.clone()], &[c], &[b]]));
    let train = |index| image(SplitName::Train, index);
    let [within, across] = found.within_and_across();
    assert_eq!(within, [&[train(0), train(2)]]);
    assert_eq!(across, [&[train(1), image(SplitName::Test, 0)]]);
    assert_eq!(found.near_duplicates.as_ref().unwrap().count, 0, "they are identical");
    assert!(found.is_wrong());
    assert!(!Inspection { allow: vec![Allowed::IdenticalImages], ..found }.is_wrong());
}

#[test]
fn near_duplicates_are_found_across_splits_the_closest_first() {
    let images = [waves(1, 0), waves(2, 0), waves(3, 0)];
    let found = inspected(&dataset([&images, &[waves(3, 2), waves(3, 3)], &[waves(1, 1), waves(2, 60)]]));
    let near = found.near_duplicates.as_ref().unwrap();
    let pairs: Vec<_> = near.closest.iter().map(|pair| (pair.images.clone(), pair.bits)).collect();
    let [train, val, test] = SplitName::ALL.map(|split| move |index| image(split, index));
    assert_eq!(near.count, 3, "not the two of val, and not the one that is much brighter");
    assert_eq!(pairs, [([train(0), test(0)], 0), ([train(2), val(0)], 0), ([train(2), val(1)], 0)]);
    assert_eq!(near.closest[0].levels, 1.0);
    assert!(!found.is_wrong());
}

#[test]
fn all_pairs_are_counted_and_twenty_kept() {
    let many: Vec<_> = (0..30).map(|plus| waves(1, plus % 2)).collect();
    let others: Vec<_> = (0..9).map(|plus| waves(1, 2 + plus % 2)).collect();
    let near = inspected(&dataset([&many, &others, &[]])).near_duplicates.unwrap();
    assert_eq!((near.count, near.closest.len()), (30 * 9, 20));
    assert!(near.closest.iter().all(|pair| pair.levels == 1.0));
}

#[test]
fn the_hash_has_a_bit_for_each_pair_of_neighbors() {
    let ramp = |up: bool| -> Vec<u8> {
        let level = |x: usize| if up { 10 * x as u8 } else { 200 - 10 * x as u8 };
        (0..256).flat_map(|i| [level(i % 16); 3]).collect()
    };
    assert_eq!(Glance::at(&ramp(true), 16).hash, u64::MAX);
    assert_eq!(Glance::at(&ramp(false), 16).hash, 0);
    assert_eq!(Glance::at(&vec![9; 768], 16).hash, 0);
}

/// `np.array([0, 51, 255, 255]).mean() / 255` and `.std() / 255`
#[test]
fn moments_are_those_of_numpy() {
    let pixels = [[0, 7, 255], [51, 7, 0], [255, 7, 255], [255, 7, 0]].concat();
    let Moments { mean, std } = Moments::of(&pixels).unwrap();
    let near = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(near(mean, [0.55, 7.0 / 255.0, 0.5]), "{mean:?}");
    assert!(near(std, [0.455_521_678_957_214_9, 0.0, 0.5]), "{std:?}");
    assert_eq!(Moments::of(&[]), None);
}

#[test]
fn sizes_are_ordered_by_pixels() {
    let sizes = Sizes::of(vec![[9, 9], [100, 1], [2, 3], [10, 8]]).unwrap();
    assert_eq!((sizes.smallest, sizes.median, sizes.largest), ([2, 3], [9, 9], [100, 1]));
    assert_eq!(Sizes::of(Vec::new()), None);
}

/// A disc on a gradient, 40 x 40 pixels.
fn disc(k: i32) -> Vec<u8> {
    let level = |x: i32, y: i32, c: i32| match (x - 15).pow(2) + (y - 12 - k).pow(2) < 90 + 20 * k {
        true => 250 - 60 * c,
        false => 5 * x + 2 * y + 10 * c - if x > 20 { 20 * k } else { 0 },
    };
    let pixels = (0..40).flat_map(|y| (0..40).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [0, 1, 2].map(|c| level(x, y, c).clamp(0, 255) as u8)).collect()
}

/// Pillow's hashes and gray pixels of the first row:
///
/// ```python
/// y, x, c = np.mgrid[0:40, 0:40, 0:3]
/// inside = (x - 15) ** 2 + (y - 12 - k) ** 2 < 90 + 20 * k
/// a = np.where(inside, 250 - 60 * c, x * 5 + y * 2 + c * 10 - 20 * k * (x > 20)).clip(0, 255).astype(np.uint8)
/// g = np.asarray(Image.fromarray(a).resize((9, 8), Image.BILINEAR).convert("L")).astype(int)
/// bits = (g[:, 1:] > g[:, :-1]).flatten(); first = g[0]
/// ```
const PILLOWS: [(u64, [u8; 9]); 3] = [
    (0xefe7_c3e7_ffff_ffff, [24, 48, 98, 134, 133, 135, 155, 177, 197]),
    (0xe7e3_c3e3_e7ff_ffff, [24, 48, 101, 137, 130, 115, 135, 157, 177]),
    (0xe7e3_c3c3_e3f7_f7f7, [24, 49, 98, 134, 122, 98, 115, 137, 157]),
];

#[test]
fn hashes_agree_with_pillow() {
    for (k, (hash, first)) in (0..).zip(PILLOWS) {
        let glance = Glance::at(&disc(k), 40);
        // A pair of neighbors that are equal there may differ by a level here.
        assert!((glance.hash ^ hash).count_ones() <= 1, "{k}: {:x} {hash:x}", glance.hash);
        assert!(
            glance.gray.iter().zip(first).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 1),
            "{:?}",
            glance.gray
        );
    }
}
