//! Training images that are kept larger than their size, so that random parts of them stay sharp.

use medmerge::dataset::{Dataset, DatasetSpec, SplitName};
use predicates::str::contains;
use serde_json::{Value, json};

use crate::builder::Workplace;

const EXPERIMENT: &str = r#"
[experiment]
name = "sharp"

[dataset.photos.manifest]
path = "labels.csv"
size = 12
cache_size = 20

[train]
epochs = 2
batch_size = 6
augment = [{ random_resized_crop = { scale = [0.3, 1.0] } }, "horizontal_flip"]

[stage.trained.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "photos"

[stage.probe.finetune]
from = "trained"
dataset = "photos"
trainable = "head"
augment = []

[stage.mean.merge]
sources = ["trained", "probe"]
method = "average"
dataset = "photos"

[stage.scores.evaluate]
models = { T = "trained", M = "mean" }
datasets = ["photos"]
"#;

/// Images of 40 x 30 pixels of two classes, and a list of them.
fn workplace(experiment: &str) -> Workplace {
    let mut list = String::from("image,label,split\n");
    let mut workplace = Workplace::new(experiment);
    for i in 0..24_u32 {
        let picture = image::RgbImage::from_fn(40, 30, |x, y| {
            let stripes = if i % 2 == 0 { x } else { y };
            image::Rgb([(stripes * 60 % 251) as u8, (x * y + 9 * i) as u8, (5 * i) as u8])
        });
        let mut png = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let split = ["train", "train", "val", "test"][i as usize / 2 % 4];
        list += &format!("{i}.png,{},{split}\n", ["across", "down"][i as usize % 2]);
        workplace = workplace.with(&format!("{i}.png"), png.into_inner());
    }
    workplace.with("labels.csv", list)
}

fn spec(workplace: &Workplace, keys: Value) -> DatasetSpec {
    let mut all = json!({ "path": workplace.path("labels.csv") });
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(json!({ "manifest": all })).unwrap()
}

#[test]
fn training_images_are_larger_and_all_others_as_before() {
    let workplace = workplace("");
    for pixels in [json!({}), json!({ "crop_mode": "center", "crop_pct": 0.8, "interpolation": "bicubic" })] {
        let spec = |keys: Value| {
            let mut keys = keys;
            keys["pixels"] = pixels.clone();
            spec(&workplace, keys)
        };
        let load = |keys: Value, cache: bool| -> Dataset {
            let spec = spec(keys);
            let folder = workplace.path(&format!("cache-{}", spec.summary().unwrap().digest));
            spec.load(cache.then_some(&*folder)).unwrap()
        };
        let kept = json!({ "size": 12, "cache_size": 20 });
        let (small, large) = (load(json!({ "size": 12 }), false), load(json!({ "size": 20 }), false));
        for cache in [false, true, true] {
            let kept = load(kept.clone(), cache);
            assert_eq!((kept.size, kept.train.side(), kept.test.side()), (12, 20, 12));
            assert_eq!(kept.train.pixels[..], large.train.pixels[..]);
            for split in [SplitName::Val, SplitName::Test] {
                assert_eq!(kept.split(split).pixels[..], small.split(split).pixels[..]);
            }
        }
        let digest = |keys: Value| spec(keys).summary().unwrap().digest;
        assert_ne!(digest(kept), digest(json!({ "size": 12 })), "decoded images are kept by it");
    }
}

/// Every file that a run makes, by the path in the store.
fn entries(workplace: &Workplace, threads: &str) -> Vec<(String, Vec<u8>)> {
    let mut command = workplace.medmerge(&["run", "experiment.toml"]);
    command.env("RAYON_NUM_THREADS", threads).assert().code(0);
    let is_made = |name: &str| name.ends_with("safetensors") || name.ends_with("predictions.csv");
    let files = crate::pipeline::entries(&workplace.path(".medmerge"));
    files.into_iter().filter(|(name, _)| is_made(name)).collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let [one, four] = ["1", "4"].map(|threads| entries(&workplace(EXPERIMENT), threads));
    assert_eq!(one.len(), 5, "three models and two predictions");
    assert!(one == four);
    let plain = entries(&workplace(&EXPERIMENT.replace("cache_size = 20\n", "")), "4");
    let model =
        |entries: &[(String, Vec<u8>)]| entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert!(model(&plain).iter().all(|name| !model(&one).contains(name)), "it is in the fingerprint");
}

#[test]
fn parts_must_be_cut_first() {
    let check = |text: &str| workplace(text).medmerge(&["check", "experiment.toml"]).assert();
    check(EXPERIMENT).code(0);
    let crop = "{ random_resized_crop = { scale = [0.3, 1.0] } }, \"horizontal_flip\"";
    check(&EXPERIMENT.replace(crop, "\"medium\"")).code(0);
    check(&EXPERIMENT.replace(crop, "\"horizontal_flip\"")).code(0);
    check(&EXPERIMENT.replace(crop, "\"horizontal_flip\", { random_resized_crop = {} }"))
        .code(2)
        .stderr(contains("`cache_size = 20` needs `random_resized_crop` first in `augment`"))
        .stderr(contains("experiment.toml:15:8"));
    check(&EXPERIMENT.replace("cache_size = 20", "cache_size = 12"))
        .code(2)
        .stderr(contains("`cache_size` (12) must be above `size` (12)"))
        .stderr(contains("experiment.toml:8:14"));
    check(&EXPERIMENT.replace("cache_size = 20", "cache_size = 5000"))
        .code(2)
        .stderr(contains("`cache_size` must be 8 to 4096 pixels, not 5000"));
}

#[test]
fn memory_estimates_know_the_side() {
    let bytes = |text: &str| {
        let output = workplace(text).medmerge(&["plan", "experiment.toml", "--json"]).output().unwrap();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        let estimate = |stage: &Value| stage["estimate"]["memory_bytes"].as_u64().unwrap();
        plan["stages"].as_array().unwrap().iter().map(estimate).collect::<Vec<u64>>()
    };
    let (large, plain) = (bytes(EXPERIMENT), bytes(&EXPERIMENT.replace("cache_size = 20\n", "")));
    assert_eq!(large.len(), 4);
    let more = 12 * 3 * (20 * 20 - 12 * 12);
    assert!(large.iter().zip(&plain).all(|(large, plain)| large - plain == more), "{large:?} {plain:?}");
}

#[test]
fn commands_that_look_at_data_know_it() {
    let workplace = workplace(EXPERIMENT);
    workplace.medmerge(&["data", "check", "experiment.toml"]).assert().code(0);
    let sheet = ["data", "sheet", "experiment.toml", "--dataset", "photos", "--out", "a.png"];
    workplace.medmerge(&[&sheet[..], &["--augment", "trained", "--images", "3"]].concat()).assert().code(0);
    let drawn = image::open(workplace.path("a.png")).unwrap();
    // three images of 12 pixels, enlarged six times, in a line; two classes of four lines
    assert_eq!((drawn.width(), drawn.height()), (3 * 76 + 4, 8 * 76 + 2 * 12 + 4));
    workplace.medmerge(&["run", "experiment.toml"]).assert().code(0);
    workplace.medmerge(&["store", "verify"]).assert().code(0);
}
