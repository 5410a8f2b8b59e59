//! Data sets in the layouts in which they are published: real images, counts, and what is refused.

use std::path::Path;

use medmerge::dataset::{Dataset, DatasetSpec, SplitName, Summary};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dataset::data;

fn spec(kind: &str, mut keys: Value) -> DatasetSpec {
    keys["size"] = json!(16);
    serde_json::from_value(json!({ kind: keys })).expect("a spec")
}

/// A split file of the real data's own split, and the summary by it.
fn counts(kind: &str, keys: Value) -> [Vec<usize>; 3] {
    spec(kind, keys).summary().expect("a summary").counts
}

const HAM10000: [[usize; 7]; 3] =
    [[227, 355, 748, 80, 771, 4681, 99], [37, 55, 121, 13, 109, 678, 14], [63, 104, 230, 22, 233, 1346, 29]];

/// Image by name without folder and extension: label in lower case, and pixels.
fn by_name(dataset: &Dataset) -> Vec<(String, String, Vec<u8>)> {
    let bytes = dataset.size * dataset.size * 3;
    let images = |split: SplitName| {
        let split = dataset.split(split);
        (0..split.len()).map(move |i| {
            let stem = Path::new(&split.names[i]).file_stem().expect("a name").to_string_lossy().into_owned();
            let label = dataset.classes[split.labels.present(i)[0]].to_lowercase();
            (stem, label, split.pixels[i * bytes..][..bytes].to_vec())
        })
    };
    let mut all: Vec<_> = SplitName::ALL.into_iter().flat_map(images).collect();
    all.sort();
    all
}

#[test]
fn ham10000_is_the_same_as_isic2018_and_as_a_manifest() {
    let Some(data) = data() else { return };
    let folder = data.join("ham10000");
    let labels = folder.join("labels.csv");
    let official = spec("isic2018", json!({ "path": folder, "split": { "file": { "path": labels } } }));
    let columns = json!({ "group": "lesion_id" });
    let manifest = spec("manifest", json!({ "path": labels, "columns": columns }));
    let sorted = |summary: Summary| {
        let mut order: Vec<usize> = (0..7).collect();
        order.sort_by_key(|&class| summary.classes[class].to_lowercase());
        summary.counts.map(|counts| order.iter().map(|&class| counts[class]).collect::<Vec<_>>())
    };
    assert_eq!(sorted(official.summary().unwrap()), HAM10000.map(Vec::from));
    assert_eq!(sorted(manifest.summary().unwrap()), HAM10000.map(Vec::from));
    let (official, manifest) = (official.load(None).unwrap(), manifest.load(None).unwrap());
    assert!(by_name(&official) == by_name(&manifest), "names, labels or pixels differ");
}

#[test]
fn a_random_split_of_ham10000_keeps_lesions_whole_and_classes_even() {
    let Some(data) = data() else { return };
    let keys = json!({ "path": data.join("ham10000"), "split": { "random": { "val": 0.1, "test": 0.2 } } });
    let summary = spec("isic2018", keys).summary().unwrap();
    let total = |class: usize| summary.counts.iter().map(|counts| counts[class]).sum::<usize>() as f64;
    for class in 0..7 {
        let test = summary.counts[2][class] as f64;
        assert!((test - 0.2 * total(class)).abs() <= 2.0, "{test} of {}", total(class));
    }
    // 7470 lesions in all
    let groups = summary.train_groups.expect("lesions");
    assert!((5000..6000).contains(&groups.len()), "{} lesions for training", groups.len());
}

#[test]
fn every_real_set_has_the_counts_of_its_readme() {
    let Some(data) = data() else { return };
    let manifest = |name: &str, columns: Value| {
        counts("manifest", json!({ "path": data.join(name).join("labels.csv"), "columns": columns }))
    };
    assert_eq!(
        manifest("bloodcells", json!({ "group": "source" })).map(|c| c.iter().sum::<usize>()),
        [647, 73, 200]
    );
    assert_eq!(manifest("brain_tumor_mri", json!({})), [vec![53; 4], vec![7; 4], vec![20; 4]]);
    assert_eq!(
        manifest("pbc_bloodcells", json!({})),
        [
            vec![830, 2134, 1081, 2041, 861, 990, 2363, 1641],
            vec![140, 340, 174, 275, 104, 159, 297, 239],
            vec![248, 642, 296, 579, 249, 271, 668, 468]
        ]
    );
    assert_eq!(manifest("malaria", json!({})), [vec![5097, 5052], vec![986, 1370], vec![4059, 3229]]);
    assert_eq!(manifest("kermany_cxr", json!({})), [vec![1197, 3422], vec![151, 436], vec![231, 387]]);
    // The same images as folders of classes.
    let path = data.join("pbc_bloodcells");
    let message = spec("folder", json!({ "path": path })).summary().expect_err("copies").to_string();
    assert!(message.contains("pairs of identical images are in different splits"), "{message}");
    let folder = counts("folder", json!({ "path": path, "allow": ["identical_images"] }));
    let all = |counts: &[Vec<usize>; 3]| counts.iter().flatten().sum::<usize>();
    assert_eq!(all(&folder), 11941 + 1728 + 3421);
}

