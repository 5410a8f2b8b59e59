//! `<table>.compare.csv`: one row per comparison.

use super::compare::Comparison;
use super::{Pivot, compared_by, csv_text, number_text};

/// One column for each of the table's `columns`, then `row,to,n,difference,low,high,p,p_adjusted,error,df,test`; scripts
/// rely on it. Undefined values are empty. `error` and `df`, the standard error of the difference and its degrees of
/// freedom, are of tests with random effects; `test` says what the test is.
pub fn render(pivot: &Pivot) -> String {
    let rest = ["row", "to", "n", "difference", "low", "high", "p", "p_adjusted", "error", "df", "test"];
    let test = compared_by(pivot).unwrap_or_default();
    let header = pivot.spec.columns.iter().cloned().chain(rest.map(str::to_owned));
    let line = |found: &Comparison| {
        let mut line = pivot.columns[found.column].values.clone();
        line.extend([pivot.lines[found.row].label.clone(), pivot.lines[found.to].label.clone()]);
        line.push(found.n.to_string());
        let ends =
            [found.interval.map(|interval| interval.low), found.interval.map(|interval| interval.high)];
        let (error, df) = (found.error.map(|(error, _)| error), found.error.map(|(_, df)| df));
        let numbers = [Some(found.difference), ends[0], ends[1], found.p, found.p_adjusted, error, df];
        line.extend(numbers.map(number_text));
        line.push(test.clone());
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
        let (among, correction) = (Vec::new(), Correction::Holm);
        let compare =
            CompareSpec { to: "LP-FT A".into(), among, rows: Vec::new(), test, correction, alpha: 0.05 };
        let spec = TableSpec { compare: Some(compare), resamples: 200, ..spec() };
        render(&Pivot::new("main", &spec, &axes(), scores).unwrap())
    }

    #[test]
    fn one_line_per_comparison() {
        insta::assert_snapshot!(rendered(Test::PairedBootstrap, &predicted_scores()), @r"
        target,metric,row,to,n,difference,low,high,p,p_adjusted,error,df,test
        lesions,macro_f1,Average + FT,LP-FT A,3,-0.0004370477958715406,-0.14672497439565688,0.14358761709608017,0.845771144278607,0.845771144278607,,,paired bootstrap over images and seed (200 resamples)
        lesions,macro_f1,MedMerge + FT,LP-FT A,3,0.2797272478748171,0.16784458743132016,0.40888124127597386,0.009950248756218905,0.03980099502487562,,,paired bootstrap over images and seed (200 resamples)
        fundus,macro_f1,Average + FT,LP-FT A,3,0.10048675440054833,-0.07067570392074984,0.2568520148516511,0.22885572139303484,0.4577114427860697,,,paired bootstrap over images and seed (200 resamples)
        fundus,macro_f1,MedMerge + FT,LP-FT A,3,0.29699673714063063,0.12099709870144813,0.43151596193142217,0.009950248756218905,0.03980099502487562,,,paired bootstrap over images and seed (200 resamples)
        ");
    }

    #[test]
    fn the_best_is_one_of_the_candidates() {
        let among = vec!["LP-FT A".into(), "Average + FT".into()];
        let compare = CompareSpec {
            to: "best".into(),
            among,
            rows: Vec::new(),
            test: Test::Wilcoxon,
            correction: Correction::None,
            alpha: 0.05,
        };
        let spec = TableSpec { compare: Some(compare), metrics: vec!["macro_f1".into()], ..spec() };
        let pivot = Pivot::new("main", &spec, &axes(), &predicted_scores()).unwrap();
        let label = |line: usize| pivot.lines[line].label.as_str();
        let pairs: Vec<_> =
            pivot.comparisons.iter().map(|found| (label(found.row), label(found.to))).collect();
        assert_eq!(
            pairs,
            [
                ("Average + FT", "LP-FT A"),
                ("MedMerge + FT", "LP-FT A"),
                ("LP-FT A", "Average + FT"),
                ("MedMerge + FT", "Average + FT"),
            ],
            "lesions, then fundus"
        );
    }

    #[test]
    fn the_signed_rank_test_has_no_interval_and_equal_differences_no_t_test() {
        let wilcoxon = rendered(Test::Wilcoxon, &predicted_scores());
        let t_test = rendered(Test::TTest, &scores());
        insta::assert_snapshot!(wilcoxon + "\n" + &t_test, @r"
        target,metric,row,to,n,difference,low,high,p,p_adjusted,error,df,test
        lesions,macro_f1,Average + FT,LP-FT A,3,-0.0004370477958715406,,,1.0,1.0,,,Wilcoxon signed-rank test over seed
        lesions,macro_f1,MedMerge + FT,LP-FT A,3,0.2797272478748171,,,0.25,1.0,,,Wilcoxon signed-rank test over seed
        fundus,macro_f1,Average + FT,LP-FT A,3,0.10048675440054833,,,0.25,1.0,,,Wilcoxon signed-rank test over seed
        fundus,macro_f1,MedMerge + FT,LP-FT A,3,0.29699673714063063,,,0.25,1.0,,,Wilcoxon signed-rank test over seed

        target,metric,row,to,n,difference,low,high,p,p_adjusted,error,df,test
        lesions,macro_f1,Average + FT,LP-FT A,3,0.050000000000000044,,,,,,,paired t test over seed
        lesions,macro_f1,MedMerge + FT,LP-FT A,3,0.09999999999999998,,,,,,,paired t test over seed
        lesions,log_loss,Average + FT,LP-FT A,3,-0.050000000000000044,,,,,,,paired t test over seed
        lesions,log_loss,MedMerge + FT,LP-FT A,3,-0.09999999999999998,,,,,,,paired t test over seed
        fundus,macro_f1,Average + FT,LP-FT A,3,0.050000000000000044,,,,,,,paired t test over seed
        fundus,macro_f1,MedMerge + FT,LP-FT A,3,0.09999999999999998,,,,,,,paired t test over seed
        fundus,log_loss,Average + FT,LP-FT A,3,-0.050000000000000044,,,,,,,paired t test over seed
        fundus,log_loss,MedMerge + FT,LP-FT A,3,-0.09999999999999998,,,,,,,paired t test over seed
        ");
    }
}
