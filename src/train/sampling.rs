//! Which images form the batches of an epoch.
//!
//! A *draw* is an image of a batch: its position in the split, plus the number of images of the split for each earlier
//! draw of the same image in the epoch. So draws of one image differ, and with them its random transforms.

use std::collections::HashMap;

use dataset::{Labeling, Split};
use rand::RngCore;
use rand::seq::SliceRandom;
use rng::{Purpose, rng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::augmentation::below;

/// Index of the random numbers of [`Sampling::Balanced`]; [`Sampling::Shuffled`] has index 0.
const BALANCED: u64 = 1;

/// How the images of an epoch are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// In random order, each once before any comes again.
    #[default]
    Shuffled,
    /// Each class equally often in expectation: images are drawn with replacement, with probability 1 / (classes ·
    /// images of the class).
    Balanced,
}

impl Sampling {
    /// Whether it draws images of data sets that are labeled like this.
    pub fn suits(self, labeling: Labeling) -> bool {
        self == Self::Shuffled || labeling.is_single_label()
    }

    /// `count` draws of an epoch; none if there is no image, or it does not suit the labels.
    pub fn draws(self, split: &Split, count: usize, seed: u64, epoch: usize) -> Vec<usize> {
        match self {
            Self::Shuffled => shuffled(split.len(), count, seed, epoch),
            Self::Balanced => balanced(split.labels.single().unwrap_or_default(), count, seed, epoch),
        }
    }
}

/// The images in random order, then in another one, and so on.
fn shuffled(images: usize, count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut random = rng(seed, Purpose::Shuffle, epoch as u64, 0);
    let mut order: Vec<usize> = (0..images).collect();
    let mut draws = Vec::new();
    while draws.len() < count && images > 0 {
        order.shuffle(&mut random);
        let earlier = draws.len();
        draws.extend(order.iter().take(count - earlier).map(|position| position + earlier));
    }
    draws
}

/// Draws of images with these labels, each of a random image of a random class; PyTorch's `WeightedRandomSampler` with
/// weights 1 / count.
fn balanced(labels: &[u32], count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let classes = by_class(labels);
    let count = if classes.is_empty() { 0 } else { count };
    let mut random = rng(seed, Purpose::Shuffle, epoch as u64, BALANCED);
    let mut earlier: HashMap<usize, usize> = HashMap::new();
    let draw = |_| {
        let class = &classes[below(random.next_u64(), classes.len())];
        let position = class[below(random.next_u64(), class.len())];
        let times = earlier.entry(position).or_default();
        *times += 1;
        position + (*times - 1) * labels.len()
    };
    (0..count).map(draw).collect()
}

/// Positions of the images of each class that has any.
fn by_class(labels: &[u32]) -> Vec<Vec<usize>> {
    let classes = labels.iter().max().map_or(0, |largest| *largest as usize + 1);
    let mut positions = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(position, &label)| positions[label as usize].push(position));
    positions.retain(|positions| !positions.is_empty());
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 900 images of class 0, 90 of class 2, 10 of class 3; none of class 1.
    fn labels() -> Vec<u32> {
        (0..1000)
            .map(|i| {
                if i % 100 == 7 {
                    3
                } else if i % 11 == 0 && i < 990 {
                    2
                } else {
                    0
                }
            })
            .collect()
    }

    #[test]
    fn classes_are_drawn_equally_often_and_so_are_the_images_of_a_class() {
        let labels = labels();
        let (mut of_class, mut of_image) = ([0; 4], vec![0; labels.len()]);
        for epoch in 0..30 {
            for draw in balanced(&labels, labels.len(), 1, epoch) {
                of_class[labels[draw % labels.len()] as usize] += 1;
                of_image[draw % labels.len()] += 1;
            }
        }
        // 10 000 expected of each class that has images; five standard deviations are 408
        assert_eq!(of_class[1], 0);
        assert!([0, 2, 3].iter().all(|&class| (9_592..=10_408).contains(&of_class[class])), "{of_class:?}");
        let rare: Vec<usize> = (0..1000).filter(|&i| labels[i] == 3).map(|i| of_image[i]).collect();
        // 1000 expected of each of the ten; five standard deviations are 155
        assert!(rare.len() == 10 && rare.iter().all(|count| (845..=1155).contains(count)), "{rare:?}");
    }

    #[test]
    fn no_image_comes_again_before_all_have_and_no_two_draws_are_the_same() {
        let draws = shuffled(7, 17, 1, 3);
        assert_eq!(draws[..7], shuffled(7, 7, 1, 3)[..], "a longer epoch begins like a shorter one");
        for (pass, draws) in draws.chunks(7).enumerate() {
            let mut positions: Vec<usize> = draws.iter().map(|draw| draw - 7 * pass).collect();
            positions.sort_unstable();
            positions.dedup();
            assert!(positions.len() == draws.len() && positions.iter().all(|&position| position < 7));
        }
        assert_ne!(draws[..7], draws[7..14].iter().map(|draw| draw - 7).collect::<Vec<_>>());
        assert_eq!(shuffled(7, 3, 1, 3), draws[..3]);
        assert_eq!((shuffled(0, 5, 1, 3), balanced(&[], 5, 1, 3)), (vec![], vec![]));
        assert_eq!(balanced(&[0, 1], 9, 1, 3).len(), 9);
    }

    #[test]
    fn an_epoch_has_as_many_draws_as_images_and_no_two_are_the_same() {
        let labels = labels();
        let mut draws = balanced(&labels, labels.len(), 1, 0);
        assert_eq!(draws, balanced(&labels, labels.len(), 1, 0));
        assert_ne!(draws, balanced(&labels, labels.len(), 1, 1));
        assert_ne!(draws, balanced(&labels, labels.len(), 2, 0));
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), labels.len());
    }
}
