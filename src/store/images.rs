//! Verifying decoded images.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use super::{Store, StoreError, names};
use dataset::is_intact;

impl Store {
    /// Verify all decoded images, and set damaged files aside. Returns the number of data sets with decoded images, and
    /// an error for each damaged file.
    ///
    /// # Errors
    /// A folder or a file cannot be read.
    pub fn verify_images(&self) -> Result<(usize, Vec<StoreError>), StoreError> {
        self.present()?;
        let data = self.root.join("data");
        let mut folders = names(&data)?;
        folders.sort();
        let (mut count, mut damaged) = (0, Vec::new());
        for name in folders {
            let path = data.join(&name).join("pixels");
            match is_intact(&path) {
                Ok(true) => count += 1,
                Ok(false) => {
                    count += 1;
                    damaged.push(self.set_images_aside(&name, path)?);
                }
                // Nothing was decoded, or it was removed in the meantime.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(source) => return Err(StoreError::io("read", &path, source)),
            }
        }
        Ok((count, damaged))
    }

    /// Move damaged images out of the way.
    fn set_images_aside(&self, name: &str, path: PathBuf) -> Result<StoreError, StoreError> {
        let _removing = self.lock_removal()?;
        let aside = self.next_aside(name);
        match fs::rename(&path, &aside) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("set aside the damaged images", &path, source))
            }
            _ => Ok(StoreError::DamagedImages { path, aside }),
        }
    }
}
