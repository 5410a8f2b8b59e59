//! Digests of data sets and files outside the store. A plan computes them, and a worker checks that nothing has changed
//! since. Both share the cache of [`Digests`], so unchanged files are read once.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Digests;
use sha2::{Digest, Sha256};

use dataset::{DataError, DatasetSpec, Summary};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Raised whenever unchanged files have another summary than before: 2, since the orientation of images counts; 3, since
/// it has the images of each group.
const LOOK: u32 = 3;

/// Side of the images in pixels, and the summary.
pub type Look = (usize, Summary);

impl Digests<'_> {
    /// What `look` sees in a data set: it depends on its kind, revision and files, and on all of its keys. Some of them,
    /// such as the largest number of pixels, change what is an error and nothing else.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn look_once(
        &self,
        spec: &DatasetSpec,
        look: impl FnOnce(&DatasetSpec) -> Result<Look, DataError>,
    ) -> Result<Look, DataError> {
        let what = format!("{LOOK} {} {} {:?}", spec.kind(), spec.revision(), without_paths(spec));
        self.read_once(&what, || spec.files(), || look(spec))
    }

    /// SHA-256 of a file's content in hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sha256(&self, path: &Path) -> io::Result<String> {
        self.read_once("sha256", || vec![path.to_path_buf()], || sha256(path))
    }

    /// blake3 of a file's content in hexadecimal.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(&self, path: &Path) -> io::Result<String> {
        self.read_once("file", || vec![path.to_path_buf()], || digest(path))
    }
}

/// A data set's keys other than paths, which are relative in some commands and absolute in others.
fn without_paths(spec: &DatasetSpec) -> DatasetSpec {
    let mut spec = spec.clone();
    spec.paths().into_iter().for_each(|path| path.path.clear());
    spec
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
    hasher.update_reader(open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

fn sha256(path: &Path) -> io::Result<String> {
    let (mut hasher, mut file, mut piece) = (Sha256::new(), open(path)?, vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Open a regular file: a pipe or a device may have no end.
fn open(path: &Path) -> io::Result<File> {
    match path.metadata()?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}
