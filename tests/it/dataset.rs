//! Data sets read from the real files below `MEDMERGE_DATA`.

use std::path::PathBuf;

use medmerge::dataset::manifest::ManifestSpec;
use medmerge::dataset::medmnist::{MedmnistSet, MedmnistSpec};
use medmerge::dataset::{Dataset, DatasetKind, SplitName};

use crate::not_tested::{Need, not_tested};

/// Images of each class in train, val and test.
type Counts<'a> = [&'a [usize]; 3];

/// The folder of real data; `None` where there is none, and the test is not tested.
pub(crate) fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("MEDMERGE_DATA").map(PathBuf::from);
    if folder.is_none() {
        not_tested(Need::Data, "MEDMERGE_DATA, the folder of real data sets, is not set");
    }
    folder
}

/// Checks summary and images of a set against the counts, and gives the images.
fn check(source: &dyn DatasetKind, counts: Counts) -> Dataset {
    let summary = source.summary().unwrap();
    assert_eq!(summary.counts.each_ref().map(Vec::as_slice), counts);
    let data = source.load(None).unwrap();
    assert_eq!((&data.classes, data.size), (&summary.classes, source.size()));
    for split in SplitName::ALL {
        let labels = data.split(split).labels.single().unwrap();
        for (class, &count) in counts[split as usize].iter().enumerate() {
            assert_eq!(labels.iter().filter(|&&label| label as usize == class).count(), count);
        }
    }
    data
}

fn check_medmnist(file: &str, counts: Counts) {
    let Some(folder) = data() else { return };
    let spec = MedmnistSpec { path: folder.join(file), size: None, classes: None, set: None };
    assert_eq!(check(&spec, counts).size, 28);
}

fn manifest(name: &str) -> Option<ManifestSpec> {
    let path = data()?.join(name).join("labels.csv");
    let spec = serde_json::json!({ "path": path, "size": 28 });
    Some(serde_json::from_value(spec).expect("a valid spec"))
}

#[test]
fn retinamnist_has_its_published_counts() {
    let train = [486, 128, 206, 194, 66];
    check_medmnist("retinamnist/retinamnist.npz", [&train, &[54, 12, 28, 20, 6], &[174, 46, 92, 68, 20]]);
}

#[test]
fn a_published_set_is_the_official_file_and_names_its_classes() {
    let Some(folder) = data() else { return };
    let spec = |file: &str, set| {
        let path = folder.join(file);
        MedmnistSpec { path, size: None, classes: None, set: Some(set) }
    };
    let breast = spec("breastmnist/breastmnist.npz", MedmnistSet::Breastmnist);
    assert_eq!(breast.summary().unwrap().classes, ["malignant", "normal, benign"]);
    assert_eq!(breast.load(None).unwrap().classes, ["malignant", "normal, benign"]);
    assert!(spec("retinamnist/retinamnist.npz", MedmnistSet::Retinamnist).summary().is_ok());
    let rebuilt = spec("pneumoniamnist/pneumoniamnist_rebuilt.npz", MedmnistSet::Pneumoniamnist);
    let message = rebuilt.summary().unwrap_err().to_string();
    assert!(
        message.contains("its MD5 is 95a3000323adcb3e0f2022be1e8b44f3, but the official files"),
        "{message}"
    );
}

#[test]
fn breastmnist_has_its_published_counts() {
    check_medmnist("breastmnist/breastmnist.npz", [&[147, 399], &[21, 57], &[42, 114]]);
}

#[test]
fn both_files_of_pneumoniamnist_have_their_counts() {
    let rebuilt = "pneumoniamnist/pneumoniamnist_rebuilt.npz";
    check_medmnist(rebuilt, [&[1214, 3494], &[135, 389], &[234, 390]]);
    let cut = "pneumoniamnist/pneumoniamnist_train_cut.npz";
    check_medmnist(cut, [&[388, 3494], &[135, 389], &[234, 390]]);
}

#[test]
fn blood_cells_have_their_counts() {
    let Some(spec) = manifest("bloodcells") else { return };
    check(&spec, [&[160, 163, 166, 158], &[20, 17, 14, 22], &[50; 4]]);
}

#[test]
fn brain_tumors_have_their_counts() {
    let Some(spec) = manifest("brain_tumor_mri") else { return };
    check(&spec, [&[53; 4], &[7; 4], &[20; 4]]);
}

/// Expected levels: `Image.open(path).convert("RGB").resize((28, 28), Image.BILINEAR)` of Pillow.
#[test]
fn ham10000_has_its_counts_and_the_pixels_that_pillow_gives() {
    let Some(spec) = manifest("ham10000") else { return };
    let train = [227, 355, 748, 80, 771, 4681, 99];
    let data = check(&spec, [&train, &[37, 55, 121, 13, 109, 678, 14], &[63, 104, 230, 22, 233, 1346, 29]]);
    assert_eq!(data.classes, ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]);
    let name = "ISIC2018_Task3_Training_Input/ISIC_0024306.jpg";
    let index = data.train.names.iter().position(|other| other == name).unwrap();
    assert_eq!(data.train.labels.present(index), [5]);
    let expected = [
        ((0, 0), [230, 127, 132]),
        ((7, 7), [239, 141, 150]),
        ((14, 14), [118, 28, 35]),
        ((14, 20), [195, 82, 79]),
        ((27, 27), [215, 145, 133]),
    ];
    for ((row, column), levels) in expected {
        let start = ((index * 28 + row) * 28 + column) * 3;
        let pixel = &data.train.pixels[start..start + 3];
        assert!(pixel.iter().zip(levels).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 2), "{pixel:?} {levels:?}");
    }
}
