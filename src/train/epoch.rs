//! The training loop: epochs of steps, a validation score after each, the best epoch kept.

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use indexmap::IndexMap;

use super::{Loss, Optimizer, Select, TrainSpec, batch};
use crate::dataset::{Dataset, Split};
use crate::metric::{Predictions, by_name};
use crate::nn::{StateDict, Value, Values, gradients};
use crate::rng::Purpose;
use crate::stage::{EpochRecord, Interrupted, Progress, StageError};

/// Images in a batch without gradients.
pub const EVAL_BATCH: usize = 128;

/// Scores that every validated epoch records, beside the one that selects.
const RECORDED: [&str; 3] = ["macro_f1", "accuracy", "log_loss"];

/// Something that learns: the loop knows variables and logits, nothing else.
pub trait Learner {
    /// What the optimiser changes, by name.
    fn variables(&self) -> Vec<(String, Var)>;

    /// Logits `[n, classes]` of training images, and the way back.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn train_logits(&mut self, epoch: usize, positions: &[usize]) -> candle_core::Result<Forward>;

    /// Called after each step, for what must hold of the variables (a constraint).
    ///
    /// # Errors
    /// A tensor operation failed.
    fn after_step(&mut self) -> candle_core::Result<()> {
        Ok(())
    }

    /// Logits `[n, classes]` of validation images, without gradients.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn val_logits(&mut self, positions: &[usize]) -> candle_core::Result<Tensor>;

    /// A copy of everything that training changes.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn state(&self) -> candle_core::Result<StateDict>;

    /// Go back to a copy.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()>;
}

/// Logits, and the leaves of their tape that are the variables.
pub struct Forward {
    /// `[n, classes]`.
    pub logits: Value,
    /// By the variables' names.
    pub leaves: Values,
}

/// What a learner learns and how the world hears of it.
pub struct Task<'a> {
    /// Training and validation images.
    pub dataset: &'a Dataset,
    /// How to train.
    pub spec: &'a TrainSpec,
    /// Where tensors live.
    pub device: &'a Device,
    /// Hears of progress.
    pub report: &'a (dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
}

/// Train, and leave the learner in its best epoch. Returns a record an epoch.
///
/// # Errors
/// The loss is not finite, a selecting score is undefined, or the person asked to stop.
pub fn fit(learner: &mut dyn Learner, task: &Task<'_>) -> Result<Vec<EpochRecord>, StageError> {
    let spec = task.spec;
    let loss =
        spec.loss.build(&class_counts(&task.dataset.train, task.dataset.classes.len()), task.device)?;
    let mut optimizer = Optimizer::new(&spec.optimizer, learner.variables())?;
    let mut best = Best::new(spec);
    let mut history = Vec::new();
    for epoch in 0..spec.epochs {
        let train_loss = train_epoch(learner, task, &loss, &mut optimizer, epoch)?;
        let val = validate(learner, task)?;
        let improved = best.offer(epoch, &val, learner)?;
        let lr = spec.optimizer.lr() * spec.schedule.factor(epoch, spec.epochs);
        let record = EpochRecord { epoch, lr, train_loss, val, best: improved };
        (task.report)(Progress::Epoch(record.clone()))?;
        history.push(record);
        if best.patience_is_over(epoch) {
            break;
        }
    }
    best.restore(learner)?;
    Ok(history)
}

/// One pass over the training images; the mean loss of an image.
fn train_epoch(
    learner: &mut dyn Learner,
    task: &Task<'_>,
    loss: &Loss,
    optimizer: &mut Optimizer,
    epoch: usize,
) -> Result<f64, StageError> {
    let spec = task.spec;
    let split = &task.dataset.train;
    let factor = spec.schedule.factor(epoch, spec.epochs);
    let started = Instant::now();
    let (mut total, mut images) = (0.0, 0);
    let batches = batch::shuffled(split.len(), spec.batch_size, spec.seed, Purpose::Shuffle, epoch);
    if batches.is_empty() {
        return Err(too_few(split));
    }
    for positions in batches {
        let labels = batch::labels(split, &positions, task.device)?;
        let Forward { logits, leaves } = learner.train_logits(epoch, &positions)?;
        let (number, gradient) = loss.with_gradient(logits.tensor(), &labels)?;
        if !number.is_finite() {
            return Err(diverged(number, epoch, images, spec));
        }
        optimizer.step(&gradients(&logits, gradient, &leaves)?, factor, spec.clip_norm)?;
        learner.after_step()?;
        total += number * positions.len() as f64;
        images += positions.len();
        (task.report)(Progress::Step {
            epoch,
            epochs: spec.epochs,
            images,
            of: split.len(),
            loss: total / images as f64,
            images_per_second: images as f64 / started.elapsed().as_secs_f64(),
        })?;
    }
    Ok(total / images as f64)
}

