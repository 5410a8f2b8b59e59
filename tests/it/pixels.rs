//! From image files to pixels, as Pillow, torchvision, timm and pydicom make them, and how a model remembers it.

use std::path::Path;

use image::{Rgb, RgbImage};
use medmerge::dataset::manifest::ManifestSpec;
use medmerge::dataset::{DatasetKind, PixelSpec};
use medmerge::store::{Store, provenance};
use predicates::prelude::*;
use predicates::str::contains;
use safetensors::SafeTensors;
use serde_json::json;

use crate::builder::Workplace;

/// Trains on one manifest, trains further on another, and evaluates.
const EXPERIMENT: &str = r#"
[experiment]
name = "mine"
[dataset.first.manifest]
path = "labels.csv"
size = 8
[dataset.second.manifest]
path = "labels.csv"
size = 8
[train]
epochs = 1
batch_size = 4
select = "none"
[stage.source.pretrain]
backbone.resnet18 = { stem = "small", width = 4 }
dataset = "first"
[stage.tuned.finetune]
from = "source"
dataset = "second"
[stage.scores.evaluate]
models = { "tuned" = "tuned" }
datasets = ["second"]
[table.main]
from = ["scores"]
metrics = ["accuracy"]
"#;

fn workplace() -> Workplace {
    let place = Workplace::new(EXPERIMENT);
    let mut csv = "image,label,split\n".to_owned();
    for number in 0..8u8 {
        let label = if number % 2 == 0 { "a" } else { "b" };
        let split = if number < 6 { "train" } else { "test" };
        RgbImage::from_pixel(12, 9, Rgb([number * 9, 99, 7]))
            .save(place.path(&format!("{number}.png")))
            .unwrap();
        csv += &format!("{number}.png,{label},{split}\n");
    }
    place.with("labels.csv", csv)
}

fn set(place: &Workplace, command: &str, settings: &[&str]) -> assert_cmd::assert::Assert {
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    place.medmerge(&[&[command, "experiment.toml"][..], &settings.collect::<Vec<_>>()].concat()).assert()
}

#[test]
fn a_model_is_not_evaluated_on_images_of_another_choice_until_it_is_trained_on_such() {
    let place = workplace();
    let center = "dataset.second.pixels.crop_mode=center";
    set(&place, "check", &[center]).code(0);
    let evaluated = [center, "stage.tuned.dataset=first"];
    set(&place, "check", &evaluated).code(2).stderr(contains(
        "the model takes images with `pixels = {}`, but data set `second` has `pixels = { crop_mode = \"center\" }`; \
         write `pixels = {}` in this data set, or `pixels = { crop_mode = \"center\" }` where the model is trained",
    ));
    set(&place, "check", &[center, "dataset.first.pixels.crop_mode=center", "dataset.second.size=12"])
        .code(0);
    let of_files = ["dataset.second.pixels={max_pixels=1000,trim_borders=true}", "stage.tuned.dataset=first"];
    set(&place, "check", &of_files).code(0);
}

#[test]
fn models_that_take_images_of_different_choices_are_not_merged() {
    let merged = EXPERIMENT.replace(
        "[stage.tuned.finetune]\nfrom = \"source\"\ndataset = \"second\"\n",
        "[stage.other.finetune]\nfrom = \"source\"\ndataset = \"first\"\n\
         [stage.another.pretrain]\nbackbone.resnet18 = { stem = \"small\", width = 4 }\ndataset = \"second\"\n\
         [stage.tuned.merge]\nsources = [\"other\", \"another\"]\nmethod = \"average\"\n",
    );
    let place = workplace().with("experiment.toml", merged);
    set(&place, "check", &["dataset.second.pixels.interpolation=bicubic"]).code(2).stderr(contains(
        "sources were trained on images with `pixels = {}` and `pixels = { interpolation = \"bicubic\" }`; merge",
    ));
}

