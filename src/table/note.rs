//! The note below a table, which explains its numbers in plain sentences.

use super::Pivot;
use super::compare::Difference;
use super::method::{interval, test};
use super::pivot::Cell;
use super::repeats;
use super::spec::{BEST, CompareSpec, Correction, Test};
use super::steps;
use super::text::{counted, label, most};
use super::undetermined::{untested, without_interval};
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

/// The maximum number of values of an axis to list.
const MOST_NAMED: usize = 10;

/// The note in pieces of one or two sentences; `None` for an empty table.
pub(super) fn note(pivot: &Pivot) -> Option<Vec<String>> {
    let mut sentences = vec![numbers(pivot)?];
    sentences.extend(pivot.spec.percent.then(|| "Scores in percent.".to_owned()));
    sentences.extend(undefined(pivot));
    sentences.extend(without_interval(pivot));
    sentences.extend(of_one_value(pivot));
    if pivot.spec.interval.is_some() || pivot.spec.compare.is_some() {
        sentences.push(images(pivot));
    }
    if let Some(compare) = &pivot.spec.compare {
        sentences.extend(comparisons(pivot, compare));
    }
    sentences.extend(steps::sentence(pivot));
    sentences.extend(ranks(pivot));
    sentences.extend(repeats::sentence(pivot));
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
    let std = match pivot.spec.over.is_crossed() {
        true => "standard deviation of one score",
        false => "sample standard deviation",
    };
    let interval = pivot.spec.interval.map(|kind| interval(pivot, kind));
    Some(match (most, interval) {
        (0, _) => return None,
        (1, None) => format!("One score each (n = 1 over {over}), so no spread."),
        (1, Some(interval)) => format!("One score each (n = 1 over {over}), in brackets {interval}."),
        (n, None) => format!("Mean ± {std} over {over}, n = {n}{unless}."),
        (n, Some(interval)) => format!("Mean over {over}, n = {n}{unless}, in brackets {interval}."),
    })
}

/// The axes and, where they matter, their values; crossed axes with the number of their values at least.
fn over(pivot: &Pivot) -> String {
    let says_more = pivot.spec.interval.is_some() || pivot.spec.compare.is_some();
    let of_axis = |(axis, values): (&String, &Vec<String>)| {
        let values = || applicable(values);
        let named = values().take(MOST_NAMED).map(|value| label(value)).collect::<Vec<_>>().join(", ");
        let more = if values().count() > MOST_NAMED { ", …" } else { "" };
        let axis = label(axis);
        match values().count() {
            0 => axis,
            _ if says_more => format!("{axis} ({named}{more})"),
            count if pivot.spec.over.is_crossed() => format!("{axis} ({count})"),
            _ => axis,
        }
    };
    let axes: Vec<String> = pivot.spec.over.axes().iter().zip(&pivot.over).map(of_axis).collect();
    axes.join(" × ")
}

/// The values of an axis, without the empty one of scores that it does not apply to.
pub(super) fn applicable(values: &[String]) -> impl Iterator<Item = &String> {
    values.iter().filter(|value| !value.is_empty())
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

/// Axes whose only value is not random.
fn of_one_value(pivot: &Pivot) -> Option<String> {
    let axes = pivot.spec.over.axes().iter().zip(&pivot.over);
    let alone = axes.filter(|(_, values)| applicable(values).count() == 1);
    let alone: Vec<String> = alone.map(|(axis, _)| label(axis)).collect();
    let says = pivot.spec.has_random_effects() && !alone.is_empty();
    says.then(|| format!("One value of {} says nothing about others.", alone.join(" and of ")))
}

fn images(pivot: &Pivot) -> String {
    let range = |(least, most): &(usize, usize)| {
        if least == most { most.to_string() } else { format!("{least} to {most}") }
    };
    let count = |(dataset, images): (&String, &(usize, usize))| {
        let s = |groups: &(usize, usize)| if groups.1 == 1 { "" } else { "s" };
        let groups = pivot.groups.get(dataset);
        let groups = groups.map(|groups| format!(" in {} group{}", range(groups), s(groups)));
        format!("{} ({}{})", label(dataset), range(images), groups.unwrap_or_default())
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
    let test = test(pivot, compare);
    let corrected = match compare.correction {
        Correction::Holm => format!("Holm's correction for {}", several(n)),
        Correction::None => format!("{} without correction", several(n)),
    };
    let first = format!(
        "{BETTER} better, {WORSE} worse than {to} with p < {}: {test}, two-sided, {corrected}.",
        compare.alpha
    );
    let rows: Vec<String> = compare.rows.iter().map(|row| label(row)).collect();
    let only = (!rows.is_empty()).then(|| format!("Compared: {}.", rows.join(", ")));
    std::iter::once(first).chain(only).chain(out_of_reach(pivot, compare)).chain(untested(pivot)).collect()
}

fn several(comparisons: usize) -> String {
    counted(comparisons, "comparison")
}

/// A warning if no comparison could be significant, whatever the scores.
fn out_of_reach(pivot: &Pivot, compare: &CompareSpec) -> Option<String> {
    let judged = || pivot.comparisons.iter().filter(|found| found.p.is_some());
    let pairs = judged().map(|found| found.n).max()?;
    let resamples = pivot.spec.resamples;
    let (of, smallest) = match compare.test {
        Test::PairedBootstrap => (format!("{resamples} resamples"), bootstrap::smallest_p(resamples)),
        Test::Wilcoxon => (format!("n = {pairs} pairs"), wilcoxon::smallest_p(pairs)),
        Test::TTest | Test::RandomEffects => return None,
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
        let compare =
            CompareSpec { to: to.into(), among: Vec::new(), rows: Vec::new(), test, correction, alpha: 0.05 };
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
    fn fewer_rows_are_fewer_comparisons() {
        let mut spec = compared(Test::PairedBootstrap, Correction::Holm, "LP-FT A");
        spec.compare.iter_mut().for_each(|compare| compare.rows = vec!["MedMerge + FT".into()]);
        let pivot = Pivot::new("main", &spec, &axes(), &predicted_scores()).unwrap();
        let compared: Vec<&str> =
            pivot.comparisons.iter().map(|found| pivot.lines[found.row].label.as_str()).collect();
        assert_eq!(compared, ["MedMerge + FT"; 2]);
        let said = note(&pivot).unwrap().join("\n");
        assert!(said.contains("correction for 2 comparisons.\nCompared: MedMerge + FT."), "{said}");
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
        Not tested: 8 comparisons (all differences the same).
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
