//! `medmerge predict`: class probabilities of image files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use candle_core::safetensors::Load;
use image::{Rgb, RgbImage};
use medmerge::backbone::BackboneSpec;
use medmerge::nn::init::initial_values;
use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::Workplace;
use crate::image_file;

/// Models of every sort, of one data set of image files.
const EXPERIMENT: &str = r#"
[experiment]
name = "mine"

[dataset.mine.manifest]
path = "images/labels.csv"
size = 12

[train]
epochs = 2
batch_size = 4
augment = []

[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "mine"
seed = 1

[stage.twin.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "mine"
seed = 2

[stage.weights.learn_merge_weights]
sources = ["source", "twin"]
anchor = "source"
dataset = "mine"
seed = 0

[stage.headless.merge]
sources = ["source", "other"]
method = "average"
dataset = "mine"

[stage.other.pretrain]
backbone.resnet18 = { stem = "small", width = 8 }
dataset = "cells"
seed = 3

[dataset.cells.phantom]
family = "cells"
size = 12
train = 16
val = 8
test = 8

[stage.scores.evaluate]
models = { "source" = "source" }
datasets = ["mine"]
"#;

/// Images of two classes, which are not square: PNG, and two JPEG.
fn picture(i: u32) -> RgbImage {
    RgbImage::from_fn(20, 16, |x, y| match i % 2 {
        0 => Rgb([(12 * x) as u8, (9 * y + 5 * i) as u8, 40]),
        _ => Rgb([30, (255 - 11 * x - i) as u8, (15 * y) as u8]),
    })
}

fn name(i: u32) -> String {
    format!("{i:02}.{}", if i == 11 || i == 12 { "jpg" } else { "png" })
}

/// A folder of images, in which the experiment has run.
fn workplace() -> &'static Workplace {
    static WORKPLACE: OnceLock<Workplace> = OnceLock::new();
    WORKPLACE.get_or_init(|| {
        let mut csv = "image,label,split\n".to_owned();
        let workplace = Workplace::new(EXPERIMENT).with("images/labels.csv", "");
        for i in 0..16 {
            image_file::save(&picture(i), workplace.path("images").join(name(i)));
            let split = if i < 8 {
                "train"
            } else if i < 10 {
                "val"
            } else {
                "test"
            };
            csv += &format!("{},{},{split}\n", name(i), ["even", "odd one"][i as usize % 2]);
        }
        let workplace = workplace.with("images/labels.csv", csv);
        workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
        workplace
    })
}

/// The fingerprint of what a stage made.
fn fingerprint(stage: &str) -> String {
    let plan = workplace().medmerge(&["plan", "experiment.toml", "--json"]).output().expect("a plan");
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let mut stages = plan["stages"].as_array().expect("stages").iter();
    let stage = stages.find(|other| other["id"] == stage).expect("a stage");
    stage["fingerprint"].as_str().expect("text").to_owned()
}

/// The file of the model that a stage made.
fn file(stage: &str) -> String {
    let fingerprint = fingerprint(stage);
    format!(".medmerge/store/{}/{fingerprint}/model.safetensors", &fingerprint[..2])
}

/// What the command prints.
fn predicted(arguments: &[&str]) -> String {
    let output = workplace().medmerge(&["predict"]).args(arguments).output().expect("an answer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Name, class and probabilities of each row.
fn rows(csv: &str) -> Vec<(String, String, Vec<f32>)> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let row = |record: csv::Result<csv::StringRecord>| {
        let record = record.expect("a row");
        let numbers = record.iter().skip(2).map(|p| p.parse().expect("a probability")).collect();
        (record[0].to_owned(), record[1].to_owned(), numbers)
    };
    reader.records().map(row).collect()
}

#[test]
fn predictions_of_image_files_are_those_of_evaluate() {
    let entry = fingerprint("scores");
    let folder = workplace().path(&format!(".medmerge/store/{}/{entry}", &entry[..2]));
    let files = fs::read_dir(folder).expect("an entry").map(|file| file.expect("a file").path());
    let table = files.into_iter().find(|path| path.to_string_lossy().ends_with(".predictions.csv"));
    let evaluated = fs::read_to_string(table.expect("predictions")).expect("text");
    let evaluated = evaluated.lines().skip(1).map(|line| line.splitn(4, ',').collect::<Vec<_>>());
    let evaluated: Vec<(String, String)> =
        evaluated.map(|row| (format!("images/{}", row[0]), row[3].into())).collect();
    let images: Vec<&str> = evaluated.iter().map(|(image, _)| image.as_str()).collect();
    assert_eq!(images.len(), 6);
    let predicted = predicted(&[&[&fingerprint("source")[..10]], &images[..]].concat());
    let predicted: Vec<(String, String)> = predicted
        .lines()
        .skip(1)
        .map(|line| {
            let row: Vec<&str> = line.splitn(3, ',').collect();
            (row[0].into(), row[2].into())
        })
        .collect();
    assert_eq!(predicted, evaluated);
}

#[test]
fn a_row_names_the_image_and_the_most_likely_class() {
    let predicted = predicted(&["source", "images/03.png", "--experiment", "experiment.toml"]);
    assert_eq!(predicted.lines().next(), Some("image,predicted,p_even,p_odd one"));
    let rows = rows(&predicted);
    let [(image, class, probabilities)] = &rows[..] else { panic!("one row: {predicted}") };
    assert_eq!(image, "images/03.png");
    assert_eq!(class, ["even", "odd one"][usize::from(probabilities[1] > probabilities[0])]);
    assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
}

#[test]
fn rows_are_in_the_order_given_and_folders_are_sorted() {
    let source = file("source");
    let names = |arguments: &[&str]| -> Vec<String> {
        let rows = rows(&predicted(&[&[source.as_str()], arguments].concat()));
        rows.into_iter().map(|(image, ..)| image).collect()
    };
    assert_eq!(names(&["images/12.jpg", "images/00.png"]), ["images/12.jpg", "images/00.png"]);
    let all: Vec<String> = (0..16).map(|i| format!("images/{}", name(i))).collect();
    assert_eq!(names(&["images"]), all);
    let of_csv = names(&["images/labels.csv", "images/01.png"]);
    let listed: Vec<String> = (0..16).map(name).chain(["images/01.png".into()]).collect();
    assert_eq!(of_csv, listed);
}

#[test]
fn the_file_the_entry_and_the_stage_predict_the_same_whatever_the_batches_and_threads() {
    let entry = predicted(&[&fingerprint("source"), "images"]);
    assert_eq!(predicted(&[&file("source"), "images"]), entry);
    assert_eq!(predicted(&["source", "images", "--experiment", "experiment.toml"]), entry);
    for options in [["--batch-size", "1"], ["--batch-size", "5"], ["--threads", "1"]] {
        assert_eq!(
            predicted(&[&[&fingerprint("source"), "images"], &options[..]].concat()),
            entry,
            "{options:?}"
        );
    }
    assert_ne!(predicted(&[&fingerprint("twin"), "images"]), entry);
}

#[test]
fn flips_average_the_probabilities_of_variants() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = picture(4);
    let mirrored = image::imageops::flip_horizontal(&picture);
    let down = image::imageops::flip_vertical(&picture);
    let both = image::imageops::flip_vertical(&mirrored);
    let source = fingerprint("source");
    let paths = [picture, mirrored, down, both].into_iter().enumerate().map(|(i, variant)| {
        let path = folder.path().join(format!("{i}.png"));
        variant.save(&path).expect("an image");
        path.to_string_lossy().into_owned()
    });
    let paths: Vec<String> = paths.collect();
    let single: Vec<f32> = paths.iter().map(|path| rows(&predicted(&[&source, path]))[0].2[0]).collect();
    assert!(single[1..].iter().all(|p| (p - single[0]).abs() > 1e-4), "flips matter: {single:?}");
    for (option, variants) in
        [("--flips", 2), ("--flips=horizontal", 2), ("--flips=both", 4), ("--flips=none", 1)]
    {
        let averaged = rows(&predicted(&[&source, option, &paths[0]]))[0].2[0];
        let mean = single[..variants].iter().sum::<f32>() / variants as f32;
        assert!((averaged - mean).abs() < 1e-6, "{option}: {averaged}, {mean}");
    }
}

#[test]
fn a_damaged_image_is_named_and_nothing_is_written_unless_it_may_be_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let whole = fs::read(workplace().path("images/00.png")).expect("an image");
    for (name, content) in
        [("a.png", &whole[..]), ("b.png", &whole[..whole.len() / 2]), ("c.png", &whole[..])]
    {
        fs::write(path(name), content).expect("a file");
    }
    let list = "image\na.png\nb.png\nc.png\n";
    fs::write(path("list.csv"), list).expect("a file");
    let (source, out, list) = (fingerprint("source"), path("out.csv"), path("list.csv"));
    let run = |arguments: &[&str]| {
        workplace().medmerge(&["predict", &source, "--batch-size", "2"]).args(arguments).assert()
    };
    let truncated = "b.png cannot be decoded as JPEG, PNG or DICOM: it is truncated";
    let root = path("");
    run(&[&root, "--out", &out]).code(3).stdout("").stderr(contains(truncated));
    run(&[&root]).code(3).stdout("").stderr(contains(truncated));
    run(&[&list, "--out", &out]).code(3).stderr(contains("list.csv, row 3: ").and(contains(truncated)));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 4, "nothing was written");
    run(&[&list, "--out", &out, "--skip-damaged"])
        .code(0)
        .stderr(contains(truncated).and(contains("left out 1 of 3 images")));
    let kept = rows(&fs::read_to_string(&out).expect("text"));
    let kept: Vec<&str> = kept.iter().map(|(image, ..)| image.as_str()).collect();
    assert_eq!(kept, ["a.png", "c.png"]);
    let alone = rows(&predicted(&[&source, &path("c.png")]));
    assert_eq!(rows(&fs::read_to_string(&out).expect("text"))[1].2, alone[0].2);
    run(&[&path("b.png"), "--skip-damaged"])
        .code(3)
        .stdout("")
        .stderr(contains("failed to decode any of 1 images"));
    fs::remove_file(path("c.png")).expect("a file");
    run(&[&list, "--skip-damaged"]).code(0).stderr(contains("c.png: No such file").and(contains("2 of 3")));
}

