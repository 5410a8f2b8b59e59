//! Whole experiments, run by the binary: what is made, what reruns, what a mistake costs.

use std::collections::BTreeMap;
use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;

use crate::builder::{EXPERIMENT, Workplace};

/// Stages of [`EXPERIMENT`]: two sources made once, seven stages for each of two seeds.
pub(crate) const STAGES: usize = 16;

fn run(workplace: &Workplace, executed: usize) {
    let fresh = STAGES - executed;
    let expected = format!("executed {executed}, fresh {fresh}, failed 0, skipped 0 in");
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0).stderr(contains(expected));
}

/// The stages that would run, by name.
fn stale(workplace: &Workplace) -> Vec<String> {
    let output = workplace.medmerge(&["plan", "experiment.toml", "--json"]).output().expect("a plan");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let stages = plan["stages"].as_array().expect("stages").iter();
    stages
        .filter(|stage| stage["status"] == "stale")
        .map(|stage| stage["id"].as_str().expect("an id").to_string())
        .collect()
}

/// Name (below the store) and content of every file of the store's entries but the manifests, which hold
/// times, and the logs.
pub(crate) fn entries(store: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![store.join("store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("manifest.json") {
                let name = path.strip_prefix(store).expect("below the store").display().to_string();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

#[test]
fn everything_is_made_once_and_results_are_written() {
    let workplace = Workplace::new(EXPERIMENT);
    run(&workplace, STAGES);
    let metrics = std::fs::read_to_string(workplace.path("results/tiny/metrics.csv")).expect("metrics.csv");
    assert!(metrics.starts_with("experiment,stage,model,dataset,split,seed,metric,value,n\n"), "{metrics}");
    let table = std::fs::read_to_string(workplace.path("results/tiny/main.csv")).expect("main.csv");
    assert_eq!(table.lines().count(), 4, "a row a model: {table}");
    run(&workplace, 0);
    assert_eq!(stale(&workplace), Vec::<String>::new());
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    let names = made_by_one_thread_and_two(EXPERIMENT);
    assert!(names.iter().filter(|name| name.ends_with("model.safetensors")).count() >= 12);
}

#[test]
fn one_thread_and_two_give_the_same_bytes_for_every_backbone() {
    let backbones = [
        "resnet18 = { width = 16 }",
        "resnet34 = { width = 8 }",
        "resnet50 = { width = 8 }",
        "resnet101 = { width = 4 }",
        "densenet121 = { growth = 8 }",
        "vit_tiny = { image_size = 32, patch_size = 8 }",
        "vit_small = { image_size = 32, patch_size = 16 }",
        "vit_base = { image_size = 32, patch_size = 16 }",
        "deit_small = { image_size = 32, patch_size = 16 }",
        "deit_base = { image_size = 32, patch_size = 32 }",
    ];
    let mut experiment = String::from(
        "[experiment]\nname = 'backbones'\n\
         [dataset.cells.phantom]\nfamily = 'cells'\nsize = 32\ntrain = 20\nval = 8\ntest = 8\n\
         [train]\nepochs = 1\nbatch_size = 10\nseed = 3\n",
    );
    for (i, backbone) in backbones.iter().enumerate() {
        experiment += &format!("[stage.s{i}.pretrain]\nbackbone.{backbone}\ndataset = 'cells'\n");
    }
    let names = made_by_one_thread_and_two(&experiment);
    assert_eq!(names.iter().filter(|name| name.ends_with("model.safetensors")).count(), backbones.len());
}

/// The files of the store and the results that one thread makes, which must be those that two make.
pub(crate) fn made_by_one_thread_and_two(experiment: &str) -> Vec<String> {
    let [one, two] = ["1", "2"].map(|threads| {
        let workplace = Workplace::new(experiment);
        let mut command = workplace.medmerge(&["run", "experiment.toml"]);
        command.env("RAYON_NUM_THREADS", threads).assert().code(0);
        let mut files = entries(&workplace.path(".medmerge"));
        if let Ok(scores) = std::fs::read(workplace.path("results/tiny/metrics.csv")) {
            files.insert("metrics.csv".into(), scores);
        }
        files
    });
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        assert!(content == &two[name], "{name} differs between one thread and two");
    }
    one.into_keys().collect()
}

#[test]
fn images_that_a_backbone_cannot_take_are_told_before_anything_runs() {
    for (backbone, words) in [
        ("densenet121 = {}", "takes images of 29 pixels or more, but data set `cells` has images of 28"),
        (
            "vit_tiny = {}",
            "takes images of 224 pixels, but data set `cells` has images of 28; set `size = 224`",
        ),
    ] {
        let workplace = Workplace::new(&format!(
            "[experiment]\nname = 'e'\n[dataset.cells.phantom]\nfamily = 'cells'\nsize = 28\n\
             [stage.source.pretrain]\nbackbone.{backbone}\ndataset = 'cells'\n"
        ));
        let check = workplace.medmerge(&["check", "experiment.toml"]).assert().code(2);
        check.stderr(contains(words).and(contains("experiment.toml:")));
    }
}

#[test]
fn what_does_not_change_the_work_makes_nothing_run_again() {
    let workplace = Workplace::new(EXPERIMENT);
    run(&workplace, STAGES);
    let same: [(&str, &str); 5] = [
        ("[train]", "# a comment\n[train]"),
        ("epochs = 1\nbatch_size = 16", "batch_size = 16\nepochs = 1"),
        ("name = \"tiny\"", "name = \"other\""),
        ("probe_b", "another_name"),
        ("lr = 0.002 }", "lr = 2e-3, weight_decay = 0.01 }"),
    ];
    for (from, to) in same {
        let text = EXPERIMENT.replace(from, to);
        std::fs::write(workplace.path("experiment.toml"), &text).expect("a file");
        assert_eq!(stale(&workplace), Vec::<String>::new(), "{from} became {to}");
    }
}

#[test]
fn a_changed_learning_rate_reruns_its_stage_and_what_follows() {
    let workplace = Workplace::new(EXPERIMENT);
    run(&workplace, STAGES);
    let text = EXPERIMENT.replace("lr = 0.002", "lr = 0.003");
    std::fs::write(workplace.path("experiment.toml"), text).expect("a file");
    let expected = ["final[seed=0]", "scores[seed=0]", "final[seed=1]", "scores[seed=1]"];
    let mut stale = stale(&workplace);
    stale.sort();
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(stale, expected);
    let explain = workplace.medmerge(&["explain", "experiment.toml", "final[seed=0]"]).assert().code(0);
    explain.stdout(contains("train.optimizer.adamw.lr").and(contains("0.002")).and(contains("0.003")));
    run(&workplace, 4);
}

#[test]
fn swapped_sources_are_other_work() {
    let workplace = Workplace::new(EXPERIMENT);
    run(&workplace, STAGES);
    let text = EXPERIMENT.replace(r#"["probe_a", "probe_b"]"#, r#"["probe_b", "probe_a"]"#);
    std::fs::write(workplace.path("experiment.toml"), text).expect("a file");
    let stale = stale(&workplace);
    for stage in ["weights[seed=0]", "merged[seed=0]", "average[seed=0]"] {
        assert!(stale.iter().any(|id| id == stage), "{stage} is not among {stale:?}");
    }
}

#[test]
fn numbers_learned_for_other_sources_are_refused() {
    let merged = r#"[stage.merged.merge]
sources = ["probe_a", "probe_b"]"#;
    let swapped = merged.replace(r#""probe_a", "probe_b""#, r#""probe_b", "probe_a""#);
    let workplace = Workplace::new(&EXPERIMENT.replace(merged, &swapped));
    let refused = workplace.medmerge(&["plan", "experiment.toml"]).assert().code(2);
    refused.stderr(
        contains("learned for other sources, or in another order").and(contains("[stage.merged.merge]")),
    );
}

#[test]
fn a_merge_of_different_backbones_is_refused() {
    let text = EXPERIMENT.replacen("width = 16", "width = 32", 1);
    let workplace = Workplace::new(&text);
    let refused = workplace.medmerge(&["run", "experiment.toml"]).assert().code(2);
    refused.stderr(contains("experiment.toml:").and(contains("different backbones")));
}

#[test]
fn a_loss_that_diverges_fails_its_stage_and_the_rest_goes_on() {
    let workplace =
        Workplace::new(&EXPERIMENT.replace("lr = 0.002", "lr = 1e30").replace("epochs = 1", "epochs = 3"));
    let failed = workplace.medmerge(&["run", "experiment.toml"]).assert().code(1);
    failed.stderr(
        contains("the loss became").and(contains("final[seed=0]")).and(contains("lower the learning rate")),
    );
    let verified = workplace.medmerge(&["store", "verify"]).assert();
    verified.code(0);
    let stale = stale(&workplace);
    assert!(stale.iter().all(|id| id.starts_with("final") || id.starts_with("scores")), "{stale:?}");
}

/// An experiment that learns one data set.
fn learning(dataset: &str) -> String {
    format!(
        "[experiment]\nname = \"bad\"\n{dataset}\n[train]\nepochs = 1\nbatch_size = 4\n[stage.model.pretrain]\n\
         backbone.resnet18 = {{ stem = \"small\", width = 8 }}\ndataset = \"images\"\n\
         [stage.scores.evaluate]\nmodels = {{ \"model\" = \"model\" }}\ndatasets = [\"images\"]\n"
    )
}

const FOLDER: &str = "[dataset.images.manifest]\npath = \"labels.csv\"\nsize = 8";

/// A folder with an image in each class and split, and what the CSV says beside them.
pub(crate) fn folder(rows: &str) -> Workplace {
    let mut workplace = Workplace::new(&learning(FOLDER));
    let mut csv = String::from("image,label,split\n");
    for (i, split) in ["train", "train", "val", "test"].into_iter().enumerate() {
        for label in ["a", "b"] {
            let name = format!("{split}_{label}_{i}.png");
            workplace = workplace.with(&name, png(i as u8, label));
            csv += &format!("{name},{label},{split}\n");
        }
    }
    workplace.with("labels.csv", csv + rows)
}

fn png(i: u8, label: &str) -> Vec<u8> {
    let pixel = image::Rgb([i * 40, label.as_bytes()[0], 100]);
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(9, 9, pixel).write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG");
    bytes.into_inner()
}

#[test]
fn a_folder_of_images_is_learned() {
    folder("").medmerge(&["run", "experiment.toml"]).assert().code(0);
}

#[test]
fn an_image_replaced_by_another_of_the_same_size_and_time_is_noticed() {
    let lab = folder("");
    // What was changed just now is read every time; this is about what is remembered.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    lab.medmerge(&["run", "experiment.toml", "--quiet"]).assert().code(0);
    assert_eq!(stale(&lab), [""; 0]);
    let path = lab.path("train_a_0.png");
    let metadata = std::fs::metadata(&path).expect("an image");
    let mut other = std::fs::read(&path).expect("an image");
    *other.last_mut().expect("a byte") ^= 1;
    std::fs::write(&path, other).expect("an image");
    let file = std::fs::File::options().write(true).open(&path).expect("an image");
    file.set_modified(metadata.modified().expect("a time")).expect("a file system with times");
    assert_eq!(stale(&lab), ["model", "scores"]);
}

#[test]
fn bad_data_is_told_with_its_place_and_nothing_is_made() {
    let text_as_image = folder("fake.jpg,a,train\n").with("fake.jpg", "not an image");
    let cases = [
        (text_as_image, vec!["fake.jpg", "row 10"]),
        (folder("absent.png,a,train\n"), vec!["absent.png", "row 10"]),
        (folder("test_a_3.png,a,nowhere\n"), vec!["labels.csv", "row 10", "nowhere"]),
        (Workplace::new(&learning(FOLDER)).with("labels.csv", "image,label,split\n"), vec!["labels.csv"]),
        (
            Workplace::new(&learning("[dataset.images.medmnist]\npath = \"cut.npz\""))
                .with("cut.npz", "PK\u{3}\u{4}cut"),
            vec!["cut.npz"],
        ),
    ];
    for (workplace, words) in cases {
        let mut assert = workplace.medmerge(&["run", "experiment.toml"]).assert();
        for word in &words {
            assert = assert.stderr(contains(*word));
        }
        let code = assert.get_output().status.code();
        assert!(matches!(code, Some(1 | 3)), "{code:?} for {words:?}");
        assert!(entries(&workplace.path(".medmerge")).is_empty(), "{words:?}");
    }
}

#[test]
fn a_split_without_images_and_a_class_without_training_images_are_refused() {
    let no_val = folder("");
    let csv = std::fs::read_to_string(no_val.path("labels.csv")).expect("a CSV");
    let without = |what: &str| -> String {
        csv.lines().filter(|line| !line.contains(what)).map(|line| format!("{line}\n")).collect()
    };
    for (what, words) in [(",val", ["val", "no images"]), ("b,train", ["train", "class `b`"])] {
        std::fs::write(no_val.path("labels.csv"), without(what)).expect("a file");
        let refused = no_val.medmerge(&["run", "experiment.toml"]).assert().code(3);
        refused.stderr(contains(words[0]).and(contains(words[1])));
    }
}
