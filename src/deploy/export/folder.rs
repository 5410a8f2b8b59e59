//! A folder that is written whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::merge_files::FileError;

/// Write the files of a folder that does not exist or is empty: `fill` writes them to a temporary folder beside it, which
/// is flushed to disk and renamed.
///
/// # Errors
/// The folder has files, it cannot be written, `fill` failed, or `interrupt` was raised; then there is no folder.
pub fn whole(
    folder: &Path,
    interrupt: &AtomicBool,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    check_free(folder)?;
    let failed = |error: io::Error| FileError::Write { path: folder.to_owned(), problem: error.to_string() };
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(failed(io::Error::other(format!(
            "there is no folder {}; create it first",
            parent.display()
        )))
        .into());
    }
    let staging = tempfile::Builder::new().prefix(".").suffix(".tmp").tempdir_in(parent).map_err(failed)?;
    // A folder of its own: the temporary one is private to its owner.
    let beside = staging.path().join("export");
    fs::create_dir(&beside).map_err(failed)?;
    fill(&beside)?;
    flush(&beside).map_err(failed)?;
    if interrupt.load(Ordering::Relaxed) {
        return Err(FileError::Interrupted.into());
    }
    if folder.exists() {
        fs::remove_dir(folder).map_err(failed)?;
    }
    fs::rename(&beside, folder).map_err(failed)?;
    Ok(())
}

/// # Errors
/// There is something at the path other than an empty folder.
fn check_free(folder: &Path) -> Result<(), Error> {
    let unreadable = |error: io::Error| Error::Read { path: folder.to_owned(), message: error.to_string() };
    let what = match fs::metadata(folder) {
        Err(_) => return Ok(()),
        Ok(found) if !found.is_dir() => "is a file",
        Ok(_) if fs::read_dir(folder).map_err(unreadable)?.next().is_some() => "is not empty",
        Ok(_) => return Ok(()),
    };
    Err(Error::Usage(format!("{} {what}; choose a folder that does not exist", folder.display())))
}

/// Flush all files of a folder, and their names, to disk.
fn flush(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        File::open(file?.path())?.sync_all()?;
    }
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        let calm = AtomicBool::new(false);
        let entries = || fs::read_dir(root.path()).unwrap().count();
        let broken = whole(&folder, &calm, |beside| {
            fs::write(beside.join("half"), "x").unwrap();
            Err(Error::Usage("no".into()))
        });
        assert!(broken.is_err() && entries() == 0);
        let fill = |beside: &Path| {
            fs::write(beside.join("all"), "x").unwrap();
            Ok(())
        };
        let interrupted = whole(&folder, &AtomicBool::new(true), fill).unwrap_err().to_string();
        assert!(interrupted.contains("nothing was written") && entries() == 0);
        fs::create_dir(&folder).unwrap();
        whole(&folder, &calm, fill).unwrap();
        assert!(folder.join("all").is_file() && entries() == 1);
        assert!(whole(&folder, &calm, fill).unwrap_err().to_string().contains("is not empty"));
        assert!(whole(&folder.join("all"), &calm, fill).unwrap_err().to_string().contains("is a file"));
        assert!(
            whole(&root.path().join("a/b"), &calm, fill).unwrap_err().to_string().contains("create it first")
        );
    }
}
