//! `medmerge results` and `medmerge diff`: what was written, and in what it differs.

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

fn workplace() -> Workplace {
    let place = Workplace::new(EXPERIMENT);
    place.medmerge(&["run", "experiment.toml", "--quiet", "--report"]).assert().code(0);
    place
}

fn stdout(place: &Workplace, arguments: &[&str]) -> String {
    String::from_utf8(place.medmerge(arguments).assert().code(0).get_output().stdout.clone()).unwrap()
}

#[test]
fn results_are_listed_and_printed_without_data_or_store() {
    let place = workplace();
    std::fs::remove_dir_all(place.path(".medmerge")).unwrap();
    let list = stdout(&place, &["results"]);
    assert!(list.starts_with("tiny  ") && list.trim_end().ends_with("table main; report"), "{list}");
    let main = std::fs::read_to_string(place.path("results/tiny/main.md")).unwrap();
    for name in ["tiny", "tiny/", "experiment.toml"] {
        let printed = stdout(&place, &["results", name]);
        assert!(printed.starts_with(&format!("{}\n-> results/tiny/main.md\n", main.trim_end())), "{printed}");
        assert!(printed.contains("-> results/tiny/report.html\n"), "{printed}");
    }
    assert!(!place.path(".medmerge").exists());
}

#[test]
fn a_folder_of_experiments_has_all_their_results() {
    let place = Workplace::new("");
    for name in ["small/one", "small/two", "smaller"] {
        let folder = place.path(&format!("results/{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("metrics.csv"), "").unwrap();
    }
    let printed = stdout(&place, &["results", "small"]);
    assert_eq!(
        printed,
        "scores\n-> results/small/one/metrics.csv\nscores\n-> results/small/two/metrics.csv\n"
    );
}

#[test]
fn what_has_no_results_is_answered_with_a_near_name() {
    let place = Workplace::new("");
    assert_eq!(stdout(&place, &["results"]), "no results in results yet; medmerge run FILE writes them\n");
    let place = place.with("results/quickstart/metrics.csv", "");
    let near = place.medmerge(&["results", "quickstrat"]).assert().code(2);
    near.stderr(contains("did you mean \"quickstart\"?"));
    let report = place.medmerge(&["results", "quickstart", "--open"]).assert().code(2);
    report.stderr(contains("there is no results/quickstart/report.html; write it with: medmerge report"));
}

#[cfg(unix)]
#[test]
fn a_report_is_opened_by_the_program_of_the_desktop() {
    use std::os::unix::fs::PermissionsExt;
    let opener = if cfg!(target_os = "macos") { "bin/open" } else { "bin/xdg-open" };
    let place = Workplace::new("").with("results/a/metrics.csv", "").with("results/a/report.html", "");
    let open = |place: &Workplace| {
        place.medmerge(&["results", "a", "--open"]).env("PATH", place.path("bin")).assert()
    };
    open(&place)
        .code(2)
        .stderr(contains("failed to open results/a/report.html").and(contains("open it yourself")));
    let place = place.with(opener, "#!/bin/sh\necho \"$1\" >opened\n");
    std::fs::set_permissions(place.path(opener), std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&place).code(0);
    assert_eq!(std::fs::read_to_string(place.path("opened")).unwrap(), "results/a/report.html\n");
}

#[test]
fn a_watched_run_is_shown_to_its_end() {
    let place = Workplace::new(EXPERIMENT);
    let empty = stdout(&place, &["status", "--watch"]);
    assert!(empty.starts_with("no run yet in"), "{empty}");
    place.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let ended = stdout(&place, &["status", "--watch"]);
    assert!(ended.contains("tiny: finished; ") && !ended.contains('\u{1b}'), "{ended}");
    place.medmerge(&["status", "--watch", "--json"]).assert().code(2).stderr(contains("cannot be used with"));
}

#[test]
fn the_same_experiments_do_not_differ() {
    let place = workplace();
    let diff = stdout(&place, &["diff", "experiment.toml", "experiment.toml"]);
    assert_eq!(diff, "stages: 16 the same, 0 different\nscores: 6 the same, 0 different\n");
}

#[test]
fn options_data_and_scores_of_experiments_are_compared() {
    let place = workplace();
    let other = EXPERIMENT.replace("lr = 0.002", "lr = 0.5").replace("\"average\" = \"average\", ", "");
    let place = place.with("other.toml", other.replace("\"tiny\"", "\"other\""));
    place.medmerge(&["run", "other.toml", "--quiet"]).assert().code(0);
    let diff = stdout(&place, &["diff", "experiment.toml", "other.toml"]);
    let lines = [
        "  final × 2",
        "    train.optimizer.adamw.lr: 0.002 → 0.5",
        "  scores × 2",
        "    model: average → –",
    ];
    for line in lines {
        assert!(diff.lines().any(|found| found == line), "{line}: {diff}");
    }
    assert!(diff.contains("scores: 2 the same, "), "{diff}");
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&place, &["diff", "experiment.toml", "other.toml", "--json"])).unwrap();
    let changed = &json["changed"][0]["changes"][0];
    assert_eq!((&changed["a"], &changed["b"]), (&"0.002".into(), &"0.5".into()), "{json}");
}

