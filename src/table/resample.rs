//! Bootstrap: every score of a table in resamples of its images, and means over resampled values of `over`.
//!
//! One resample draws, with replacement, as many images as the data set has and as many values of `over` as the cell
//! has. The draws depend only on the index of the resample and on the set that is drawn from. Rows scored on the same
//! images, or with the same seeds, share their draws, so that their differences are paired; the order of rows, the
//! thread and the table have no influence.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::layout::Layout;
use super::{Predicted, Score, TableError, TableSpec};
use metric::{Metric, by_name};
use rng::name_index;
use statistics::{Interval, bootstrap};

/// A hash of a list of images, and their number.
type Images = (u64, usize);

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
        let mut by_images: IndexMap<Images, Wanted<'a>> = IndexMap::new();
        // A model whose predictions cannot be scored has neither.
        let present = |score: &&Score| score.value.is_some() || score.predicted.is_some();
        for score in layout.scores().filter(present) {
            let predicted = score.predicted.as_deref();
            let predicted = predicted.ok_or_else(|| TableError::NoPredictions { table: table.to_owned() })?;
            let images = (predicted.images, predicted.predictions.total());
            let wanted = by_images.entry(images).or_default();
            let (_, metrics) = wanted.entry(predicted).or_insert_with(|| (predicted, Vec::new()));
            let known = by_name(&score.metric);
            metrics.extend(known.filter(|known| metrics.iter().all(|metric| metric.name != known.name)));
        }
        let of_images = |(images, wanted)| scores(images, &wanted, spec.resamples);
        let scores = by_images.into_iter().flat_map(of_images).collect();
        Ok(Self { spec, scores, undefined: vec![f64::NAN; spec.resamples] })
    }

    /// The mean of the scores in each resample, over resampled values of `over`. The order of `scores` must depend on
    /// these values alone.
    pub(super) fn means(&self, scores: &[(&str, &'a Score)]) -> Vec<f64> {
        let values: Vec<&str> = scores.iter().map(|(value, _)| *value).collect();
        let what = name_index(&format!("{}\n{}", self.spec.over, values.join("\n")));
        let draw = |resample| bootstrap::draw(values.len(), resample, what);
        let draws: Vec<Vec<usize>> = (0..self.spec.resamples).map(draw).collect();
        let of = |(_, score): &(&str, &'a Score)| self.of(score);
        bootstrap::means(&scores.iter().map(of).collect::<Vec<&[f64]>>(), &draws)
    }

    fn of(&self, score: &'a Score) -> &[f64] {
        let lie = score.predicted.as_ref().map(Arc::as_ptr);
        lie.and_then(|lie| self.scores.get(&(lie, score.metric.as_str()))).unwrap_or(&self.undefined)
    }

    /// The interval of means, or of differences of means, at the table's confidence level.
    pub(super) fn interval(&self, values: &[f64]) -> Option<Interval> {
        bootstrap::percentile_interval(values, self.spec.confidence)
    }
}

/// All scores on the same images, which are drawn once per resample.
fn scores<'a>((images, n): Images, wanted: &Wanted<'a>, resamples: usize) -> Vec<(Key<'a>, Vec<f64>)> {
    let keys = wanted.iter().flat_map(|(lie, (_, metrics))| metrics.iter().map(|metric| (*lie, metric.name)));
    let keys: Vec<Key<'a>> = keys.collect();
    let wanted: Vec<_> = wanted.values().collect();
    let of_resample = |resample| {
        let counts: Arc<[u32]> = bootstrap::counts(n, &bootstrap::draw(n, resample, images)).into();
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