/// The grades of real fundus photographs, laid out as APTOS 2019 and as EyePACS.
#[test]
fn retinamnist_reads_the_same_as_aptos_and_as_eyepacs() {
    let Some(data) = data() else { return };
    let retina = spec("medmnist", json!({ "path": data.join("retinamnist/retinamnist.npz") }));
    let retina = retina.load(None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [mut aptos, mut eyepacs] = ["id_code,diagnosis\n", "image,level\n"].map(String::from);
    for (i, &label) in retina.train.labels.single().unwrap().iter().enumerate() {
        let pixels = retina.train.pixels[i * 768..][..768].to_vec();
        let picture = image::RgbImage::from_raw(16, 16, pixels).expect("pixels");
        let (id, eye) = (format!("{i:012x}"), format!("{}_{}", i / 2, ["left", "right"][i % 2]));
        for (path, format) in [
            (format!("aptos/train_images/{id}.png"), image::ImageFormat::Png),
            (format!("eyepacs/train/{eye}.jpeg"), image::ImageFormat::Png),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            picture.save_with_format(path, format).unwrap();
        }
        aptos += &format!("{id},{label}\n");
        eyepacs += &format!("{eye},{label}\n");
    }
    std::fs::write(folder.path().join("aptos/train.csv"), aptos).unwrap();
    std::fs::write(folder.path().join("eyepacs/trainLabels.csv"), eyepacs).unwrap();
    let expected = [486, 128, 206, 194, 66];
    for kind in ["aptos2019", "eyepacs"] {
        let path = folder.path().join(kind.trim_end_matches("2019"));
        let spec = spec(kind, json!({ "path": path, "allow": ["identical_images"] }));
        let summary = spec.summary().unwrap();
        assert_eq!(summary.classes, ["no_dr", "mild", "moderate", "severe", "proliferative"]);
        let sums: Vec<usize> = (0..5).map(|class| summary.counts.iter().map(|c| c[class]).sum()).collect();
        assert_eq!(sums, expected, "{kind}");
        let train = summary.counts[0].iter().sum::<usize>();
        assert!((850..=878).contains(&train), "{train} training images of 1080");
        // PNG files: the pixels are those that were written.
        let loaded = spec.load(None).unwrap();
        let first = retina.train.pixels[..768].to_vec();
        let found =
            SplitName::ALL.iter().any(|&split| loaded.split(split).pixels.chunks(768).any(|p| p == first));
        assert!(found, "{kind}");
    }
}

fn error(kind: &str, folder: &TempDir) -> String {
    let spec = spec(kind, json!({ "path": folder.path() }));
    let error = spec.summary().expect_err("an error").to_string();
    assert_eq!(spec.load(None).expect_err("an error").to_string(), error);
    error.replace(&folder.path().display().to_string(), "DATA")
}

fn with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match name.ends_with("png") || name.ends_with("jpg") || name.ends_with("jpeg") {
            true => image::RgbImage::new(8, 8).save_with_format(path, image::ImageFormat::Png).unwrap(),
            false => std::fs::write(path, content).unwrap(),
        }
    }
    folder
}

