#![doc = include_str!("layout/manifest.md")]

use std::path::{Path, PathBuf};

use kind::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::image_files::csv::{Csv, CsvRow, parse_split};
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing};
use crate::split::SplitSpec;

image_files! {
    /// A folder of images with a CSV of labels.
    #[schemars(extend("x-layout" = include_str!("layout/manifest.md")))]
    pub struct ManifestSpec in a file {
        /// Path of the CSV, relative to the experiment file. Its columns are separated by commas, semicolons, tabs or
        /// `|`.
        pub path: PathBuf,
        /// Folder that the image paths are relative to; the folder of the CSV if absent.
        #[serde(default)]
        pub images: Option<PathBuf>,
        /// Class names in the order of the logits; if absent, the labels in the CSV, sorted, numerically if all are
        /// numbers.
        #[serde(default)]
        pub classes: Option<Vec<String>>,
        /// Names of the CSV's columns, where they are not `image`, `label`, `split` and `group`.
        #[serde(default, skip_serializing_if = "Columns::is_default")]
        pub columns: Columns,
    }
    folders: [images]
    left_out: ["columns"]
}

/// Names of the columns of a CSV.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Column of the image's path; default `image`.
    pub image: Option<String>,
    /// Column of the class; default `label`.
    pub label: Option<String>,
    /// One column per class in place of `label`, with 1 for the class of the image and 0 for the others.
    pub one_hot: Option<Vec<String>>,
    /// Column of the split; default `split`, if there is one.
    pub split: Option<String>,
    /// Column of what must stay in one split, such as the patient; default `group`, if there is one.
    pub group: Option<String>,
    /// What is added to the end of an image's path: `.jpg` if the CSV has names without it.
    pub extension: Option<String>,
}

impl Columns {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn image(&self) -> &str {
        self.image.as_deref().unwrap_or("image")
    }

    /// The columns that must exist, the image's first.
    fn required(&self) -> Vec<&str> {
        let label = [self.label.as_deref().unwrap_or("label")];
        let labels = self.one_hot.iter().flatten().map(String::as_str);
        let labels = labels.chain(label.into_iter().filter(|_| self.one_hot.is_none()));
        std::iter::once(self.image())
            .chain(labels)
            .chain(self.split.as_deref())
            .chain(self.group.as_deref())
            .collect()
    }
}

impl ImageFiles for ManifestSpec {
    const NAME: &'static str = "manifest";
    const IF_MISSING: &'static str = "; `images` is the folder that paths are relative to";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn classes_enter_digest(&self) -> bool {
        self.classes.is_none() && self.columns.one_hot.is_some()
    }

    fn validate_own(&self, problems: &mut Problems) {
        if self.columns.one_hot.is_some() && self.columns.label.is_some() {
            problems.add("columns.label", "`label` and `one_hot` exclude each other", None);
        }
    }

    fn list(&self) -> Result<Listing, DataError> {
        let csv = Csv::read(&self.path, &self.columns.required())?;
        let reader = Reader::new(self, &csv)?;
        let images = csv.rows().map(|row| reader.image(row)).collect::<Result<_, _>>()?;
        let classes = self.classes.clone().or_else(|| self.columns.one_hot.clone());
        Ok(Listing { list: self.path.clone(), images, classes, files: vec![self.path.clone()] })
    }
}

/// Positions of the columns.
struct Reader<'s> {
    folder: &'s Path,
    extension: &'s str,
    csv: &'s Csv,
    image: usize,
    label: Label<'s>,
    split: Option<usize>,
    group: Option<usize>,
}

/// Where the class is.
enum Label<'s> {
    Column(usize),
    OneHot(Vec<(usize, &'s str)>),
}

impl<'s> Reader<'s> {
    fn new(spec: &'s ManifestSpec, csv: &'s Csv) -> Result<Self, DataError> {
        let columns = &spec.columns;
        let folder = spec.images.as_deref().or_else(|| spec.path.parent()).unwrap_or(Path::new(""));
        let column = |name: &Option<String>, default| csv.optional_column(name.as_deref().unwrap_or(default));
        // A column that another split ignores may hold anything.
        let is_official = matches!(spec.split, None | Some(SplitSpec::Official(_)));
        let split = if is_official { column(&columns.split, "split")? } else { None };
        let label = match &columns.one_hot {
            Some(classes) => Label::OneHot(
                classes
                    .iter()
                    .map(|class| Ok((csv.column(class)?, class.as_str())))
                    .collect::<Result<_, _>>()?,
            ),
            None => Label::Column(csv.column(columns.label.as_deref().unwrap_or("label"))?),
        };
        Ok(Self {
            folder,
            extension: columns.extension.as_deref().unwrap_or_default(),
            csv,
            image: csv.column(columns.image())?,
            label,
            split,
            group: column(&columns.group, "group")?,
        })
    }

    fn image(&self, row: CsvRow<'_>) -> Result<Listed, DataError> {
        row.text(self.image)?;
        let name = row.raw(self.image).to_owned() + self.extension;
        let label = match &self.label {
            Label::Column(column) => row.text(*column)?,
            Label::OneHot(columns) => row.one_hot(columns)?,
        };
        let split = self.split.map(|column| row.text(column)).transpose()?;
        let split = split.map(|split| parse_split(split).map_err(|message| row.error(message)));
        Ok(Listed {
            file: self.folder.join(&name),
            name,
            label: label.to_owned(),
            group: self.group.and_then(|column| row.optional(column)).map(Into::into),
            split: split.transpose()?,
            place: Place::row(self.csv.path(), row),
        })
    }
}

#[cfg(test)]
mod tests;
