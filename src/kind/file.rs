//! Reading and writing files that a person names. Only regular files are read: a pipe may block, and a device may never
//! end. A written file is whole or absent.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::Path;

use tempfile::NamedTempFile;

/// Opens a regular file, or a link to one.
///
/// # Errors
/// There is none, or it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let found = std::fs::metadata(path)?.file_type();
    if found.is_file() {
        return File::open(path);
    }
    let what = if found.is_dir() { "a folder" } else { "a pipe or a device" };
    Err(Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a file")))
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// There is none, it cannot be read, is longer than `limit`, or does not fit into memory.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_long = || Error::new(ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
    let length = file.metadata()?.len();
    if length > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length as usize).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
}

/// A temporary file next to `path`, for [`publish`]. Dropped before, it is removed.
///
/// # Errors
/// The folder is missing or cannot be written.
pub fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(Error::other(format!("there is no folder {}; create it first", folder.display())));
    }
    // Not opened by tempfile, which makes files private to their owner.
    tempfile::Builder::new().prefix(".").suffix(".tmp").make_in(folder, |path| File::create_new(path))
}

/// Flush a file to disk and rename it to `path`.
///
/// # Errors
/// It cannot be written or renamed, or a file exists and `replace` is false.
pub fn publish(file: NamedTempFile, path: &Path, replace: bool) -> io::Result<File> {
    file.as_file().sync_all()?;
    let persisted = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let path = std::env::temp_dir().join(format!("medmerge-kind-file-{}", std::process::id()));
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&path, 3).unwrap_err().to_string(), "it has more than 3 bytes");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_appears_whole_and_replaces_another_only_if_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        drop(beside(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        for (text, replace, after) in [("a", false, "a"), ("b", false, "a"), ("c", true, "c")] {
            let file = beside(&path).unwrap();
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(publish(file, &path, replace).is_ok(), text == after);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
        let message = beside(&folder.path().join("no/out")).unwrap_err().to_string();
        assert!(message.contains("there is no folder"), "{message}");
    }

    #[test]
    #[cfg(unix)]
    fn f22_devices_and_folders_are_not_read() {
        let message = |path: &str| read(Path::new(path), 10).unwrap_err().to_string();
        assert_eq!(message("/dev/zero"), "it is a pipe or a device, not a file");
        assert_eq!(message("/"), "it is a folder, not a file");
    }
}
