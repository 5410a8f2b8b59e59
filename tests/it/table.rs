//! The files under `results/`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use medmerge::experiment::{Experiment, Source};
use medmerge::metric::{METRICS, Predictions};
use medmerge::statistics::Interval;
use medmerge::table::compare::Comparison;
use medmerge::table::spec::{CompareSpec, Correction, IntervalKind, Test};
use medmerge::table::{Pivot, Predicted, Rendered, Score, TableError, TableSpec, metrics_csv, write_results};
use proptest::prelude::*;
use proptest::test_runner::Config;

fn score(model: &str, target: &str, seed: usize, value: f64) -> Score {
    Score {
        experiment: "quick".into(),
        stage: "scores".into(),
        model: model.into(),
        dataset: target.into(),
        split: "test".into(),
        seed: seed.to_string(),
        axes: IndexMap::from([("target".into(), target.into())]),
        metric: "accuracy".into(),
        value: Some(value),
        n: 100,
        predicted: None,
        caveats: Default::default(),
        steps: None,
        model_fingerprint: None,
    }
}

fn scores() -> Vec<Score> {
    let mut scores = Vec::new();
    for (seed, spread) in [0.0, 0.02].into_iter().enumerate() {
        for (model, value) in [("Merged", 0.8), ("LP-FT A", 0.75)] {
            scores.push(score(model, "fundus", seed, value + spread));
            scores.push(score(model, "lesions", seed, value - spread));
        }
    }
    scores
}

fn spec(columns: &[&str]) -> TableSpec {
    TableSpec {
        from: vec!["scores".into()],
        rows: "model".into(),
        columns: columns.iter().map(ToString::to_string).collect(),
        metrics: vec!["accuracy".into()],
        ..TableSpec::default()
    }
}

fn write(dir: &Path, tables: &[(&str, TableSpec)], scores: &[Score]) -> Result<Vec<Rendered>, TableError> {
    let tables = tables.iter().map(|(name, spec)| (name.to_string(), spec.clone())).collect();
    write_results(dir, "quick", &["target".into()], &tables, scores)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_experiments_results_are_its_scores_and_three_files_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let rendered = write(dir.path(), &[("main", spec(&["target", "metric"]))], &scores()).unwrap();
    let folder = dir.path().join("quick");
    assert_eq!(names(&folder), ["main.csv", "main.md", "main.tex", "metrics.csv"]);
    assert_eq!(rendered[0].files, ["main.csv", "main.md", "main.tex"].map(|name| folder.join(name)));
    assert!(rendered[0].terminal.starts_with("main\n"), "{}", rendered[0].terminal);
    insta::assert_snapshot!(fs::read_to_string(folder.join("metrics.csv")).unwrap(), @r"
    experiment,stage,model,dataset,split,seed,target,metric,value,n
    quick,scores,LP-FT A,fundus,test,0,fundus,accuracy,0.75,100
    quick,scores,Merged,fundus,test,0,fundus,accuracy,0.8,100
    quick,scores,LP-FT A,fundus,test,1,fundus,accuracy,0.77,100
    quick,scores,Merged,fundus,test,1,fundus,accuracy,0.8200000000000001,100
    quick,scores,LP-FT A,lesions,test,0,lesions,accuracy,0.75,100
    quick,scores,Merged,lesions,test,0,lesions,accuracy,0.8,100
    quick,scores,LP-FT A,lesions,test,1,lesions,accuracy,0.73,100
    quick,scores,Merged,lesions,test,1,lesions,accuracy,0.78,100
    ");
    insta::assert_snapshot!(fs::read_to_string(folder.join("main.csv")).unwrap(), @r"
    model,fundus.accuracy.mean,fundus.accuracy.std,fundus.accuracy.n,lesions.accuracy.mean,lesions.accuracy.std,lesions.accuracy.n
    Merged,0.81,0.014142135623730963,2,0.79,0.014142135623730963,2
    LP-FT A,0.76,0.014142135623730963,2,0.74,0.014142135623730963,2
    ");
    assert_eq!(metrics_csv::read(&folder.join("metrics.csv")).unwrap().len(), 8);
}

#[test]
fn a_file_that_would_not_change_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let tables = [("main", spec(&["target"]))];
    write(dir.path(), &tables, &scores()).unwrap();
    let path = dir.path().join("quick/main.md");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    write(dir.path(), &tables, &scores()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
    write(dir.path(), &tables, &scores()[..4]).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_table_that_cannot_be_made_keeps_neither_the_scores_nor_the_other_tables_from_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let tables = [("broken", spec(&["metric"])), ("main", spec(&["target"]))];
    let error = write(dir.path(), &tables, &scores()).unwrap_err().to_string();
    assert!(error.contains("table `broken`") && error.contains("differ in `target`"), "{error}");
    assert_eq!(names(&dir.path().join("quick")), ["main.csv", "main.md", "main.tex", "metrics.csv"]);
}

#[test]
fn a_failed_stage_leaves_a_table_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let rendered = write(dir.path(), &[("main", spec(&["target"]))], &[]).unwrap();
    assert!(rendered[0].terminal.contains("No scores"), "{}", rendered[0].terminal);
    assert!(fs::read_to_string(&rendered[0].files[1]).unwrap().contains("No scores"));
    assert!(metrics_csv::read(&dir.path().join("quick/metrics.csv")).unwrap().is_empty());
}

#[test]
fn a_table_cannot_be_named_out_of_the_folder_or_over_the_scores() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["metrics", "../main", "a/b", ""] {
        let error = write(dir.path(), &[(name, spec(&["target"]))], &scores()).unwrap_err().to_string();
        assert!(error.contains(&format!("table `{name}`")), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn results_are_as_readable_as_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[], &scores()).unwrap();
    fs::write(dir.path().join("other"), "").unwrap();
    let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("quick/metrics.csv"), mode("other"));
}

