//! Uncertainty of scores and of their differences: resamples, intervals, paired tests.
//!
//! | file | what |
//! |---|---|
//! | [`bootstrap`] | resamples, percentile intervals, two-sided p values |
//! | [`random_effects`] | intervals and tests over images and crossed factors, such as seeds and source networks |
//! | [`variance_components`] | the variance that each factor adds |
//! | [`paired_t`] | the t test of paired differences |
//! | [`wilcoxon`] | the signed-rank test |
//! | [`holm`] | correction for multiple comparisons |
//! | [`friedman`] | Friedman's test of ranks, and Nemenyi's critical difference |
//! | [`ranks`] | ranks, with ties sharing their mean |
//! | `student` | Student's t distribution |
//!
//! Tested against SciPy and numpy in `tests/it/statistics.rs`.

pub mod bootstrap;
pub mod friedman;
pub mod holm;
pub mod paired_t;
pub mod random_effects;
pub mod ranks;
mod student;
pub mod variance_components;
pub mod wilcoxon;

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Why there is no interval or no p value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Undetermined {
    /// There are fewer than two images, or groups of images.
    OneUnit,
    /// There are fewer than two pairs of scores.
    OnePair,
    /// So many scores are missing that the variance components cannot be told apart.
    MissingScores,
    /// Scores are defined in too few resamples.
    UndefinedScores,
    /// All scores, or all differences, are the same and not 0, in all resamples too.
    NoVariance,
}
