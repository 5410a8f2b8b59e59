//! Image files in a folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::{DataError, image};

/// Extensions of image files, in lower case.
pub const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "dcm", "dicom"];

/// The image files in a folder and the folders below it, sorted. Files and folders whose name starts with a dot are
/// ignored, as are other files than images by [`is_image`].
///
/// Links to folders are followed. Each folder is read once, by the first path to it, and links that lead back to a
/// folder above are ignored.
///
/// # Errors
/// A folder cannot be read.
pub fn images(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut walk = Walk { seen: above(folder), images: Vec::new() };
    walk.collect(folder)?;
    Ok(walk.images)
}

/// The folders above a path as it is written, without links in their paths.
fn above(path: &Path) -> HashSet<PathBuf> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let prefixes: Vec<&Path> = absolute.ancestors().skip(1).collect();
    let mut above = Vec::new();
    for prefix in prefixes.into_iter().rev() {
        match prefix.ends_with("..") {
            true => drop(above.pop()),
            false => above.extend(prefix.canonicalize()),
        }
    }
    above.into_iter().collect()
}

struct Walk {
    /// Folders, without links in their paths.
    seen: HashSet<PathBuf>,
    images: Vec<PathBuf>,
}

impl Walk {
    fn collect(&mut self, folder: &Path) -> Result<(), DataError> {
        let real = folder.canonicalize().map_err(|error| DataError::io(folder, "read the folder", &error))?;
        if !self.seen.insert(real) {
            return Ok(());
        }
        for path in entries(folder)? {
            match path.is_dir() {
                true => self.collect(&path)?,
                false if is_image(&path) => self.images.push(path),
                false => {}
            }
        }
        Ok(())
    }
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

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Paths of the images below a folder, relative to it.
    fn names(folder: &Path) -> Vec<String> {
        images(folder).unwrap().iter().map(|path| relative(path, folder)).collect()
    }

    #[test]
    fn links_to_folders_are_followed_once_and_never_back() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for folder in ["root/a/deep", "root/b", "elsewhere"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for file in ["root/a/1.png", "root/a/deep/2.png", "root/b/3.png", "elsewhere/4.png", "5.png"] {
            fs::write(path(file), "").unwrap();
        }
        symlink(path("elsewhere"), path("root/a/linked")).unwrap();
        symlink(path("elsewhere"), path("root/again")).unwrap();
        symlink(path("root"), path("root/a/deep/back")).unwrap();
        symlink(place.path(), path("root/up")).unwrap();
        symlink(path("root/b"), path("elsewhere/b")).unwrap();
        symlink(path("root/b/3.png"), path("root/b/same.png")).unwrap();
        symlink(path("gone"), path("root/b/dangling")).unwrap();
        assert_eq!(
            names(&path("root")),
            ["a/1.png", "a/deep/2.png", "a/linked/4.png", "a/linked/b/3.png", "a/linked/b/same.png"]
        );
        assert_eq!(names(&path("root/again")), ["4.png", "b/3.png", "b/same.png"]);
        assert_eq!(names(&path("root/up")), [""; 0]);
        // A folder that is left again is not above.
        symlink(path("elsewhere"), path("root/b/out")).unwrap();
        assert_eq!(names(&path("elsewhere/../root/b")), ["3.png", "out/4.png", "same.png"]);
    }
}
