//! Multi-label data sets: from files to tables, scores and losses against scikit-learn and PyTorch, and what is refused.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use candle_core::{Device, Tensor, Var};
use image::GrayImage;
use medmerge::metric::{self, Labels, METRICS, MultiLabels, Predictions, State};
use medmerge::train::loss::BinaryCrossEntropySpec;
use medmerge::train::{ClassCounts, ClassWeights, LossSpec, Targets};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::builder::Workplace;

/// Every sort of stage, on a CheXpert folder with uncertain findings and on a file like ChestMNIST.
const EXPERIMENT: &str = r#"
[experiment]
name = "chest"

[dataset.chexpert.chexpert]
path = "chexpert"
size = 16
classes = ["Edema", "Fracture", "Pleural Effusion"]
split.official = { val = 0.2 }

[dataset.nih.medmnist]
path = "nih.npz"
classes = ["edema", "fracture"]

[train]
epochs = 6
batch_size = 8
loss.binary_cross_entropy = { class_weights = "balanced" }
select = "auroc"
augment = ["horizontal_flip", { mixup = { probability = 0.2 } }]
optimizer.adamw = { lr = 0.01 }

[stage.base.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "nih"

[stage.a.finetune]
from = "base"
dataset = "chexpert"
seed = 1

[stage.b.finetune]
from = "base"
dataset = "chexpert"
trainable = "head"
seed = 2

[stage.weights.learn_merge_weights]
sources = ["a", "b"]
anchor = "a"
dataset = "chexpert"

[stage.merged.merge]
sources = ["a", "b"]
method.learned = { weights = "weights" }
dataset = "chexpert"

[stage.fisher.merge]
sources = ["a", "b"]
method.fisher = { images = 4 }
dataset = "chexpert"

[stage.soup.merge]
sources = ["a", "b"]
method.greedy_soup = { metric = "macro_f1" }
dataset = "chexpert"

[stage.final.finetune]
from = "merged"
dataset = "chexpert"
head = "keep"

[stage.scores.evaluate]
models = { "final" = "final", "a" = "a", "fisher" = "fisher", "soup" = "soup" }
ensembles = { "both" = { models = ["a", "b"] } }
datasets = ["chexpert"]

[table.main]
from = ["scores"]
metrics = ["auroc", "average_precision", "macro_f1"]
interval = "bootstrap"
resamples = 200
"#;

/// Gray levels of a picture of these findings: each brightens one part. All pictures differ.
fn levels(number: u32, findings: [bool; 3]) -> GrayImage {
    GrayImage::from_fn(16, 16, |x, y| {
        let part = usize::from(x >= 8) + 2 * usize::from(y >= 8);
        let noise = (x * 7 + y * 13 + number * 29) % 41 + (number * x) % 5;
        image::Luma([(noise + if part < 3 && findings[part] { 180 } else { 20 }) as u8])
    })
}

/// Findings of a picture; all combinations occur.
fn findings(number: u32) -> [bool; 3] {
    let mixed = number.wrapping_mul(2_654_435_761) >> 20;
    [mixed & 1 == 1, mixed & 2 == 2, mixed & 4 == 4]
}

/// A row of CheXpert; every seventh edema is uncertain, and absent effusions are not mentioned.
fn row(part: &str, number: u32) -> String {
    let [edema, fracture, effusion] = findings(number);
    let edema = if number.is_multiple_of(7) { "-1.0" } else { ["0.0", "1.0"][usize::from(edema)] };
    let effusion = if effusion { "1.0" } else { "" };
    let fracture = f64::from(u8::from(fracture));
    format!(
        "CheXpert-v1.0-small/{part}/patient{:05}/study{}/view1_frontal.jpg,Male,50,Frontal,AP,{edema},{fracture:?},{effusion}\n",
        number / 2,
        number % 2 + 1
    )
}

/// The CSVs and images of a CheXpert folder.
fn write_chexpert(folder: &Path) {
    for (name, part, numbers) in [("train.csv", "train", 0..72), ("valid.csv", "valid", 100..130)] {
        let mut csv = "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema,Fracture,Pleural Effusion\n".to_owned();
        for number in numbers {
            let row = row(part, number);
            let path = row.split(',').next().unwrap().split_once('/').unwrap().1;
            let file = folder.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            levels(number, findings(number)).save_with_format(file, image::ImageFormat::Png).unwrap();
            csv += &row;
        }
        fs::write(folder.join(name), csv).unwrap();
    }
}

/// A `.npy` file of unsigned bytes.
fn npy(shape: &[usize], data: &[u8]) -> Vec<u8> {
    let mut extents = String::new();
    shape.iter().for_each(|extent| write!(extents, "{extent}, ").unwrap());
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({extents}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    [&file, header.as_bytes(), data].concat()
}

/// A MedMNIST file of two findings.
fn write_npz(path: &Path) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    for (split, numbers) in [("train", 200..248u32), ("val", 300..316), ("test", 400..408)] {
        let labels: Vec<u8> =
            numbers.clone().flat_map(|i| [0, 1].map(|c| u8::from(findings(i)[c]))).collect();
        let pixels: Vec<u8> = numbers.clone().flat_map(|i| levels(i, findings(i)).into_raw()).collect();
        let n = numbers.len();
        for (array, content) in [("images", npy(&[n, 16, 16], &pixels)), ("labels", npy(&[n, 2], &labels))] {
            zip.start_file(format!("{split}_{array}.npy"), SimpleFileOptions::default()).unwrap();
            zip.write_all(&content).unwrap();
        }
    }
    zip.finish().unwrap();
}

fn new_workplace(experiment: &str) -> Workplace {
    let workplace = Workplace::new(experiment);
    write_chexpert(&workplace.path("chexpert"));
    write_npz(&workplace.path("nih.npz"));
    workplace
}

/// A folder in which the experiment has run.
fn workplace() -> &'static Workplace {
    static WORKPLACE: OnceLock<Workplace> = OnceLock::new();
    WORKPLACE.get_or_init(|| {
        let workplace = new_workplace(EXPERIMENT);
        workplace.medmerge(&["run", "experiment.toml", "--predictions", "--report"]).assert().code(0);
        workplace
    })
}

