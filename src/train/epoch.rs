//! The training loop: epochs of optimizer steps, a validation score after each epoch, the best epoch kept.

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

/// Batch size for inference.
pub const EVAL_BATCH: usize = 128;

/// Scores recorded after every validation, in addition to the one that selects the epoch.
const RECORDED: [&str; 3] = ["macro_f1", "accuracy", "log_loss"];

/// A learner: all that the loop sees is variables and logits.
pub trait Learner {
    /// The variables to optimize, by name.
    fn variables(&self) -> Vec<(String, Var)>;

    /// Logits `[n, classes]` of training images, with the tape of the backward pass.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn train_logits(&mut self, epoch: usize, positions: &[usize]) -> candle_core::Result<Forward>;

    /// Called after each step with its learning rate, for changes to the variables beyond the gradient step (a decay, a
    /// constraint).
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

    /// A copy of all state that training changes.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn state(&self) -> candle_core::Result<StateDict>;

    /// Restores a copy.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()>;
}

/// Logits, and the leaves of their tape that correspond to variables.
pub struct Forward {
    /// `[n, classes]`.
    pub logits: Value,
    /// Leaves by name of the variable.
    pub leaves: Values,
}

/// A training task and its environment.
pub struct Task<'a> {
    /// Training and validation images.
    pub dataset: &'a Dataset,
    /// Hyperparameters.
    pub spec: &'a TrainSpec,
    /// Device of the tensors.
    pub device: &'a Device,
    /// Receives progress reports.
    pub report: &'a (dyn Fn(Progress) -> Result<(), Interrupted> + Sync),
    /// Saves and loads the training state.
    pub resume: &'a dyn Resume,
}

/// Trains, and leaves the learner in the state of its best epoch. Returns one record per epoch. Resumes an interrupted
/// training of the same task, with the same result as without interruption.
///
/// # Errors
/// The loss is not finite, the selecting score is undefined, or the user asked to stop.
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

/// A training in progress.
struct Training<'a> {
    learner: &'a mut dyn Learner,
    task: &'a Task<'a>,
    optimizer: Optimizer,
    best: Best<'a>,
    /// Completed epochs.
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

    /// One pass over the training images; returns the mean loss per image.
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

    /// One optimizer step; returns the mean loss of the batch.
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

    /// Reports progress. If asked to stop, saves the state first.
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

    /// Restores the state saved by an earlier attempt.
    fn resume(&mut self) -> Result<(), TrainError> {
        let Some(saved) = self.task.resume.load() else { return Ok(()) };
        let TrainState { position, learner, optimizer, best } = saved.to_device(self.task.device)?;
        self.learner.restore(&learner)?;
        self.optimizer.load_state(&optimizer)?;
        let Position { history, epoch, best_score, progress } = position;
        self.best.kept = best_score.zip(best);
        self.best.progress = progress;
        (self.history, self.ongoing) = (history, epoch);
        tracing::info!("resuming after {} epochs and {} images", self.history.len(), self.ongoing.images);
        Ok(())
    }
}

/// Error for a split too small for a batch.
pub fn too_few(split: &Split) -> TrainError {
    TrainError::Failed(format!(
        "the training split has {} image(s), but a batch needs two; add images to the data set",
        split.len()
    ))
}

fn diverged(loss: f64, epoch: usize, images: usize, spec: &TrainSpec) -> TrainError {
    let lr = spec.optimizer.lr();
    TrainError::Failed(format!(
        "the loss became {loss} in epoch {} after {images} images: training diverged; lower the learning rate (now \
         {lr}), set `clip_norm`, or warm up",
        epoch + 1
    ))
}

/// Validation scores by name; empty if no epoch is selected.
fn validate(learner: &mut dyn Learner, task: &Task<'_>) -> Result<IndexMap<String, f64>, TrainError> {
    let Some(select) = task.spec.select.metric() else { return Ok(IndexMap::new()) };
    let split = &task.dataset.val;
    let rows = probabilities(split.len(), |positions| learner.val_logits(positions))?;
    let predictions = Predictions::new(&split.labels, &rows, task.dataset.classes.len())
        .map_err(|error| TrainError::Failed(format!("failed to score the validation images: {error}")))?;
    let Some(selecting) = select.score(&predictions) else {
        return Err(TrainError::Failed(format!(
            "{} is undefined on the validation images, since a class has none: select the best epoch by another \
             metric (`select`)",
            select.name
        )));
    };
    let recorded =
        RECORDED.iter().filter_map(|name| Some((name.to_string(), by_name(name)?.score(&predictions)?)));
    let mut scores: IndexMap<String, f64> = recorded.collect();
    scores.insert(select.name.to_string(), selecting);
    Ok(scores)
}

/// Class probabilities of images `0..n`, in batches.
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

/// Class probabilities from the logits of each batch.
///
/// # Errors
/// A tensor operation failed.
pub fn softmax_rows(batches: &[Tensor]) -> candle_core::Result<Vec<Vec<f32>>> {
    let rows = batches.iter().map(|logits| candle_nn::ops::softmax(logits, 1)?.to_vec2::<f32>());
    Ok(rows.collect::<candle_core::Result<Vec<_>>>()?.concat())
}

/// Number of images of each class.
pub fn class_counts(split: &Split, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    split.labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// The best epoch so far.
struct Best<'a> {
    spec: &'a TrainSpec,
    /// Its score and state.
    kept: Option<(f64, StateDict)>,
    /// The last epoch that improved on the previous such epoch by more than `min_delta`, and its score.
    progress: Option<(usize, f64)>,
}

impl<'a> Best<'a> {
    fn new(spec: &'a TrainSpec) -> Self {
        Self { spec, kept: None, progress: None }
    }

    /// Records the scores of an epoch; returns whether it is the best so far.
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
