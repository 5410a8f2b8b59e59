//! `medmerge data`: kinds, check, split and sheet.

use image::{Rgb, RgbImage};
use medmerge::dataset::DatasetSpec;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use serde_json::Value;

use crate::builder::Workplace;
use crate::dataset::data;
use crate::image_file;

/// A manifest of images that a random split takes by group, and stages with different augmentation.
const EXPERIMENT: &str = r#"
[experiment]
name = "mine"
[dataset.mine.manifest]
path = "labels.csv"
size = 16
split.random = { val = 0.25, test = 0.25, seed = 3 }
[dataset.again.manifest]
path = "labels.csv"
size = 16
split.file.path = "splits.csv"
[dataset.cells.phantom]
family = "cells"
size = 12
train = 20
val = 8
test = 8
[train]
epochs = 1
batch_size = 4
augment = ["horizontal_flip"]
[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "mine"
seed = 1
[stage.other.finetune]
from = "source"
dataset = "mine"
augment = [{ crop = { padding = 2 } }]
"#;

/// A picture that differs from others by `number`.
fn picture(number: u32) -> RgbImage {
    RgbImage::from_fn(20 + number, 18, |x, y| {
        let level =
            |factor: u32| ((x * (number % 5 + 1) + y * (number % 7 + 2) * factor + number * 31) % 200) as u8;
        Rgb([level(1), level(2), level(3)])
    })
}

/// `count` images `NN.png` of the classes a and b, in pairs of one patient.
fn workplace(count: u32) -> Workplace {
    let place = Workplace::new(EXPERIMENT);
    let mut csv = "image,label,group\n".to_owned();
    for number in 0..count {
        picture(number).save(place.path(&format!("{number:02}.png"))).unwrap();
        csv += &format!("{number:02}.png,{},p{}\n", ["a", "b"][(number / 2 % 2) as usize], number / 2);
    }
    place.with("labels.csv", csv).with("splits.csv", "image,split\n00,train\n")
}

fn check(place: &Workplace, arguments: &[&str]) -> assert_cmd::assert::Assert {
    place.medmerge(&[&["data", "check", "experiment.toml"], arguments].concat()).assert()
}

/// The entry of a data set in the JSON.
fn entry(assert: &assert_cmd::assert::Assert, id: &str) -> Value {
    let list: Vec<Value> = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    list.into_iter().find(|entry| entry["id"] == id).unwrap()
}

#[test]
fn kinds_are_listed_with_a_line_each_and_shown_with_layout_and_keys() {
    let place = Workplace::new("");
    let list = place.medmerge(&["data", "kinds"]).assert().code(0);
    let list = String::from_utf8_lossy(&list.get_output().stdout).into_owned();
    assert_eq!(list.lines().count(), DatasetSpec::KINDS.len());
    assert!(
        list.contains("\nisic2018        ISIC 2018, task 3 (HAM10000): the folders as they are downloaded\n"),
        "{list}"
    );
    for kind in DatasetSpec::KINDS {
        let shown = place.medmerge(&["data", "kinds", kind]).assert().code(0);
        let size = predicates::str::is_match(r"\n  size \(integer").unwrap();
        shown.stdout(size.and(contains("label_fraction")).and(predicates::str::starts_with("\n").not()));
    }
    let isic = place.medmerge(&["data", "kinds", "isic2018"]).assert();
    isic.stdout(
        contains("ISIC2018_Task3_Training_GroundTruth.csv")
            .and(contains("\n  path (string, required)\n      Folder that has"))
            .and(contains("\n  pixels.crop_mode (one word, default \"squash\")"))
            .and(contains("\n  split.folds.fold (integer, required)")),
    );
    place
        .medmerge(&["data", "kinds", "isic2081"])
        .assert()
        .code(2)
        .stderr(contains("did you mean `isic2018`?"));
}

#[test]
fn a_clean_data_set_has_statistics_and_no_errors() {
    let place = workplace(24);
    let assert = check(&place, &["--set", "dataset.cells.seed=5"]).code(0).stderr(is_empty());
    assert.stdout(
        contains("mine (manifest, 16 x 16 pixels, 2 classes)\n  class    train      val     test\n")
            .and(contains("image files: smallest 20 x 18, median 32 x 18, largest 43 x 18 pixels"))
            .and(contains("training pixels: normalize = { mean = [0."))
            .and(contains("cells (phantom, 12 x 12 pixels, 4 classes)"))
            .and(contains("23 of 24 images are in no split"))
            .and(contains("  no errors found\n").count(3))
            .and(contains("  error: ").not()),
    );
}

#[test]
fn every_damaged_image_is_reported_with_its_row() {
    let place = workplace(24);
    for name in ["03.png", "17.png"] {
        let bytes = std::fs::read(place.path(name)).unwrap();
        std::fs::write(place.path(name), &bytes[..bytes.len() / 2]).unwrap();
    }
    let mut bytes = std::fs::read(place.path("09.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(place.path("09.png"), bytes).unwrap();
    std::fs::remove_file(place.path("11.png")).unwrap();
    let assert = check(&place, &["--json"]).code(3);
    let damaged = &entry(&assert, "mine")["inspection"]["damaged"];
    let rows: Vec<&str> = damaged.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(rows.len(), 4, "{rows:#?}");
    for (row, number) in rows.iter().zip([5, 11, 13, 19]) {
        assert!(row.contains(&format!("labels.csv, row {number}: ")), "{row}");
    }
    check(&place, &[])
        .code(3)
        .stdout(contains("error: 4 images cannot be read:").and(contains("not searched for")));
}

#[test]
fn damage_in_pixels_alone_is_found_by_decoding_every_image() {
    let place = workplace(24);
    for name in ["02.png", "20.png"] {
        let mut bytes = std::fs::read(place.path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        std::fs::write(place.path(name), bytes).unwrap();
    }
    let assert = check(&place, &[]).code(3);
    assert.stdout(
        contains("error: 2 images cannot be read:").and(contains("row 4: ")).and(contains("row 22: ")),
    );
}

#[test]
fn twenty_damaged_images_are_listed_and_the_others_counted() {
    let place = workplace(24);
    for number in 0..24 {
        std::fs::write(place.path(&format!("{number:02}.png")), "no image").unwrap();
    }
    let assert = check(&place, &[]).code(3);
    assert.stdout(contains("error: 24 images cannot be read:").and(contains("\n    and 4 more\n")));
}

#[test]
fn a_jpeg_that_was_cut_and_closed_is_damaged() {
    let place = workplace(24);
    let whole = image_file::jpeg(&picture(3));
    let check_with = |bytes: &[u8]| {
        std::fs::write(place.path("03.png"), bytes).unwrap();
        check(&place, &[])
    };
    check_with(&whole).code(0);
    let closed = [&whole[..whole.len() * 4 / 5], b"\xff\xd9"].concat();
    let said = "row 5: ";
    let why = "03.png cannot be decoded as JPEG, PNG or DICOM: pixels are damaged or missing";
    check_with(&closed).code(3).stdout(contains(said).and(contains(why)));
}

/// Splits by a column: 00 to 15 train, 16 to 19 val, 20 to 23 test.
fn with_splits(place: Workplace) -> Workplace {
    let csv = std::fs::read_to_string(place.path("labels.csv")).unwrap();
    let split = |row: usize| {
        ["split", "train", "val", "test"]
            [usize::from(row > 0) + usize::from(row > 16) + usize::from(row > 20)]
    };
    let rows = csv.lines().enumerate().map(|(row, line)| format!("{line},{}\n", split(row)));
    let csv: String = rows.collect();
    let experiment = EXPERIMENT.replace("split.random = { val = 0.25, test = 0.25, seed = 3 }\n", "");
    place.with("labels.csv", csv).with("experiment.toml", experiment)
}

#[test]
fn identical_images_and_shared_groups_are_all_listed_and_allowed_by_name() {
    let place = with_splits(workplace(24));
    for (from, to) in [("00", "20"), ("01", "17"), ("02", "03")] {
        std::fs::copy(place.path(&format!("{from}.png")), place.path(&format!("{to}.png"))).unwrap();
    }
    let csv = std::fs::read_to_string(place.path("labels.csv")).unwrap();
    let csv = csv.replace(",p8,", ",p0,").replace(",p11,", ",p1,");
    let place = place.with("labels.csv", csv);
    check(&place, &[]).code(3).stdout(
        contains(
            "error: 2 sets of identical images are in different splits:\n    00.png (train), 20.png (test)\n",
        )
        .and(contains(
            "warning: 1 sets of identical images are in one split:\n    02.png (train), 03.png (train)\n",
        ))
        .and(contains(
            "error: 2 groups (patients, lesions) are in several splits:\n    p0 (4 images in train, val)\n",
        ))
        .and(contains("wrong: see the errors above")),
    );
    let allow = "dataset.mine.allow=['shared_groups', 'identical_images']";
    let assert = check(&place, &["--set", allow]).code(0);
    assert.stdout(contains("allowed: 2 groups").and(contains("allowed: 2 sets of identical")));
}

#[test]
fn a_copy_that_was_saved_anew_is_a_near_duplicate_and_no_error() {
    let place = with_splits(workplace(24));
    let smooth = RgbImage::from_fn(64, 64, |x, y| {
        Rgb([(3 * x + y / 2) as u8, (255 - 2 * y - x) as u8, (x * y / 17) as u8])
    });
    smooth.save(place.path("04.png")).unwrap();
    image::imageops::resize(&smooth, 50, 50, image::imageops::FilterType::Triangle)
        .save(place.path("21.png"))
        .unwrap();
    let assert = check(&place, &["--json"]).code(0);
    let near = &entry(&assert, "mine")["inspection"]["near_duplicates"];
    assert_eq!(near["count"], 1, "{near:#}");
    let names: Vec<&Value> =
        near["closest"][0]["images"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["04.png", "21.png"]);
    let text = "warning: 1 pairs of near duplicates are in different splits; the closest:\n    04.png (train) and 21.png (test): ";
    check(&place, &[]).code(0).stdout(contains(text));
}

#[test]
fn equal_data_sets_of_several_files_are_checked_once_whatever_their_budget() {
    let place = workplace(24);
    let half = EXPERIMENT.replace("[dataset.mine.manifest]", "[dataset.half.manifest]\nlabel_fraction = 0.5");
    let place = place.with("half.toml", half.replace("\"mine\"", "\"half\""));
    let assert =
        place.medmerge(&["data", "check", "experiment.toml", "half.toml", "--json"]).assert().code(0);
    let list: Vec<Value> = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let ids: Vec<&str> = list.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(ids, ["mine", "again", "cells"]);
}

/// NumPy: `z["train_images"].reshape(-1, 3) / 255`, `.mean(0)`, `.std(0)`.
#[test]
fn moments_of_retinamnist_are_those_of_numpy() {
    let Some(folder) = data() else { return };
    let path = folder.join("retinamnist/retinamnist.npz");
    let text = format!("[experiment]\nname = \"r\"\n[dataset.retina.medmnist]\npath = {path:?}\n");
    let assert = check(&Workplace::new(&text), &["--json"]).code(0);
    let moments = &entry(&assert, "retina")["inspection"]["moments"];
    let expected = [
        ("mean", [0.398_389_415_951_132_86, 0.244_726_710_128_377_9, 0.155_753_213_322_448_65]),
        ("std", [0.298_286_461_147_739_05, 0.200_482_420_215_664_04, 0.150_659_533_237_027_77]),
    ];
    for (key, expected) in expected {
        for (channel, expected) in expected.into_iter().enumerate() {
            assert!((moments[key][channel].as_f64().unwrap() - expected).abs() < 1e-9, "{moments}");
        }
    }
}

fn split(place: &Workplace, arguments: &[&str]) -> assert_cmd::assert::Assert {
    place.medmerge(&[&["data", "split", "experiment.toml"], arguments].concat()).assert()
}

#[test]
fn a_written_split_gives_the_same_data_set_again() {
    let place = workplace(24);
    let odd = " q\";.png";
    picture(30).save(place.path(odd)).unwrap();
    let labels = std::fs::read_to_string(place.path("labels.csv")).unwrap() + "\" q\"\";.png\",a,p0\n";
    let place = place.with("labels.csv", labels);
    split(&place, &["--dataset", "mine", "--out", "splits.csv", "--force"]).code(0);
    let csv = std::fs::read_to_string(place.path("splits.csv")).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (26, "image,label,split,group"));
    assert!(lines[2].starts_with("00.png,a,") && lines[2].ends_with(",p0"), "{csv}");
    let images: Vec<&str> = lines[1..].iter().filter_map(|line| line.split(',').next()).collect();
    assert!(images.is_sorted());
    let experiment = place.load().unwrap();
    let digest = |index: usize| experiment.datasets[index].spec.summary().unwrap().digest;
    assert_eq!(digest(0), digest(1));
}

#[test]
fn a_written_split_replaces_nothing_unless_forced_and_needs_a_data_set_with_a_split() {
    let place = workplace(8);
    let before = std::fs::read(place.path("splits.csv")).unwrap();
    split(&place, &["--dataset", "mine", "--out", "splits.csv"])
        .code(2)
        .stderr(contains("splits.csv already exists; choose another --out, or replace it with --force"));
    assert_eq!(std::fs::read(place.path("splits.csv")).unwrap(), before);
    split(&place, &["--dataset", "cells", "--out", "c.csv"]).code(2).stderr(contains("reads no image files"));
    split(&place, &["--dataset", "mien", "--out", "c.csv"])
        .code(2)
        .stderr(contains("did you mean \"mine\"?"));
    split(&place, &["--dataset", "mine", "--out", "no/folder/c.csv"])
        .code(4)
        .stderr(contains("failed to write"));
    assert!(!place.path("c.csv").exists());
}

#[test]
fn a_data_set_with_axes_is_named_with_their_values() {
    let folds = "split.folds = { folds = 3, fold = \"${fold}\" }";
    let text = EXPERIMENT.replace("split.random = { val = 0.25, test = 0.25, seed = 3 }", folds);
    let text = text.replace("[dataset.mine", "[sweep]\nfold = [0, 1, 2]\n[dataset.mine");
    let place = workplace(24).with("experiment.toml", text);
    split(&place, &["--dataset", "mine", "--out", "c.csv"])
        .code(2)
        .stderr(contains("choose one of mine[fold=0], mine[fold=1], mine[fold=2]"));
    split(&place, &["--dataset", "mine[fold=1]", "--out", "c.csv"]).code(0);
    assert!(place.path("c.csv").exists());
}

fn sheet(place: &Workplace, arguments: &[&str]) -> assert_cmd::assert::Assert {
    place.medmerge(&[&["data", "sheet", "experiment.toml", "--dataset", "mine"], arguments].concat()).assert()
}

#[test]
fn a_sheet_has_a_line_for_each_class_and_its_variants() {
    let place = workplace(24);
    let assert = sheet(&place, &["--out", "plain.png", "--images", "3"]).code(0);
    assert.stdout(contains("plain.png: images of train; classes from top to bottom:\n  a (3)\n  b (3)\n"));
    let plain = image::open(place.path("plain.png")).unwrap().into_rgb8();
    assert_eq!(plain.dimensions(), (3 * 68 + 4, 2 * (68 + 12) + 4));
    let arguments = ["--images", "3", "--augment", "source", "--variants", "4", "--out"];
    sheet(&place, &[&arguments[..], &["flipped.png"]].concat()).code(0);
    sheet(&place, &[&arguments[..], &["same.png"]].concat()).code(0);
    let flipped = image::open(place.path("flipped.png")).unwrap().into_rgb8();
    assert_eq!(flipped.dimensions(), (3 * 68 + 4, 2 * (5 * 68 + 12) + 4));
    assert_eq!(
        std::fs::read(place.path("flipped.png")).unwrap(),
        std::fs::read(place.path("same.png")).unwrap()
    );
    let tile = |line: u32| image::imageops::crop_imm(&flipped, 4, 4 + 68 * line, 64, 64).to_image();
    let first = tile(0);
    let mirrored = image::imageops::flip_horizontal(&first);
    assert!((1..5).all(|line| tile(line) == first || tile(line) == mirrored));
    assert!((1..5).any(|line| tile(line) == mirrored));
}

#[test]
fn augment_without_a_name_is_that_of_all_stages_or_of_train() {
    let place = workplace(24);
    let drawn = |arguments: &[&str], whose: &str| {
        let whose = format!("images of train, augmented as by {whose}; classes");
        sheet(&place, &[&["--out", "b.png", "--force"], arguments].concat()).code(0).stdout(contains(whose));
        std::fs::read(place.path("b.png")).unwrap()
    };
    let of_source = drawn(&["--augment", "source"], "stage `source`");
    // The stages differ, so it is that of [train], which `source` has, too.
    assert!(drawn(&["--augment"], "`[train]`") == of_source);
    assert!(drawn(&["--augment", "horizontal_flip"], "`horizontal_flip`") == of_source);
    assert!(drawn(&["--augment", "heavy"], "`heavy`") != of_source);
    assert!(drawn(&["--set", "stage.source.augment=['medium']", "--augment"], "`[train]`") == of_source);
    let same = "stage.other.augment=['horizontal_flip']";
    assert!(drawn(&["--set", same, "--augment"], "the stages on data set `mine`") == of_source);
    let cells = ["data", "sheet", "experiment.toml", "--dataset", "cells", "--out", "c.png", "--augment"];
    place.medmerge(&cells).assert().code(0).stdout(contains("augmented as by `[train]`"));
}

#[test]
fn augment_without_a_name_is_an_error_if_it_is_not_clear() {
    let place = workplace(24);
    let none = ["--set", "train.augment=[]", "--augment"];
    sheet(&place, &[&["--out", "a.png", "--set", "stage.source.augment=['medium']"], &none[..]].concat())
        .code(2)
        .stderr(contains("differ in `augment`; choose one: --augment STAGE, of source, other"));
    let cells = ["data", "sheet", "experiment.toml", "--dataset", "cells", "--out", "a.png"];
    place
        .medmerge(&[&cells[..], &none].concat())
        .assert()
        .code(2)
        .stderr(contains("no stage trains on data set `cells`, and `[train]` has no `augment`"));
    sheet(&place, &["--out", "a.png", "--augment", "sauce"])
        .code(2)
        .stderr(contains("did you mean \"source\"?"));
    assert!(!place.path("a.png").exists());
    let same = "stage.other.augment=['horizontal_flip']";
    sheet(&place, &["--out", "a.png", "--set", same, "--augment"]).code(0);
    sheet(&place, &["--out", "a.png"]).code(2).stderr(contains("already exists"));
}
