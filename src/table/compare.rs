//! Comparisons of every row of a table with one reference row.

use super::draws::{Values, sorted};
use super::layout::{Layout, Scores};
use super::pivot::Pivot;
use super::resample::Resamples;
use super::spec::{BEST, CompareSpec, Correction, Test};
use experiment::cell::Levels;
use statistics::paired_t::PairedT;
use statistics::{Interval, Undetermined, holm, wilcoxon};

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
    /// Standard error of the difference, and its degrees of freedom; of tests with random effects.
    pub error: Option<(f64, f64)>,
    /// Two-sided p-value; `None` if the test is not applicable.
    pub p: Option<f64>,
    /// Why the test is not applicable.
    pub undetermined: Option<Undetermined>,
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
        let others = (0..layout.rows.len()).filter(|&row| row != to && spec.compares(layout.rows[row]));
        found.extend(others.filter_map(|row| {
            let (a, b) = common(&layout.cells[row][column], &layout.cells[to][column]);
            let pairs = Pairs { a, b, resamples };
            let (n, difference) = pairs.mean_difference()?;
            let judged = pairs.judged(spec.test, pivot.spec.confidence);
            let undetermined = judged.as_ref().err().copied();
            let Judged { interval, error, p } = judged.unwrap_or_default();
            let p_adjusted = None;
            Some(Comparison { column, row, to, n, difference, interval, error, p, undetermined, p_adjusted })
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

/// The scores of two cells in pairs, each with the values of `over` that both have.
///
/// If no score has a partner with the same values, an axis that does not apply to one of them, such as the seed of the
/// sources of a model without sources, is the other's alone: that score has a partner at each of its values. At least
/// one axis applies to both.
fn common<'a>(a: &Scores<'a>, b: &Scores<'a>) -> (Values<'a>, Values<'a>) {
    let pairs = |levels: fn(&Levels<'a>, &Levels<'a>) -> Option<Levels<'a>>| {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        let all = a.iter().flat_map(|first| b.iter().map(move |second| (first, second)));
        for ((first, a), (second, b)) in
            all.filter(|((_, a), (_, b))| [a, b].iter().all(|score| score.defined().is_some()))
        {
            if let Some(levels) = levels(first, second) {
                of_a.push((levels.clone(), *a));
                of_b.push((levels, *b));
            }
        }
        (sorted(of_a.into_iter()), sorted(of_b.into_iter()))
    };
    let equal = pairs(|a, b| (a == b).then(|| a.clone()));
    if equal.0.is_empty() { pairs(joined) } else { equal }
}

/// The values of two scores together, where each axis has one value or applies to one of them only.
fn joined<'a>(a: &Levels<'a>, b: &Levels<'a>) -> Option<Levels<'a>> {
    let is_common = a.iter().zip(b).any(|(a, b)| a == b && !a.is_empty());
    let value = |(&a, &b): (&&'a str, &&'a str)| match (a, b) {
        _ if a == b => Some(a),
        ("", other) | (other, "") => Some(other),
        _ => None,
    };
    a.iter().zip(b).map(value).collect::<Option<Levels<'a>>>().filter(|_| is_common)
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

impl<'a> Pairs<'_, 'a> {
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

    /// What a test says of the difference.
    fn judged(&self, test: Test, confidence: f64) -> Result<Judged, Undetermined> {
        match test {
            Test::PairedBootstrap => self.bootstrapped(),
            Test::RandomEffects => self.of_random_effects(confidence),
            Test::Wilcoxon => Ok(Judged { p: Some(wilcoxon::p(&self.differences())), ..Judged::default() }),
            Test::TTest => {
                let test = PairedT::new(&self.differences())?;
                Ok(Judged { interval: Some(test.interval(confidence)), error: None, p: Some(test.p()) })
            }
        }
    }

    fn bootstrapped(&self) -> Result<Judged, Undetermined> {
        let (interval, p) = self.resamples()?.of_pairs(&self.a, &self.b)?;
        Ok(Judged { interval: Some(interval), error: None, p: Some(p) })
    }

    fn of_random_effects(&self, confidence: f64) -> Result<Judged, Undetermined> {
        let effects = self.resamples()?.effects_of_pairs(&self.a, &self.b)?;
        Ok(Judged {
            interval: Some(effects.interval(confidence)),
            error: Some((effects.error(), effects.freedom())),
            p: Some(effects.p()),
        })
    }

    fn resamples(&self) -> Result<&Resamples<'a>, Undetermined> {
        self.resamples.ok_or(Undetermined::UndefinedScores)
    }
}

/// What a test says; nothing if it is not applicable.
#[derive(Default)]
struct Judged {
    interval: Option<Interval>,
    error: Option<(f64, f64)>,
    p: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_without_an_axis_that_applies_to_both_have_no_levels_together() {
        let joined = |a: [&'static str; 3], b: [&'static str; 3]| joined(&a.to_vec(), &b.to_vec());
        assert_eq!(joined(["0", "1", ""], ["0", "", ""]), Some(vec!["0", "1", ""]));
        assert_eq!(joined(["0", "1", ""], ["0", "2", ""]), None);
        assert_eq!(
            joined(["0", "", ""], ["", "1", ""]),
            None,
            "an axis that applies to neither is not common"
        );
    }
}
