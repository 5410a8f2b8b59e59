//! Figures of merge weights, from an experiment to its files.

use std::collections::BTreeMap;
use std::fs;

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// Name and content of the results, without folders.
fn results(workplace: &Workplace) -> BTreeMap<String, Vec<u8>> {
    results_in(workplace, "results/tiny")
}

fn results_in(workplace: &Workplace, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(workplace.path(folder)).expect("results").map(|file| file.expect("a file"));
    let files = files.filter(|file| file.path().is_file());
    files
        .map(|file| {
            (file.file_name().into_string().expect("a name"), fs::read(file.path()).expect("a readable file"))
        })
        .collect()
}

/// The cells of a CSV without its header.
fn rows(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_figure_is_written_by_run_and_by_table_with_the_same_bytes() {
    let figure = "[figure.layers.layers]\nfrom = ['weights']\nkernels = true\n";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figure}"));
    let only = ["run", "experiment.toml", "--only", "layers"];
    let assert = workplace.medmerge(&only).assert().code(0);
    let assert = assert.stderr(contains("executed 8, fresh 0, failed 0"));
    assert.stdout(
        contains("layers\n-> results/tiny/layers.svg, results/tiny/layers.csv, ").and(contains("main").not()),
    );
    let first = results(&workplace);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["layers.csv", "layers.kernels.csv", "layers.svg"]);

    let layers = String::from_utf8(first["layers.csv"].clone()).expect("text");
    let header = "stage,seed,layer,depth,source,source_stage,kernels,mean,std,min,max,share,fraction\n";
    assert!(layers.starts_with(header), "{layers}");
    let layers = rows(&first["layers.csv"]);
    assert_eq!(layers.len(), 2 * 20 * 2, "seeds, layers of a ResNet-18, sources");
    assert_eq!(layers[0][..7], ["weights", "0", "conv1", "1", "0", "probe_a", "16"]);
    let depths: Vec<&str> = layers[..40].iter().step_by(2).map(|row| row[3].as_str()).collect();
    assert_eq!(depths, (1..=20).map(|depth| depth.to_string()).collect::<Vec<_>>());
    for pair in layers.chunks(2) {
        let number = |row: usize, column: usize| pair[row][column].parse::<f64>().expect("a number");
        assert!((number(0, 11) + number(1, 11) - 1.0).abs() < 1e-9, "shares of {pair:?}");
        // It started at the anchor, and took one step or two.
        assert!(number(0, 7) > 0.9 && number(1, 7).abs() < 0.1, "means of {pair:?}");
    }
    let kernels: usize = layers.iter().map(|row| row[6].parse::<usize>().expect("a count")).sum();
    assert_eq!(rows(&first["layers.kernels.csv"]).len(), kernels);
    let svg = String::from_utf8_lossy(&first["layers.svg"]);
    assert!(svg.starts_with("<svg ") && svg.contains("weights (n = 2 over seed)"), "{svg}");

    fs::remove_dir_all(workplace.path("results")).expect("results");
    workplace.medmerge(&["table", "experiment.toml"]).assert().code(0).stdout(contains("layers.svg"));
    assert_eq!(results(&workplace), first, "without any scores there are no tables");
    workplace.medmerge(&only).assert().code(0).stderr(contains("executed 0, fresh 8"));
    assert_eq!(results(&workplace), first);
    let deeper = [&only[..], &["--set", "experiment.name=deep/tiny"]].concat();
    workplace.medmerge(&deeper).assert().code(0).stdout(contains("results/deep/tiny/layers.svg"));
    assert_eq!(results_in(&workplace, "results/deep/tiny")["layers.csv"], first["layers.csv"]);
}

