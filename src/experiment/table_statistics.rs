//! Checks of the statistics of a table: what it takes means over, intervals, tests.

use super::TableSpec;
use super::error::Report;
use super::table_spec::{CompareSpec, Test};
use super::tables::Checked;
use super::tree;

/// The maximum number of axes with random effects.
const MOST_RANDOM: usize = 2;

impl Checked<'_, '_> {
    /// Check the axes that means are taken over.
    pub(super) fn over(&self, spec: &TableSpec, fields: &[&str], report: &mut Report) {
        let axes = spec.over.axes();
        // the default is `seed`, whether or not there is such an axis
        if axes == ["seed"] {
            return;
        }
        if axes.is_empty() {
            let help = "name an axis, or several in a list".to_owned();
            self.add("over", "`over` is empty".to_owned(), Some(help), report);
        }
        for (i, axis) in axes.iter().enumerate() {
            let path = if spec.over.is_crossed() { format!("over.{i}") } else { "over".to_owned() };
            self.one_of(&path, "field", axis, fields, report);
            if axes[..i].contains(axis) {
                self.add(&path, format!("duplicate axis `{axis}`"), Some("remove it".to_owned()), report);
            }
        }
    }

    /// Check that the statistics fit together.
    pub(super) fn statistics(&self, spec: &TableSpec, report: &mut Report) {
        self.without_effect(spec, report);
        self.metrics_compared(spec, report);
        self.few_axes(spec, report);
        self.independent_pairs(spec, report);
    }

    /// Report options of features that are not enabled.
    fn without_effect(&self, spec: &TableSpec, report: &mut Report) {
        let resampled =
            "`interval` or a `compare` with `test = \"paired_bootstrap\"` or `\"random_effects\"`";
        let intervals = spec.interval.is_some() || spec.compare.as_ref().is_some_and(has_interval);
        for (key, has_effect, needed) in [
            ("resamples", spec.draws_images(), resampled),
            ("by_group", spec.draws_images(), resampled),
            ("confidence", intervals, "`interval` or a `compare` whose test has an interval"),
        ] {
            if !has_effect && tree::span_at(self.tree, key).is_some() {
                let help = format!("add {needed}, or remove it");
                self.add(key, format!("`{key}` has no effect here"), Some(help), report);
            }
        }
    }

    /// Scores of different metrics cannot be compared or ranked.
    fn metrics_compared(&self, spec: &TableSpec, report: &mut Report) {
        let over = spec.over.axes().iter().map(|axis| ("over", axis));
        let mut mixed = [("rows", &spec.rows)].into_iter().chain(over);
        let Some((key, _)) = mixed.find(|(_, field)| *field == "metric") else { return };
        for (asked, is_asked) in [("compare", spec.compare.is_some()), ("rank", spec.rank)] {
            if is_asked {
                let message =
                    format!("`{asked}` cannot compare scores of different metrics: `{key}` is \"metric\"");
                let help = "put \"metric\" into `columns`".to_owned();
                self.add(asked, message, Some(help), report);
            }
        }
    }

    /// Random effects have at most two axes.
    fn few_axes(&self, spec: &TableSpec, report: &mut Report) {
        let axes = spec.over.axes().len();
        if spec.has_random_effects() && axes > MOST_RANDOM {
            let message = format!("`random_effects` takes at most {MOST_RANDOM} axes, but `over` has {axes}");
            let help = "remove axes from `over`, and put them into `columns` or `rows`".to_owned();
            self.add("over", message, Some(help), report);
        }
    }

    /// Tests of pairs take them to be independent; pairs of crossed axes are not.
    fn independent_pairs(&self, spec: &TableSpec, report: &mut Report) {
        let Some(compare) = spec.compare.as_ref().filter(|_| spec.over.is_crossed()) else { return };
        let word = match compare.test {
            Test::Wilcoxon => "wilcoxon",
            Test::TTest => "t_test",
            Test::PairedBootstrap | Test::RandomEffects => return,
        };
        let message = format!("`{word}` takes pairs to be independent, which those of crossed axes are not");
        let help = "set `test = \"random_effects\"`, or name one axis in `over`".to_owned();
        self.add("compare.test", message, Some(help), report);
    }
}

