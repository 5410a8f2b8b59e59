//! The training loop: epochs of steps, a validation score after each, the best epoch kept.

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use indexmap::IndexMap;

use super::resume::{Ongoing, Position, Resume, Saver, TrainState};
use super::{Loss, Optimizer, Select, TrainSpec, batch};
use crate::{EpochRecord, Interrupted, Progress, TrainError};
use dataset::{Dataset, Split};
use metric::{Predictions, by_name};
use nn::{StateDict, Value, Values, gradients};
use rng::Purpose;

/// Images in a batch without gradients.
pub const EVAL_BATCH: usize = 128;

/// Scores that every validated epoch records, beside the one that selects.
const RECORDED: [&str; 3] = ["macro_f1", "accuracy", "log_loss"];

/// Something that learns: the loop knows variables and logits, nothing else.
pub trait Learner {
    /// What the optimizer changes, by name.
    fn variables(&self) -> Vec<(String, Var)>;

    /// Logits `[n, classes]` of training images, and the way back.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn train_logits(&mut self, epoch: usize, positions: &[usize]) -> candle_core::Result<Forward>;

    /// Called after each step with its learning rate, for what becomes of the variables beside their
    /// gradients (a decay, a constraint).
    ///
    /// # Errors
    /// A tensor operation failed.
    fn after_step(&mut self, _lr: f64) -> candle_core::Result<()> {
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
    /// Keeps the training's state.
    pub resume: &'a dyn Resume,
}

/// Train, and leave the learner in its best epoch. Returns a record an epoch. Goes on where an earlier
/// attempt at the same training stopped, with the same result as if it never had.
///
/// # Errors
/// The loss is not finite, a selecting score is undefined, or the person asked to stop.
pub fn fit(learner: &mut dyn Learner, task: &Task<'_>) -> Result<Vec<EpochRecord>, TrainError> {
    let spec = task.spec;
    let loss =
        spec.loss.build(&class_counts(&task.dataset.train, task.dataset.classes.len()), task.device)?;
    let mut training = Training::new(learner, task)?;
    training.resume()?;
    while !training.is_over() {
        let train_loss = training.epoch(&*loss)?;
        let val = validate(training.learner, task)?;
        training.end_epoch(train_loss, val)?;
    }
    let Training { learner, best, history, .. } = training;
    best.restore(learner)?;
    Ok(history)
}

/// A training under way.
struct Training<'a> {
    learner: &'a mut dyn Learner,
    task: &'a Task<'a>,
    optimizer: Optimizer,
    best: Best<'a>,
    /// Epochs that are over.
    history: Vec<EpochRecord>,
    ongoing: Ongoing,
    saver: Saver<'a>,
}

impl<'a> Training<'a> {
    fn new(learner: &'a mut dyn Learner, task: &'a Task<'a>) -> Result<Self, TrainError> {
        let optimizer = Optimizer::new(&task.spec.optimizer, learner.variables())?;
        let (best, saver) = (Best::new(task.spec), Saver::new(task.resume));
        Ok(Self { learner, task, optimizer, best, history: Vec::new(), ongoing: Ongoing::default(), saver })
    }

    fn is_over(&self) -> bool {
        let done = self.history.len();
        done >= self.task.spec.epochs || (done > 0 && self.best.patience_is_over(done - 1))
    }

    /// One pass over the training images; the mean loss of an image.
    fn epoch(&mut self, loss: &dyn Loss) -> Result<f64, TrainError> {
        let (spec, split, epoch) = (self.task.spec, &self.task.dataset.train, self.history.len());
        let factor = spec.schedule.factor(epoch, spec.epochs);
        let batches = batch::shuffled(split.len(), spec.batch_size, spec.seed, Purpose::Shuffle, epoch);
        if batches.is_empty() {
            return Err(too_few(split));
        }
        let (started, before) = (Instant::now(), self.ongoing.images);
        for positions in &batches[self.ongoing.batches..] {
            let number = self.step(loss, epoch, positions, factor)?;
            self.ongoing.batches += 1;
            self.ongoing.images += positions.len();
            self.ongoing.loss += number * positions.len() as f64;
            let seconds = started.elapsed().as_secs_f64();
            self.report(Progress::Step {
                epoch,
                epochs: spec.epochs,
                images: self.ongoing.images,
                of: split.len(),
                loss: self.ongoing.loss / self.ongoing.images as f64,
                images_per_second: (self.ongoing.images - before) as f64 / seconds,
            })?;
            self.save_if_due(true)?;
        }
        Ok(self.ongoing.loss / self.ongoing.images as f64)
    }

