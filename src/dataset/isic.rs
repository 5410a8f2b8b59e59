//! What the ISIC challenges have in common: ground truth with one column per class, and lesions with several images.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::image_files::csv::{Csv, CsvRow};
use crate::image_files::listing::Place;
use crate::image_files::{Listed, folder};
use crate::{DataError, SplitName};

/// The images of one part of a challenge.
pub(crate) struct Part<'p> {
    /// Folder of the data set, for names of images.
    pub(crate) root: &'p Path,
    /// CSV with a column `image` and one per class.
    pub(crate) ground_truth: &'p Path,
    /// Folder of the images.
    pub(crate) images: &'p Path,
    /// Columns of the classes.
    pub(crate) classes: &'p [&'p str],
    /// Lesion of each image, as far as known.
    pub(crate) lesions: &'p HashMap<String, String>,
    /// Split of all its images.
    pub(crate) split: SplitName,
}

impl Part<'_> {
    /// The images, with their class and lesion.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, DataError> {
        let columns: Vec<&str> = std::iter::once("image").chain(self.classes.iter().copied()).collect();
        let csv = Csv::read(self.ground_truth, &columns)?;
        let image = csv.column("image")?;
        let classes = self.classes.iter().map(|&class| Ok((csv.column(class)?, class)));
        let classes = classes.collect::<Result<Vec<_>, DataError>>()?;
        let files = Files::below(&[self.images])?;
        let listed = |row: CsvRow<'_>| {
            let (id, label) = (csv_id(row, image)?, row.one_hot(&classes)?);
            Ok(files.listed(
                self.root,
                id,
                label,
                self.lesions.get(id),
                Some(self.split),
                Place::row(csv.path(), row),
            ))
        };
        csv.rows().map(listed).collect()
    }
}

/// The name of an image, without an extension that it may have.
fn csv_id(row: CsvRow<'_>, column: usize) -> Result<&str, DataError> {
    let name = row.text(column)?;
    Ok(name.strip_suffix(".jpg").unwrap_or(name))
}

/// Image files by name without extension.
pub(crate) struct Files {
    folder: PathBuf,
    by_stem: HashMap<String, PathBuf>,
}

impl Files {
    /// The image files in some folders and below.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub(crate) fn below(folders: &[&Path]) -> Result<Self, DataError> {
        let mut by_stem = HashMap::new();
        for folder in folders {
            for file in folder::images(folder)? {
                if let Some(stem) = file.file_stem().and_then(|stem| stem.to_str()) {
                    by_stem.entry(stem.to_owned()).or_insert(file);
                }
            }
        }
        Ok(Self { folder: folders.first().map_or_else(PathBuf::new, |folder| folder.to_path_buf()), by_stem })
    }

    /// The image with this name. If there is no such file, it is expected in the first folder.
    pub(crate) fn listed(
        &self,
        root: &Path,
        id: &str,
        label: &str,
        group: Option<&String>,
        split: Option<SplitName>,
        place: Place,
    ) -> Listed {
        let expected = || self.folder.join(format!("{id}.jpg"));
        let file = self.by_stem.get(id).cloned().unwrap_or_else(expected);
        let name = folder::relative(&file, root);
        Listed { name, file, label: label.into(), group: group.cloned(), split, place }
    }
}

/// The lesion of each image in a CSV.
pub(crate) fn lesions(path: &Path, image: &str) -> Result<HashMap<String, String>, DataError> {
    let csv = Csv::read(path, &[image, "lesion_id"])?;
    let (image, lesion) = (csv.column(image)?, csv.column("lesion_id")?);
    let known = csv
        .rows()
        .filter_map(|row| Some((row.raw(image).trim().to_owned(), row.optional(lesion)?.to_owned())));
    Ok(known.collect())
}
