//! Sentences about cells without interval and comparisons without p, for the note below a table.

use std::collections::BTreeMap;

use super::Pivot;
use super::text::counted;
use statistics::Undetermined;

/// The cells without interval.
pub(super) fn without_interval(pivot: &Pivot) -> Option<String> {
    let cells = pivot.lines.iter().flat_map(|line| &line.cells);
    let counts = by_reason(cells.filter_map(|cell| cell.undetermined), "cell", "scores")?;
    Some(format!("Without interval: {counts}."))
}

/// The comparisons without p.
pub(super) fn untested(pivot: &Pivot) -> Option<String> {
    let reasons = pivot.comparisons.iter().filter_map(|found| found.undetermined);
    let counts = by_reason(reasons, "comparison", "differences")?;
    Some(format!("Not tested: {counts}."))
}

/// `1 cell (fewer than two pairs), 3 cells (…)`; `None` without any.
fn by_reason(reasons: impl Iterator<Item = Undetermined>, what: &str, values: &str) -> Option<String> {
    let mut counts: BTreeMap<Undetermined, usize> = BTreeMap::new();
    reasons.for_each(|why| *counts.entry(why).or_default() += 1);
    let counts = counts.into_iter().map(|(why, n)| format!("{} ({})", counted(n, what), reason(why, values)));
    let counts: Vec<String> = counts.collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

fn reason(why: Undetermined, values: &str) -> String {
    match why {
        Undetermined::OneUnit => "fewer than two images, or groups of images".to_owned(),
        Undetermined::OnePair => "fewer than two pairs".to_owned(),
        Undetermined::MissingScores => "too many scores are missing".to_owned(),
        Undetermined::UndefinedScores => "scores are undefined in too many resamples".to_owned(),
        Undetermined::NoVariance => format!("all {values} the same"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_counted_by_reason() {
        let reasons = [Undetermined::NoVariance, Undetermined::OneUnit, Undetermined::NoVariance];
        assert_eq!(
            by_reason(reasons.into_iter(), "cell", "scores").unwrap(),
            "1 cell (fewer than two images, or groups of images), 2 cells (all scores the same)"
        );
        assert_eq!(by_reason(std::iter::empty(), "cell", "scores"), None);
    }
}
