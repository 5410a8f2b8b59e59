//! The training loop: epochs of optimizer steps, a validation score after each epoch, the best epoch kept.

use std::time::Instant;

use candle_core::{Device, Tensor};
use indexmap::IndexMap;

use super::accumulated::Accumulated;
use super::average::Average;
use super::batch::{Batch, ahead, in_batches};
use super::best::Best;
use super::eval_batch::eval_batch;
use super::layer_rates;
use super::learner::{Forward, Learner, copied};
use super::losses::{Losses, OfBatch};
use super::replays::Replays;
use super::resume::{Ongoing, Position, Resume, Saver, TrainState};
use super::{NamedLoss, Objective, Optimizer, TrainSpec};
use crate::{EpochRecord, Interrupted, Progress, TrainError};
use dataset::{Dataset, Labeling, Split};
use metric::{Predictions, by_name};
use nn::cuda::ReadBack;
use nn::gradients;

/// Scores recorded after every validation, in addition to the one that selects the epoch.
const RECORDED: [&str; 3] = ["macro_f1", "accuracy", "log_loss"];

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
    /// Replay steps on a GPU as graphs, where that is possible: faster, with the same results.
    pub graphs: bool,
}

/// Minimizes the loss that the task's options name, as [`fit_to`].
///
/// # Errors
/// As [`fit_to`].
pub fn fit(learner: &mut dyn Learner, task: &Task<'_>) -> Result<Vec<EpochRecord>, TrainError> {
    fit_to(&NamedLoss::of(task)?, learner, task)
}

/// Trains, and leaves the learner in the state of its best epoch. Returns one record per epoch. Resumes an interrupted
/// training of the same task, with the same result as without interruption.
///
/// # Errors
/// The loss is not finite, the selecting score is undefined, or the user asked to stop.
pub fn fit_to(
    objective: &dyn Objective,
    learner: &mut dyn Learner,
    task: &Task<'_>,
) -> Result<Vec<EpochRecord>, TrainError> {
    let mut training = Training::new(learner, objective, task)?;
    training.resume()?;
    while !training.is_over() {
        let train_loss = training.epoch()?;
        training.end_epoch(train_loss)?;
    }
    training.finish()
}

/// A training in progress.
struct Training<'a> {
    learner: &'a mut dyn Learner,
    objective: &'a dyn Objective,
    task: &'a Task<'a>,
    optimizer: Optimizer,
    replays: Replays,
    average: Option<Average>,
    best: Best<'a>,
    /// Completed epochs.
    history: Vec<EpochRecord>,
    ongoing: Ongoing,
    losses: Losses,
    saver: Saver<'a>,
}

impl<'a> Training<'a> {
    fn new(
        learner: &'a mut dyn Learner,
        objective: &'a dyn Objective,
        task: &'a Task<'a>,
    ) -> Result<Self, TrainError> {
        let spec = task.spec;
        let factors = layer_rates::factors(spec, &learner.depths());
        let optimizer = Optimizer::new(&spec.optimizer, learner.variables())?
            .with_lr_scales(|name| factors.get(name).copied().unwrap_or(1.0));
        let average = match spec.ema {
            0.0 => None,
            decay => Some(Average::new(decay, learner.state()?)),
        };
        let (best, saver) = (Best::new(spec), Saver::new(task.resume));
        let (history, ongoing) = (Vec::new(), Ongoing::default());
        let (replays, losses) = (Replays::new(task, learner, objective), Losses::on(task.device));
        Ok(Self {
            learner,
            objective,
            task,
            optimizer,
            replays,
            average,
            best,
            history,
            ongoing,
            losses,
            saver,
        })
    }

    fn is_over(&self) -> bool {
        let done = self.history.len();
        done >= self.task.spec.epochs || (done > 0 && self.best.patience_is_over(done - 1))
    }

