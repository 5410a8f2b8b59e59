//! Image files in a folder.

use std::path::{Path, PathBuf};

use crate::{DataError, image};

/// Extensions of image files, in lower case.
pub const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "dcm", "dicom"];

/// Folders in folders that are read.
const DEEPEST: usize = 16;

/// The image files in a folder and the folders below it, sorted. Files and folders whose name starts with a dot are
/// ignored, as are other files than images by [`is_image`].
///
/// # Errors
/// A folder cannot be read, or folders are nested too deeply, as in a link to itself.
pub(crate) fn images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    collect(folder, 0, &mut images)?;
    Ok(images)
}

fn collect(folder: &Path, depth: usize, images: &mut Vec<PathBuf>) -> Result<(), DataError> {
    if depth > DEEPEST {
        return Err(DataError::new(folder, format!("folders are nested more than {DEEPEST} deep")));
    }
    for path in entries(folder)? {
        match path.is_dir() {
            true => collect(&path, depth + 1, images)?,
            false if is_image(&path) => images.push(path),
            false => {}
        }
    }
    Ok(())
}

/// The names in a folder that are UTF-8 and do not start with a dot, sorted.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let read = |error| DataError::io(folder, "read the folder", &error);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let message = format!("the name '{}' is not UTF-8; rename it", name.display());
            return Err(DataError::new(folder, message));
        };
        if !name.starts_with('.') {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

/// The folders in a folder.
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Whether a file is an image by its extension, or a DICOM file without one, as scanners write them.
pub fn is_image(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => EXTENSIONS.contains(&extension.to_string_lossy().to_lowercase().as_str()),
        None => image::is_dicom(path),
    }
}

/// The first of several names that exists in a folder.
///
/// # Errors
/// None does.
pub(crate) fn first_of(folder: &Path, names: &[&str], what: &str) -> Result<PathBuf, DataError> {
    find(folder, names).ok_or_else(|| missing(folder, names, what))
}

/// The error that a folder has none of several names.
pub(crate) fn missing(folder: &Path, names: &[&str], what: &str) -> DataError {
    let names = names.join("` or `");
    DataError::new(folder, format!("{what} is missing: `{names}`"))
}

/// The first of several names that exists in a folder.
pub(crate) fn find(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name)).find(|path| path.exists())
}

/// A path below a folder, as text with `/`.
pub(crate) fn relative(path: &Path, folder: &Path) -> String {
    let parts = path.strip_prefix(folder).unwrap_or(path).components();
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
