#![doc = include_str!("layout/chexpert.md")]

use std::path::{Path, PathBuf};

use kind::{Problems, suggest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image_files::csv::{Csv, CsvRow, Field};
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::split::{OfficialSplitSpec, SplitSpec};
use crate::{DataError, SplitName, State};

image_files! {
    /// CheXpert: the folder as it is downloaded, of either size. Without the key `split`, the official split with 5 % of
    /// the training images for validation.
    #[schemars(extend("x-layout" = include_str!("layout/chexpert.md")))]
    pub struct ChexpertSpec in a folder {
        /// Folder that has `train.csv` and `valid.csv`, such as `CheXpert-v1.0-small`.
        pub path: PathBuf,
        /// Findings to classify, in the order of the logits; all 14 if absent.
        #[serde(default)]
        pub classes: Option<Vec<String>>,
        /// What an uncertain finding counts as.
        #[serde(default)]
        pub uncertain: Uncertain,
        /// Images to use.
        #[serde(default)]
        pub views: Views,
    }
    folders: []
    left_out: []
}

/// What an uncertain finding counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Uncertain {
    /// As unknown: losses and scores leave it out.
    #[default]
    Ignore,
    /// As absent.
    Zeros,
    /// As present.
    Ones,
}

/// Images to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Views {
    /// Frontal ones, AP and PA.
    #[default]
    Frontal,
    /// Frontal and lateral ones.
    All,
}

/// The findings, in the order of the columns.
const FINDINGS: [&str; 14] = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
];

/// The CSVs, with their official split.
const PARTS: [(&str, SplitName); 2] = [("train.csv", SplitName::Train), ("valid.csv", SplitName::Test)];

/// Folders that images are in.
const FOLDERS: [&str; 2] = ["train", "valid"];

/// Fraction of the training images for validation.
const VAL: f64 = 0.05;

impl ImageFiles for ChexpertSpec {
    const NAME: &'static str = "chexpert";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        SplitSpec::Official(OfficialSplitSpec { val: Some(VAL), seed: 0 })
    }

    fn validate_own(&self, problems: &mut Problems) {
        let Some(classes) = &self.classes else { return };
        for (i, class) in classes.iter().enumerate().filter(|(_, class)| !FINDINGS.contains(&class.as_str()))
        {
            let message = format!("CheXpert has no finding `{class}`; it has {}", FINDINGS.join(", "));
            problems.add(&format!("classes.{i}"), message, suggest::help(class, &FINDINGS));
        }
        problems.no_duplicates("classes", "finding", classes);
        if classes.is_empty() {
            problems.add("classes", "`classes` is empty", Some("name findings, or omit `classes`".into()));
        }
    }

    fn list(&self) -> Result<Listing, DataError> {
        let all = || FINDINGS.map(Into::into).into();
        let classes = self.classes.clone().unwrap_or_else(all);
        let (mut images, mut files) = (Vec::new(), Vec::new());
        for (name, split) in PARTS {
            let path = folder::first_of(&self.path, &[name], "a CSV of findings")?;
            images.extend(self.part(&path, split, &classes)?);
            files.push(path);
        }
        Ok(Listing { list: self.path.clone(), images, classes: Some(classes), files })
    }
}

impl ChexpertSpec {
    /// The images of a CSV.
    fn part(&self, path: &Path, split: SplitName, classes: &[String]) -> Result<Vec<Listed>, DataError> {
        let views = (self.views == Views::Frontal).then_some("Frontal/Lateral");
        let columns = ["Path"].into_iter().chain(views).chain(classes.iter().map(String::as_str));
        let csv = Csv::read(path, &columns.collect::<Vec<_>>())?;
        let (image, view) = (csv.column("Path")?, views.map(|name| csv.column(name)).transpose()?);
        let findings = classes.iter().map(|class| Ok((csv.column(class)?, class.as_str())));
        let findings = findings.collect::<Result<Vec<_>, DataError>>()?;
        let mut listed = Vec::new();
        for row in csv.rows() {
            if view.map_or(Ok(true), |view| is_frontal(row, view))? {
                let name = name(row, image)?;
                listed.push(Listed {
                    file: self.path.join(&name),
                    group: Some(patient(row, &name)?),
                    label: row.multi_hot(&findings, |field| self.state(field))?,
                    split: Some(split),
                    place: Place::row(csv.path(), row),
                    name,
                });
            }
        }
        Ok(listed)
    }

    fn state(&self, field: Field) -> State {
        match (field, self.uncertain) {
            (Field::Blank, _) | (Field::Uncertain, Uncertain::Zeros) => State::Absent,
            (Field::Uncertain, Uncertain::Ones) => State::Present,
            (Field::Uncertain, Uncertain::Ignore) => State::Unknown,
        }
    }
}

fn is_frontal(row: CsvRow<'_>, view: usize) -> Result<bool, DataError> {
    match row.text(view)? {
        "Frontal" => Ok(true),
        "Lateral" => Ok(false),
        other => Err(row.error(format!("Frontal/Lateral is '{other}'; it must be Frontal or Lateral"))),
    }
}

/// The path from `train` or `valid` on.
fn name(row: CsvRow<'_>, column: usize) -> Result<String, DataError> {
    let path = row.text(column)?;
    let parts: Vec<&str> = path.split('/').collect();
    let start = parts.iter().position(|part| FOLDERS.contains(part));
    let start = start.ok_or_else(|| row.error(format!("Path '{path}' has no folder `train` or `valid`")))?;
    Ok(parts[start..].join("/"))
}

