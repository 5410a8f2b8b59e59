//! `<table>.compare.csv`: a row a comparison.

use super::compare::Comparison;
use super::{Pivot, csv_text, number_text};

/// The columns of the table, one each, then `row,to,n,difference,low,high,p,p_adjusted`; scripts rely on it. What
/// is not defined is empty.
pub(super) fn render(pivot: &Pivot) -> String {
    let rest = ["row", "to", "n", "difference", "low", "high", "p", "p_adjusted"];
    let header = pivot.spec.columns.iter().cloned().chain(rest.map(str::to_owned));
    let line = |found: &Comparison| {
        let mut line = pivot.columns[found.column].values.clone();
        line.extend([pivot.lines[found.row].label.clone(), pivot.lines[found.to].label.clone()]);
        line.push(found.n.to_string());
        let ends =
            [found.interval.map(|interval| interval.low), found.interval.map(|interval| interval.high)];
        let numbers = [Some(found.difference), ends[0], ends[1], found.p, found.p_adjusted];
        line.extend(numbers.map(number_text));
        line
    };
    csv_text(std::iter::once(header.collect()).chain(pivot.comparisons.iter().map(line)))
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, predicted_scores, scores, spec};
    use super::super::spec::{CompareSpec, Correction, Test};
    use super::super::{Score, TableSpec};
    use super::*;

    fn rendered(test: Test, scores: &[Score]) -> String {
        let compare = CompareSpec { to: "LP-FT A".into(), test, correction: Correction::Holm, alpha: 0.05 };
        let spec = TableSpec { compare: Some(compare), resamples: 200, ..spec() };
        render(&Pivot::new("main", &spec, &axes(), scores).unwrap())
    }

    #[test]
    fn a_line_a_comparison() {
        insta::assert_snapshot!(rendered(Test::PairedBootstrap, &predicted_scores()), @"");
    }

    #[test]
    fn the_signed_rank_test_has_no_interval_and_equal_differences_no_t_test() {
        let wilcoxon = rendered(Test::Wilcoxon, &predicted_scores());
        let t_test = rendered(Test::TTest, &scores());
        insta::assert_snapshot!(wilcoxon + "\n" + &t_test, @"");
    }
}