/// Without the figure, nothing would need the weights any more once the merged model is there.
#[test]
fn what_a_figure_shows_is_made_even_if_all_that_uses_it_is_there() {
    let workplace = Workplace::new(EXPERIMENT);
    let arguments = ["--set", "sweep.seed=[0]", "--only", "merged"];
    workplace.medmerge(&["run", "experiment.toml"]).args(arguments).assert().code(0);
    let plan = |experiment: &str, file: &str| {
        fs::write(workplace.path(file), experiment).expect("a file");
        let command = workplace.medmerge(&["plan", file, "--json", "--set", "sweep.seed=[0]"]).output();
        let plan: serde_json::Value = serde_json::from_slice(&command.expect("a plan").stdout).expect("JSON");
        let stages = plan["stages"].as_array().expect("stages").clone();
        let weights = stages.iter().find(|stage| stage["id"] == "weights[seed=0]").expect("weights").clone();
        (
            weights["fingerprint"].as_str().expect("text").to_owned(),
            weights["run"].as_bool().expect("a truth"),
        )
    };
    let (fingerprint, runs) = plan(EXPERIMENT, "without.toml");
    assert!(!runs);
    let entry = workplace.path(&format!(".medmerge/store/{}/{fingerprint}", &fingerprint[..2]));
    fs::remove_dir_all(entry).expect("an entry");
    assert_eq!(plan(EXPERIMENT, "without.toml"), (fingerprint.clone(), false));
    let with = format!("{EXPERIMENT}[figure.layers.layers]\nfrom = ['weights']\n");
    assert_eq!(plan(&with, "with.toml"), (fingerprint, true));
}

#[test]
fn what_is_wrong_with_a_figure_is_told_where_it_stands() {
    let figures = "
[figure.main.layers]
from = ['weight', 'final']
columns = 'sed'

[figure.layers.layers]
from = ['weights']
columns = 'seed'
panels = 'seed'
";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figures}"));
    let output = workplace.medmerge(&["check", "experiment.toml"]).output().expect("an answer");
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r#"
    error: the name `main` is already used by a table
       ┌─ experiment.toml:76:9
       │
    76 │ [figure.main.layers]
       │         ^^^^
       │
       = help: choose another name, which is a file name in the results

    error: unknown stage `weight`
       ┌─ experiment.toml:77:9
       │
    77 │ from = ['weight', 'final']
       │         ^^^^^^^^
       │
       = help: did you mean `weights`?

    error: stage `final` is a `finetune`, which has no merge weights
       ┌─ experiment.toml:77:19
       │
    77 │ from = ['weight', 'final']
       │                   ^^^^^^^
       │
       = help: name a `learn_merge_weights` stage

    error: unknown field `sed`
       ┌─ experiment.toml:78:11
       │
    78 │ columns = 'sed'
       │           ^^^^^
       │
       = help: did you mean `seed`?

    error: `columns` and `over` both name `seed`
       ┌─ experiment.toml:82:11
       │
    82 │ columns = 'seed'
       │           ^^^^^^
       │
       = help: an axis cannot be both pooled and shown as columns; use another axis in one of them

    error: unknown key `panels`
       ┌─ experiment.toml:83:1
       │
    83 │ panels = 'seed'
       │ ^^^^^^
       │
       = help: expected one of `from`, `columns`, `over`, `kernels`, `pdf`
    "#);
}

#[test]
fn a_key_of_a_figure_can_be_set() {
    let figure = "[figure.layers.layers]\nfrom = ['weights']\n";
    let workplace = Workplace::new(&format!("{EXPERIMENT}{figure}"));
    let check = |set: &str| workplace.medmerge(&["check", "experiment.toml", "--set", set]).assert();
    check("figure.layers.over=seed").code(0);
    check("figure.layers.layers.over=seed").code(0);
    check("figure.layers.roc.models=['A']").code(2).stderr(contains("is a `layers`, not a `roc`"));
    check("figure.layers.over=target").code(2).stderr(contains("unknown axis `target`"));
    check("figure.layer.over=seed").code(2).stderr(contains("did you mean `layers`?"));
}

/// An experiment with a figure of each kind.
fn with_every_kind() -> String {
    let experiment = EXPERIMENT.replace("seed = [0, 1]", "seed = [0, 1]\nratio = [0.5, 1.0, 2.0]");
    experiment
        + r#"
[stage.between.merge]
sources = ["probe_a", "probe_b"]
method.average = { weights = [1.0, "${ratio}"] }
dataset = "xray"

[stage.way.evaluate]
models = { "A" = "probe_a", "B" = "probe_b", "between" = "between" }
datasets = ["xray"]

[table.gain]
from = ["scores"]
metrics = ["accuracy"]
compare = { to = "average" }
resamples = 100

[figure.matrix.confusion]
from = ["scores"]
models = ["final", "average"]

[figure.ranked.roc]
from = ["scores"]

[figure.found.precision_recall]
from = ["scores"]
models = ["final"]

[figure.calibrated.reliability]
from = ["scores"]

[figure.trained.curves]
from = ["source_a", "final"]

[figure.differences.forest]
table = "gain"

[figure.along.budget]
from = ["way"]
x = "ratio"
metric = "macro_f1"
log = true

[figure.over.barrier]
from = ["way"]
x = "ratio"
ratio = true
ends = ["A", "B"]
"#
}

