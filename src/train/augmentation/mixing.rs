//! What the kinds that mix batches share. Each image of a batch is mixed with the one before it, and the first with the
//! last; batches are shuffled, so this is a random pairing. Labels are mixed alike. As torchvision's `MixUp` and
//! `CutMix`.

use rand::RngCore;
use rand_distr::{Beta, Distribution};
use rayon::prelude::*;

use super::draws;
use kind::Problems;

/// A transform of batches.
pub trait Mixing {
    /// Draws how to mix a batch of images with this side in pixels; `None` if it stays as it is.
    fn draw(&self, draws: &mut dyn RngCore, size: usize) -> Option<Box<dyn Mix>>;
}

/// A mix of two images.
pub trait Mix: Send + Sync {
    /// Weight λ of the label of the image itself; the other label has 1 − λ.
    fn share(&self) -> f64;

    /// Mixes a square RGB image, `[size, size, 3]`, with another.
    fn apply(&self, image: &mut [f32], other: &[f32], size: usize);
}

/// Mixes images `[n, size, size, 3]`.
pub fn mix_images(mix: &dyn Mix, images: &mut [f32], size: usize) {
    with_previous(images, size * size * 3, |image, other| mix.apply(image, other, size));
}

/// Mixes probabilities of classes, `[n, classes]`.
pub fn mix_labels(mix: &dyn Mix, labels: &mut [f32], classes: usize) {
    with_previous(labels, classes, |label, other| blend(label, other, mix.share()));
}

fn with_previous(rows: &mut [f32], len: usize, mix: impl Fn(&mut [f32], &[f32]) + Sync) {
    let before = rows.to_vec();
    let n = rows.len() / len;
    let previous = |i: usize| &before[(i + n - 1) % n * len..][..len];
    rows.par_chunks_exact_mut(len).enumerate().for_each(|(i, row)| mix(row, previous(i)));
}

/// `own ← λ own + (1 − λ) other`, for λ `share`.
pub(super) fn blend(own: &mut [f32], other: &[f32], share: f64) {
    let (keep, take) = (share as f32, (1.0 - share) as f32);
    own.iter_mut().zip(other).for_each(|(own, other)| *own = other * take + *own * keep);
}

/// With this probability, λ from Beta(α, α).
pub(super) fn lambda(draws: &mut dyn RngCore, probability: f64, alpha: f64) -> Option<f64> {
    let is_applied = draws::unit(draws) < probability;
    let distribution = Beta::new(alpha, alpha).ok().filter(|_| is_applied)?;
    Some(distribution.sample(draws))
}

pub(super) fn validate(probability: f64, alpha: f64, problems: &mut Problems) {
    problems.check("alpha", alpha, (0.01..=100.0).contains(&alpha), "from 0.01 to 100");
    problems.fraction("probability", probability);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::{Purpose, rng};

    #[test]
    fn lambda_has_the_moments_of_its_distribution() {
        for alpha in [0.01, 0.2, 1.0, 4.0, 100.0] {
            let draw = |i| lambda(&mut rng(3, Purpose::Augment, 0, i), 1.0, alpha).unwrap();
            let drawn: Vec<f64> = (0..20_000).map(draw).collect();
            assert!(drawn.iter().all(|lambda| (0.0..=1.0).contains(lambda)), "{alpha}");
            let mean = drawn.iter().sum::<f64>() / 2e4;
            let variance = drawn.iter().map(|lambda| (lambda - mean).powi(2)).sum::<f64>() / 2e4;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.02, "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "{alpha}: {variance}, not {expected}");
        }
    }

    #[test]
    fn a_batch_is_mixed_with_the_given_probability() {
        let count = |probability| {
            let is_mixed = |i: &u64| lambda(&mut rng(3, Purpose::Augment, 0, *i), probability, 0.4).is_some();
            (0..2000).filter(is_mixed).count()
        };
        assert_eq!([count(0.0), count(1.0)], [0, 2000]);
        // 500 expected; five standard deviations are 97
        assert!((403..=597).contains(&count(0.25)));
    }
}
