//! `medmerge report`: one page, which says what the CSV files say.

use std::collections::HashMap;

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// A run with two tables, one of which compares.
fn workplace() -> Workplace {
    let compared = "\n[table.gain]\nfrom = [\"scores\"]\nmetrics = [\"accuracy\"]\ninterval = \"bootstrap\"\n\
                    resamples = 200\ncompare = { to = \"average\" }\n";
    let place = Workplace::new(&(EXPERIMENT.to_owned() + compared));
    place.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    place
}

fn page(place: &Workplace) -> String {
    let report = place.medmerge(&["report", "experiment.toml"]).assert().code(0);
    report.stdout(contains("results/tiny/report.html"));
    std::fs::read_to_string(place.path("results/tiny/report.html")).unwrap()
}

/// The text of each cell of the table with a caption, row by row.
fn cells(html: &str, caption: &str) -> Vec<Vec<String>> {
    let start = html.find(&format!("<caption>{caption}</caption>")).expect(caption);
    let table = &html[start..start + html[start..].find("</table>").unwrap()];
    let body = &table[table.find("<tbody>").unwrap()..];
    let row = |row: &str| row.split("<t").skip(1).map(content).collect();
    body.split("<tr").skip(1).map(row).collect()
}

/// The text between `…>` and `</t…`, without tags.
fn content(cell: &str) -> String {
    let (_, rest) = cell.split_once('>').unwrap();
    let inner = rest.split("</t").next().unwrap();
    let outside_of_tags =
        |part: &str| part.split_once('>').map_or(part.to_owned(), |(_, text)| text.to_owned());
    inner.split('<').map(outside_of_tags).collect::<String>().trim().to_owned()
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<f64> {
    let text = text.replace('−', "-");
    let parts = text.split(|c: char| !(c.is_ascii_digit() || ".-+".contains(c)));
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Rows of a CSV as maps from column to cell.
fn rows(place: &Workplace, name: &str) -> Vec<HashMap<String, String>> {
    let mut csv = csv::Reader::from_path(place.path(name)).expect(name);
    csv.deserialize().map(|row| row.expect("a row")).collect()
}

#[test]
fn every_cell_of_a_table_has_the_numbers_of_the_csv() {
    let place = workplace();
    let html = page(&place);
    for (table, columns, shown) in [
        ("main", &["macro_f1", "accuracy"][..], &["mean", "std"][..]),
        ("gain", &["accuracy"], &["mean", "low", "high"]),
    ] {
        let written = rows(&place, &format!("results/tiny/{table}.csv"));
        let cells = cells(&html, table);
        assert_eq!(cells.len(), written.len());
        for (cells, row) in cells.iter().zip(&written) {
            assert_eq!(cells[0], row["model"]);
            assert_eq!(cells.len(), columns.len() + 1, "{cells:?}");
            for (cell, column) in cells[1..].iter().zip(columns) {
                let expected: Vec<String> = shown
                    .iter()
                    .map(|what| format!("{:.3}", row[&format!("{column}.{what}")].parse::<f64>().unwrap()))
                    .collect();
                let found: Vec<String> = numbers(cell).iter().map(|number| format!("{number:.3}")).collect();
                assert_eq!(found, expected, "{table}: {cell}");
            }
        }
    }
    for row in rows(&place, "results/tiny/gain.compare.csv") {
        let at = html.find("aria-label=\"Accuracy: differences to average\"").expect("a forest plot");
        let line = &html[at..][html[at..].find(&format!(">{}</text>", row["row"])).expect("a line")..];
        let said = line.split("<text").nth(1).and_then(|rest| rest.split("</text>").next()).unwrap();
        let expected = ["difference", "low", "high"].map(|what| row[what].parse::<f64>().unwrap());
        let found = numbers(said.split_once('>').unwrap().1);
        assert_eq!(found.len(), 3, "{said}");
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 5.001e-4), "{said} {expected:?}");
    }
}

