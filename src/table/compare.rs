//! Comparisons of every row of a table with one reference row.

use super::layout::{Layout, Scores};
use super::pivot::Pivot;
use super::resample::Resamples;
use super::spec::{BEST, CompareSpec, Correction, Test};
use super::{Score, metrics_csv};
use statistics::paired_t::PairedT;
use statistics::{Interval, bootstrap, holm, wilcoxon};

/// Comparison of two rows in a column, over the values of `over` for which both have a score.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Index of the column.
    pub column: usize,
    /// Index of the row.
    pub row: usize,
    /// Index of the reference row.
    pub to: usize,
    /// Number of pairs.
    pub n: usize,
    /// Mean difference `row − to` over the pairs.
    pub difference: f64,
    /// Confidence interval of the difference; the signed-rank test has none.
    pub interval: Option<Interval>,
    /// Two-sided p-value; `None` if the test is not applicable.
    pub p: Option<f64>,
    /// p-value after correction.
    pub p_adjusted: Option<f64>,
}

impl Comparison {
    /// The direction of the difference, if its corrected p-value is below `alpha`.
    pub fn significant(&self, alpha: f64, higher_is_better: bool) -> Option<Difference> {
        self.p_adjusted.filter(|&p| p < alpha)?;
        match (self.difference > 0.0) == higher_is_better {
            true => Some(Difference::Better),
            false => Some(Difference::Worse),
        }
    }
}

/// Direction of a significant difference from the reference row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Better than the reference.
    Better,
    /// Worse than the reference.
    Worse,
}

/// Defined scores with their values of `over`, in the order of these values.
type Values<'a> = Vec<(&'a str, &'a Score)>;

/// The defined scores of a cell, sorted by value of `over` (numbers numerically).
pub(super) fn with_values<'a>(scores: &Scores<'a>) -> Values<'a> {
    let defined = scores.iter().filter(|(_, score)| score.defined().is_some());
    let mut values: Values<'a> = defined.map(|(value, score)| (*value, *score)).collect();
    values.sort_by(|(a, _), (b, _)| metrics_csv::compare(a, b));
    values
}

/// All comparisons of a table, column by column, corrected as one family. `resamples` must be given if the test needs
/// them.
pub(super) fn comparisons(
    pivot: &Pivot,
    spec: &CompareSpec,
    layout: &Layout<'_>,
    resamples: Option<&Resamples<'_>>,
) -> Vec<Comparison> {
    let mut found = Vec::new();
    for column in 0..layout.columns.len() {
        let Some(to) = to(pivot, spec, column) else { continue };
        let others = (0..layout.rows.len()).filter(|&row| row != to);
        found.extend(others.filter_map(|row| {
            let (a, b) = common(&layout.cells[row][column], &layout.cells[to][column]);
            let pairs = Pairs { a, b, resamples };
            let (n, difference) = pairs.mean_difference()?;
            let (interval, p) = pairs.judged(spec.test, pivot.spec.confidence);
            Some(Comparison { column, row, to, n, difference, interval, p, p_adjusted: None })
        }));
    }
    correct(&mut found, spec.correction);
    found
}

/// The reference row of a column.
fn to(pivot: &Pivot, spec: &CompareSpec, column: usize) -> Option<usize> {
    match spec.to.as_str() {
        BEST => best(pivot, spec, column),
        label => pivot.lines.iter().position(|line| line.label == label),
    }
}

/// The row with the best mean among the candidates; the first on ties.
fn best(pivot: &Pivot, spec: &CompareSpec, column: usize) -> Option<usize> {
    let higher = pivot.columns[column].higher_is_better?;
    let admitted = pivot.lines.iter().enumerate().filter(|(_, line)| spec.admits(&line.label));
    let scored = admitted.filter_map(|(row, line)| Some((row, line.cells[column].mean?)));
    let better = |a: f64, b: f64| if higher { a > b } else { a < b };
    scored.reduce(|best, next| if better(next.1, best.1) { next } else { best }).map(|(row, _)| row)
}

/// The scores of two cells for the values of `over` that both have.
fn common<'a>(a: &Scores<'a>, b: &Scores<'a>) -> (Values<'a>, Values<'a>) {
    let both = |(value, _): &(&str, &Score)| {
        let defined = |scores: &Scores<'_>| scores.get(value).is_some_and(|score| score.defined().is_some());
        defined(a) && defined(b)
    };
    let of = |scores: &Scores<'a>| with_values(scores).into_iter().filter(both).collect();
    (of(a), of(b))
}

fn correct(found: &mut [Comparison], correction: Correction) {
    let p: Vec<f64> = found.iter().filter_map(|comparison| comparison.p).collect();
    let adjusted = match correction {
        Correction::Holm => holm::adjusted(&p),
        Correction::None => p,
    };
    let judged = found.iter_mut().filter(|comparison| comparison.p.is_some());
    judged.zip(adjusted).for_each(|(comparison, p)| comparison.p_adjusted = Some(p));
}

/// Paired scores of two rows.
struct Pairs<'p, 'a> {
    a: Values<'a>,
    b: Values<'a>,
    resamples: Option<&'p Resamples<'a>>,
}

impl Pairs<'_, '_> {
    fn differences(&self) -> Vec<f64> {
        let pairs = self.a.iter().zip(&self.b);
        pairs.filter_map(|((_, a), (_, b))| Some(a.defined()? - b.defined()?)).collect()
    }

    /// The number of pairs and the mean difference; `None` without pairs.
    fn mean_difference(&self) -> Option<(usize, f64)> {
        let differences = self.differences();
        let n = differences.len();
        (n > 0).then(|| (n, differences.iter().sum::<f64>() / n as f64))
    }

    /// Confidence interval of the difference, and p-value.
    fn judged(&self, test: Test, confidence: f64) -> (Option<Interval>, Option<f64>) {
        match test {
            Test::PairedBootstrap => self.bootstrapped(),
            Test::Wilcoxon => (None, Some(wilcoxon::p(&self.differences()))),
            Test::TTest => {
                let test = PairedT::new(&self.differences());
                (test.map(|test| test.interval(confidence)), test.map(|test| test.p()))
            }
        }
    }

    fn bootstrapped(&self) -> (Option<Interval>, Option<f64>) {
        let Some(resamples) = self.resamples else { return (None, None) };
        let (a, b) = (resamples.means(&self.a), resamples.means(&self.b));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        (resamples.interval(&differences), bootstrap::two_sided_p(&differences))
    }
}
