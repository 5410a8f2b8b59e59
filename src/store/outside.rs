//! Digests of data sets and files outside the store. A plan computes them, and a worker checks that nothing has changed
//! since. Both share the cache of [`Digests`], so unchanged files are read once.

use std::fs::File;
use std::io;
use std::path::Path;

use super::Digests;
use dataset::{DataError, DatasetSpec, Summary};

/// Side of the images in pixels, and the summary.
pub type Look = (usize, Summary);

impl Digests<'_> {
    /// What `look` sees in a data set: it depends on its kind, revision, options and files.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn look_once(
        &self,
        spec: &DatasetSpec,
        look: impl FnOnce(&DatasetSpec) -> Result<Look, DataError>,
    ) -> Result<Look, DataError> {
        let what = format!("{} {} {}", spec.kind(), spec.revision(), spec.options());
        self.read_once(&what, || spec.files(), || look(spec))
    }

    /// blake3 of a file's content in hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&self, path: &Path) -> io::Result<String> {
        self.read_once("file", || vec![path.to_path_buf()], || digest(path))
    }
}

/// Looks at a data set without decoding images.
///
/// # Errors
/// It cannot be used.
pub fn look(spec: &DatasetSpec) -> Result<Look, DataError> {
    let summary = spec.summary()?;
    Ok((spec.size(), summary))
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}
