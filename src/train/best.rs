//! The best epoch so far, and when training stops.

use indexmap::IndexMap;

use super::TrainSpec;
use super::learner::Learner;
use nn::StateDict;

/// The best epoch so far.
pub(super) struct Best<'a> {
    spec: &'a TrainSpec,
    /// Its score and state.
    pub(super) kept: Option<(f64, StateDict)>,
    /// The last epoch that improved on the previous such epoch by more than `min_delta`, and its score.
    pub(super) progress: Option<(usize, f64)>,
}

impl<'a> Best<'a> {
    pub(super) fn new(spec: &'a TrainSpec) -> Self {
        Self { spec, kept: None, progress: None }
    }

    /// Records the scores of an epoch; returns whether it is the best so far.
    pub(super) fn offer(
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

    pub(super) fn patience_is_over(&self, epoch: usize) -> bool {
        let waited = self.progress.map(|(last, _)| epoch - last);
        matches!((self.spec.patience, waited), (Some(patience), Some(waited)) if waited >= patience)
    }
}