#[test]
fn a_file_is_replaced_by_force_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out.csv").to_string_lossy().into_owned();
    let (source, images) = (fingerprint("source"), ["images/00.png", "images/01.png"]);
    let run = |image: &str, more: &[&str]| {
        workplace().medmerge(&["predict", &source, image, "--out", &out]).args(more).assert()
    };
    run(images[0], &[]).code(0).stdout("");
    let first = fs::read_to_string(&out).expect("text");
    assert_eq!(first, predicted(&[&source, images[0]]));
    run(images[1], &[]).code(2).stderr(contains("already exists").and(contains("--force")));
    assert_eq!(fs::read_to_string(&out).expect("text"), first);
    run(images[1], &["--force"]).code(0);
    assert_eq!(fs::read_to_string(&out).expect("text"), predicted(&[&source, images[1]]));
    let nowhere = folder.path().join("no/out.csv");
    let run = workplace().medmerge(&["predict", &source, images[0], "--out"]).arg(nowhere).assert();
    run.code(4).stderr(contains("there is no folder"));
}

#[test]
fn what_is_not_a_model_with_classes_is_refused() {
    let refused = |model: &str, code: i32, words: &str| {
        let run = workplace().medmerge(&["predict", model, "images"]).assert();
        run.code(code).stdout("").stderr(contains(words));
    };
    refused(&fingerprint("weights"), 2, "holds merge weights, not a model; name the `merge` stage");
    refused(&file("weights").replace("/model", "/merge_weights"), 2, "holds merge weights, not a model");
    refused(&fingerprint("scores"), 2, "holds predictions, not a model");
    refused(&fingerprint("headless"), 2, "has no classifier, and so no classes");
    refused("fedcba9876", 2, "no entry of .medmerge starts with it");
    refused("images", 2, "images/model.safetensors");
    refused("experiment.toml", 2, "it is not a safetensors file");
    let run =
        workplace().medmerge(&["predict", "--experiment", "experiment.toml", "sauce", "images"]).assert();
    run.code(2).stderr(contains("did you mean"));
    let run = workplace().medmerge(&["predict", &fingerprint("source"), "images/no.png"]).assert();
    run.code(2).stderr(contains("failed to read images/no.png"));
}

