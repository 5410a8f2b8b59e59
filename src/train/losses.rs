//! Losses of batches. On a GPU each is read when the next batch is under way, so that the device always has work.

use std::collections::VecDeque;

use candle_core::{Device, Result};
use nn::cuda::{self, ReadBack};

/// Batches whose loss a GPU may owe.
const OWED: usize = 1;

/// The losses of an epoch that were not added up yet.
pub(super) struct Losses {
    unread: VecDeque<OfBatch>,
    owed: usize,
    /// Of the step whose losses are being read: their sum over its images so far, and the number of these.
    of_step: (f64, usize),
}

/// The loss of a batch.
pub(super) struct OfBatch {
    /// Its mean.
    pub(super) loss: ReadBack,
    /// Number of images.
    pub(super) images: usize,
    /// Number of images of the epoch before it.
    pub(super) before: usize,
    /// Whether it is the last batch of an optimizer step.
    pub(super) ends_step: bool,
}

impl Losses {
    /// Reads late on a GPU, at once elsewhere.
    pub(super) fn on(device: &Device) -> Self {
        let owed = if cuda::serves_on(device) { OWED } else { 0 };
        Self { unread: VecDeque::new(), owed, of_step: (0.0, 0) }
    }

    /// Takes the loss of the next batch.
    pub(super) fn push(&mut self, batch: OfBatch) {
        self.unread.push_back(batch);
    }

    /// Number of images whose loss is in no sum yet.
    pub(super) fn pending_images(&self) -> usize {
        self.of_step.1 + self.unread.iter().map(|batch| batch.images).sum::<usize>()
    }

    /// Reads the losses that are due, of `all` batches or those that none is owed of, and adds those of each step to
    /// `sum`, over its images. Stops at a loss that is not finite, and returns it with the images before it.
    ///
    /// # Errors
    /// The device failed.
    pub(super) fn add_to(&mut self, sum: &mut f64, all: bool) -> Result<Option<(f64, usize)>> {
        let owed = if all { 0 } else { self.owed };
        while self.unread.len() > owed
            && let Some(OfBatch { loss, images, before, ends_step }) = self.unread.pop_front()
        {
            let loss = loss.read()?;
            if !loss.is_finite() {
                return Ok(Some((loss, before)));
            }
            self.of_step.0 += loss * images as f64;
            self.of_step.1 += images;
            if ends_step {
                *sum += std::mem::take(&mut self.of_step).0;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    /// Losses 1, 2, … of batches of two images, two batches a step.
    fn pushed(losses: &mut Losses, batch: usize) {
        let loss = Tensor::new(batch as f32 + 1.0, &Device::Cpu).unwrap();
        let loss = ReadBack::of(&loss).unwrap();
        losses.push(OfBatch { loss, images: 2, before: 2 * batch, ends_step: batch % 2 == 1 });
    }

    #[test]
    fn a_gpu_owes_the_loss_of_one_batch_and_a_cpu_none() {
        for owed in [0, OWED] {
            let (mut losses, mut sum) = (Losses { owed, ..Losses::on(&Device::Cpu) }, 0.0);
            let mut seen = Vec::new();
            for batch in 0..4 {
                pushed(&mut losses, batch);
                assert_eq!(losses.add_to(&mut sum, false).unwrap(), None);
                seen.push((sum, losses.pending_images()));
            }
            let late = [(0.0, 2), (0.0, 4), (6.0, 2), (6.0, 4)];
            assert_eq!(seen, if owed == 0 { [(0.0, 2), (6.0, 0), (6.0, 2), (20.0, 0)] } else { late });
            assert_eq!(losses.add_to(&mut sum, true).unwrap(), None);
            assert_eq!((sum, losses.pending_images()), (20.0, 0));
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_told_with_its_place() {
        let (mut losses, mut sum) = (Losses { owed: 1, ..Losses::on(&Device::Cpu) }, 0.0);
        pushed(&mut losses, 0);
        let loss = Tensor::new(f32::INFINITY, &Device::Cpu).unwrap();
        let loss = ReadBack::of(&loss).unwrap();
        losses.push(OfBatch { loss, images: 2, before: 2, ends_step: true });
        assert_eq!(losses.add_to(&mut sum, false).unwrap(), None);
        assert_eq!(losses.add_to(&mut sum, true).unwrap(), Some((f64::INFINITY, 2)));
        assert_eq!(sum, 0.0);
    }
}
