//! Batches: the order of images, their pixels and targets as tensors.

use candle_core::{Device, Result, Tensor};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::Augment;
use super::Targets;
use super::augmentation::Changes;
use super::augmentation::mixing::{Mix, mix_images, mix_labels};
use super::epoch::Task;
use dataset::{Labels, MultiLabels, Split, State};
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

/// A batch of training images, ready for a step.
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

impl Batch {
    /// Prepares batch `number` (from 0) of an epoch on the CPU. Pixels are prepared if `normalize` says how.
    ///
    /// # Errors
    /// candle cannot make a tensor.
    pub fn prepare(
        task: &Task<'_>,
        normalize: Option<&Normalize>,
        epoch: usize,
        number: usize,
        draws: &[usize],
    ) -> Result<Self> {
        let (spec, size) = (task.spec, task.dataset.size);
        let mixes = spec.augment.mixes(spec.seed, epoch, number, size);
        let variant = Variant { augment: &spec.augment, seed: spec.seed, epoch };
        let images = normalize.map(|normalize| {
            let mut pixels = pixels(&task.dataset.train, size, draws, normalize, Some(variant));
            mixes.iter().for_each(|mix| mix_images(&**mix, &mut pixels, size));
            Tensor::from_vec(pixels, (draws.len(), size, size, 3), &Device::Cpu)
        });
        let targets = targets(task, draws, &mixes)?;
        Ok(Self { epoch, draws: draws.to_vec(), images: images.transpose()?, targets })
    }

    /// The same with its tensors on a device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn on(self, device: &Device) -> Result<Self> {
        let images = self.images.map(|images| images.to_device(device)).transpose()?;
        Ok(Self { images, targets: self.targets.to_device(device)?, ..self })
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

/// Random variants of images: for one seed and one epoch.
#[derive(Clone, Copy)]
pub struct Variant<'a> {
    /// The transforms.
    pub augment: &'a Augment,
    /// The stage's seed.
    pub seed: u64,
    /// Epoch, from 0.
    pub epoch: usize,
}

impl Variant<'_> {
    /// Draws the changes of an image, given its [draw](super::sampling).
    pub fn changes(&self, draw: usize) -> Changes {
        self.augment.draw(self.seed, self.epoch, draw)
    }
}

/// The images at `positions` of a split as a tensor `[n, size, size, 3]`, scaled by `normalize`; unaugmented, or a
/// random `variant` of each. Positions may be [draws](super::sampling).
///
/// # Errors
/// candle cannot make the tensor.
pub fn images(
    split: &Split,
    size: usize,
    positions: &[usize],
    normalize: &Normalize,
    variant: Option<Variant<'_>>,
    device: &Device,
) -> Result<Tensor> {
    let pixels = pixels(split, size, positions, normalize, variant);
    Tensor::from_vec(pixels, (positions.len(), size, size, 3), device)
}

fn pixels(
    split: &Split,
    size: usize,
    draws: &[usize],
    normalize: &Normalize,
    variant: Option<Variant<'_>>,
) -> Vec<f32> {
    let (table, from_len) = (normalize.table(), split.image_bytes());
    let len = size * size * 3;
    let mut pixels = vec![0f32; draws.len() * len];
    pixels.par_chunks_mut(len).zip(draws).for_each_init(Default::default, |buffers, (to, &draw)| {
        let from = &split.pixels[draw % split.len() * from_len..][..from_len];
        let changes = variant.map_or_else(Changes::default, |variant| variant.changes(draw));
        scale(changes.applied(from, size, buffers), &table, to);
    });
    pixels
}

/// Whole images, RGB u8 `[n, size, size, 3]`, as a tensor of the same shape, scaled by `normalize`.
///
/// # Errors
/// candle cannot make the tensor.
pub fn scaled(pixels: &[u8], size: usize, normalize: &Normalize, device: &Device) -> Result<Tensor> {
    let table = normalize.table();
    let len = size * size * 3;
    let mut scaled = vec![0f32; pixels.len()];
    scaled.par_chunks_mut(len).zip(pixels.par_chunks(len)).for_each(|(to, from)| scale(from, &table, to));
    Tensor::from_vec(scaled, (pixels.len() / len, size, size, 3), device)
}

/// Looks up the pixels of an image, channel by channel.
fn scale(from: &[u8], table: &[[f32; 256]; 3], to: &mut [f32]) {
    for (to, from) in to.chunks_exact_mut(3).zip(from.chunks_exact(3)) {
        for channel in 0..3 {
            to[channel] = table[channel][usize::from(from[channel])];
        }
    }
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

    fn one_image() -> Split {
        Split {
            pixels: dataset::Pixels::Owned([255u8, 255, 0].into()),
            labels: vec![0].into(),
            names: vec!["one".into()],
            groups: None,
        }
    }

    #[test]
    fn pixels_are_scaled_per_channel() {
        let normalize = Normalize { mean: [0.5, 0.0, 1.0], std: [0.5, 1.0, 2.0] };
        let tensor = images(&one_image(), 1, &[0], &normalize, None, &Device::Cpu).unwrap();
        let elements = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(elements(tensor), [1.0, 1.0, -0.5]);
        assert_eq!(elements(scaled(&[255, 255, 0], 1, &normalize, &Device::Cpu).unwrap()), [1.0, 1.0, -0.5]);
    }

    #[test]
    fn repeated_draws_are_the_same_image_with_other_transforms() {
        let split =
            Split { pixels: dataset::Pixels::Owned((0..75).collect::<Vec<u8>>().into()), ..one_image() };
        let augment: Augment = serde_json::from_value(serde_json::json!([{ "crop": {} }])).unwrap();
        let variant = Variant { augment: &augment, seed: 1, epoch: 0 };
        let draws: Vec<usize> = (0..20).collect();
        let plain = pixels(&split, 5, &draws, &Normalize::default(), None);
        assert!(plain.chunks(75).all(|image| *image == plain[..75]));
        let drawn = pixels(&split, 5, &draws, &Normalize::default(), Some(variant));
        assert!(drawn.chunks(75).any(|image| *image != drawn[..75]));
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
