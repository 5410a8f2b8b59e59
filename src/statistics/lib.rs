//! How sure a score, or a difference of two, is: resamples, intervals, paired tests.
//!
//! | file | what |
//! |---|---|
//! | [`bootstrap`] | draws with replacement, percentile intervals, two-sided p values |
//! | [`paired_t`] | the t test of paired differences |
//! | [`wilcoxon`] | the signed-rank test |
//! | [`holm`] | correction for several comparisons |
//! | [`ranks`] | ranks in which ties share their mean |
//! | `student` | Student's t distribution |
//!
//! Held to SciPy and numpy by `tests/it/statistics.rs`.

pub mod bootstrap;
pub mod holm;
pub mod paired_t;
pub mod ranks;
mod student;
pub mod wilcoxon;

/// From `low` to `high`, both within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}
