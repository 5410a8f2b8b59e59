//! Going on where a training stopped, bit by bit.
//!
//! Everything random in a training is a function of its seed, the epoch and an image's position, so what is
//! kept is what steps change: tensors, moments, the best epoch so far, and the position.

use std::time::{Duration, Instant};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::EpochRecord;
use nn::StateDict;

/// Saving may cost a twentieth of the time.
const TIME_TO_COST: u32 = 20;

/// Least time between two states that are saved within an epoch.
const WITHIN_EPOCH: Duration = Duration::from_secs(60);

/// Where a training keeps its state while it goes on.
pub trait Resume: Sync {
    /// What was kept last, tensors on the CPU; `None` if there is nothing of use.
    fn load(&self) -> Option<TrainState>;

    /// Keeps a state instead of the one before. That it cannot be kept is no reason to stop training: who
    /// implements this tells it.
    fn save(&self, state: &TrainState);
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct Forgetful;

impl Resume for Forgetful {
    fn load(&self) -> Option<TrainState> {
        None
    }

    fn save(&self, _: &TrainState) {}
}

/// All that the rest of a training depends on.
#[derive(Clone, Debug)]
pub struct TrainState {
    /// Where it stands.
    pub position: Position,
    /// What the learner changes.
    pub learner: StateDict,
    /// What the optimizer remembers.
    pub optimizer: StateDict,
    /// The learner's state in its best epoch, if there was one.
    pub best: Option<StateDict>,
}

/// Where a training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are over.
    pub history: Vec<EpochRecord>,
    /// The epoch that is under way.
    pub epoch: Ongoing,
    /// The best epoch's score, higher is better.
    pub best_score: Option<f64>,
    /// The last epoch that counts for `patience`, and its score.
    pub progress: Option<(usize, f64)>,
}

/// An epoch that is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ongoing {
    /// Batches done.
    pub batches: usize,
    /// Images in them.
    pub images: usize,
    /// Sum of the images' losses.
    pub loss: f64,
}

impl TrainState {
    /// The same with its tensors on a device.
    ///
    /// # Errors
    /// The device has no memory.
    pub fn on(self, device: &Device) -> candle_core::Result<Self> {
        let on = |tensors: StateDict| -> candle_core::Result<StateDict> {
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(device)?))).collect()
        };
        let Self { position, learner, optimizer, best } = self;
        let best = best.map(on).transpose()?;
        Ok(Self { position, learner: on(learner)?, optimizer: on(optimizer)?, best })
    }
}

/// Saves after every epoch and every minute, unless that would cost too much: then a little later.
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