/// Scores of every metric for 40 images of 3 classes, with the predictions behind them: `sharp` from 0 to 1 says
/// how probable the label is.
fn predicted(model: &str, target: &str, seed: u64, sharp: f64, noise: u64) -> Vec<Score> {
    let labels: Vec<u32> = (0..40).map(|image| image % 3).collect();
    let names: Vec<String> = (0..40).map(|image| format!("{target}/{image}")).collect();
    let luck = |image: u64, class: u64| {
        let mixed = (noise * 31 + seed) * 1009 + image * 7 + class;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1 << 24) as f64
    };
    let row = |(image, &label): (u64, &u32)| -> Vec<f64> {
        let raw =
            (0..3).map(|class| luck(image, class) + if class == u64::from(label) { sharp } else { 0.1 });
        let raw: Vec<f64> = raw.collect();
        raw.iter().map(|p| p / raw.iter().sum::<f64>()).collect()
    };
    let rows: Vec<Vec<f64>> = (0..).zip(&labels).map(row).collect();
    let predictions = Predictions::new(&labels, &rows, 3).unwrap();
    let values = metric::scores(&predictions);
    let predicted = Some(Arc::new(Predicted::new(&names, &labels.into(), predictions)));
    let of = |(metric, value): (&str, Option<f64>)| Score {
        metric: metric.into(),
        value,
        n: 40,
        predicted: predicted.clone(),
        ..score(model, target, seed as usize, 0.0)
    };
    values.into_iter().map(of).collect()
}

/// Two models, the second listed twice, on two targets with three seeds.
fn with_a_twin(noise: u64) -> Vec<Score> {
    let mut scores = Vec::new();
    for seed in 0..3 {
        for target in ["fundus", "lesions"] {
            scores.extend(predicted("A", target, seed, 0.3, noise));
            let b = predicted("B", target, seed, 0.5, noise + 1);
            scores.extend(b.iter().map(|score| Score { model: "twin".into(), ..score.clone() }));
            scores.extend(b);
        }
    }
    scores
}