#[test]
fn a_checkpoint_says_how_its_images_were_prepared() {
    let place = workplace();
    let keys =
        ["first", "second"].map(|name| format!("dataset.{name}.pixels={{crop_pct=0.5,max_pixels=500}}"));
    set(&place, "run", &keys.each_ref().map(String::as_str)).code(0);
    let store = Store::existing(&place.path(".medmerge")).unwrap();
    let models = store.fingerprints().unwrap().into_iter().filter_map(|fingerprint| {
        let manifest = store.manifest(&fingerprint).unwrap().unwrap();
        store.model_file(&manifest)
    });
    let models: Vec<_> = models.collect();
    assert_eq!(models.len(), 2);
    for model in models {
        let said = provenance::provenance(&model).unwrap().unwrap();
        assert_eq!(said.info.preprocessing.to_string(), "size = 8, pixels = { crop_pct = 0.5 }");
        let show = place.medmerge(&["show", model.to_str().unwrap()]).assert().code(0);
        show.stdout(contains("images: size = 8, pixels = { crop_pct = 0.5 }"));
    }
}

#[test]
fn invalid_values_are_reported_at_their_keys() {
    let assert = set(
        &workplace(),
        "check",
        &["dataset.first.pixels={crop_pct=0,bits=17,max_pixels=0}", "dataset.second.pixels.crop_mode=cut"],
    );
    assert.code(2).stderr(
        contains("`crop_pct` must be 0.1 to 1, not 0")
            .and(contains("`bits` must be 1 to 16, not 17"))
            .and(contains("`max_pixels` must be 1 or more, not 0"))
            .and(contains("cut")),
    );
}

/// The options in the name of a reference: `24.center.0.875.bicubic`, then `trimmed` or a window.
fn options(name: &str) -> (usize, PixelSpec) {
    let (size, rest) = name.split_once('.').unwrap();
    let (mode, rest) = rest.split_once('.').unwrap();
    let at = rest.find(".bi").unwrap();
    let (pct, rest) = (&rest[..at], &rest[at + 1..]);
    let (interpolation, suffix) = rest.split_once('.').unwrap_or((rest, ""));
    let pct: f64 = pct.parse().unwrap();
    let mut keys = json!({ "crop_mode": mode, "crop_pct": pct, "interpolation": interpolation });
    match suffix.split_once('.') {
        Some((center, width)) => {
            keys["window"] = json!([center.parse::<f64>().unwrap(), width.parse::<f64>().unwrap()]);
        }
        None => keys["trim_borders"] = json!(suffix == "trimmed"),
    }
    (size.parse().unwrap(), serde_json::from_value(keys).unwrap())
}

/// Mean and largest difference.
fn distance(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences.clone().map(f64::from).sum();
    (sum / ours.len() as f64, differences.max().unwrap_or(0))
}

#[test]
fn pixels_are_those_of_pillow_timm_and_pydicom() {
    let bytes =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/pixels.safetensors"));
    let bytes = bytes.unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let names: Vec<String> = reference.names().into_iter().map(str::to_owned).collect();
    for name in names.iter().filter_map(|name| name.strip_prefix("rgb.")) {
        let (file, keys) = name.split_once('.').unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, reference.tensor(&format!("file.{file}")).unwrap().data()).unwrap();
        let (size, pixels) = options(keys);
        let theirs = reference.tensor(&format!("rgb.{name}")).unwrap();
        let (mean, largest) = match pixels.read(&path, size) {
            Ok(ours) => distance(&ours, theirs.data()),
            Err(error) => panic!("{name}: {error}"),
        };
        // Pillow cuts off the lower 8 of 16 bits in RGB, and JPEG within DICOM has a decoder of its own. All else has
        // the same levels.
        let is_near = ["png_16_bit_rgb", "dicom_jpeg"].iter().any(|kind| file.contains(kind));
        let allowed = if is_near { (0.5, 2) } else { (0.0, 0) };
        if mean > allowed.0 || largest > allowed.1 {
            wrong.push(format!("{name}: mean {mean:.3}, largest {largest}"));
        }
    }
    assert!(names.len() > 150, "{}", names.len());
    assert!(wrong.is_empty(), "{}\n{wrong:#?}", wrong.len());
}

/// What reading these bytes gives.
fn message(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile");
    std::fs::write(&path, bytes).unwrap();
    let message = PixelSpec::default().read(&path, 8).unwrap_err();
    assert!(message.contains("hostile"), "{message}");
    message
}

pub(crate) fn file(name: &str) -> Vec<u8> {
    let bytes = include_bytes!("../reference/pixels.safetensors");
    SafeTensors::deserialize(bytes).unwrap().tensor(&format!("file.{name}")).unwrap().data().to_vec()
}