    /// One step of the optimizer; the mean loss of the batch.
    fn step(
        &mut self,
        loss: &dyn Loss,
        epoch: usize,
        positions: &[usize],
        factor: f64,
    ) -> Result<f64, TrainError> {
        let Task { dataset, spec, device, .. } = self.task;
        let labels = batch::labels(&dataset.train, positions, device)?;
        let Forward { logits, leaves } = self.learner.train_logits(epoch, positions)?;
        let (number, gradient) = loss.with_gradient(logits.tensor(), &labels)?;
        if !number.is_finite() {
            return Err(diverged(number, epoch, self.ongoing.images, spec));
        }
        self.optimizer.step(&gradients(&logits, gradient, &leaves)?, factor, spec.clip_norm)?;
        self.learner.after_step(spec.optimizer.lr() * factor)?;
        Ok(number)
    }

    fn end_epoch(&mut self, train_loss: f64, val: IndexMap<String, f64>) -> Result<(), TrainError> {
        let (spec, epoch) = (self.task.spec, self.history.len());
        let best = self.best.offer(epoch, &val, self.learner)?;
        let lr = spec.optimizer.lr() * spec.schedule.factor(epoch, spec.epochs);
        let record = EpochRecord { epoch, lr, train_loss, val, best };
        self.history.push(record.clone());
        self.ongoing = Ongoing::default();
        self.report(Progress::Epoch(record))?;
        self.save_if_due(false)
    }

    /// Tells how far the training is. Whoever asks it to stop loses nothing.
    fn report(&mut self, progress: Progress) -> Result<(), TrainError> {
        if let Err(interrupted) = (self.task.report)(progress) {
            self.save()?;
            return Err(interrupted.into());
        }
        Ok(())
    }

    fn save_if_due(&mut self, within_epoch: bool) -> Result<(), TrainError> {
        if !self.is_over() && self.saver.is_due(within_epoch) { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let (best_score, best) = self.best.kept.clone().unzip();
        let position = Position {
            history: self.history.clone(),
            epoch: self.ongoing,
            best_score,
            progress: self.best.progress,
        };
        let (learner, optimizer) = (self.learner.state()?, self.optimizer.state()?);
        self.saver.save(&TrainState { position, learner, optimizer, best });
        Ok(())
    }

    /// Takes up what an earlier attempt saved.
    fn resume(&mut self) -> Result<(), TrainError> {
        let Some(saved) = self.task.resume.load() else { return Ok(()) };
        let TrainState { position, learner, optimizer, best } = saved.on(self.task.device)?;
        self.learner.restore(&learner)?;
        self.optimizer.load_state(&optimizer)?;
        let Position { history, epoch, best_score, progress } = position;
        self.best.kept = best_score.zip(best);
        self.best.progress = progress;
        (self.history, self.ongoing) = (history, epoch);
        tracing::info!("goes on after {} epochs and {} images", self.history.len(), self.ongoing.images);
        Ok(())
    }
}

/// No batch can be made of a split.
pub fn too_few(split: &Split) -> TrainError {
    TrainError::Failed(format!(
        "the training split has {} image(s), and a batch needs two; give the data set more",
        split.len()
    ))
}

fn diverged(loss: f64, epoch: usize, images: usize, spec: &TrainSpec) -> TrainError {
    let lr = spec.optimizer.lr();
    TrainError::Failed(format!(
        "the loss became {loss} in epoch {epoch} after {images} images: training diverged; lower the learning \
         rate (now {lr}), set `clip_norm`, or warm up"
    ))
}

/// Validation scores by name; none if no epoch is selected.
fn validate(learner: &mut dyn Learner, task: &Task<'_>) -> Result<IndexMap<String, f64>, TrainError> {
    let Some(select) = task.spec.select.metric() else { return Ok(IndexMap::new()) };
    let split = &task.dataset.val;
    let rows = probabilities(split.len(), |positions| learner.val_logits(positions))?;
    let predictions = Predictions::new(&split.labels, &rows, task.dataset.classes.len())
        .map_err(|error| TrainError::Failed(format!("failed to score the validation images: {error}")))?;
    let Some(selecting) = select.of(&predictions) else {
        return Err(TrainError::Failed(format!(
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
    let positions: Vec<usize> = (0..n).collect();
    let batches = positions.chunks(EVAL_BATCH).map(|batch| softmax_rows(&[logits(batch)?]));
    Ok(batches.collect::<candle_core::Result<Vec<_>>>()?.concat())
}

/// Class probabilities of images from the logits of each batch of them.
///
/// # Errors
/// A tensor operation failed.
pub fn softmax_rows(batches: &[Tensor]) -> candle_core::Result<Vec<Vec<f32>>> {
    let rows = batches.iter().map(|logits| candle_nn::ops::softmax(logits, 1)?.to_vec2::<f32>());
    Ok(rows.collect::<candle_core::Result<Vec<_>>>()?.concat())
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
