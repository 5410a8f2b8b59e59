//! Bootstrap: every score of a table in resamples of its images, and means over resampled values of `over`.
//!
//! One resample draws, with replacement, as many images (or groups of images) as the data set has and as many values of
//! each axis of `over` as the cell has. The draws depend only on the index of the resample and on the set that is drawn
//! from. Rows scored on the same images, or with the same seeds, share their draws, so that their differences are
//! paired; the order of rows, the thread and the table have no influence.
//!
//! A single image, or a single group of images, is drawn in every resample. Its resamples say nothing about other
//! images, so there is neither an interval nor a test.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::draws::{Grid, Values};
use super::groups::Units;
use super::layout::Layout;
use super::{Predicted, Score, TableError, TableSpec};
use metric::{Metric, by_name};
use statistics::random_effects::RandomEffects;
use statistics::variance_components::Place;
use statistics::{Interval, Undetermined, bootstrap};

/// The key of a score's resamples: the address of its predictions, and its metric.
type Key<'a> = (*const Predicted, &'a str);

/// The metrics to compute from each of some predictions.
type Wanted<'a> = IndexMap<*const Predicted, (&'a Predicted, Vec<&'static Metric>)>;

/// Scores in resamples of images; NaN where undefined.
pub(super) struct Resamples<'a> {
    spec: &'a TableSpec,
    scores: HashMap<Key<'a>, Vec<f64>>,
    /// Used for scores of an unknown metric.
    undefined: Vec<f64>,
}

impl<'a> Resamples<'a> {
    /// Resample every score that the table shows.
    ///
    /// # Errors
    /// A score has no predictions.
    pub(super) fn new(table: &str, spec: &'a TableSpec, layout: &Layout<'a>) -> Result<Self, TableError> {
        let mut by_images: IndexMap<Units, Wanted<'a>> = IndexMap::new();
        // A model whose predictions cannot be scored has neither.
        let present = |score: &&Score| score.value.is_some() || score.predicted.is_some();
        for score in layout.scores().filter(present) {
            let predicted = score.predicted.as_deref();
            let predicted = predicted.ok_or_else(|| TableError::NoPredictions { table: table.to_owned() })?;
            let wanted = by_images.entry(predicted.units(spec.by_group)).or_default();
            let (_, metrics) = wanted.entry(predicted).or_insert_with(|| (predicted, Vec::new()));
            let known = by_name(&score.metric);
            metrics.extend(known.filter(|known| metrics.iter().all(|metric| metric.name != known.name)));
        }
        let of_images = |(units, wanted)| scores(units, &wanted, spec.resamples);
        let scores = by_images.into_iter().flat_map(of_images).collect();
        Ok(Self { spec, scores, undefined: vec![f64::NAN; spec.resamples] })
    }