    /// One pass over the training images; returns the mean loss per image.
    fn epoch(&mut self) -> Result<f64, TrainError> {
        let (task, epoch, start) = (self.task, self.history.len(), self.ongoing);
        let (spec, split) = (task.spec, &task.dataset.train);
        let draws = spec.sampling.draws(split, spec.images_per_epoch(split.len()), spec.seed, epoch);
        let batches = in_batches(&draws, spec.batch_size);
        if batches.is_empty() {
            return Err(too_few(split));
        }
        let normalize = self.learner.normalize();
        let prepare = |i: usize| {
            let number = start.batches + i;
            Batch::prepare(task, normalize.as_ref(), epoch, number, &batches[number])
        };
        let images = |step: &[Vec<usize>]| step.iter().map(Vec::len).sum();
        let of_steps: Vec<usize> = batches.chunks(spec.accumulate).map(images).collect();
        let (mut group, started) = (Accumulated::default(), Instant::now());
        ahead(batches.len() - start.batches, prepare, |batch| {
            let batch = batch?.on(task.device)?;
            let of_step = of_steps[self.ongoing.batches / spec.accumulate];
            if !self.replay(&batch)? {
                self.accumulate(&mut group, batch, of_step)?;
                if group.images < of_step {
                    return Ok(());
                }
                self.step(std::mem::take(&mut group))?;
            }
            self.report_step((self.ongoing.images - start.images) as f64 / started.elapsed().as_secs_f64())?;
            self.save_if_due(true)
        })?;
        self.read_losses(true)?;
        Ok(self.ongoing.loss / self.ongoing.images as f64)
    }

    /// Takes an optimizer step on a batch by replaying one; returns whether it did.
    fn replay(&mut self, batch: &Batch) -> Result<bool, TrainError> {
        let (lr_factor, images) = (self.lr_factor(), batch.draws.len());
        let Self { learner, objective, optimizer, replays, .. } = self;
        let Some(loss) = replays.step(*learner, optimizer, *objective, batch, lr_factor)? else {
            return Ok(false);
        };
        let (loss, before) = (ReadBack::of(&loss)?, self.ongoing.images);
        self.losses.push(OfBatch { loss, images, before, ends_step: true });
        self.read_losses(false)?;
        self.stepped(1, images)?;
        Ok(true)
    }

    /// Adds a batch to those of the next optimizer step, which has `of` images in all.
    fn accumulate(&mut self, group: &mut Accumulated, batch: Batch, of: usize) -> Result<(), TrainError> {
        let Forward { logits, leaves } = self.learner.train_logits(&batch)?;
        let (loss, mut gradient) = self.objective.with_gradient(logits.tensor(), &batch)?;
        let (images, before) = (batch.draws.len(), group.images + self.ongoing.images);
        let ends_step = group.images + images == of;
        self.losses.push(OfBatch { loss: ReadBack::of(&loss)?, images, before, ends_step });
        self.read_losses(false)?;
        if images < of {
            gradient = (gradient * (images as f64 / of as f64))?;
        }
        Ok(group.add(images, gradients(&logits, gradient, &leaves)?)?)
    }

    /// Adds up losses: those of `all` batches, or without what a GPU has not computed yet.
    fn read_losses(&mut self, all: bool) -> Result<(), TrainError> {
        match self.losses.add_to(&mut self.ongoing.loss, all)? {
            Some((loss, images)) => Err(diverged(loss, self.history.len(), images, self.task.spec)),
            None => Ok(()),
        }
    }

    /// One optimizer step.
    fn step(&mut self, group: Accumulated) -> Result<(), TrainError> {
        self.optimizer.step(&group.gradients, self.lr_factor(), self.task.spec.clip_norm)?;
        self.stepped(group.batches, group.images)
    }

    /// Factor of the schedule on the learning rate.
    fn lr_factor(&self) -> f64 {
        self.task.spec.schedule.factor(self.history.len(), self.task.spec.epochs)
    }

    /// What follows an optimizer step on so many batches and images.
    fn stepped(&mut self, batches: usize, images: usize) -> Result<(), TrainError> {
        self.learner.after_step(self.task.spec.optimizer.lr() * self.lr_factor())?;
        if let Some(average) = &mut self.average {
            average.follow(&self.learner.tensors())?;
        }
        self.ongoing.batches += batches;
        self.ongoing.images += images;
        Ok(())
    }

