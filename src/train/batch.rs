//! Batches: the order of images, their pixels and targets as tensors, prepared ahead of the step.

use candle_core::{Device, Result, Tensor};
use rand::seq::SliceRandom;

use super::Targets;
use super::augmentation::mixing::{Mix, mix_labels};
use super::epoch::Task;
use super::pixels::{Images, Variant};
use dataset::{Labels, MultiLabels, State};
use nn::Normalize;
use rng::{Purpose, rng};

/// The positions `0..n` in shuffled order for an epoch, in batches. A last batch of one image is dropped, since batch
/// norm cannot train on it.
pub fn shuffled(n: usize, batch_size: usize, seed: u64, purpose: Purpose, epoch: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut rng(seed, purpose, epoch as u64, 0));
    in_batches(&order, batch_size)
}

/// Batches of an order. A last batch of one image is dropped.
pub(super) fn in_batches(order: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    order.chunks(batch_size).filter(|batch| batch.len() > 1).map(<[usize]>::to_vec).collect()
}

/// A batch of training images on a device, ready for a step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: usize,
    /// The images, as [draws](super::sampling).
    pub draws: Vec<usize>,
    /// Their pixels `[n, size, size, 3]`, augmented and normalized; `None` if the learner does not take them.
    pub images: Option<Tensor>,
    /// Their labels.
    pub targets: Targets,
}

/// A batch of training images that was prepared on the host, by any thread.
pub struct Prepared {
    epoch: usize,
    draws: Vec<usize>,
    images: Option<Images>,
    targets: Targets,
}

impl Batch {
    /// Prepares batch `number` (from 0) of an epoch. Pixels are prepared if `normalize` says how.
    ///
    /// # Errors
    /// candle cannot make a tensor.
    pub fn prepare(
        task: &Task<'_>,
        normalize: Option<&Normalize>,
        epoch: usize,
        number: usize,
        draws: &[usize],
    ) -> Result<Prepared> {
        let (spec, size) = (task.spec, task.dataset.size);
        let mixes = spec.augment.mixes(spec.seed, epoch, number, size);
        let variant = Variant { augment: &spec.augment, seed: spec.seed, epoch };
        let images = normalize.map(|normalize| {
            let split = &task.dataset.train;
            Images::draw(split, size, draws, normalize, Some(variant), &mixes, task.device)
        });
        let targets = targets(task, draws, &mixes)?;
        Ok(Prepared { epoch, draws: draws.to_vec(), images, targets })
    }
}

impl Prepared {
    /// The batch with its tensors on a device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn on(self, device: &Device) -> Result<Batch> {
        let Self { epoch, draws, images, targets } = self;
        let images = images.map(|images| images.on(device)).transpose()?;
        Ok(Batch { epoch, draws, images, targets: targets.to_device(device)? })
    }
}

/// Labels; as probabilities if the spec mixes batches, also of a batch that is not mixed.
fn targets(task: &Task<'_>, draws: &[usize], mixes: &[Box<dyn Mix>]) -> Result<Targets> {
    let classes = task.dataset.classes.len();
    let labels = match &task.dataset.train.labels {
        Labels::Single(labels) => labels,
        Labels::Multi(labels) => return multi_label_targets(labels, draws, mixes),
    };
    let drawn = draws.iter().map(|draw| labels[draw % labels.len()]);
    if !task.spec.augment.mixes_batches() {
        return Ok(Targets::Classes(Tensor::new(drawn.collect::<Vec<u32>>(), &Device::Cpu)?));
    }
    let mut probabilities = vec![0f32; draws.len() * classes];
    for (row, label) in probabilities.chunks_exact_mut(classes).zip(drawn) {
        row[label as usize] = 1.0;
    }
    mixes.iter().for_each(|mix| mix_labels(&**mix, &mut probabilities, classes));
    Ok(Targets::Probabilities(Tensor::from_vec(probabilities, (draws.len(), classes), &Device::Cpu)?))
}

/// Presence and absence are mixed alike, so that the loss is the mean of those of the mixed images.
fn multi_label_targets(labels: &MultiLabels, draws: &[usize], mixes: &[Box<dyn Mix>]) -> Result<Targets> {
    let rows = draws.iter().flat_map(|draw| labels.row(draw % labels.len()));
    let weights = |state: State| {
        let mut weights: Vec<f32> = rows.clone().map(|other| f32::from(*other == state)).collect();
        mixes.iter().for_each(|mix| mix_labels(&**mix, &mut weights, labels.classes()));
        Tensor::from_vec(weights, (draws.len(), labels.classes()), &Device::Cpu)
    };
    Ok(Targets::Labels { present: weights(State::Present)?, absent: weights(State::Absent)? })
}

/// Calls `work` with the result of `prepare` for each of `0..n`, in order. The next one is prepared beside the work, on
/// the same threads, so at most two are in memory.
///
/// # Errors
/// The first error of `work`.
pub(super) fn ahead<T: Send, E>(
    n: usize,
    prepare: impl Fn(usize) -> T + Sync,
    mut work: impl FnMut(T) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut next = (n > 0).then(|| prepare(0));
    let mut i = 0;
    while let Some(current) = next.take() {
        i += 1;
        let (next, prepare) = (&mut next, &prepare);
        rayon::in_place_scope(|scope| {
            if i < n {
                scope.spawn(move |_| *next = Some(prepare(i)));
            }
            work(current)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_occurs_once_per_epoch_and_the_order_changes() {
        let flat = |epoch| shuffled(10, 4, 7, Purpose::Shuffle, epoch).concat();
        let mut first = flat(0);
        assert_ne!(first, flat(1));
        assert_eq!(first, flat(0));
        first.sort_unstable();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_last_batch_of_one_image_is_dropped() {
        let batches = shuffled(9, 4, 0, Purpose::Shuffle, 0);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn everything_is_worked_on_in_order_and_at_most_one_ahead_with_any_number_of_threads() {
        for threads in [1, 2, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for n in [0, 1, 7] {
                let prepared = std::sync::atomic::AtomicUsize::new(0);
                let mut seen = Vec::new();
                let prepare = |i| {
                    prepared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    i
                };
                let work = |i: usize| {
                    assert!(prepared.load(std::sync::atomic::Ordering::SeqCst) <= i + 2);
                    seen.push(i);
                    if i == 5 { Err("five") } else { Ok(()) }
                };
                let result = pool.install(|| ahead(n, prepare, work));
                assert_eq!(result, if n > 5 { Err("five") } else { Ok(()) });
                assert_eq!(seen, (0..n.min(6)).collect::<Vec<_>>());
            }
        }
    }
}
