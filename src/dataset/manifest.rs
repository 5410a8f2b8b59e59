#![doc = include_str!("layout/manifest.md")]

use std::path::{Path, PathBuf};

use kind::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image_files::csv::{Csv, CsvRow, parse_split};
use crate::image_files::label::Label;
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing};
use crate::split::SplitSpec;
use crate::{DataError, State};

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
    /// One column per class of a multi-label data set in place of `label`: 1 if the image has the class, 0 if not, blank
    /// or −1 if that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_hot: Option<Vec<String>>,
    /// What separates the classes of an image in the column `label` of a multi-label data set: `|` for `a|b`. A blank
    /// field is an image without any of the classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
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

    /// Blocks of one column per class, by key.
    fn blocks(&self) -> Vec<(&'static str, &Vec<String>)> {
        let blocks = [("one_hot", &self.one_hot), ("multi_hot", &self.multi_hot)];
        blocks.into_iter().filter_map(|(key, block)| Some((key, block.as_ref()?))).collect()
    }

    fn image(&self) -> &str {
        self.image.as_deref().unwrap_or("image")
    }

    /// The columns that must exist, the image's first.
    fn required(&self) -> Vec<&str> {
        let label = [self.label.as_deref().unwrap_or("label")];
        let blocks = self.blocks();
        let labels = blocks.iter().flat_map(|(_, block)| block.iter().map(String::as_str));
        let labels = labels.chain(label.into_iter().filter(|_| blocks.is_empty()));
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
        self.classes.is_none() && !self.columns.blocks().is_empty()
    }

    fn validate_own(&self, problems: &mut Problems) {
        let Columns { label, separator, .. } = &self.columns;
        let blocks = self.columns.blocks();
        if let [(first, _), (second, _), ..] = blocks[..] {
            problems.add("columns", format!("`{first}` and `{second}` exclude each other"), None);
        }
        for (key, other) in [("label", label), ("separator", separator)] {
            if let (Some((block, _)), true) = (blocks.first(), other.is_some()) {
                let message = format!("`{key}` and `{block}` exclude each other");
                problems.add(&format!("columns.{key}"), message, None);
            }
        }
        if separator.as_ref().is_some_and(|separator| separator.trim().is_empty()) {
            problems.add(
                "columns.separator",
                "`separator` is blank",
                Some("write what separates classes".into()),
            );
        }
    }

    fn list(&self) -> Result<Listing, DataError> {
        let csv = Csv::read(&self.path, &self.columns.required())?;
        let reader = Reader::new(self, &csv)?;
        let images = csv.rows().map(|row| reader.image(row)).collect::<Result<_, _>>()?;
        let block = self.columns.blocks().first().map(|(_, block)| block.to_vec());
        let classes = self.classes.clone().or(block);
        Ok(Listing { list: self.path.clone(), images, classes, files: vec![self.path.clone()] })
    }
}

/// Positions of the columns.
struct Reader<'s> {
    folder: &'s Path,
    extension: &'s str,
    csv: &'s Csv,
    image: usize,
    label: Labeled<'s>,
    split: Option<usize>,
    group: Option<usize>,
}

/// Where the classes are.
enum Labeled<'s> {
    Column(usize),
    List(usize, &'s str),
    OneHot(Vec<(usize, &'s str)>),
    MultiHot(Vec<(usize, &'s str)>),
}

impl<'s> Labeled<'s> {
    fn new(columns: &'s Columns, csv: &Csv) -> Result<Self, DataError> {
        let block = |classes: &'s Vec<String>| {
            let column = |class: &'s String| Ok((csv.column(class)?, class.as_str()));
            classes.iter().map(column).collect::<Result<Vec<_>, DataError>>()
        };
        let label = || csv.column(columns.label.as_deref().unwrap_or("label"));
        match (&columns.one_hot, &columns.multi_hot, &columns.separator) {
            (Some(classes), ..) => block(classes).map(Self::OneHot),
            (_, Some(classes), _) => block(classes).map(Self::MultiHot),
            (.., Some(separator)) => Ok(Self::List(label()?, separator)),
            _ => label().map(Self::Column),
        }
    }

    fn read(&self, row: CsvRow<'_>) -> Result<Label, DataError> {
        match self {
            Self::Column(column) => Ok(row.text(*column)?.into()),
            Self::OneHot(columns) => Ok(row.one_hot(columns)?.into()),
            Self::List(column, separator) => Ok(list(row.raw(*column), separator)),
            Self::MultiHot(columns) => row.multi_hot(columns, |_| State::Unknown),
        }
    }
}

/// The classes in `a|b`; none in a blank field.
fn list(field: &str, separator: &str) -> Label {
    let names = field.split(separator).map(str::trim).filter(|name| !name.is_empty());
    Label::any(names.map(str::to_owned).collect(), Vec::new())
}

impl<'s> Reader<'s> {
    fn new(spec: &'s ManifestSpec, csv: &'s Csv) -> Result<Self, DataError> {
        let columns = &spec.columns;
        let folder = spec.images.as_deref().or_else(|| spec.path.parent()).unwrap_or(Path::new(""));
        let column = |name: &Option<String>, default| csv.optional_column(name.as_deref().unwrap_or(default));
        // A column that another split ignores may hold anything.
        let is_official = matches!(spec.split, None | Some(SplitSpec::Official(_)));
        let split = if is_official { column(&columns.split, "split")? } else { None };
        Ok(Self {
            folder,
            extension: columns.extension.as_deref().unwrap_or_default(),
            csv,
            image: csv.column(columns.image())?,
            label: Labeled::new(columns, csv)?,
            split,
            group: column(&columns.group, "group")?,
        })
    }

    fn image(&self, row: CsvRow<'_>) -> Result<Listed, DataError> {
        row.text(self.image)?;
        let name = row.raw(self.image).to_owned() + self.extension;
        let split = self.split.map(|column| row.text(column)).transpose()?;
        let split = split.map(|split| parse_split(split).map_err(|message| row.error(message)));
        Ok(Listed {
            file: self.folder.join(&name),
            name,
            label: self.label.read(row)?,
            group: self.group.and_then(|column| row.optional(column)).map(Into::into),
            split: split.transpose()?,
            place: Place::row(self.csv.path(), row),
        })
    }
}

#[cfg(test)]
mod tests;
