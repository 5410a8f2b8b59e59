//! The note below a table, which explains its numbers in plain sentences.

use super::Pivot;
use super::compare::{Comparison, Difference};
use super::pivot::Cell;
use super::spec::{BEST, CompareSpec, Correction, Test};
use super::text::{label, most};
use statistics::{bootstrap, wilcoxon};

/// Marks cells that are significantly better than the reference.
pub(super) const BETTER: &str = "†";

/// Marks cells that are significantly worse than the reference.
pub(super) const WORSE: &str = "‡";

/// The mark of a difference.
pub(super) fn mark(differs: Option<Difference>) -> &'static str {
    match differs {
        Some(Difference::Better) => BETTER,
        Some(Difference::Worse) => WORSE,
        None => "",
    }
}

/// The maximum number of values of `over` to list.
const MOST_NAMED: usize = 10;

/// The note in pieces of one or two sentences; `None` for an empty table.
pub(super) fn note(pivot: &Pivot) -> Option<Vec<String>> {
    let mut sentences = vec![numbers(pivot)?];
    sentences.extend(pivot.spec.percent.then(|| "Scores in percent.".to_owned()));
    sentences.extend(undefined(pivot));
    if pivot.spec.interval.is_some() || pivot.spec.compare.is_some() {
        sentences.push(images(pivot));
    }
    if let Some(compare) = &pivot.spec.compare {
        sentences.extend(comparisons(pivot, compare));
    }
    sentences.extend(ranks(pivot));
    sentences.extend(pivot.caveats.iter().flat_map(|(dataset, caveats)| {
        caveats.iter().map(move |caveat| format!("Data set {}: {caveat}.", label(dataset)))
    }));
    Some(sentences)
}

/// The content of the cells.
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

/// The axis and, where they matter, its values.
fn over(pivot: &Pivot) -> String {
    let over = label(&pivot.spec.over);
    let named = pivot
        .over
        .iter()
        .filter(|value| !value.is_empty())
        .take(MOST_NAMED)
        .map(|value| label(value))
        .collect::<Vec<_>>()
        .join(", ");
    let more = if pivot.over.len() > MOST_NAMED { ", …" } else { "" };
    let says_more = pivot.spec.interval.is_some() || pivot.spec.compare.is_some();
    if says_more && !named.is_empty() { format!("{over} ({named}{more})") } else { over }
}

fn interval(pivot: &Pivot) -> String {
    let (percent, resamples) = (percent(pivot.spec.confidence), pivot.spec.resamples);
    format!("its {percent} % bootstrap interval over {} ({resamples} resamples, percentiles)", drawn(pivot))
}

/// The units that are resampled.
fn drawn(pivot: &Pivot) -> String {
    match most(pivot) {
        1 => "images".to_owned(),
        _ => format!("images and {}", label(&pivot.spec.over)),
    }
}

/// 95 for 0.95, without rounding errors.
pub fn percent(share: f64) -> f64 {
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
        if least == most { format!("{dataset} ({most})") } else { format!("{dataset} ({least} to {most})") }
    };
    format!("Images: {}.", pivot.images.iter().map(count).collect::<Vec<_>>().join(", "))
}

fn comparisons(pivot: &Pivot, compare: &CompareSpec) -> Vec<String> {
    let to = match compare.to.as_str() {
        BEST if compare.among.is_empty() => "the best of its column".to_owned(),
        BEST => {
            let among: Vec<String> = compare.among.iter().map(|row| label(row)).collect();
            format!("the best in its column of {}", among.join(", "))
        }
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
        Correction::Holm => format!("Holm's correction for {}", several(n)),
        Correction::None => format!("{} without correction", several(n)),
    };
    let first = format!(
        "{BETTER} better, {WORSE} worse than {to} with p < {}: {test}, two-sided, {corrected}.",
        compare.alpha
    );
    std::iter::once(first).chain(out_of_reach(pivot, compare)).chain(untested(pivot, compare)).collect()
}

fn several(comparisons: usize) -> String {
    let s = if comparisons == 1 { "" } else { "s" };
    format!("{comparisons} comparison{s}")
}

/// A warning if no comparison could be significant, whatever the scores.
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
        let family = several(family);
        format!("With {of} and {family} this test cannot reach {alpha}: its smallest p is {smallest} before the correction.")
    })
}

/// Rounded to two significant digits.
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
    (n > 0).then(|| format!("Not tested: {} ({why}).", several(n)))
}