#[test]
fn truncated_files_are_errors_that_name_the_file() {
    for name in ["jpeg_420", "jpeg_progressive", "png_palette", "dicom_ct", "dicom_rle", "dicom_jpeg"] {
        let whole = file(name);
        for length in [140, whole.len() / 2, whole.len() - 3] {
            message(&whole[..length]);
        }
    }
}

#[test]
fn a_dicom_file_with_absurd_lengths_and_sizes_is_an_error() {
    let whole = file("dicom_ct");
    let at = |tag: [u8; 4]| whole.windows(4).position(|bytes| bytes == tag).unwrap();
    let changed = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        message(&bytes)
    };
    let (rows, pixels) = (at([0x28, 0, 0x10, 0]), at([0xe0, 0x7f, 0x10, 0]));
    assert!(
        changed(rows + 6, &[0xff, 0xff]).contains("it is truncated: element (0028,0010) has 65535 bytes")
    );
    assert!(
        changed(pixels + 8, &[0xfe; 4]).contains("(7fe0,0010) has 4278124286 bytes, but only 1904 are left")
    );
    assert!(changed(pixels + 8, &[0xff; 4]).contains("it is truncated: element ("));
    assert!(changed(rows + 8, &[0xff, 0xff]).contains("it is truncated: it has 1904 bytes of pixels for"));
    let mut large = whole.clone();
    large[rows + 8..rows + 10].fill(0xff);
    let columns = at([0x28, 0, 0x11, 0]);
    large[columns + 8..columns + 10].fill(0xff);
    assert!(message(&large).contains("65535 x 65535 = 4294836225 pixels, more than `max_pixels`"));
    assert!(changed(rows + 8, &[0, 0]).contains("it has no pixels (34 x 0)"));
}

#[test]
fn a_dicom_file_that_cannot_be_shown_says_why() {
    let replaced = |old: &str, new: &str| {
        let mut bytes = file("dicom_ct");
        let at = bytes.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        message(&bytes)
    };
    let big_endian = replaced("1.2.840.10008.1.2.1\0", "1.2.840.10008.1.2.2\0");
    assert!(
        big_endian.contains("1.2.840.10008.1.2.2 (big endian) is not supported; decompress it"),
        "{big_endian}"
    );
    let colors = replaced("MONOCHROME2", "PALETTE CO");
    assert!(colors.contains("PALETTE CO") && colors.contains("RGB of 8 bits unless it is JPEG"), "{colors}");
}

#[test]
fn a_png_of_30000_by_30000_pixels_is_refused_before_it_is_decoded() {
    let mut bytes = file("png_palette");
    bytes[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(message(&bytes).contains("30000 x 30000 = 900000000 pixels, more than `max_pixels` (64000000)"));
}

/// The checksum of a PNG chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn garbage_in_exif_leaves_an_image_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.jpg");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        PixelSpec::default().read(&path, 24).unwrap()
    };
    let mut bytes = file("exif_3");
    let at = bytes.windows(4).position(|part| part == b"Exif").unwrap();
    let turned = read(&bytes);
    bytes[at + 10..at + 20].fill(0xff);
    assert_eq!(read(&bytes), read(&file("exif_1")));
    assert_ne!(turned, read(&bytes));
}

#[test]
fn only_an_orientation_other_than_the_first_changes_the_digest() {
    let digests = |name: &str| {
        let place = workplace();
        std::fs::write(place.path("0.png"), file(name)).unwrap();
        let csv = place.path("labels.csv");
        let spec: ManifestSpec = serde_json::from_value(json!({ "path": csv, "size": 8 })).unwrap();
        let mut of_bytes = blake3::Hasher::new();
        of_bytes.update(b"manifest");
        for row in std::fs::read_to_string(csv).unwrap().lines().skip(1) {
            let [image, label, split] = row.split(',').collect::<Vec<_>>()[..] else {
                panic!("three fields")
            };
            let content = blake3::hash(&std::fs::read(place.path(image)).unwrap());
            for field in [image.as_bytes(), label.as_bytes(), split.as_bytes(), content.as_bytes()] {
                of_bytes.update(&(field.len() as u64).to_le_bytes()).update(field);
            }
        }
        (spec.summary().unwrap().digest, of_bytes.finalize().to_hex().to_string())
    };
    let (upright, of_bytes) = digests("exif_1");
    assert_eq!(upright, of_bytes, "as before the orientation was applied");
    let (turned, of_bytes) = digests("exif_6");
    assert_ne!(turned, of_bytes);
}
