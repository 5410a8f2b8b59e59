//! The files under `results/`.

use std::fs;
use std::path::Path;

use indexmap::IndexMap;
use medmerge::table::{Rendered, Score, TableError, TableSpec, metrics_csv, write_results};

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