#[test]
fn a_change_of_data_is_said_with_what_follows_from_it() {
    let place = Workplace::new(EXPERIMENT);
    let diff = ["diff", "experiment.toml", "experiment.toml", "--set", "dataset.cells.train=48"];
    place.medmerge(&["store", "list"]).assert().code(0);
    let diff = stdout(&place, &diff);
    assert!(diff.contains("stages: 0 the same, 16 different\n"), "{diff}");
    assert!(diff.contains("  only what they take from differs: source_a, source_b, probe_a × 2, "), "{diff}");
    assert!(
        diff.contains("data sets that differ:\n  cells\n") && diff.contains("    images.train: 32 → 48\n"),
        "{diff}"
    );
    assert!(diff.contains("not in the store, of experiment.toml with --set: scores × 2;"), "{diff}");
}

#[test]
fn models_are_compared_down_to_their_sources() {
    let place = workplace();
    let list: serde_json::Value =
        serde_json::from_str(&stdout(&place, &["store", "list", "--json"])).unwrap();
    let entry = |stage: &str| {
        let is_it = |entry: &&serde_json::Value| entry["stage_ids"][0] == stage;
        let entry = list.as_array().unwrap().iter().find(is_it).unwrap();
        entry["fingerprint"].as_str().unwrap().to_owned()
    };
    let file = |entry: &str| format!(".medmerge/store/{}/{entry}/model.safetensors", &entry[..2]);
    let (a, b) = (entry("final[seed=0]"), entry("final[seed=1]"));
    for names in [[a.clone(), b.clone()], [file(&a), file(&b)]] {
        let diff = stdout(&place, &["diff", &names[0], &names[1]]);
        assert!(diff.starts_with("origin: different\n"), "{diff}");
        assert!(diff.contains("  train.seed: 0 → 1\n"), "{diff}");
        assert!(diff.contains("  from.source.0: train.seed: 0 → 1\n"), "{diff}");
        assert!(diff.contains("relative difference ") && diff.contains("scores in the store:\n"), "{diff}");
    }
    let same = stdout(&place, &["diff", &a, &file(&a)]);
    assert!(
        same.starts_with("origin: the same\ntensors: ") && same.contains(" the same, 0 different\n"),
        "{same}"
    );
    let mixed = place.medmerge(&["diff", &a, "experiment.toml"]).assert().code(2);
    mixed.stderr(contains("name two experiments, or two models"));
    let set = ["diff", &a, &b, "--set", "train.epochs=1"];
    place.medmerge(&set).assert().code(2).stderr(contains("--set changes an experiment"));
}