/// Two axes of seeds, one of them of a source.
#[test]
fn a_budget_figure_puts_several_axes_together() {
    let text = EXPERIMENT
        .replace("seed = [0, 1]", "seed = [0, 1]\nsource_seed = [7, 9]\nratio = [0.5, 2.0]")
        .replace("seed = 7", "seed = \"${source_seed}\"")
        .replace("[table.main]\n", "[table.main]\nover = [\"seed\", \"source_seed\"]\n")
        + r#"
[stage.between.merge]
sources = ["probe_a", "probe_b"]
method.average = { weights = [1.0, "${ratio}"] }
dataset = "xray"

[stage.way.evaluate]
models = { "between" = "between" }
datasets = ["xray"]

[figure.together.budget]
from = ["way"]
x = "ratio"
metric = "macro_f1"
over = ["seed", "source_seed"]

[figure.apart.budget]
from = ["way"]
x = "ratio"
metric = "macro_f1"
"#;
    let workplace = Workplace::new(&text);
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    let files = results(&workplace);
    let scores = table(&files["metrics.csv"]);
    let of_ratio = |row: &BTreeMap<String, String>| -> Vec<f64> {
        let fits = |score: &&BTreeMap<String, String>| {
            let same =
                |(column, value): (&String, &String)| !row.contains_key(column) || row[column] == *value;
            let axes = score.iter().filter(|(column, _)| ["ratio", "source_seed"].contains(&column.as_str()));
            score["stage"] == "way" && score["metric"] == "macro_f1" && axes.into_iter().all(same)
        };
        scores.iter().filter(fits).map(|row| number(row, "value")).collect()
    };
    for (name, panels, n) in [("together", 1, 4), ("apart", 2, 2)] {
        let points = table(&files[&format!("{name}.csv")]);
        assert_eq!((points.len(), points[0].contains_key("source_seed")), (2 * panels, panels > 1), "{name}");
        for row in &points {
            let values = of_ratio(row);
            assert_eq!((values.len(), row["n"].as_str()), (n, n.to_string().as_str()), "{name}");
            assert!((number(row, "mean") - values.iter().sum::<f64>() / n as f64).abs() < 1e-12, "{name}");
        }
    }
    let svg = |name: &str| String::from_utf8(files[&format!("{name}.svg")].clone()).unwrap();
    assert!(
        svg("together").contains("Mean over seed and source_seed;")
            && svg("apart").contains("Mean over seeds;")
    );
    let both = "metric = \"macro_f1\"\nover = [\"seed\", ";
    let along = text.replace(&format!("{both}\"source_seed\"]"), &format!("{both}\"ratio\"]"));
    Workplace::new(&along)
        .medmerge(&["check", "experiment.toml"])
        .assert()
        .code(2)
        .stderr(contains("`x` and `over` are both `ratio`"));
}

/// Rows of a CSV as maps from column to cell.
fn table(csv: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv);
    reader.deserialize().map(|row| row.expect("a row")).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

/// What a build with it writes is tested beside the code.
#[test]
fn without_the_feature_a_figure_as_pdf_is_told_before_anything_runs() {
    let figure = "[figure.layers.layers]\nfrom = ['weights']\npdf = true\n";
    let check =
        Workplace::new(&format!("{EXPERIMENT}{figure}")).medmerge(&["check", "experiment.toml"]).assert();
    if cfg!(feature = "pdf") {
        check.code(0);
    } else {
        check.code(2).stderr(contains("without the feature `pdf`").and(contains("--features pdf")));
    }
}