/// `patient00001`
fn patient(row: CsvRow<'_>, name: &str) -> Result<String, DataError> {
    let patient = name.split('/').find(|part| part.starts_with("patient"));
    let unknown = || row.error(format!("Path '{name}' has no folder `patient…`"));
    patient.map(Into::into).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use crate::DatasetKind;

    const TRAIN: &str = "\
Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture
CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg,Female,68,Frontal,AP,1.0,,
CheXpert-v1.0-small/train/patient00002/study1/view1_frontal.jpg,Male,70,Frontal,PA,,-1.0,1.0
CheXpert-v1.0-small/train/patient00002/study1/view2_lateral.jpg,Male,70,Lateral,,,-1.0,1.0
CheXpert-v1.0-small/train/patient00003/study2/view1_frontal.jpg,Male,9,Frontal,AP,,1.0,0.0
";
    const VALID: &str = "\
Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Edema,Fracture
CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg,Male,73,Frontal,AP,0.0,1.0,0.0
";

    /// The folder of these CSVs, with an image for each row.
    fn folder(train: &str, valid: &str) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, csv) in [("train.csv", train), ("valid.csv", valid)] {
            std::fs::write(folder.path().join(name), csv).unwrap();
            for (i, row) in csv.lines().skip(1).enumerate() {
                let path = row.split(',').next().unwrap();
                let file = folder.path().join(path.split_once('/').map_or(path, |(_, below)| below));
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                let level = (40 * i % 256) as u8 + u8::from(name == "valid.csv");
                let image = image::GrayImage::from_pixel(8, 8, image::Luma([level]));
                image.save_with_format(file, image::ImageFormat::Png).unwrap();
            }
        }
        folder
    }

    fn spec(folder: &TempDir, keys: Value) -> ChexpertSpec {
        let mut spec = json!({ "path": folder.path(), "size": 8, "classes": ["Edema", "Fracture"] });
        spec.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn uncertain_findings_are_ignored_or_count_as_said_and_blank_ones_are_absent() {
        let folder = folder(TRAIN, VALID);
        let texts = |uncertain: &str| {
            let keys = json!({ "uncertain": uncertain, "split": { "official": {} } });
            let data = spec(&folder, keys).load(None).unwrap();
            (data.train.labels.texts(), data.test.labels.texts())
        };
        let expected = |second: &str| (vec!["00".into(), second.into(), "10".into()], vec!["10".into()]);
        assert_eq!(texts("ignore"), expected("?1"));
        assert_eq!(texts("zeros"), expected("01"));
        assert_eq!(texts("ones"), expected("11"));
    }

    #[test]
    fn patients_are_groups_and_lateral_images_are_left_out_unless_asked_for() {
        let folder = folder(TRAIN, VALID);
        let train = |views: &str| {
            spec(&folder, json!({ "views": views, "split": { "official": {} } })).load(None).unwrap().train
        };
        assert_eq!(train("frontal").groups, Some(vec![0, 1, 2]));
        let all = train("all");
        assert_eq!(all.groups, Some(vec![0, 1, 1, 2]));
        assert_eq!(all.names[2], "train/patient00002/study1/view2_lateral.jpg");
        let summary = spec(&folder, json!({ "split": { "official": {} } })).summary().unwrap();
        assert_eq!(summary.counts, [[1, 1], [0, 0], [1, 0]]);
        assert_eq!(summary.multi_label.unwrap().unknown[0], [1, 0]);
    }

    #[test]
    fn five_percent_of_the_patients_are_for_validation_by_default() {
        let row = |i: usize| format!("x/train/patient{i:05}/study1/view1_frontal.jpg,Frontal,1,0\n");
        let rows: String = (0..60).map(row).collect();
        let header = "Path,Frontal/Lateral,Edema,Fracture\n";
        let valid = "x/valid/patient9/study1/view1_frontal.jpg,Frontal,0,1\n";
        let folder = folder(&format!("{header}{rows}"), &format!("{header}{valid}"));
        let spec = spec(&folder, json!({ "allow": ["identical_images"] }));
        assert_eq!(spec.summary().unwrap().multi_label.unwrap().images, [57, 3, 1]);
    }

    #[test]
    fn what_is_not_understood_is_an_error_at_its_row() {
        let error = |from: &str, to: &str| {
            let folder = folder(&TRAIN.replace(from, to), VALID);
            spec(&folder, json!({})).summary().unwrap_err().to_string()
        };
        assert!(
            error("-1.0", "2").contains("train.csv, row 3: 'Edema' is '2'; it must be 1, 0, -1 or blank")
        );
        assert!(error("Male,9,Frontal", "Male,9,Side").contains("row 5: Frontal/Lateral is 'Side'; it must"));
        assert!(
            error("train/patient00003", "other/patient00003").contains("row 5: Path 'CheXpert-v1.0-small/o")
        );
        assert!(
            error("patient00003", "p3").contains("row 5: Path 'train/p3/study2/view1_frontal.jpg' has no")
        );
        assert!(error("Edema", "Oedema").contains("row 1: column 'Edema' is missing"));
    }

    #[test]
    fn findings_are_known_ones() {
        let problems = |classes: Value| {
            let mut problems = Problems::default();
            let folder = tempfile::tempdir().unwrap();
            spec(&folder, json!({ "classes": classes })).validate_own(&mut problems);
            problems.into_list().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert!(problems(json!(["Edema"])).is_empty());
        assert!(
            problems(json!(["edema"]))[0].starts_with("CheXpert has no finding `edema`; it has No Finding, ")
        );
        assert!(
            problems(json!([]))[0].contains("is empty") && problems(json!(["Edema", "Edema"])).len() == 1
        );
    }
}
