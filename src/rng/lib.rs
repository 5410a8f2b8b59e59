//! The only source of randomness.
//!
//! Every random number is a pure function of *what it is for*: a seed, a [`Purpose`], an epoch and an index. No
//! generator is carried from one step to the next, so an interrupted run resumes with exactly the numbers it would
//! have drawn, and the number of threads has no effect.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a random number is used for. No two purposes share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Initial values of a parameter; `index` is a hash of its name (see [`name_index`]).
    Init = 0,
    /// The order of the training images in an epoch (`index` 0), or which images are drawn (1).
    Shuffle = 1,
    /// Flips, crops and jitter of one image; `index` is its draw. How a batch is mixed; `index` is its number.
    Augment = 2,
    /// A procedural image; `index` is its position in the split, `epoch` the split.
    Phantom = 3,
    /// Which images of a split form a subset.
    Subset = 4,
    /// The order of the images used to re-estimate batch norm statistics.
    Reestimate = 5,
    /// Which elements of a task vector a merge drops; `index` is a hash of the tensor's name, `epoch` the source.
    Drop = 7,
    /// A bootstrap resample of images or seeds; `epoch` is the number of the resample, `index` identifies what is
    /// resampled.
    Bootstrap = 6,
    /// The order in which a label budget keeps the images of a class; `index` is the class.
    LabelBudget = 8,
    /// The images on which a merge method takes measurements.
    Measure = 9,
    /// The order in which weight matching visits the symmetries; `epoch` is the iteration.
    Rebasin = 10,
    /// The order in which a random split takes the groups of a class; `index` is the class.
    Split = 11,
}

/// Generator for one draw; the same arguments give the same numbers on every machine.
pub fn rng(seed: u64, purpose: Purpose, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    key[16..24].copy_from_slice(&epoch.to_le_bytes());
    key[24..].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Index for something identified by a name rather than a position.
pub fn name_index(name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn a_draw_depends_on_each_of_its_arguments_and_on_nothing_else() {
        let first = |seed, purpose, epoch, index| rng(seed, purpose, epoch, index).next_u64();
        let base = first(1, Purpose::Shuffle, 2, 3);
        assert_eq!(base, first(1, Purpose::Shuffle, 2, 3));
        assert_ne!(base, first(0, Purpose::Shuffle, 2, 3));
        assert_ne!(base, first(1, Purpose::Augment, 2, 3));
        assert_ne!(base, first(1, Purpose::Shuffle, 0, 3));
        assert_ne!(base, first(1, Purpose::Shuffle, 2, 0));
    }
}
