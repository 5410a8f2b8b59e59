//! Resuming an interrupted training bit for bit.
//!
//! All randomness is a function of the seed, the epoch and an image's position, so the saved state is what steps
//! change: tensors, moments, moving averages, the best epoch so far, and the position in the training.

use std::time::{Duration, Instant};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::EpochRecord;
use nn::StateDict;

/// Saving may take at most 1/20 of the time.
const TIME_TO_COST: u32 = 20;

/// Minimum time between two saves within an epoch.
const WITHIN_EPOCH: Duration = Duration::from_secs(60);

/// Storage of the training state.
pub trait Resume: Sync {
    /// The last saved state, tensors on CPU; `None` if there is none that can be used.
    fn load(&self) -> Option<TrainState>;

    /// Saves a state, replacing the previous one. A failure must not stop the training: implementations report it
    /// themselves.
    fn save(&self, state: &TrainState);
}

/// Never saves.
#[derive(Clone, Copy, Debug)]
pub struct Forgetful;

impl Resume for Forgetful {
    fn load(&self) -> Option<TrainState> {
        None
    }

    fn save(&self, _: &TrainState) {}
}

/// Everything that the rest of a training depends on.
#[derive(Clone, Debug)]
pub struct TrainState {
    /// Position in the training.
    pub position: Position,
    /// State of the learner.
    pub learner: StateDict,
    /// State of the optimizer.
    pub optimizer: StateDict,
    /// Moving averages of the learner's tensors, if `ema` asks for them.
    pub average: Option<StateDict>,
    /// State of the learner in its best epoch, if any.
    pub best: Option<StateDict>,
}

/// Position in a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Completed epochs.
    pub history: Vec<EpochRecord>,
    /// The current epoch.
    pub epoch: Ongoing,
    /// Score of the best epoch; higher is better.
    pub best_score: Option<f64>,
    /// The last epoch that counts as progress for `patience`, and its score.
    pub progress: Option<(usize, f64)>,
}

/// An epoch in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ongoing {
    /// Number of batches done.
    pub batches: usize,
    /// Number of images in them.
    pub images: usize,
    /// Sum of the losses of these images.
    pub loss: f64,
}

impl TrainState {
    /// Moves the tensors to a device.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn to_device(self, device: &Device) -> candle_core::Result<Self> {
        let on = |tensors: StateDict| -> candle_core::Result<StateDict> {
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(device)?))).collect()
        };
        let Self { position, learner, optimizer, average, best } = self;
        let [average, best] = [average, best].map(|tensors| tensors.map(on).transpose());
        Ok(Self {
            position,
            learner: on(learner)?,
            optimizer: on(optimizer)?,
            average: average?,
            best: best?,
        })
    }
}

/// Saves after every epoch and, within an epoch, every minute; less often if saving takes too long.
pub(super) struct Saver<'a> {
    resume: &'a dyn Resume,
    last: Instant,
    cost: Duration,
}

impl<'a> Saver<'a> {
    pub(super) fn new(resume: &'a dyn Resume) -> Self {
        Self { resume, last: Instant::now(), cost: Duration::ZERO }
    }

    /// Whether it is time to save.
    pub(super) fn is_due(&self, within_epoch: bool) -> bool {
        let since = self.last.elapsed();
        since >= self.cost * TIME_TO_COST && (!within_epoch || since >= WITHIN_EPOCH)
    }

    pub(super) fn save(&mut self, state: &TrainState) {
        let start = Instant::now();
        self.resume.save(state);
        self.last = Instant::now();
        self.cost = self.last - start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saving_waits_until_it_is_cheap_and_within_an_epoch_for_a_minute() {
        let mut saver = Saver::new(&Forgetful);
        assert!(saver.is_due(false) && !saver.is_due(true));
        saver.cost = Duration::from_secs(3600);
        assert!(!saver.is_due(false));
        saver.cost = Duration::ZERO;
        saver.last = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
        assert!(saver.is_due(true));
    }
}