#[test]
fn what_is_missing_or_wrong_in_an_official_folder_is_named() {
    let is = |kind: &str, files: &[(&str, &str)], expected: &str| {
        let message = error(kind, &with(files));
        assert_eq!(message, expected, "{kind}");
    };
    is(
        "isic2018",
        &[],
        "DATA: the folder of training images is missing: `ISIC2018_Task3_Training_Input` or `HAM10000_images_part_1`",
    );
    is(
        "isic2018",
        &[("ISIC2018_Task3_Test_GroundTruth.csv", "image\n")],
        "DATA: the folder of its images is missing: `ISIC2018_Task3_Test_Input`",
    );
    is(
        "isic2018",
        &[("ISIC2018_Task3_Training_Input/a.jpg", "")],
        "DATA: the ground truth is missing: `ISIC2018_Task3_Training_GroundTruth.csv` or \
         `ISIC2018_Task3_Training_GroundTruth/ISIC2018_Task3_Training_GroundTruth.csv`",
    );
    let truth = "ISIC2018_Task3_Training_GroundTruth.csv";
    let image = ("ISIC2018_Task3_Training_Input/a.jpg", "");
    let columns = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n";
    is(
        "isic2018",
        &[image, (truth, "image,MEL,NV\na,1,0\n")],
        &format!("DATA/{truth}, row 1: column 'BCC' is missing; the header is 'image,MEL,NV'"),
    );
    is(
        "isic2018",
        &[image, (truth, &format!("{columns}a,1,1,0,0,0,0,0\n"))],
        &format!("DATA/{truth}, row 2: it is both 'MEL' and 'NV'"),
    );
    is(
        "isic2018",
        &[image, (truth, &format!("{columns}a,1,0,0,0,0,0,0\na,1,0,0,0,0,0,0\n"))],
        &format!(
            "DATA/{truth}, row 3: image 'ISIC2018_Task3_Training_Input/a.jpg' is a duplicate of row 2; list each image once"
        ),
    );
    is(
        "isic2018",
        &[image, (truth, &format!("{columns}b,1,0,0,0,0,0,0\n"))],
        &format!(
            "DATA/{truth}, row 2: no such image: DATA/ISIC2018_Task3_Training_Input/b.jpg (row 2); copy or download them again"
        ),
    );
    is("isic2019", &[], "DATA: the folder of its images is missing: `ISIC_2019_Training_Input`");
    is("aptos2019", &[("train.csv", "")], "DATA: the folder of its images is missing: `train_images`");
    is(
        "aptos2019",
        &[("train_images/a.png", ""), ("train.csv", "id_code,diagnosis\na,5\n")],
        "DATA/train.csv, row 2: the grade is '5'; it must be 0 to 4",
    );
    is("eyepacs", &[], "DATA: the CSV of labels is missing: `trainLabels.csv`");
    is(
        "eyepacs",
        &[
            ("train/1_left.jpeg", ""),
            ("test/2_left.jpeg", ""),
            ("trainLabels.csv", "image,level\n1_left,0\n"),
            ("retinopathy_solution.csv", "image,level,Usage\n2_left,0,Secret\n"),
        ],
        "DATA/retinopathy_solution.csv, row 2: Usage is 'Secret'; it must be Public or Private",
    );
    is(
        "eyepacs",
        &[
            ("train/1_left.jpeg", ""),
            ("test/2_left.jpeg", ""),
            ("trainLabels.csv", "image,level\n1_left,0\n"),
            ("retinopathy_solution.csv", "image,level\n2_left,0\n"),
        ],
        "DATA/retinopathy_solution.csv, row 1: column 'Usage' is missing; the header is 'image,level'",
    );
    is("folder", &[("a.png", "")], "DATA: it has no folders of images, one per class");
    is(
        "folder",
        &[("train/x/a.png", ""), ("extra/b.png", "")],
        "DATA: `train` is the name of a split and `extra` is not; have either only train, val and test, or only classes",
    );
}

#[test]
fn official_test_images_are_no_part_of_a_random_split() {
    let truth = |id: &str| format!("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n{id},1,0,0,0,0,0,0,0,0\n");
    let folder = with(&[
        ("ISIC_2019_Training_Input/a.jpg", ""),
        ("ISIC_2019_Training_GroundTruth.csv", &truth("a")),
        ("ISIC_2019_Test_Input/b.jpg", ""),
        ("ISIC_2019_Test_GroundTruth.csv", &truth("b")),
    ]);
    let images = |split: Value| {
        let keys = json!({ "path": folder.path(), "split": split, "allow": ["identical_images"] });
        counts("isic2019", keys).map(|counts| counts.iter().sum::<usize>())
    };
    assert_eq!(images(json!(null)), [1, 0, 0]);
    assert_eq!(images(json!({ "official": {} })), [1, 0, 1]);
}

#[test]
fn a_folder_has_classes_perhaps_within_splits() {
    let split = with(&[
        ("train/b/1.png", ""),
        ("train/a/deep/2.png", ""),
        ("Test/a/3.png", ""),
        ("valid/b/.hidden.png", ""),
        ("valid/b/notes.txt", "no image"),
        (".git/x/4.png", ""),
    ]);
    let spec = spec("folder", json!({ "path": split.path(), "allow": ["identical_images"] }));
    let data = spec.load(None).unwrap();
    assert_eq!(
        (data.classes, data.train.names),
        (vec!["a".to_owned(), "b".into()], vec!["train/a/deep/2.png".to_owned(), "train/b/1.png".into()])
    );
    assert_eq!((data.val.names.len(), data.test.names), (0, vec!["Test/a/3.png".to_owned()]));
}

/// HAM10000 in its two published halves, labeled by its metadata, and the same split whatever the layout.
#[test]
fn ham10000_is_read_as_published() {
    let metadata = "lesion_id,image_id,dx,dx_type,age,sex,localization\n\
                    HAM_1,I1,bkl,histo,80.0,male,scalp\nHAM_1,I2,bkl,histo,80.0,male,scalp\nHAM_2,I3,nv,histo,1,male,ear\n";
    let folder = with(&[
        ("HAM10000_metadata.csv", metadata),
        ("HAM10000_images_part_1/I1.jpg", ""),
        ("HAM10000_images_part_2/I2.jpg", ""),
        ("HAM10000_images_part_2/I3.jpg", ""),
    ]);
    let data = spec("isic2018", json!({ "path": folder.path() })).load(None).unwrap();
    assert_eq!(data.train.labels, vec![4, 4, 1].into());
    assert_eq!(data.train.groups, Some(vec![0, 0, 1]));
    std::fs::remove_file(folder.path().join("HAM10000_metadata.csv")).unwrap();
    assert!(
        error("isic2018", &folder)
            .ends_with("the metadata is missing: `HAM10000_metadata.csv` or `HAM10000_metadata`")
    );
}