#[test]
fn scores_of_classes_epochs_and_images_are_those_of_the_store() {
    let place = workplace();
    place.medmerge(&["table", "experiment.toml", "--predictions", "--quiet"]).assert().code(0);
    let html = page(&place);
    let block = &html[html.find("data-text=\"final xray\"").expect("a block")..];
    let seeds =
        [0, 1].map(|seed| rows(&place, &format!("results/tiny/predictions/final.xray.seed={seed}.csv")));
    for row in cells(block, "Scores of each class against the rest") {
        let of_seed = |rows: &Vec<HashMap<String, String>>| {
            let count = |fits: &dyn Fn(&HashMap<String, String>) -> bool| {
                rows.iter().filter(|row| fits(row)).count() as f64
            };
            let hits = count(&|image| image["label"] == row[0] && image["predicted"] == row[0]);
            let (predicted, support) =
                (count(&|image| image["predicted"] == row[0]), count(&|image| image["label"] == row[0]));
            let ratio = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
            [support, ratio(hits, predicted), ratio(hits, support), ratio(2.0 * hits, predicted + support)]
        };
        let both = seeds.each_ref().map(of_seed);
        assert_eq!(row[1], both[0][0].to_string(), "{row:?}");
        for i in 1..4 {
            let mean = f64::midpoint(both[0][i], both[1][i]);
            assert!((row[i + 1].parse::<f64>().unwrap() - mean).abs() <= 5.001e-4, "{row:?} {both:?}");
        }
    }
    let entries = place.medmerge(&["store", "list", "--json"]).output().unwrap().stdout;
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&entries).unwrap();
    let entry = entries.iter().find(|entry| entry["stage_ids"][0] == "final[seed=0]").expect("an entry");
    let fingerprint = entry["fingerprint"].as_str().unwrap();
    let history = rows(&place, &format!(".medmerge/store/{}/{fingerprint}/history.csv", &fingerprint[..2]));
    let score: f64 = history[0]["val_macro_f1"].parse().unwrap();
    let said = format!("1 epochs, epoch 1 is kept: Macro F1 {score:.3}");
    assert!(html[html.find("data-text=\"final[seed=0]\"").unwrap()..].contains(&said), "{said}");
    assert!(html.contains("32 / 16 / 16 images"), "numbers of images");
}

#[test]
fn failures_of_the_last_run_come_first() {
    let place = Workplace::new(EXPERIMENT);
    let set = ["--set", "stage.final.optimizer.adamw.lr=1e30", "--set", "stage.final.epochs=9"];
    let run = place.medmerge(&[&["run", "experiment.toml", "--quiet"][..], &set].concat()).assert();
    run.failure();
    place.medmerge(&[&["report", "experiment.toml"][..], &set].concat()).assert().code(0);
    let html = std::fs::read_to_string(place.path("results/tiny/report.html")).unwrap();
    let failed = html.find("Failed: <b>final[seed=0]</b>: the loss became").expect("the failure");
    assert!(failed < html.find("Not in the store: ").expect("what is missing"));
    assert!(html.contains(" failed, 2 skipped"), "the last run");
}

#[test]
fn the_confusion_matrix_counts_the_stored_predictions() {
    let place = workplace();
    place.medmerge(&["table", "experiment.toml", "--predictions", "--quiet"]).assert().code(0);
    let html = page(&place);
    let block = &html[html.find("data-text=\"final xray\"").expect("a block")..];
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    for seed in [0, 1] {
        let path = place.path(&format!("results/tiny/predictions/final.xray.seed={seed}.csv"));
        let mut csv = csv::Reader::from_path(path).unwrap();
        for row in csv.records().map(|row| row.unwrap()) {
            *counts.entry((row[1].to_owned(), row[2].to_owned())).or_default() += 1;
        }
    }
    let shown = cells(block, "Confusion matrix: rows are true classes, columns predicted ones; % of the row");
    let classes: Vec<String> = shown.iter().map(|row| row[0].clone()).collect();
    for (label, row) in classes.iter().zip(&shown) {
        for (predicted, cell) in classes.iter().zip(&row[1..]) {
            let count = counts.get(&(label.clone(), predicted.clone())).copied().unwrap_or(0);
            assert_eq!(cell.split_whitespace().next().unwrap(), count.to_string(), "{label} as {predicted}");
        }
    }
}

#[test]
fn a_page_asks_no_other_address_and_escapes_what_people_write() {
    let place = workplace();
    let named = "experiment.description=\"<script>alert(1)</script> & more\"";
    place.medmerge(&["report", "experiment.toml", "--set", named]).assert().code(0);
    let html = std::fs::read_to_string(place.path("results/tiny/report.html")).unwrap();
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
    assert_eq!(html.matches("src=").count(), html.matches("src=\"data:image/").count());
    let addresses = html.split("href=\"").skip(1);
    assert!(addresses.into_iter().all(|href| href.starts_with('#') || href.starts_with("data:image/")));
    for outside in ["href=\"http", "url(", "@import", "fetch("] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("aria-label=\"Accuracy: differences to average\""), "a forest plot");
    for stage in ["source_a", "weights[seed=1]", "scores[seed=0]"] {
        assert!(html.contains(&format!("<th scope=\"row\">{stage}</th>")), "{stage}");
    }
    assert!(
        html.contains("[stage.learn") || html.contains("[stage.weights.learn_merge_weights]"),
        "the source"
    );
    assert!(html.len() < 400_000, "{}", html.len());
}

#[test]
fn what_is_missing_is_said_first() {
    let place = Workplace::new(EXPERIMENT);
    place.medmerge(&["run", "experiment.toml", "--quiet", "--only", "average"]).assert().code(0);
    let report = place.medmerge(&["report", "experiment.toml"]).assert().code(0);
    report.stderr(contains("are incomplete").and(contains("scores[seed=0]")));
    let html = std::fs::read_to_string(place.path("results/tiny/report.html")).unwrap();
    assert!(html.contains("Not in the store: ") && html.contains("weights[seed=0]"), "{html}");
}

