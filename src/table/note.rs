//! The note below a table: what its numbers are, in sentences without mark-up.

use super::Pivot;
use super::compare::Comparison;
use super::pivot::Cell;
use super::spec::{BEST, CompareSpec, Correction, Test};
use super::text::{label, most};
use crate::statistics::{bootstrap, wilcoxon};

/// Marks cells that differ from what they are compared with.
pub(super) const DAGGER: &str = "†";

/// So many values of `over` are named.
const MOST_NAMED: usize = 10;

/// What the numbers are; `None` if there are none.
pub(super) fn note(pivot: &Pivot) -> Option<String> {
    let mut sentences = vec![numbers(pivot)?];
    sentences.extend(undefined(pivot));
    if pivot.spec.interval.is_some() || pivot.spec.compare.is_some() {
        sentences.push(images(pivot));
    }
    if let Some(compare) = &pivot.spec.compare {
        sentences.extend(comparisons(pivot, compare));
    }
    sentences.extend(ranks(pivot));
    Some(sentences.join(" "))
}

/// What stands in the cells.
fn numbers(pivot: &Pivot) -> Option<String> {
    let cells = || pivot.lines.iter().flat_map(|line| &line.cells);
    let most = most(pivot);
    let fewer = cells().any(|cell| cell.n > 0 && cell.n < most);
    let unless = if fewer { " unless the cell says otherwise" } else { "" };
    let over = over(pivot);
    let interval = pivot.spec.interval.map(|_| interval(pivot));
    Some(match (most, interval) {
        (0, _) => return None,
        (1, None) => format!("One score each (n = 1 over {over}), so no spread."),
        (1, Some(interval)) => format!("One score each (n = 1 over {over}), in brackets {interval}."),
        (n, None) => format!("Mean ± sample standard deviation over {over}, n = {n}{unless}."),
        (n, Some(interval)) => format!("Mean over {over}, n = {n}{unless}, in brackets {interval}."),
    })
}

/// The axis, and its values where more than it is said of the numbers.
fn over(pivot: &Pivot) -> String {
    let over = label(&pivot.spec.over);
    let named = pivot.over.iter().take(MOST_NAMED).map(|value| label(value)).collect::<Vec<_>>().join(", ");
    let more = if pivot.over.len() > MOST_NAMED { ", …" } else { "" };
    let says_more = pivot.spec.interval.is_some() || pivot.spec.compare.is_some();
    if says_more { format!("{over} ({named}{more})") } else { over }
}

fn interval(pivot: &Pivot) -> String {
    let (percent, resamples) = (percent(pivot.spec.confidence), pivot.spec.resamples);
    format!("its {percent} % bootstrap interval over {} ({resamples} resamples, percentiles)", drawn(pivot))
}

/// What a resample draws.
fn drawn(pivot: &Pivot) -> String {
    match most(pivot) {
        1 => "images".to_owned(),
        _ => format!("images and {}", label(&pivot.spec.over)),
    }
}

/// 95 for 0.95, without what rounding adds.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}

fn undefined(pivot: &Pivot) -> Option<String> {
    let cells = pivot.lines.iter().flat_map(|line| &line.cells);
    let most = cells.map(|cell: &Cell| cell.undefined).max().filter(|&most| most > 0)?;
    Some(format!("Up to {most} resamples, in which a score is not defined, are left out of an interval."))
}

fn images(pivot: &Pivot) -> String {
    let count = |(dataset, (least, most)): (&String, &(usize, usize))| {
        let dataset = label(dataset);
        if least == most { format!("{dataset} {most}") } else { format!("{dataset} {least} to {most}") }
    };
    format!("Images: {}.", pivot.images.iter().map(count).collect::<Vec<_>>().join(", "))
}

fn comparisons(pivot: &Pivot, compare: &CompareSpec) -> Vec<String> {
    let to = match compare.to.as_str() {
        BEST => "the best of its column".to_owned(),
        row => label(row),
    };
    let n = pivot.comparisons.iter().filter(|found| found.p.is_some()).count();
    let (over, resamples) = (label(&pivot.spec.over), pivot.spec.resamples);
    let test = match compare.test {
        Test::PairedBootstrap => format!("paired bootstrap over {} ({resamples} resamples)", drawn(pivot)),
        Test::Wilcoxon => format!("Wilcoxon signed-rank test over {over}"),
        Test::TTest => format!("paired t test over {over}"),
    };
    let corrected = match compare.correction {
        Correction::Holm => format!("Holm's correction for {n} comparisons"),
        Correction::None => format!("{n} comparisons without correction"),
    };
    let first =
        format!("{DAGGER} differs from {to} with p < {}: {test}, two-sided, {corrected}.", compare.alpha);
    std::iter::once(first).chain(out_of_reach(pivot, compare)).chain(untested(pivot, compare)).collect()
}

/// Says so if no comparison could have been marked, whatever the scores.
fn out_of_reach(pivot: &Pivot, compare: &CompareSpec) -> Option<String> {
    let judged = || pivot.comparisons.iter().filter(|found| found.p.is_some());
    let pairs = judged().map(|found| found.n).max()?;
    let resamples = pivot.spec.resamples;
    let (of, smallest) = match compare.test {
        Test::PairedBootstrap => (format!("{resamples} resamples"), bootstrap::smallest_p(resamples)),
        Test::Wilcoxon => (format!("n = {pairs} pairs"), wilcoxon::smallest_p(pairs)),
        Test::TTest => return None,
    };
    let family = if compare.correction == Correction::Holm { judged().count() } else { 1 };
    let alpha = compare.alpha;
    if smallest >= alpha {
        let smallest = significant(smallest);
        return Some(format!("With {of} this test cannot reach {alpha}: its smallest p is {smallest}."));
    }
    (smallest * family as f64 >= alpha).then(|| {
        let smallest = significant(smallest);
        format!("With {of} and {family} comparisons this test cannot reach {alpha}: its smallest p is {smallest} before the correction.")
    })
}

/// To two digits.
fn significant(p: f64) -> f64 {
    format!("{p:.1e}").parse().unwrap_or(p)
}

fn untested(pivot: &Pivot, compare: &CompareSpec) -> Option<String> {
    let untested = |found: &&Comparison| found.p.is_none();
    let n = pivot.comparisons.iter().filter(untested).count();
    let why = match compare.test {
        Test::TTest => "fewer than two pairs, or all differences the same",
        Test::PairedBootstrap | Test::Wilcoxon => "a score that is defined in no resample",
    };
    (n > 0).then(|| format!("Not tested: {n} comparisons ({why})."))
}

fn ranks(pivot: &Pivot) -> Option<String> {
    let (ranked, all) = (pivot.ranked_columns().len(), pivot.columns.len());
    let over = match ranked {
        0 => "no column has a score in every row",
        _ if ranked == all => "mean rank over the columns, 1 is best",
        _ => return pivot.spec.rank.then(|| partly_ranked(ranked, all)),
    };
    pivot.spec.rank.then(|| format!("rank: {over}."))
}

fn partly_ranked(ranked: usize, all: usize) -> String {
    format!("rank: mean rank over the {ranked} of {all} columns that have a score in every row, 1 is best.")
}
