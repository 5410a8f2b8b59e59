//! Writing entries to an archive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Mmap;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, System, ZipWriter};

use super::output::Output;
use crate::entry::{self, Unusable, unreadable};
use crate::manifest::MANIFEST;
use crate::{Store, StoreError};
use identity::Fingerprint;

/// Bytes that are written at once, between looks at whether the user interrupted.
const PIECE: usize = 16 << 20;

/// Every file of an entry by name, including the manifest.
type Files = BTreeMap<String, Mmap>;

impl Store {
    /// Write an archive of these entries, with every digest verified: to a temporary file, flushed, renamed. Returns
    /// its length in bytes. An existing archive is replaced.
    ///
    /// # Errors
    /// An entry is missing or damaged (then it is set aside), the archive cannot be written, or `interrupt` was raised.
    /// An existing archive is then unchanged.
    pub fn export(
        &self,
        entries: &BTreeSet<Fingerprint>,
        archive: &Path,
        interrupt: &AtomicBool,
    ) -> Result<u64, StoreError> {
        let failed = |source| StoreError::io("write the archive", archive, source);
        let mut zip = ZipWriter::new(Output::beside(archive).map_err(failed)?);
        for fingerprint in entries {
            for (name, bytes) in &self.files(fingerprint)? {
                let name = format!("{fingerprint}/{name}");
                zip.start_file(name, options(bytes.len())).map_err(|error| failed(error.into()))?;
                for piece in bytes.chunks(PIECE) {
                    if interrupt.load(Ordering::Relaxed) {
                        return Err(StoreError::Interrupted);
                    }
                    zip.write_all(piece).map_err(failed)?;
                }
            }
        }
        let output = zip.finish().map_err(|error| failed(error.into()))?;
        output.publish(archive).map_err(failed)
    }

    fn files(&self, fingerprint: &Fingerprint) -> Result<Files, StoreError> {
        let read = |folder: &Path| -> Result<Option<Files>, Unusable> {
            let Some(manifest) = entry::manifest(folder, fingerprint)? else { return Ok(None) };
            let mut files: Files = entry::verified(folder, &manifest)?.into_iter().collect();
            let path = folder.join(MANIFEST);
            files.insert(MANIFEST.into(), entry::map_file(&path).map_err(|error| unreadable(&path, error))?);
            Ok(Some(files))
        };
        let missing = || StoreError::Missing { fingerprint: *fingerprint, root: self.root().to_path_buf() };
        self.usable(fingerprint, read)?.ok_or_else(missing)
    }
}

/// No time and no data of this machine; 64-bit lengths if needed.
fn options(bytes: usize) -> SimpleFileOptions {
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .system(System::Unix)
        .unix_permissions(0o644)
        .large_file(bytes >= u32::MAX as usize)
}
