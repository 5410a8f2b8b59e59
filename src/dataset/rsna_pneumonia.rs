#![doc = include_str!("layout/rsna_pneumonia.md")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::image_files::csv::{Csv, CsvRow};
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::split::{RandomSplitSpec, SplitSpec};

image_files! {
    /// RSNA Pneumonia Detection Challenge: the folder as it is downloaded. Without the key `split`, it is split at
    /// random.
    #[schemars(extend("x-layout" = include_str!("layout/rsna_pneumonia.md")))]
    pub struct RsnaPneumoniaSpec in a folder {
        /// Folder that has `stage_2_train_labels.csv` and `stage_2_train_images`.
        pub path: PathBuf,
        /// Labels of the images.
        #[serde(default, skip_serializing_if = "crate::pixels::is_default")]
        pub labels: RsnaLabels,
    }
    folders: []
    left_out: []
}

/// Labels of the RSNA Pneumonia Detection Challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RsnaLabels {
    /// The challenge's target: `no_pneumonia` or `pneumonia`.
    #[default]
    Target,
    /// The detailed classes: `normal`, `not_normal` or `lung_opacity`.
    Class,
}

impl RsnaLabels {
    /// The CSV and its column of labels.
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Self::Target => ("stage_2_train_labels.csv", "Target"),
            Self::Class => ("stage_2_detailed_class_info.csv", "class"),
        }
    }

    /// Each label as the CSV has it, and the name of its class.
    fn classes(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Target => &[("0", "no_pneumonia"), ("1", "pneumonia")],
            Self::Class => &[
                ("Normal", "normal"),
                ("No Lung Opacity / Not Normal", "not_normal"),
                ("Lung Opacity", "lung_opacity"),
            ],
        }
    }
}

impl ImageFiles for RsnaPneumoniaSpec {
    const NAME: &'static str = "rsna_pneumonia";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        SplitSpec::Random(RandomSplitSpec::default())
    }

    fn list(&self) -> Result<Listing, DataError> {
        let images = folder::first_of(&self.path, &["stage_2_train_images"], "the folder of its images")?;
        let labels = folder::first_of(&self.path, &[self.labels.source().0], "the CSV of labels")?;
        let classes = self.labels.classes().iter().map(|(_, class)| (*class).into()).collect();
        let images = self.images(&labels, &images)?;
        Ok(Listing { list: self.path.clone(), images, classes: Some(classes), files: vec![labels] })
    }
}

impl RsnaPneumoniaSpec {
    /// The image of each patient, at its first row.
    fn images(&self, labels: &Path, folder: &Path) -> Result<Vec<Listed>, DataError> {
        let column = self.labels.source().1;
        let csv = Csv::read(labels, &["patientId", column])?;
        let (patient, label) = (csv.column("patientId")?, csv.column(column)?);
        let mut first: HashMap<&str, (&str, u64)> = HashMap::new();
        let mut images = Vec::new();
        for row in csv.rows() {
            let (id, class) = (row.text(patient)?, self.class(row, label)?);
            match first.get(id) {
                Some(&(same, _)) if same == class => {}
                Some(&(other, number)) => {
                    let message = format!("patient '{id}' is '{class}', but '{other}' in row {number}");
                    return Err(row.error(message));
                }
                None => {
                    first.insert(id, (class, row.number));
                    images.push(self.image(id, class, folder, Place::row(csv.path(), row)));
                }
            }
        }
        Ok(images)
    }

    fn image(&self, id: &str, class: &str, folder: &Path, place: Place) -> Listed {
        let file = folder.join(format!("{id}.dcm"));
        let name = folder::relative(&file, &self.path);
        Listed { name, file, label: class.into(), group: None, split: None, place }
    }

    /// The name of the class in a field.
    fn class(&self, row: CsvRow<'_>, column: usize) -> Result<&'static str, DataError> {
        let (text, classes) = (row.text(column)?, self.labels.classes());
        let known = classes.iter().find(|(label, _)| *label == text);
        known.map(|(_, class)| *class).ok_or_else(|| {
            let labels: Vec<String> = classes.iter().map(|(label, _)| format!("'{label}'")).collect();
            row.error(format!("{} is '{text}'; it must be {}", self.labels.source().1, labels.join(" or ")))
        })
    }
}
