//! What a kind finds before any image is read: image files with their labels.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::csv::CsvRow;
use super::label::Label;
use crate::{DataError, SplitName};

/// The images of a data set, as its files list them.
pub struct Listing {
    /// The file or folder that lists them, for messages.
    pub(crate) list: PathBuf,
    /// The images, in any order.
    pub(crate) images: Vec<Listed>,
    /// Class names, in order; those that occur, sorted, if absent.
    pub(crate) classes: Option<Vec<String>>,
    /// The files that were read.
    pub(crate) files: Vec<PathBuf>,
}

impl Listing {
    /// Whether images may have any number of classes.
    pub(super) fn is_multi_label(&self) -> bool {
        self.images.iter().any(|image| matches!(image.label, Label::Any { .. }))
    }
}

/// An image file with its label.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Name inside of the data set: a path, `/` between its parts.
    pub(crate) name: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// Its class or classes.
    pub(crate) label: Label,
    /// What must stay in one split: a patient, a lesion.
    pub(crate) group: Option<String>,
    /// Split, if the data set states it.
    pub(crate) split: Option<SplitName>,
    /// Where it is listed.
    pub(crate) place: Place,
}

/// Where an image is listed: a row of a CSV, or a folder.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    list: Arc<Path>,
    /// Line of the CSV; the header is line 1.
    row: Option<u64>,
}

impl Place {
    /// A row of a CSV.
    pub(crate) fn row(list: &Arc<Path>, row: CsvRow<'_>) -> Self {
        Self { list: list.clone(), row: Some(row.number) }
    }

    /// A folder.
    pub(crate) fn folder(folder: &Arc<Path>) -> Self {
        Self { list: folder.clone(), row: None }
    }

    /// As named after the file that lists the image: `row 7`, or the image's name.
    pub(crate) fn named<'n>(&self, name: &'n str) -> std::borrow::Cow<'n, str> {
        self.row.map_or(name.into(), |row| format!("row {row}").into())
    }
}

impl Listed {
    /// An error about this image.
    pub(crate) fn error(&self, message: impl Into<String>) -> DataError {
        DataError::at(&self.place.list, self.place(), message)
    }

    /// `row 7`, or the image's name in a folder.
    pub(crate) fn place(&self) -> String {
        self.place.named(&self.name).into_owned()
    }

    /// The order in which images are listed.
    pub(crate) fn order(&self) -> (&Path, Option<u64>, &str) {
        (&self.place.list, self.place.row, &self.name)
    }
}

/// An image with its split.
pub(crate) struct Row {
    pub(crate) image: Listed,
    pub(crate) split: SplitName,
}

impl std::ops::Deref for Row {
    type Target = Listed;

    fn deref(&self) -> &Listed {
        &self.image
    }
}