/// Whether the comparison has intervals.
pub(super) fn has_interval(compare: &CompareSpec) -> bool {
    compare.test != Test::Wilcoxon
}

#[cfg(test)]
mod tests {
    use super::super::testing::parsed;

    const STAGES: &str = "[sweep]\ntarget = ['fundus', 'xray']\nseed = [0, 1]\nlr = [1, 2]\n\
        [dataset.d.phantom]\nfamily = '${target}'\n\
        [stage.a.pretrain]\nbackbone = 'resnet18'\ndataset = 'd'\nepochs = '${lr}'\n\
        [stage.scores.evaluate]\nmodels.A = 'a'\ndatasets = ['d']\n[table.t]\n";

    fn table(rest: &str) -> Result<(), Vec<String>> {
        let over = if rest.contains("over") { "" } else { "over = ['target', 'seed', 'lr']\n" };
        let text = format!("{STAGES}from = ['scores']\nmetrics = ['accuracy']\n{over}{rest}");
        parsed(&text).map(drop)
    }

    #[test]
    fn axes_are_crossed() {
        let compare = "compare = { to = 'A', test = 'random_effects' }";
        for right in [
            "over = ['seed', 'lr']\ncolumns = ['target']\ninterval = 'random_effects'\nby_group = false",
            &format!(
                "over = ['seed', 'lr']\ncolumns = ['target']\n{compare}\nresamples = 500\nconfidence = 0.9"
            ),
            "over = ['target', 'seed', 'lr']\ninterval = 'bootstrap'",
            "compare = { to = 'A' }",
        ] {
            assert_eq!(table(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn axes_that_cannot_be_crossed_are_reported() {
        let over = |over: &str| table(&format!("over = {over}\ncolumns = ['target']")).unwrap_err();
        assert_eq!(over("['seed', 'rl', 'lr', 'seed']"), ["unknown field `rl`", "duplicate axis `seed`"]);
        assert_eq!(over("[]")[0], "`over` is empty");
        assert_eq!(over("1"), ["expected a string or an array of strings, found integer `1`"]);
        assert_eq!(over("['seed', 1]"), ["expected a string, found integer `1`"]);
        let clash = over("'seed'");
        assert!(clash[0].contains("they differ in `lr` (`1` and `2`)"), "{clash:?}");
    }

    #[test]
    fn tests_that_take_other_pairs_are_reported() {
        let most = "`random_effects` takes at most 2 axes, but `over` has 3";
        assert_eq!(table("interval = 'random_effects'").unwrap_err(), [most]);
        assert_eq!(table("compare = { to = 'A', test = 'random_effects' }").unwrap_err(), [most]);
        for test in ["wilcoxon", "t_test"] {
            let pairs =
                format!("`{test}` takes pairs to be independent, which those of crossed axes are not");
            assert_eq!(table(&format!("compare = {{ to = 'A', test = '{test}' }}")).unwrap_err(), [pairs]);
        }
    }

    #[test]
    fn statistics_must_be_in_range_and_used() {
        let wrong =
            "interval = 'bootstrap'\nconfidence = 95\nresamples = 99\ncompare = { to = 'A', alpha = 0 }";
        assert_eq!(
            table(wrong).unwrap_err(),
            [
                "`confidence` must be between 0 and 1, not 95",
                "`resamples` must be 100 to 1000000, not 99",
                "`alpha` must be between 0 and 1, not 0",
            ]
        );
        let words = "interval = 'boot'\ncompare = { to = 'A', test = 't', correction = 'holms' }\nrank = 1";
        assert_eq!(
            table(words).unwrap_err(),
            [
                "unknown value `boot`",
                "unknown value `t`",
                "unknown value `holms`",
                "expected a boolean, found integer `1`",
            ]
        );
        let idle = "resamples = 500\nby_group = true\nconfidence = 0.9\nover = 'target'\n\
            columns = ['seed', 'lr']\ncompare = { to = 'A', test = 'wilcoxon' }";
        let idle = table(idle).unwrap_err();
        assert_eq!(
            idle,
            [
                "`resamples` has no effect here",
                "`by_group` has no effect here",
                "`confidence` has no effect here",
            ]
        );
    }
}