fn fingerprint(stage: &str) -> String {
    let plan = workplace().medmerge(&["plan", "experiment.toml", "--json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let stage = plan["stages"].as_array().unwrap().iter().find(|other| other["id"] == stage).unwrap();
    stage["fingerprint"].as_str().unwrap().to_owned()
}

/// What the store has under the fingerprint of a stage.
fn entry(stage: &str) -> std::path::PathBuf {
    let fingerprint = fingerprint(stage);
    workplace().path(&format!(".medmerge/store/{}/{fingerprint}", &fingerprint[..2]))
}

fn table(csv: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).collect()
}

/// Scores of a row label by metric; nothing where a cell is empty.
fn scores(model: &str) -> Vec<(String, Option<f64>)> {
    let csv = fs::read_to_string(workplace().path("results/chest/metrics.csv")).unwrap();
    let rows = table(&csv).into_iter().filter(|row| &row[2] == model);
    rows.map(|row| (row[6].to_owned(), row[7].parse().ok())).collect()
}

#[test]
fn an_experiment_runs_from_files_to_tables() {
    let of_final = scores("final");
    assert_eq!(of_final.len(), METRICS.len());
    for (name, score) in &of_final {
        let is_defined = metric::by_name(name).unwrap().is_multi_label;
        assert_eq!(score.is_some(), is_defined, "{name}");
    }
    for model in ["final", "a", "soup", "both"] {
        let auroc = scores(model).into_iter().find(|(name, _)| name == "auroc").unwrap().1.unwrap();
        assert!(auroc > 0.8, "{model}: {auroc}");
    }
    let csv = fs::read_to_string(workplace().path("results/chest/main.csv")).unwrap();
    assert!(csv.starts_with("model,auroc.mean,") && csv.contains("auroc.low"), "{csv}");
}

#[test]
fn predictions_have_the_labels_of_every_class_in_two_forms() {
    let fingerprint = &fingerprint("final")[..12];
    let files = fs::read_dir(entry("scores")).unwrap().map(|file| file.unwrap().path());
    let is_final = |path: &std::path::PathBuf| path.to_string_lossy().contains(&format!("/{fingerprint}."));
    let stored = fs::read_to_string(files.into_iter().find(is_final).unwrap()).unwrap();
    assert!(stored.starts_with("image,label_0,label_1,label_2,p_0,p_1,p_2\n"), "{stored}");
    let named = workplace().path("results/chest/predictions/final.chexpert.csv");
    let named = fs::read_to_string(named).unwrap();
    assert!(named.starts_with("image,label,unknown,predicted,Edema,Fracture,Pleural Effusion\n"), "{named}");
    let (stored, named) = (table(&stored), table(&named));
    assert_eq!((stored.len(), named.len()), (30, 30));
    let classes = ["Edema", "Fracture", "Pleural Effusion"];
    for (number, (stored, named)) in (100u32..).zip(stored.iter().zip(&named)) {
        let uncertain = number.is_multiple_of(7);
        let present: Vec<bool> = (0..3).map(|c| findings(number)[c] && !(c == 0 && uncertain)).collect();
        let cell = |c: usize| if c == 0 && uncertain { "" } else { ["0", "1"][usize::from(present[c])] };
        assert_eq!((&stored[1], &stored[2], &stored[3]), (cell(0), cell(1), cell(2)), "{number}");
        let list = |has: &dyn Fn(usize) -> bool| {
            (0..3).filter(|&c| has(c)).map(|c| classes[c]).collect::<Vec<_>>().join("|")
        };
        let p = |c: usize| stored[4 + c].parse::<f64>().unwrap();
        assert_eq!(named[1], list(&|c| present[c]));
        assert_eq!(&named[2], if uncertain { "Edema" } else { "" });
        assert_eq!(named[3], list(&|c| p(c) >= 0.5));
        assert!((0..3).all(|c| stored[4 + c] == named[4 + c]));
    }
}

#[test]
fn predict_gives_the_probabilities_of_evaluate() {
    let named = workplace().path("results/chest/predictions/final.chexpert.csv");
    let evaluated = table(&fs::read_to_string(named).unwrap());
    let model = entry("final").join("model.safetensors");
    let output =
        workplace().medmerge(&["predict", &model.to_string_lossy(), "chexpert/valid"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("image,predicted,p_Edema,p_Fracture,p_Pleural Effusion\n"), "{text}");
    let predicted = table(&text);
    assert_eq!(predicted.len(), evaluated.len());
    for (predicted, evaluated) in predicted.iter().zip(&evaluated) {
        assert!(predicted[0].ends_with(&evaluated[0]), "{} {}", &predicted[0], &evaluated[0]);
        assert_eq!(predicted[1], evaluated[3]);
        assert_eq!(
            predicted.iter().skip(2).collect::<Vec<_>>(),
            evaluated.iter().skip(4).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_model_says_that_it_is_for_several_labels() {
    let model = entry("final").join("model.safetensors");
    let model = model.to_string_lossy();
    let show = workplace().medmerge(&["show", &model]).assert().success();
    show.stdout(contains("output: logits of classes, for a sigmoid each (multi-label)"));
    let header = String::from_utf8_lossy(&fs::read(&*model).unwrap()).into_owned();
    assert!(header.contains(r#"\"labeling\":\"multi_label\""#));
    let export = ["export", &*model, "--to", "pytorch", "exported"];
    workplace().medmerge(&export).assert().success();
    let read = |name: &str| fs::read_to_string(workplace().path("exported").join(name)).unwrap();
    assert!(read("model.py").contains("logits.sigmoid()[0].tolist()"));
    let card = read("README.md");
    assert!(card.contains("the probability of each of 3 findings: `Edema`") && card.contains(".sigmoid()"));
    assert!(card.contains("| Accuracy | AUROC |") || card.contains("Macro F1"), "{card}");
    let predict = workplace().medmerge(&["predict", "exported", "chexpert/valid"]).output().unwrap();
    let original = workplace().medmerge(&["predict", &model, "chexpert/valid"]).output().unwrap();
    assert!(predict.status.success() && predict.stdout == original.stdout);
}

#[test]
fn data_commands_count_positives_images_and_unknown_labels() {
    let list = workplace().medmerge(&["data", "list", "experiment.toml"]).assert().success();
    let train: Vec<u32> = (0..72).collect();
    let of = |c: usize| train.iter().filter(|&&i| findings(i)[c] && !(c == 0 && i % 7 == 0)).count();
    let text = String::from_utf8(list.get_output().stdout.clone()).unwrap();
    assert!(text.contains("chexpert (chexpert, 16 x 16 pixels, 3 classes, multi-label)"), "{text}");
    let row = |class: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(class)).unwrap();
        line.to_owned()
    };
    let numbers = |line: &str| -> Vec<usize> {
        let cells = line.split(['(', ',', ')', ':', ' ']);
        cells.filter_map(|cell| cell.parse().ok()).collect()
    };
    let fracture = numbers(&row("Fracture"));
    assert_eq!(fracture[0] + fracture[1], of(1), "{text}");
    let edema = numbers(&row("Edema"));
    assert_eq!((edema[0] + edema[1], edema[3] + edema[4], edema[5]), (of(0), 11, 4), "{text}");
    let all = numbers(&row("all"));
    assert_eq!((all[0] + all[1], all[2]), (72, 30), "{text}");
    let check = workplace().medmerge(&["data", "check", "experiment.toml"]).assert();
    check.stdout(contains("3 classes, multi-label)").and(contains("(unknown: ")));
    let sheet = ["data", "sheet", "experiment.toml", "--dataset", "chexpert", "--out", "sheet.png"];
    workplace().medmerge(&sheet).assert().success().stdout(contains("Fracture (8)"));
    let split = ["data", "split", "experiment.toml", "--dataset", "chexpert", "--out", "splits.csv"];
    workplace().medmerge(&split).assert().success();
    let csv = fs::read_to_string(workplace().path("splits.csv")).unwrap();
    assert!(csv.starts_with("image,label,split,group\n") && csv.contains("|Pleural Effusion,"), "{csv}");
}

#[test]
fn results_are_the_same_bits_with_any_number_of_threads() {
    let others = new_workplace(EXPERIMENT);
    others.medmerge(&["run", "experiment.toml", "--threads", "4"]).assert().code(0);
    let own = new_workplace(EXPERIMENT);
    own.medmerge(&["run", "experiment.toml", "--threads", "1"]).assert().code(0);
    let metrics = |workplace: &Workplace| fs::read(workplace.path("results/chest/metrics.csv")).unwrap();
    assert_eq!(metrics(&own), metrics(&others));
    assert_eq!(metrics(&own), metrics(workplace()));
}

/// Checks that a changed experiment is refused before anything runs, with this message.
fn refused(from: &str, to: &str, message: &str) {
    assert!(EXPERIMENT.contains(from), "{from}");
    let workplace = new_workplace(&EXPERIMENT.replace(from, to));
    for command in ["check", "run"] {
        let assert = workplace.medmerge(&[command, "experiment.toml"]).assert().failure();
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        let words =
            |text: &str| text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(words(&stderr).contains(&words(message)), "{command}: {stderr}");
    }
    let store = workplace.path(".medmerge/store");
    assert!(!store.exists() || fs::read_dir(store).unwrap().next().is_none(), "something ran");
}

#[test]
fn a_loss_for_one_class_per_image_is_refused() {
    let loss = "loss.binary_cross_entropy = { class_weights = \"balanced\" }\n";
    let message = "`loss = \"cross_entropy\"` is for one class per image, but data set `nih` is multi-label; set \
                   `loss = \"binary_cross_entropy\"`";
    refused(loss, "", message);
}

#[test]
fn a_sampling_by_class_is_refused() {
    let message = "`sampling = \"balanced\"` draws one class per image, but data set `nih` is multi-label; leave it out";
    refused("batch_size = 8\n", "batch_size = 8\nsampling = \"balanced\"\n", message);
}

#[test]
fn a_metric_for_one_class_per_image_selects_nothing() {
    let message = "`select = \"mcc\"` is defined for one class per image, but data set `nih` is multi-label; choose \
                   one of `macro_f1`, `weighted_f1`";
    refused("select = \"auroc\"", "select = \"mcc\"", message);
    let message =
        "`metric = \"balanced_accuracy\"` is defined for one class per image, but data set `chexpert` is";
    refused("{ metric = \"macro_f1\" }", "{ metric = \"balanced_accuracy\" }", message);
}

#[test]
fn a_ranking_needs_validation_images_of_every_class() {
    let message = "`select = \"auroc\"` is undefined, since no validation image of data set `chexpert` is known to have class";
    refused("split.official = { val = 0.2 }", "split.official = { val = 0.01 }", message);
}

#[test]
fn models_of_one_labeling_are_not_evaluated_on_the_other() {
    let folder = "[dataset.single.manifest]\npath = \"single.csv\"\nsize = 16\nimages = \"chexpert/train\"\n\
                  classes = [\"edema\", \"fracture\"]\nallow = [\"identical_images\"]\n\n[train]";
    let mut csv = "image,label,split\n".to_owned();
    for number in 0..24u32 {
        let (label, split) =
            (["edema", "fracture"][number as usize % 2], ["train", "val", "test"][number as usize / 8]);
        writeln!(csv, "patient{:05}/study{}/view1_frontal.jpg,{label},{split}", number / 2, number % 2 + 1)
            .unwrap();
    }
    let experiment = EXPERIMENT.replace("[train]", folder).replace(
        "[stage.scores.evaluate]\n",
        "[stage.crossed.evaluate]\nmodels = { \"base\" = \"base\" }\ndatasets = [\"single\"]\n\n\
         [stage.kept.finetune]\nfrom = \"base\"\ndataset = \"single\"\nhead = \"keep\"\n\n[stage.scores.evaluate]\n",
    );
    let workplace = new_workplace(&experiment).with("single.csv", csv);
    let check = workplace.medmerge(&["check", "experiment.toml"]).assert().failure();
    let stderr = String::from_utf8_lossy(&check.get_output().stderr).into_owned();
    let words: Vec<&str> = stderr.split_whitespace().filter(|word| *word != "│").collect();
    let text = words.join(" ");
    let evaluated =
        "model \"base\" (stage `base`) has a multi-label head, but data set `single` is single-label";
    assert!(text.contains(evaluated), "{stderr}");
    let kept = "the model of `base` has a multi-label head for 2 classes (edema, fracture), and data set `single` has";
    assert!(text.contains(kept), "{stderr}");
}

#[test]
fn a_class_without_training_images_is_refused() {
    let workplace = new_workplace(EXPERIMENT);
    let path = workplace.path("chexpert/train.csv");
    let csv = fs::read_to_string(&path).unwrap();
    let without = |line: &str| match line.strip_suffix(",1.0") {
        Some(rest) if line.contains("patient") => format!("{rest},0.0"),
        _ => line.to_owned(),
    };
    fs::write(&path, csv.lines().map(without).collect::<Vec<_>>().join("\n")).unwrap();
    let check = workplace.medmerge(&["check", "experiment.toml"]).assert().failure();
    check.stderr(contains("no image of class `Pleural Effusion`"));
}

#[test]
fn a_label_budget_draws_images_whatever_their_classes() {
    let budget = EXPERIMENT.replace("size = 16\n", "size = 16\nlabel_fraction = 0.5\n");
    let workplace = new_workplace(&budget);
    let list = workplace.medmerge(&["data", "list", "experiment.toml"]).assert().success();
    let text = String::from_utf8(list.get_output().stdout.clone()).unwrap();
    let all = text.lines().find(|line| line.trim_start().starts_with("all")).unwrap();
    let numbers: Vec<usize> = all.split_whitespace().filter_map(|cell| cell.parse().ok()).collect();
    let whole = 72 - numbers[1];
    assert!((2 * numbers[0]).abs_diff(whole) <= 2, "{text}");
    workplace.medmerge(&["check", "experiment.toml"]).assert().success();
}

#[test]
fn a_number_of_validation_images_is_refused() {
    let budget = EXPERIMENT.replace("size = 16\n", "size = 16\nval_count = 2\n");
    let workplace = new_workplace(&budget);
    for command in ["check", "plan", "run"] {
        let refused = workplace.medmerge(&[command, "experiment.toml"]).assert().code(3);
        refused.stderr(contains("`val_count` is for one class per image"));
    }
}

#[test]
fn an_imported_head_may_be_for_several_labels() {
    let model = entry("final").join("model.safetensors");
    let import = |head: &str| {
        let experiment = format!(
            "{}\n[stage.again.import]\npath = \"model.safetensors\"\nbackbone.resnet18 = {{ stem = \"small\", width = 8 }}\n\
             head.{head} = [\"Edema\", \"Fracture\", \"Pleural Effusion\"]\n",
            EXPERIMENT.replace(
                "models = { \"final\" = \"final\",",
                "models = { \"again\" = \"again\", \"final\" = \"final\","
            )
        );
        new_workplace(&experiment).with("model.safetensors", fs::read(&model).unwrap())
    };
    import("keep_multi_label").medmerge(&["check", "experiment.toml"]).assert().success();
    let refused = import("keep").medmerge(&["check", "experiment.toml"]).assert().failure();
    refused.stderr(contains("has a single-label head"));
}

fn reference() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/multi_label.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Labels 0, 1 or, if unknown, 2.
fn labels(rows: &Value) -> MultiLabels {
    let rows: Vec<Vec<usize>> = serde_json::from_value(rows.clone()).unwrap();
    let mut labels = MultiLabels::new(rows[0].len());
    let state = |label: &usize| [State::Absent, State::Present, State::Unknown][*label];
    rows.iter().for_each(|row| labels.push(&row.iter().map(state).collect::<Vec<_>>()));
    labels
}

#[test]
fn scores_with_unknown_labels_are_scikit_learns() {
    let reference = reference();
    let cases = reference["scores"].as_array().unwrap();
    assert_eq!(cases.len(), 13);
    for (i, case) in cases.iter().enumerate() {
        let rows: Vec<Vec<f64>> = serde_json::from_value(case["prob"].clone()).unwrap();
        let labels = labels(&case["y_true"]);
        let classes = labels.classes();
        let predictions = Predictions::of(&Labels::Multi(labels), &rows, classes).unwrap();
        for metric in METRICS.iter().filter(|metric| metric.is_multi_label) {
            let expected = case.get(metric.name).unwrap_or_else(|| panic!("no {}", metric.name)).as_f64();
            let found = metric.score(&predictions);
            let is_close = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_close, "case {i}, {}: {found:?}, scikit-learn {expected:?}", metric.name);
        }
    }
}

#[test]
fn an_image_counts_as_often_as_it_was_drawn() {
    let case = &reference()["scores"][3];
    let rows: Vec<Vec<f64>> = serde_json::from_value(case["prob"].clone()).unwrap();
    let labels = labels(&case["y_true"]);
    let classes = labels.classes();
    let counts: Vec<u32> = (0..rows.len() as u32).map(|i| i * 7 % 4).collect();
    let drawn = counts.iter().enumerate().flat_map(|(i, &count)| vec![i; count as usize]);
    let drawn: Vec<usize> = drawn.collect();
    let repeated: Vec<Vec<f64>> = drawn.iter().map(|&i| rows[i].clone()).collect();
    let repeated = Predictions::of(&Labels::Multi(labels.at(&drawn)), &repeated, classes).unwrap();
    let all = Predictions::of(&Labels::Multi(labels), &rows, classes).unwrap();
    let (found, expected) = (metric::scores(&all.resampled(counts.into())), metric::scores(&repeated));
    for (name, score) in found {
        let is_close = match (score, expected[name]) {
            (Some(score), Some(expected)) => (score - expected).abs() < 1e-12,
            (score, expected) => score == expected,
        };
        assert!(is_close, "{name}: {score:?}, not {:?}", expected[name]);
    }
}

/// Weights of a state of the labels, mixed with those of the image before with 1 − `share`.
fn weights(labels: &MultiLabels, state: State, share: f32) -> Tensor {
    let row =
        |image: usize| labels.row(image).iter().map(|other| f32::from(*other == state)).collect::<Vec<_>>();
    let n = labels.len();
    let mixed = |i: usize| {
        let (own, other) = (row(i), row((i + n - 1) % n));
        own.iter().zip(other).map(|(own, other)| share * own + (1.0 - share) * other).collect::<Vec<f32>>()
    };
    Tensor::new((0..n).map(mixed).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

#[test]
fn the_loss_of_known_labels_and_its_gradient_are_pytorchs() {
    let reference = reference();
    for (i, case) in reference["losses"].as_array().unwrap().iter().enumerate() {
        let labels = labels(&case["labels"]);
        let logits: Vec<Vec<f32>> = serde_json::from_value(case["z"].clone()).unwrap();
        let logits = Var::new(logits, &Device::Cpu).unwrap();
        let class_weights =
            if case["balanced"] == json!(true) { ClassWeights::Balanced } else { ClassWeights::None };
        let counts = ClassCounts::of(&Labels::Multi(labels.clone()), labels.classes());
        let loss = LossSpec::BinaryCrossEntropy(BinaryCrossEntropySpec { class_weights });
        let loss = loss.build(&counts, &Device::Cpu).unwrap();
        let share = case["share"].as_f64().unwrap() as f32;
        let targets = Targets::Labels {
            present: weights(&labels, State::Present, share),
            absent: weights(&labels, State::Absent, share),
        };
        let (value, gradient) = loss.with_gradient(&logits, &targets).unwrap();
        let value = value.to_scalar::<f32>().unwrap();
        assert!((f64::from(value) - case["loss"].as_f64().unwrap()).abs() < 1e-5, "case {i}: {value}");
        let expected: Vec<Vec<f32>> = serde_json::from_value(case["gz"].clone()).unwrap();
        let found = gradient.to_vec2::<f32>().unwrap();
        let pairs = found.iter().flatten().zip(expected.iter().flatten());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5), "case {i}");
    }
}

#[test]
fn cross_entropy_does_not_take_several_labels() {
    let zeros = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let loss = LossSpec::default().build(&ClassCounts::single_label(&[1, 1, 1]), &Device::Cpu).unwrap();
    let targets = Targets::Labels { present: zeros.clone(), absent: zeros.clone() };
    let error = loss.forward(&zeros, &targets).unwrap_err().to_string();
    assert!(error.contains("cross entropy is for one class per image"), "{error}");
}

#[test]
fn a_report_has_scores_of_each_class_and_nothing_that_needs_one_class_per_image() {
    let html = fs::read_to_string(workplace().path("results/chest/report.html")).unwrap();
    assert!(html.contains("Scores of each class against the rest") && html.contains("Precision and recall"));
    assert!(!html.contains("Confusion matrix") && !html.contains("Reliability"));
}