    /// The mean of the scores in each resample, over resampled values of `over`. The order of `scores` must depend on
    /// these values alone.
    fn means(&self, scores: &Values<'a>) -> Vec<f64> {
        let of = |(_, score): &(_, &'a Score)| self.of(score);
        bootstrap::means(&scores.iter().map(of).collect::<Vec<&[f64]>>(), &Grid::new(scores).draws(self.spec))
    }

    /// The percentile interval of the mean, and the number of resamples in which it is undefined.
    pub(super) fn percentiles(&self, scores: &Values<'a>) -> (Result<Interval, Undetermined>, usize) {
        let means = self.means(scores);
        let interval = self.check_units(scores).and_then(|()| self.interval(&means));
        (interval, means.iter().filter(|mean| mean.is_nan()).count())
    }

    /// The interval of the mean with random effects, and the number of resamples in which a score is undefined.
    pub(super) fn random_effects(&self, scores: &Values<'a>) -> (Result<Interval, Undetermined>, usize) {
        let interval = self.effects(scores).map(|effects| effects.interval(self.spec.confidence));
        let undefined = |resample: &usize| scores.iter().any(|(_, score)| self.of(score)[*resample].is_nan());
        (interval, (0..self.spec.resamples).filter(undefined).count())
    }

    /// The mean of the scores with random effects of images and values of `over`.
    fn effects(&self, scores: &Values<'a>) -> Result<RandomEffects, Undetermined> {
        let resamples: Vec<&[f64]> = scores.iter().map(|(_, score)| self.of(score)).collect();
        let values: Option<Vec<f64>> = scores.iter().map(|(_, score)| score.defined()).collect();
        let values = values.ok_or(Undetermined::UndefinedScores)?;
        RandomEffects::new(&values, &places(scores), &resamples, self.units(scores))
    }

    /// The interval and the p value of the mean difference of paired scores, `a` − `b`, by the bootstrap.
    pub(super) fn of_pairs(&self, a: &Values<'a>, b: &Values<'a>) -> Result<(Interval, f64), Undetermined> {
        self.check_units(a)?;
        self.check_units(b)?;
        let (a, b) = (self.means(a), self.means(b));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let p = bootstrap::two_sided_p(&differences).ok_or(Undetermined::UndefinedScores)?;
        Ok((self.interval(&differences)?, p))
    }

    /// The mean difference of paired scores, `a` − `b`, with random effects.
    pub(super) fn effects_of_pairs(
        &self,
        a: &Values<'a>,
        b: &Values<'a>,
    ) -> Result<RandomEffects, Undetermined> {
        let pairs = || a.iter().zip(b).map(|((_, a), (_, b))| (*a, *b));
        let of = |(a, b)| self.of(a).iter().zip(self.of(b)).map(|(a, b)| a - b).collect();
        let resamples: Vec<Vec<f64>> = pairs().map(of).collect();
        let values: Option<Vec<f64>> = pairs().map(|(a, b)| Some(a.defined()? - b.defined()?)).collect();
        let values = values.ok_or(Undetermined::UndefinedScores)?;
        RandomEffects::new(&values, &places(a), &resamples, self.units(a).min(self.units(b)))
    }

    /// The smallest number of images, or groups of images, that a score was computed from.
    fn units(&self, scores: &Values<'a>) -> usize {
        let predicted = scores.iter().filter_map(|(_, score)| score.predicted.as_ref());
        predicted.map(|predicted| predicted.units(self.spec.by_group).count).min().unwrap_or(0)
    }

    /// Check that images, or groups of images, vary between resamples.
    fn check_units(&self, scores: &Values<'a>) -> Result<(), Undetermined> {
        if self.units(scores) > 1 { Ok(()) } else { Err(Undetermined::OneUnit) }
    }

    fn of(&self, score: &'a Score) -> &[f64] {
        let lie = score.predicted.as_ref().map(Arc::as_ptr);
        lie.and_then(|lie| self.scores.get(&(lie, score.metric.as_str()))).unwrap_or(&self.undefined)
    }

    /// The interval of means, or of differences of means, at the table's confidence level.
    fn interval(&self, values: &[f64]) -> Result<Interval, Undetermined> {
        bootstrap::percentile_interval(values, self.spec.confidence).ok_or(Undetermined::UndefinedScores)
    }
}

/// Where scores stand on the axes of `over`, of which random effects take at most two.
fn places(scores: &Values<'_>) -> Vec<Place> {
    let place = |place: &Vec<usize>| [0, 1].map(|axis| place.get(axis).copied().unwrap_or(0));
    Grid::new(scores).places.iter().map(place).collect()
}

/// All scores on the same images, which are drawn once per resample.
fn scores<'a>(units: Units, wanted: &Wanted<'a>, resamples: usize) -> Vec<(Key<'a>, Vec<f64>)> {
    let keys = wanted.iter().flat_map(|(lie, (_, metrics))| metrics.iter().map(|metric| (*lie, metric.name)));
    let keys: Vec<Key<'a>> = keys.collect();
    let wanted: Vec<_> = wanted.values().collect();
    // All have the same images in the same groups.
    let Some((first, _)) = wanted.first() else { return Vec::new() };
    let of_resample = |resample| {
        let counts: Arc<[u32]> = first.counts(units, resample);
        let of_predictions = |(predicted, metrics): &&(&Predicted, Vec<&Metric>)| {
            let resampled = predicted.predictions.resampled(counts.clone());
            metrics.iter().map(|metric| metric.score(&resampled).unwrap_or(f64::NAN)).collect::<Vec<f64>>()
        };
        wanted.iter().flat_map(of_predictions).collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = (0..resamples).into_par_iter().map(of_resample).collect();
    let of_key = |(i, key)| (key, rows.iter().map(|row| row[i]).collect());
    keys.into_iter().enumerate().map(of_key).collect()
}