    fn report_step(&mut self, images_per_second: f64) -> Result<(), TrainError> {
        // after the first step there is no other loss to report
        self.read_losses(self.losses.pending_images() == self.ongoing.images)?;
        let Ongoing { images, loss, .. } = self.ongoing;
        let read = images - self.losses.pending_images();
        self.report(Progress::Step {
            epoch: self.history.len(),
            epochs: self.task.spec.epochs,
            images,
            of: self.task.spec.images_per_epoch(self.task.dataset.train.len()),
            loss: loss / read as f64,
            images_per_second,
        })
    }

    fn end_epoch(&mut self, train_loss: f64) -> Result<(), TrainError> {
        let (spec, epoch) = (self.task.spec, self.history.len());
        let own = self.average.as_ref().map(|_| self.learner.state()).transpose()?;
        self.take_average()?;
        let val = validate(self.learner, self.task)?;
        let best = self.best.offer(epoch, &val, self.learner)?;
        own.map_or(Ok(()), |own| self.learner.restore(&own))?;
        let lr = spec.optimizer.lr() * spec.schedule.factor(epoch, spec.epochs);
        let record = EpochRecord { epoch, lr, train_loss, val, best };
        self.history.push(record.clone());
        self.ongoing = Ongoing::default();
        self.report(Progress::Epoch(record))?;
        self.save_if_due(false)
    }

    /// Replaces the learner's tensors by their moving averages, if there are any.
    fn take_average(&mut self) -> candle_core::Result<()> {
        self.average.as_ref().map_or(Ok(()), |average| self.learner.restore(average.tensors()))
    }

    /// Leaves the learner in the state of the best epoch, or of the last one if none is selected.
    fn finish(mut self) -> Result<Vec<EpochRecord>, TrainError> {
        match self.best.kept.take() {
            Some((_, best)) => self.learner.restore(&best)?,
            None => self.take_average()?,
        }
        Ok(self.history)
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
        self.read_losses(true)?;
        let (best_score, best) = self.best.kept.clone().unzip();
        let position = Position {
            history: self.history.clone(),
            epoch: self.ongoing,
            best_score,
            progress: self.best.progress,
        };
        let (learner, optimizer) = (self.learner.state()?, self.optimizer.state()?);
        let average = self.average.as_ref().map(|average| copied(average.tensors())).transpose()?;
        self.saver.save(&TrainState { position, learner, optimizer, average, best });
        Ok(())
    }

    /// Restores the state saved by an earlier attempt.
    fn resume(&mut self) -> Result<(), TrainError> {
        let Some(saved) = self.task.resume.load() else { return Ok(()) };
        let TrainState { position, learner, optimizer, average, best } = saved.to_device(self.task.device)?;
        self.learner.restore(&learner)?;
        self.optimizer.load_state(&optimizer)?;
        if let Some(average) = average {
            self.average = Some(Average::new(self.task.spec.ema, copied(&average)?));
        }
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
    let labeling = task.dataset.labeling();
    let batch = eval_batch(task.dataset.size, task.device);
    let rows = probabilities(labeling, split.len(), batch, |positions| learner.val_logits(positions))?;
    let predictions = Predictions::of(&split.labels, &rows, task.dataset.classes.len())
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

/// Class probabilities of images `0..n`, in batches of `batch`.
///
/// # Errors
/// A tensor operation failed.
pub fn probabilities(
    labeling: Labeling,
    n: usize,
    batch: usize,
    logits: impl FnMut(&[usize]) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Vec<Vec<f32>>> {
    let positions: Vec<usize> = (0..n).collect();
    // all of them before any is read, so that a GPU always has work
    let batches = positions.chunks(batch).map(logits).collect::<candle_core::Result<Vec<_>>>()?;
    probability_rows(labeling, &batches)
}

/// Class probabilities from the logits of each batch: their softmax, or the sigmoid of each in a multi-label data set.
///
/// # Errors
/// A tensor operation failed.
pub fn probability_rows(labeling: Labeling, batches: &[Tensor]) -> candle_core::Result<Vec<Vec<f32>>> {
    let probabilities = |logits: &Tensor| match labeling {
        Labeling::SingleLabel => candle_nn::ops::softmax(logits, 1),
        Labeling::MultiLabel => candle_nn::ops::sigmoid(logits),
    };
    let rows = batches.iter().map(|logits| probabilities(logits)?.to_vec2::<f32>());
    Ok(rows.collect::<candle_core::Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
pub(crate) mod tests;