fn full(test: Test, metrics: &[&str]) -> TableSpec {
    let compare = CompareSpec {
        to: "B".into(),
        among: Vec::new(),
        rows: Vec::new(),
        test,
        correction: Correction::Holm,
        alpha: 0.05,
    };
    TableSpec {
        metrics: metrics.iter().map(ToString::to_string).collect(),
        interval: Some(IntervalKind::Bootstrap),
        resamples: 100,
        compare: Some(compare),
        rank: true,
        ..spec(&["target", "metric"])
    }
}

fn pivot(spec: &TableSpec, scores: &[Score]) -> Pivot {
    Pivot::new("main", spec, &["target".into()], scores).unwrap()
}

/// Intervals and comparisons by the names of what they are of.
fn by_names(pivot: &Pivot) -> IndexMap<String, (Option<Interval>, Option<Comparison>)> {
    let mut found = IndexMap::new();
    for (row, line) in pivot.lines.iter().enumerate() {
        for (column, cell) in line.cells.iter().enumerate() {
            let place = |of: &&Comparison| of.row == row && of.column == column;
            let compared = pivot.comparisons.iter().find(place).cloned();
            let compared = compared.map(|of| Comparison { row: 0, column: 0, to: 0, ..of });
            let name = format!("{} {}", line.label, pivot.columns[column].values.join(" "));
            found.insert(name, (cell.interval, compared));
        }
    }
    found.sort_keys();
    found
}

#[test]
fn every_metric_has_intervals_in_order() {
    let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let pivot = pivot(&full(Test::PairedBootstrap, &names), &with_a_twin(1));
    assert_eq!(pivot.columns.len(), 2 * names.len());
    for cell in pivot.lines.iter().flat_map(|line| &line.cells) {
        let Interval { low, high } = cell.interval.unwrap();
        assert!(
            low < high && low <= cell.mean.unwrap() + 0.1 && cell.mean.unwrap() - 0.1 <= high,
            "{cell:?}"
        );
    }
}

#[test]
fn a_model_and_itself_do_not_differ() {
    for test in [Test::PairedBootstrap, Test::RandomEffects, Test::Wilcoxon, Test::TTest] {
        let pivot = pivot(&full(test, &["macro_f1", "log_loss"]), &with_a_twin(1));
        assert_eq!(pivot.comparisons.len(), 8);
        for found in pivot.comparisons.iter().filter(|found| pivot.lines[found.row].label == "twin") {
            assert_eq!(
                (found.difference, found.p, found.p_adjusted),
                (0.0, Some(1.0), Some(1.0)),
                "{test:?}"
            );
            let zero = Interval { low: 0.0, high: 0.0 };
            assert!(found.interval.is_none_or(|interval| interval == zero), "{test:?}");
        }
    }
}

#[test]
fn a_pair_needs_a_score_of_both() {
    let mut scores = with_a_twin(1);
    scores.retain(|score| (score.model.as_str(), score.seed.as_str()) != ("A", "1"));
    scores.retain(|score| (score.model.as_str(), score.seed.as_str()) != ("B", "2"));
    let pivot = pivot(&full(Test::TTest, &["accuracy"]), &scores);
    let pairs: Vec<usize> = pivot.comparisons.iter().map(|found| found.n).collect();
    assert_eq!(pairs, [1, 2, 1, 2], "A has seeds 0 and 2, twin all, B 0 and 1");
    assert_eq!(pivot.comparisons[0].p, None, "one pair");
}

