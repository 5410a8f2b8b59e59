//! Image files from paths, folders and CSVs, in the order given.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dataset::DataError;
use crate::dataset::image_files::csv::{Csv, CsvRow};
use crate::dataset::image_files::folder::{self, EXTENSIONS};
use crate::error::Error;

/// The column of a CSV that names images.
const COLUMN: &str = "image";

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Name in the predictions: its path, or what the CSV says.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// The CSV and the row that name it.
    pub listed: Option<(Arc<Path>, u64)>,
}

impl ImageFile {
    fn new(path: PathBuf) -> Self {
        Self { name: path.to_string_lossy().into_owned(), path, listed: None }
    }

    /// The error of an image that cannot be decoded, with the row that names it.
    pub fn error(&self, message: String) -> Error {
        match &self.listed {
            Some((csv, row)) => DataError::at(csv, format!("row {row}"), message).into(),
            None => Error::Image(message),
        }
    }
}

/// The images that paths stand for: a file for itself, whatever its extension; a folder for all JPEG, PNG and DICOM
/// files below it, sorted by path, except hidden ones, with links as in a data set; a CSV for the images in its column `image`, relative to its
/// folder.
///
/// # Errors
/// A path leads nowhere, a folder has no images, or a CSV cannot be read.
pub fn find(paths: &[PathBuf]) -> Result<Vec<ImageFile>, Error> {
    let mut images = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Err(error) => return Err(unreadable(path, &error)),
            Ok(found) if found.is_dir() => images.extend(in_folder(path)?),
            Ok(_) if is_csv(path) => images.extend(in_csv(path)?),
            Ok(_) => images.push(ImageFile::new(path.clone())),
        }
    }
    Ok(images)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Read { path: path.to_owned(), message: error.to_string() }
}

fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn in_folder(folder: &Path) -> Result<Vec<ImageFile>, DataError> {
    let found = folder::images(folder)?;
    if found.is_empty() {
        let message =
            format!("there is no image in this folder: no file ends in .{}", EXTENSIONS.join(", ."));
        return Err(DataError::new(folder, message));
    }
    Ok(found.into_iter().map(ImageFile::new).collect())
}

fn in_csv(path: &Path) -> Result<Vec<ImageFile>, DataError> {
    let csv = Csv::read(path, &[COLUMN])?;
    let (column, folder) = (csv.column(COLUMN)?, path.parent().unwrap_or(Path::new("")));
    let image = |row: CsvRow<'_>| {
        let name = row.text(column)?;
        let listed = Some((Arc::clone(csv.path()), row.number));
        Ok(ImageFile { name: name.to_owned(), path: folder.join(name), listed })
    };
    csv.rows().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    fn names(folder: &tempfile::TempDir, paths: &[&str]) -> Vec<String> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| folder.path().join(path)).collect();
        let root = format!("{}/", folder.path().display());
        find(&paths).unwrap().into_iter().map(|image| image.name.replace(&root, "")).collect()
    }

    #[test]
    fn a_folder_stands_for_all_images_below_it_in_the_order_of_their_paths() {
        let names_of_files =
            ["b.PNG", "a/z.jpeg", "a/y.jpg", "notes.txt", ".x.png", ".y/a.png", "c.png", "IM02"];
        let folder = folder(&names_of_files);
        fs::write(folder.path().join("IM01"), [&[0; 128][..], b"DICM"].concat()).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
        assert_eq!(
            names(&folder, &["c.png", ""]),
            ["c.png", "IM01", "a/y.jpg", "a/z.jpeg", "b.PNG", "c.png"]
        );
    }

    #[test]
    fn a_csv_names_images_relative_to_its_folder() {
        let folder = folder(&["a/x.png"]);
        let csv = folder.path().join("list.csv");
        fs::write(&csv, "\u{feff}label,image\nq, x.png\n,\"y, z.png\"\n,x.png\n").unwrap();
        let images = find(std::slice::from_ref(&csv)).unwrap();
        assert_eq!(
            images.iter().map(|image| &*image.name).collect::<Vec<_>>(),
            ["x.png", "y, z.png", "x.png"]
        );
        assert_eq!(images[1].path, folder.path().join("y, z.png"));
        assert_eq!(images[1].listed, Some((csv.as_path().into(), 3)));
    }

    #[test]
    fn what_names_no_image_is_an_error() {
        let folder = folder(&["empty/notes.txt"]);
        let error = |name: &str, csv: &str| {
            let path = folder.path().join(name);
            if !csv.is_empty() {
                fs::write(&path, csv).unwrap();
            }
            find(&[path]).unwrap_err().to_string()
        };
        assert!(error("empty", "").contains("there is no image in this folder"));
        assert!(error("gone.png", "").contains("gone.png: No such file"));
        assert!(
            error("a.csv", "label,path\n")
                .contains("row 1: column 'image' is missing; the header is 'label,path'")
        );
        assert!(error("b.csv", "image\n").contains("has no rows"));
        assert!(error("c.csv", "image,label\na.png,x\n,x\n").contains("row 3: the image is empty"));
    }
}