#[test]
fn figures_of_every_kind_show_what_the_results_say() {
    let workplace = Workplace::new(&with_every_kind());
    let assert = workplace.medmerge(&["run", "experiment.toml", "--predictions"]).assert().code(0);
    assert.stdout(contains("matrix\n-> results/tiny/matrix.svg, results/tiny/matrix.csv"));
    let files = {
        let mut files = results(&workplace);
        for name in ["matrix", "ranked", "found", "calibrated", "trained", "differences", "along", "over"] {
            let svg = String::from_utf8(files.remove(&format!("{name}.svg")).expect("an SVG")).expect("text");
            assert!(svg.starts_with("<svg xmlns=") && svg.contains(&format!("tiny: {name}")), "{svg}");
            assert!(!svg.contains("var(") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        files
    };
    let scores = table(&files["metrics.csv"]);
    let score = |stage: &str, model: &str, metric: &str, ratio: &str| -> Vec<f64> {
        let fits = |row: &&BTreeMap<String, String>| {
            [("stage", stage), ("model", model), ("metric", metric), ("ratio", ratio)]
                .iter()
                .all(|(column, value)| row[*column] == *value)
        };
        scores.iter().filter(fits).map(|row| number(row, "value")).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");

    let matrix = table(&files["matrix.csv"]);
    assert!(matrix.iter().all(|row| ["final", "average"].contains(&row["model"].as_str())));
    let of_final = || matrix.iter().filter(|row| row["model"] == "final");
    let right: f64 =
        of_final().filter(|row| row["label"] == row["predicted"]).map(|row| number(row, "images")).sum();
    let all: f64 = of_final().map(|row| number(row, "images")).sum();
    near(right / all, mean(&score("scores", "final", "accuracy", "")));

    let calibrated = table(&files["calibrated.csv"]);
    let bins = calibrated.iter().filter(|row| row["model"] == "final" && row["images"] != "0");
    let right: f64 = bins.map(|row| number(row, "accuracy") * number(row, "images")).sum();
    near(right / all, mean(&score("scores", "final", "accuracy", "")));

    let area = |name: &str, seed: &str, x: &str, y: &str| {
        let rows: Vec<_> = table(&files[name]);
        let of = |class: &str| -> f64 {
            let fits = |row: &&BTreeMap<String, String>| {
                row["model"] == "final" && row["seed"] == seed && row["class"] == class
            };
            let points: Vec<[f64; 2]> =
                rows.iter().filter(fits).map(|row| [number(row, x), number(row, y)]).collect();
            points.windows(2).map(|pair| (pair[1][0] - pair[0][0]) * (pair[0][1] + pair[1][1]) / 2.0).sum()
        };
        let classes: std::collections::BTreeSet<_> = rows.iter().map(|row| row["class"].clone()).collect();
        mean(&classes.iter().map(|class| of(class)).collect::<Vec<_>>())
    };
    let auroc = score("scores", "final", "auroc", "");
    near(area("ranked.csv", "0", "false_positive_rate", "true_positive_rate"), auroc[0]);
    near(area("ranked.csv", "1", "false_positive_rate", "true_positive_rate"), auroc[1]);
    assert!(table(&files["found.csv"]).iter().all(|row| row["model"] == "final"));

    assert_eq!(files["differences.csv"], files["gain.compare.csv"]);

    let trained = table(&files["trained.csv"]);
    let losses = trained.iter().filter(|row| row["what"] == "train_loss");
    let places: Vec<String> =
        losses.map(|row| format!("{} {} {}", row["stage"], row["seed"], row["kept"])).collect();
    assert_eq!(places, ["source_a  1", "final 0 1", "final 1 1"]);

    for row in table(&files["along.csv"]) {
        let values = score("way", &row["model"], "macro_f1", &row["ratio"]);
        assert_eq!(row["n"], "2");
        near(number(&row, "mean"), mean(&values));
        near(number(&row, "std"), (values[0] - values[1]).abs() / 2f64.sqrt());
    }
    let way = table(&files["over.csv"]);
    let shares: Vec<f64> = way.iter().map(|row| number(row, "share")).collect();
    assert_eq!(shares, [0.0, 1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0]);
    let [a, b] = ["A", "B"].map(|end| mean(&score("way", end, "log_loss", "1.0")));
    let excess = |row: &BTreeMap<String, String>| {
        let share = number(row, "share");
        number(row, "score") - ((1.0 - share) * a + share * b)
    };
    for row in &way {
        near(number(row, "excess"), excess(row));
        near(number(row, "barrier"), way.iter().map(excess).fold(0.0, f64::max));
    }
    near(number(&way[2], "score"), mean(&score("way", "between", "log_loss", "1.0")));

    workplace.medmerge(&["table", "experiment.toml"]).assert().code(0);
    assert_eq!(results(&workplace)["along.csv"], files["along.csv"]);
}