#[test]
fn threads_do_not_change_a_bit() {
    let scores = with_a_twin(1);
    let spec = full(Test::PairedBootstrap, &["macro_f1", "auroc"]);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| pivot(&spec, &scores))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn comparisons_have_a_file_and_scores_of_a_file_no_intervals() {
    let dir = tempfile::tempdir().unwrap();
    let spec = full(Test::PairedBootstrap, &["accuracy"]);
    let rendered = write(dir.path(), &[("main", spec.clone())], &with_a_twin(1)).unwrap();
    let files = ["main.csv", "main.md", "main.tex", "main.compare.csv"];
    assert_eq!(rendered[0].files, files.map(|name| dir.path().join("quick").join(name)));
    for (file, text) in
        rendered[0].files.iter().zip([&rendered[0].csv, &rendered[0].markdown, &rendered[0].latex])
    {
        assert_eq!(&fs::read_to_string(file).unwrap(), text);
    }
    let scores = metrics_csv::read(&dir.path().join("quick/metrics.csv")).unwrap();
    let error = write(dir.path(), &[("main", spec)], &scores).unwrap_err().to_string();
    assert!(
        error.contains("table `main`") && error.contains("resamples images, which needs predictions"),
        "{error}"
    );
    assert!(
        write(
            dir.path(),
            &[("main", TableSpec { interval: None, ..full(Test::TTest, &["accuracy"]) })],
            &scores
        )
        .is_ok()
    );
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]

    #[test]
    fn the_order_of_scores_changes_no_interval_and_no_p(
        noise in 0..1000_u64, key in any::<u64>()
    ) {
        let mut scores = with_a_twin(noise);
        let spec = full(Test::PairedBootstrap, &["macro_f1", "quadratic_kappa"]);
        let before = pivot(&spec, &scores);
        scores.sort_by_cached_key(|score| {
            let name = format!("{key} {} {} {}", score.model, score.dataset, score.seed);
            rng::name_index(&name)
        });
        prop_assert_eq!(by_names(&before), by_names(&pivot(&spec, &scores)));
        for found in &before.comparisons {
            let (p, adjusted) = (found.p.unwrap(), found.p_adjusted.unwrap());
            prop_assert!(0.0 < p && p <= adjusted && adjusted <= 1.0);
            let Interval { low, high } = found.interval.unwrap();
            prop_assert!(low <= high);
        }
    }
}

const TABLE: &str = r#"
[experiment]
name = "tiny"

[sweep]
seed = [0, 1]

[dataset.cells.phantom]
family = "cells"

[stage.source.pretrain]
backbone.resnet18 = { width = 4 }
dataset = "cells"

[stage.scores.evaluate]
models = { "LP-FT A" = "source" }
datasets = ["cells"]

[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

#[test]
fn what_is_wrong_with_intervals_and_comparisons_is_shown_where_it_stands() {
    let wrong = "interval = \"percentile\"\nconfidence = 1.0\nresamples = 10\n\
        compare = { to = \"LP-FT B\", test = \"t-test\", alpha = 1 }\nrank = \"yes\"\n";
    let errors = Experiment::parse(Source::new("tiny.toml", format!("{TABLE}{wrong}"))).unwrap_err();
    insta::assert_snapshot!(errors.to_string(), @r#"
    error: unknown value `percentile`
       ┌─ tiny.toml:22:12
       │
    22 │ interval = "percentile"
       │            ^^^^^^^^^^^^
       │
       = help: expected one of `bootstrap`, `random_effects`

    error: `confidence` must be between 0 and 1, not 1
       ┌─ tiny.toml:23:14
       │
    23 │ confidence = 1.0
       │              ^^^

    error: `resamples` must be 100 to 1000000, not 10
       ┌─ tiny.toml:24:13
       │
    24 │ resamples = 10
       │             ^^

    error: unknown row `LP-FT B`
       ┌─ tiny.toml:25:18
       │
    25 │ compare = { to = "LP-FT B", test = "t-test", alpha = 1 }
       │                  ^^^^^^^^^
       │
       = help: did you mean `LP-FT A`?

    error: unknown value `t-test`
       ┌─ tiny.toml:25:36
       │
    25 │ compare = { to = "LP-FT B", test = "t-test", alpha = 1 }
       │                                    ^^^^^^^^
       │
       = help: did you mean `t_test`?

    error: `alpha` must be between 0 and 1, not 1
       ┌─ tiny.toml:25:54
       │
    25 │ compare = { to = "LP-FT B", test = "t-test", alpha = 1 }
       │                                                      ^

    error: expected a boolean, found string "yes"
       ┌─ tiny.toml:26:8
       │
    26 │ rank = "yes"
       │        ^^^^^
    "#);
}