fn ranks(pivot: &Pivot) -> Option<String> {
    let (ranked, all) = (pivot.ranked_columns().len(), pivot.columns.len());
    let over = match ranked {
        0 => return pivot.spec.rank.then(|| "No ranks: no column has a score in every row.".to_owned()),
        _ if ranked == all => "columns".to_owned(),
        _ => format!("{ranked} of {all} columns that have a score in every row"),
    };
    pivot.spec.rank.then(|| format!("rank: mean rank over the {over}, 1 is best."))
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_score, predicted_scores, score, scores, spec};
    use super::super::{Score, TableSpec};
    use super::*;

    fn compared(test: Test, correction: Correction, to: &str) -> TableSpec {
        let compare = CompareSpec { to: to.into(), among: Vec::new(), test, correction, alpha: 0.05 };
        TableSpec { compare: Some(compare), resamples: 100, ..spec() }
    }

    fn sentences(spec: &TableSpec, scores: &[Score]) -> String {
        note(&Pivot::new("main", spec, &axes(), scores).unwrap()).unwrap().join("\n")
    }

    #[test]
    fn a_test_that_cannot_reach_alpha_is_reported() {
        let notes = [
            sentences(&compared(Test::Wilcoxon, Correction::None, "LP-FT A"), &predicted_scores()),
            sentences(&compared(Test::PairedBootstrap, Correction::Holm, "best"), &predicted_scores()),
            sentences(&compared(Test::PairedBootstrap, Correction::None, "best"), &predicted_scores()),
        ];
        insta::assert_snapshot!(notes.join("\n\n"), @r"
        Mean ± sample standard deviation over seed (0, 1, 2), n = 3.
        Images: lesions (60), fundus (60).
        † better, ‡ worse than LP-FT A with p < 0.05: Wilcoxon signed-rank test over seed, two-sided, 4 comparisons without correction.
        With n = 3 pairs this test cannot reach 0.05: its smallest p is 0.25.

        Mean ± sample standard deviation over seed (0, 1, 2), n = 3.
        Images: lesions (60), fundus (60).
        † better, ‡ worse than the best of its column with p < 0.05: paired bootstrap over images and seed (100 resamples), two-sided, Holm's correction for 4 comparisons.
        With 100 resamples and 4 comparisons this test cannot reach 0.05: its smallest p is 0.02 before the correction.

        Mean ± sample standard deviation over seed (0, 1, 2), n = 3.
        Images: lesions (60), fundus (60).
        † better, ‡ worse than the best of its column with p < 0.05: paired bootstrap over images and seed (100 resamples), two-sided, 4 comparisons without correction.
        ");
    }

    #[test]
    fn candidates_for_the_best_row_are_named() {
        let mut spec = compared(Test::Wilcoxon, Correction::None, "best");
        spec.compare
            .iter_mut()
            .for_each(|compare| compare.among = vec!["LP-FT A".into(), "Average + FT".into()]);
        let said = sentences(&spec, &predicted_scores());
        assert!(
            said.contains("† better, ‡ worse than the best in its column of LP-FT A, Average + FT with p"),
            "{said}"
        );
    }

    #[test]
    fn leaks_that_are_allowed_are_said() {
        let leak: std::sync::Arc<[String]> = ["2 groups are in several splits".to_owned()].into();
        let mut scores = scores();
        scores
            .iter_mut()
            .filter(|score| score.dataset == "fundus")
            .for_each(|score| score.caveats = leak.clone());
        let said = sentences(&spec(), &scores);
        assert!(said.ends_with("\nData set fundus: 2 groups are in several splits."), "{said}");
        assert_eq!(said.matches("Data set").count(), 1);
    }

    #[test]
    fn untested_comparisons_are_counted() {
        // the example's differences are equal for all seeds
        insta::assert_snapshot!(sentences(&compared(Test::TTest, Correction::Holm, "LP-FT A"), &scores()), @r"
        Mean ± sample standard deviation over seed (0, 1, 2), n = 3.
        Images: lesions (60), fundus (60).
        † better, ‡ worse than LP-FT A with p < 0.05: paired t test over seed, two-sided, Holm's correction for 0 comparisons.
        Not tested: 8 comparisons (fewer than two pairs, or all differences the same).
        ");
    }

    #[test]
    fn with_one_seed_only_images_are_resampled() {
        let mut scores =
            [("a", 0.5), ("b", 0.9)].map(|(model, right)| predicted_score(model, "t", 7, right)).to_vec();
        let alone = sentences(&full_spec(), &scores);
        scores.push(Score { n: 61, ..predicted_score("a", "t", 8, 0.5) });
        insta::assert_snapshot!(alone + "\n\n" + &sentences(&full_spec(), &scores), @r"
        One score each (n = 1 over seed (7)), in brackets its 95 % bootstrap interval over images (500 resamples, percentiles).
        Images: t (60).
        † better, ‡ worse than LP-FT A with p < 0.05: paired bootstrap over images (500 resamples), two-sided, Holm's correction for 0 comparisons.
        rank: mean rank over the columns, 1 is best.

        Mean over seed (7, 8), n = 2 unless the cell says otherwise, in brackets its 95 % bootstrap interval over images and seed (500 resamples, percentiles).
        Images: t (60 to 61).
        † better, ‡ worse than LP-FT A with p < 0.05: paired bootstrap over images and seed (500 resamples), two-sided, Holm's correction for 0 comparisons.
        rank: mean rank over the columns, 1 is best.
        ");
    }

    #[test]
    fn ranks_say_which_columns_they_are_over() {
        let spec = TableSpec { rank: true, ..spec() };
        let mut scores = scores();
        scores.retain(|score| score.model != "LP-FT A" || score.dataset == "lesions");
        let some = sentences(&spec, &scores);
        scores.push(score("alone", "elsewhere", "0", Some(0.5)));
        insta::assert_snapshot!(some + "\n\n" + &sentences(&spec, &scores), @r"
        Mean ± sample standard deviation over seed, n = 3.
        rank: mean rank over the 2 of 4 columns that have a score in every row, 1 is best.

        Mean ± sample standard deviation over seed, n = 3 unless the cell says otherwise.
        No ranks: no column has a score in every row.
        ");
    }
}