#[test]
fn several_experiments_have_a_page_with_all_tables() {
    let place = workplace();
    for name in ["set/one", "set/two"] {
        let file = format!("experiments/{}.toml", name.replace('/', "-"));
        std::fs::create_dir_all(place.path("experiments")).unwrap();
        std::fs::write(place.path(&file), EXPERIMENT.replace("\"tiny\"", &format!("{name:?}"))).unwrap();
    }
    let report = place.medmerge(&["report", "experiments"]).assert().code(0);
    report.stdout(contains("results/set/one/report.html").and(contains("results/set/report.html")));
    let html = std::fs::read_to_string(place.path("results/set/report.html")).unwrap();
    assert!(html.contains("<a href=\"one/report.html\">set/one</a>"), "{html}");
    assert_eq!(html.matches("<caption>main</caption>").count(), 2);
}

#[test]
fn a_run_writes_the_page_on_request() {
    let place = Workplace::new(EXPERIMENT);
    let run = place.medmerge(&["run", "experiment.toml", "--quiet", "--report"]).assert().code(0);
    run.stdout(contains("report\n-> results/tiny/report.html"));
    let by_run = std::fs::read(place.path("results/tiny/report.html")).unwrap();
    assert_eq!(page(&place).into_bytes(), by_run);
}

#[test]
fn rows_are_ranked_over_at_least_three_columns() {
    let set = |(name, images)| {
        format!(
            "[dataset.{name}.phantom]\nfamily = \"xray\"\nsize = 12\ntrain = 32\nval = 16\ntest = {images}\n"
        )
    };
    let sets = [("xray2", 20), ("xray3", 24)].map(set).concat();
    let experiment =
        EXPERIMENT.replace("datasets = [\"xray\"]", "datasets = [\"xray\", \"xray2\", \"xray3\"]");
    let experiment = experiment.replace(
        "metrics = [\"macro_f1\", \"accuracy\"]",
        "columns = [\"dataset\"]\nmetrics = [\"accuracy\"]",
    );
    let place = Workplace::new(&(experiment + &sets));
    place.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    let html = page(&place);
    let mut csv = csv::Reader::from_path(place.path("results/tiny/main.csv")).unwrap();
    let header = csv.headers().unwrap().clone();
    let means = (0..header.len()).filter(|&i| header[i].ends_with("mean"));
    let rows: Vec<csv::StringRecord> = csv.records().map(|row| row.unwrap()).collect();
    let mut ranks = vec![0.0; rows.len()];
    for column in means {
        let value = |row: &csv::StringRecord| row[column].parse::<f64>().unwrap();
        for (i, row) in rows.iter().enumerate() {
            let better = rows.iter().filter(|other| value(other) > value(row)).count();
            let same = rows.iter().filter(|other| value(other) == value(row)).count();
            ranks[i] += (better as f64 + (same + 1) as f64 / 2.0) / 3.0;
        }
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| ranks[a].total_cmp(&ranks[b]));
    let said: Vec<String> = order.iter().map(|&i| format!("{} {:.2}", &rows[i][0], ranks[i])).collect();
    // All columns have the same order, which is significant.
    assert_eq!(said.len(), 3);
    assert!(html.contains(&format!("aria-label=\"Mean ranks: {}\"", said.join(", "))), "{said:?}");
}

#[test]
fn images_of_public_data_are_shown_and_those_of_ones_own_only_on_request() {
    let place = workplace();
    let images = |place: &Workplace, which: &[&str]| {
        place.medmerge(&[&["report", "experiment.toml"][..], which].concat()).assert().code(0);
        let html = std::fs::read_to_string(place.path("results/tiny/report.html")).unwrap();
        html.matches("href=\"data:image/jpeg;base64,/9j/").count()
    };
    assert!(images(&place, &[]) > 0);
    assert_eq!(images(&place, &["--thumbnails", "none"]), 0);
    let own = EXPERIMENT.replace(
        "[dataset.xray.phantom]\nfamily = \"xray\"\nsize = 12\ntrain = 32\nval = 16\ntest = 16\n",
        "[dataset.xray.manifest]\npath = \"labels.csv\"\nsize = 12\n",
    );
    let place = Workplace::new(&own);
    let mut csv = "image,label,split\n".to_owned();
    for number in 0..48u8 {
        let name = format!("{number}.png");
        image::RgbImage::from_pixel(9, 7, image::Rgb([number * 5, 99, 7])).save(place.path(&name)).unwrap();
        let split = if number < 24 {
            "train"
        } else if number < 32 {
            "val"
        } else {
            "test"
        };
        csv += &format!("{name},{},{split}\n", ["a", "b", "c"][usize::from(number % 3)]);
    }
    let place = place.with("labels.csv", csv);
    place.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    assert_eq!(images(&place, &[]), 0);
    assert!(images(&place, &["--thumbnails", "all"]) > 0);
}