/// The file of the model `source` with other metadata.
fn described(folder: &Path, metadata: &serde_json::Value) -> String {
    let bytes = fs::read(workplace().path(&file("source"))).expect("a file");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let tensors: HashMap<String, candle_core::Tensor> = tensors
        .iter()
        .map(|(name, view)| {
            (format!("module.{name}"), view.load(&candle_core::Device::Cpu).expect("a tensor"))
        })
        .collect();
    let said = HashMap::from([("medmerge".to_owned(), metadata.to_string())]);
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(&tensors, Some(said), &path).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_file_of_another_program_predicts_once_it_is_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let info = serde_json::json!({
        "backbone": { "resnet18": { "stem": "small", "width": 8 } },
        "normalize": { "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5] },
        "head": { "dataset": "", "classes": ["even", "odd one"] },
    });
    let path = described(folder.path(), &serde_json::json!({ "info": info }));
    let run = |path: &str| workplace().medmerge(&["predict", path, "images"]).assert();
    run(&path).code(2).stderr(contains("does not say the size of its images; set it with --size N"));
    let source = predicted(&[&fingerprint("source"), "images"]);
    assert_eq!(predicted(&[&path, "images", "--size", "12"]), source);
    let of_folder = folder.path().to_string_lossy().into_owned();
    assert_eq!(predicted(&[&of_folder, "images", "--size", "12"]), source);
    assert_ne!(predicted(&[&path, "images", "--size", "16"]), source);
    workplace().medmerge(&["show", &path]).assert().code(0);

    let mut known = info.clone();
    known["preprocessing"] = serde_json::json!({ "size": 12 });
    let path = described(folder.path(), &serde_json::json!({ "info": known }));
    assert_eq!(predicted(&[&path, "images"]), source);

    let path = described(folder.path(), &serde_json::json!({ "note": "none" }));
    run(&path).code(2).stderr(contains("do not describe the model under the key `medmerge`"));
    let mut wrong = info.clone();
    wrong["backbone"]["resnet18"]["width"] = 16.into();
    let path = described(folder.path(), &serde_json::json!({ "info": wrong }));
    run(&path).code(2).stderr(contains("its tensors do not match resnet18 (small stem, width 16)"));
    let mut wrong = info.clone();
    wrong["backbone"]["resnet18"]["width"] = 1_000_000_000_000_000_000u64.into();
    let path = described(folder.path(), &serde_json::json!({ "info": wrong }));
    run(&path).code(2).stderr(contains("are invalid: `backbone.resnet18.width`"));
    let mut wrong = info;
    wrong["normalize"] = "imagenet".into();
    let path = described(folder.path(), &serde_json::json!({ "info": wrong }));
    run(&path).code(2).stderr(contains("are invalid"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().expect("a folder");
    let image = workplace().path("images/00.png").display().to_string();
    let list = folder.path().join("list.csv");
    fs::write(&list, format!("image\n{}", format!("{image}\n").repeat(500_000))).expect("a file");
    let out = folder.path().join("out.csv");
    let mut command = Command::new(env!("CARGO_BIN_EXE_medmerge"));
    let command =
        command.arg("predict").arg(workplace().path(&file("source"))).arg(&list).arg("--out").arg(&out);
    let child = command.stderr(Stdio::piped()).spawn().expect("the program");
    let entries = || fs::read_dir(folder.path()).expect("a folder").count();
    let start = Instant::now();
    // The temporary file appears after the handler of signals was installed.
    while entries() == 1 && start.elapsed() < Duration::from_secs(60) {
        std::thread::yield_now();
    }
    let kill = format!("kill -INT {}", child.id());
    Command::new("bash").args(["-c", &kill]).status().expect("a shell");
    let ended = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; nothing was written"), "{said}");
    assert_eq!(entries(), 1, "only the list is left");
}

#[test]
fn an_exported_folder_predicts_what_the_entry_predicts() {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = folder.path().join("model").to_string_lossy().into_owned();
    let source = fingerprint("source");
    let export = || workplace().medmerge(&["export", &source[..12], &exported, "--to", "pytorch"]).assert();
    export().code(0).stdout(contains("model: resnet18 (small stem, width 8)"));
    assert_eq!(predicted(&[&exported, "images"]), predicted(&[&source, "images"]));
    let read = |name: &str| fs::read(Path::new(&exported).join(name)).expect("a file");
    let bytes = fs::read(workplace().path(&file("source"))).expect("a file");
    assert!(read("model.safetensors") == bytes, "the bytes of the store");
    let text = |name: &str| String::from_utf8(read(name)).expect("text");
    let module = text("model.py");
    for line in [
        "CLASSES = [\"even\", \"odd one\"]",
        "transforms.Resize((12, 12)",
        "    model.maxpool = torch.nn.Identity()",
    ] {
        assert!(module.contains(line), "{line}: {module}");
    }
    let card = text("README.md");
    let short = &source[..12];
    for words in [
        "---\nlicense: other\n",
        "# source\n",
        "It distinguishes 2 classes: `even`, `odd one`.",
        &format!("pretrain {short}  source\n"),
        "Data sets: `mine`.",
        "| mine | test | 6 |",
    ] {
        assert!(card.contains(words), "{words}: {card}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
    export().code(2).stderr(contains("is not empty; choose a folder that does not exist"));
    workplace().medmerge(&["show", short]).assert().code(0).stdout(contains("medmerge export"));
}

/// A small DenseNet with random weights, which timm can make.
fn dense(folder: &Path) -> String {
    let backbone = serde_json::json!({ "densenet121": { "growth": 2 } });
    let spec: BackboneSpec = serde_json::from_value(backbone.clone()).expect("a backbone");
    let parameters = spec.build().all_parameters(Some(2));
    let tensors = initial_values(&parameters, 0, &candle_core::Device::Cpu).expect("tensors");
    let info = serde_json::json!({
        "backbone": backbone,
        "normalize": { "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225] },
        "head": { "dataset": "", "classes": ["a \"b\"", "c|d\ne"] },
    });
    let said = serde_json::json!({ "info": info }).to_string();
    let path = folder.join("dense.safetensors");
    let said = HashMap::from([("medmerge".to_owned(), said)]);
    safetensors::serialize_to_file(&tensors, Some(said), &path).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_folder_for_timm_says_how_timm_makes_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, exported) = (dense(folder.path()), folder.path().join("out"));
    let export = |model: &str, more: &[&str]| {
        workplace().medmerge(&["export", model, "--to", "timm"]).args(more).arg(&exported).assert()
    };
    export(&path, &[]).code(2).stderr(contains("set it with --size N"));
    export(&path, &["--size", "32"]).code(0);
    let config = fs::read_to_string(exported.join("config.json")).expect("a file");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["architecture"], "densenet121");
    assert_eq!(config["model_args"], serde_json::json!({ "growth_rate": 2 }));
    assert_eq!(config["label_names"], serde_json::json!(["a \"b\"", "c|d\ne"]));
    assert_eq!(config["pretrained_cfg"]["input_size"], serde_json::json!([3, 32, 32]));
    let card = fs::read_to_string(exported.join("README.md")).expect("a file");
    assert!(card.contains("library_name: timm") && card.contains("`a \"b\"`, `c|d e`"), "{card}");
    let of_folder = exported.to_string_lossy().into_owned();
    let expected = predicted(&[&path, "images", "--size", "32"]);
    assert_eq!(predicted(&[&of_folder, "images"]), expected);

    // timm's own files have no metadata of medmerge.
    let bytes = fs::read(&path).expect("a file");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    safetensors::serialize_to_file(tensors.iter(), None, &exported.join("model.safetensors"))
        .expect("a file");
    assert_eq!(predicted(&[&of_folder, "images"]), expected);
    fs::write(exported.join("config.json"), "{}").expect("a file");
    let run = workplace().medmerge(&["predict", &of_folder, "images"]).assert();
    run.code(2).stderr(contains("config.json: it has no `architecture`"));
}

#[test]
fn what_timm_lacks_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let source = fingerprint("source");
    let run = workplace().medmerge(&["export", &source, &out, "--to", "timm"]).assert();
    run.code(2).stderr(contains("timm has no resnet18 (small stem, width 8)").and(contains("--to pytorch")));
    let nowhere = folder.path().join("no/out").to_string_lossy().into_owned();
    let run = workplace().medmerge(&["export", &source, &nowhere, "--to", "pytorch"]).assert();
    run.code(4).stderr(contains("create it first"));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    let headless = fingerprint("headless");
    workplace().medmerge(&["export", &headless, &out, "--to", "pytorch", "--size", "12"]).assert().code(0);
    let card = fs::read_to_string(Path::new(&out).join("README.md")).expect("a card");
    assert!(card.contains("It has no classifier: it computes features."), "{card}");
}

#[test]
fn dicom_files_predict_like_the_pixels_in_them() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/corpus/dicom");
    let rows = rows(&predicted(&[&fingerprint("source"), corpus]));
    let of = |name: &str| &rows.iter().find(|(image, ..)| image.ends_with(name)).expect("a row").2;
    assert_eq!(of("/explicit.dcm"), of("/implicit.dcm"), "the same image in two transfer syntaxes");
    assert_ne!(of("/explicit.dcm"), of("/rgb.dcm"));
}
