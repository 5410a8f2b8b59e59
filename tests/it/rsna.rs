//! The RSNA Pneumonia Detection Challenge, in a folder as it is downloaded, with tiny DICOM files.

use std::path::Path;

use medmerge::dataset::{Dataset, DatasetSpec, SplitName};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::builder::Workplace;

/// A DICOM file of one level.
fn dicom(level: u8) -> Vec<u8> {
    let mut bytes = crate::pixels::file("dicom_plain");
    // 34 x 28 levels of 8 bits at the end
    let start = bytes.len() - 34 * 28;
    bytes[start..].fill(level);
    bytes
}

const LABELS: &str = "stage_2_train_labels.csv";
const CLASSES: &str = "stage_2_detailed_class_info.csv";

/// Patient `p<i>` has level 3 i; every third one has a pneumonia, with two boxes.
fn folder(patients: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("stage_2_train_images")).unwrap();
    let mut labels = String::from("patientId,x,y,width,height,Target\n");
    let mut classes = String::from("patientId,class\n");
    for i in 0..patients {
        let file = folder.path().join(format!("stage_2_train_images/p{i}.dcm"));
        std::fs::write(file, dicom(3 * i as u8)).unwrap();
        let (rows, class) = match i % 3 {
            0 => ("264.0,152.0,213.0,379.0,1\n562.0,152.0,256.0,453.0,1\n", "Lung Opacity"),
            1 => (",,,,0\n", "No Lung Opacity / Not Normal"),
            _ => (",,,,0\n", "Normal"),
        };
        for row in rows.lines() {
            labels += &format!("p{i},{row}\n");
            classes += &format!("p{i},{class}\n");
        }
    }
    std::fs::write(folder.path().join(LABELS), labels).unwrap();
    std::fs::write(folder.path().join(CLASSES), classes).unwrap();
    folder
}

fn spec(path: &Path, keys: Value) -> DatasetSpec {
    let mut all = json!({ "path": path, "size": 8 });
    all.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(json!({ "rsna_pneumonia": all })).expect("a spec")
}

/// Number of the patient and name of the class of every image; its pixels must be those of its patient.
fn images(dataset: &Dataset) -> Vec<(usize, String)> {
    let mut images = Vec::new();
    for split in SplitName::ALL.map(|split| dataset.split(split)) {
        for (i, name) in split.names.iter().enumerate() {
            let stem = name.strip_prefix("stage_2_train_images/p").and_then(|name| name.strip_suffix(".dcm"));
            let patient: usize = stem.expect("a name of an image").parse().unwrap();
            assert!(split.pixels[i * 192..][..192].iter().all(|level| usize::from(*level) == 3 * patient));
            images.push((patient, dataset.classes[split.labels.single().unwrap()[i] as usize].clone()));
        }
    }
    images.sort();
    images
}

#[test]
fn each_patient_is_one_image_with_its_target() {
    let folder = folder(60);
    let spec = spec(folder.path(), json!({}));
    let summary = spec.summary().unwrap();
    assert_eq!(summary.classes, ["no_pneumonia", "pneumonia"]);
    assert_eq!(summary.counts, [[32, 16], [4, 2], [4, 2]], "a stratified random split");
    let expected = |i: usize| (i, ["pneumonia", "no_pneumonia", "no_pneumonia"][i % 3].to_owned());
    assert_eq!(images(&spec.load(None).unwrap()), (0..60).map(expected).collect::<Vec<_>>());
}

#[test]
fn the_detailed_classes_are_labels_of_choice() {
    let folder = folder(30);
    let spec = spec(folder.path(), json!({ "labels": "class" }));
    assert_eq!(spec.summary().unwrap().classes, ["normal", "not_normal", "lung_opacity"]);
    let expected = |i: usize| (i, ["lung_opacity", "not_normal", "normal"][i % 3].to_owned());
    assert_eq!(images(&spec.load(None).unwrap()), (0..30).map(expected).collect::<Vec<_>>());
}

fn error(folder: &TempDir, keys: Value) -> String {
    let message = spec(folder.path(), keys).summary().expect_err("an error").to_string();
    message.replace(&folder.path().display().to_string(), "DATA")
}

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let folder = folder(6);
    let with = |file: &str, content: &str| std::fs::write(folder.path().join(file), content).unwrap();
    with(LABELS, "patientId,x,y,width,height,Target\np0,1,1,2,2,1\np1,,,,,0\np0,,,,,0\n");
    assert_eq!(
        error(&folder, json!({})),
        format!("DATA/{LABELS}, row 4: patient 'p0' is 'no_pneumonia', but 'pneumonia' in row 2")
    );
    with(LABELS, "patientId,x,y,width,height,Target\np0,,,,,2\n");
    assert_eq!(
        error(&folder, json!({})),
        format!("DATA/{LABELS}, row 2: Target is '2'; it must be '0' or '1'")
    );
    with(CLASSES, "patientId,class\np0,Normal\np0,Lung Opacity\n");
    assert_eq!(
        error(&folder, json!({ "labels": "class" })),
        format!("DATA/{CLASSES}, row 3: patient 'p0' is 'lung_opacity', but 'normal' in row 2")
    );
    with(CLASSES, "patientId,class\np0,normal\n");
    assert_eq!(
        error(&folder, json!({ "labels": "class" })),
        format!(
            "DATA/{CLASSES}, row 2: class is 'normal'; it must be 'Normal' or 'No Lung Opacity / Not Normal' or 'Lung \
             Opacity'"
        )
    );
}

#[test]
fn what_is_missing_is_named() {
    let folder = folder(3);
    std::fs::remove_file(folder.path().join("stage_2_train_images/p1.dcm")).unwrap();
    assert_eq!(
        error(&folder, json!({})),
        format!(
            "DATA/{LABELS}, row 4: no such image: DATA/stage_2_train_images/p1.dcm (row 4); copy or download them again"
        )
    );
    std::fs::remove_file(folder.path().join(CLASSES)).unwrap();
    assert_eq!(
        error(&folder, json!({ "labels": "class" })),
        format!("DATA: the CSV of labels is missing: `{CLASSES}`")
    );
    std::fs::remove_dir_all(folder.path().join("stage_2_train_images")).unwrap();
    assert_eq!(
        error(&folder, json!({})),
        "DATA: the folder of its images is missing: `stage_2_train_images`"
    );
}

#[test]
fn the_program_lists_and_splits_it() {
    let folder = folder(60);
    let text = format!(
        "[experiment]\nname = \"x\"\n[dataset.chest.rsna_pneumonia]\npath = '{}'\nsize = 8\n",
        folder.path().display()
    );
    let workplace = Workplace::new(&text);
    let run = |arguments: &[&str]| {
        let output = workplace.medmerge(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        run(&["data", "list", "experiment.toml"]).contains("chest (rsna_pneumonia, 8 x 8 pixels, 2 classes)")
    );
    assert!(run(&["data", "kinds", "rsna_pneumonia"]).contains("stage_2_detailed_class_info.csv"));
    run(&["data", "split", "experiment.toml", "--dataset", "chest", "--out", "splits.csv"]);
    let splits = std::fs::read_to_string(workplace.path("splits.csv")).unwrap();
    assert!(
        splits.starts_with("image,label,split,group\nstage_2_train_images/p0.dcm,pneumonia,"),
        "{splits}"
    );
    assert_eq!(splits.lines().count(), 61);
}