/// No batch can be made of a split.
pub fn too_few(split: &Split) -> StageError {
    StageError::Failed(format!(
        "the training split has {} image(s), and a batch needs two; give the data set more",
        split.len()
    ))
}

fn diverged(loss: f64, epoch: usize, images: usize, spec: &TrainSpec) -> StageError {
    let lr = spec.optimizer.lr();
    StageError::Failed(format!(
        "the loss became {loss} in epoch {epoch} after {images} images: training diverged; lower the learning \
         rate (now {lr}), set `clip_norm`, or warm up"
    ))
}

/// Validation scores by name; none if no epoch is selected.
fn validate(learner: &mut dyn Learner, task: &Task<'_>) -> Result<IndexMap<String, f64>, StageError> {
    let Some(select) = task.spec.select.metric() else { return Ok(IndexMap::new()) };
    let split = &task.dataset.val;
    let rows = probabilities(split.len(), |positions| learner.val_logits(positions))?;
    let predictions = Predictions::new(&split.labels, &rows, task.dataset.classes.len())
        .map_err(|error| StageError::Failed(format!("failed to score the validation images: {error}")))?;
    let Some(selecting) = select.of(&predictions) else {
        return Err(StageError::Failed(format!(
            "{} of the validation images is undefined, since a class has none: select the best epoch by another \
             metric (`select`)",
            select.name
        )));
    };
    let recorded =
        RECORDED.iter().filter_map(|name| Some((name.to_string(), by_name(name)?.of(&predictions)?)));
    let mut scores: IndexMap<String, f64> = recorded.collect();
    scores.insert(select.name.to_string(), selecting);
    Ok(scores)
}

/// Class probabilities of images `0..n`, batch by batch.
///
/// # Errors
/// A tensor operation failed.
pub fn probabilities(
    n: usize,
    mut logits: impl FnMut(&[usize]) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Vec<Vec<f32>>> {
    let mut rows = Vec::with_capacity(n);
    let positions: Vec<usize> = (0..n).collect();
    for batch in positions.chunks(EVAL_BATCH) {
        rows.extend(candle_nn::ops::softmax(&logits(batch)?, 1)?.to_vec2::<f32>()?);
    }
    Ok(rows)
}

/// Images of each class.
pub fn class_counts(split: &Split, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    split.labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// The best epoch so far.
struct Best<'a> {
    spec: &'a TrainSpec,
    /// Its epoch, score and state.
    kept: Option<(f64, StateDict)>,
    /// The last epoch that beat the one before it by more than `min_delta`, and its score.
    progress: Option<(usize, f64)>,
}

impl<'a> Best<'a> {
    fn new(spec: &'a TrainSpec) -> Self {
        Self { spec, kept: None, progress: None }
    }

    /// Take an epoch's scores; whether it is the best so far.
    fn offer(
        &mut self,
        epoch: usize,
        scores: &IndexMap<String, f64>,
        learner: &dyn Learner,
    ) -> candle_core::Result<bool> {
        let Some(metric) = self.spec.select.metric() else { return Ok(false) };
        let score = if metric.higher_is_better { scores[metric.name] } else { -scores[metric.name] };
        if self.progress.is_none_or(|(_, last)| score > last + self.spec.min_delta) {
            self.progress = Some((epoch, score));
        }
        let better = self.kept.as_ref().is_none_or(|(best, _)| score > *best);
        if better {
            self.kept = Some((score, learner.state()?));
        }
        Ok(better)
    }

    fn patience_is_over(&self, epoch: usize) -> bool {
        let waited = self.progress.map(|(last, _)| epoch - last);
        matches!((self.spec.patience, waited), (Some(patience), Some(waited)) if waited >= patience)
    }

    fn restore(self, learner: &mut dyn Learner) -> candle_core::Result<()> {
        match (self.spec.select, self.kept) {
            (Select::None, _) | (_, None) => Ok(()),
            (_, Some((_, state))) => learner.restore(&state),
        }
    }
}

#[cfg(test)]
mod tests;
