//! An entry's folder: written atomically, read only if it is intact.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use indexmap::IndexMap;
use memmap2::Mmap;

use super::manifest::{MANIFEST, Manifest};
use super::{EntryHeader, FileRecord, StoreError};
use identity::Fingerprint;

/// Why an entry cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its content differs from what was written.
    Damaged(String),
    /// It cannot be read.
    Trouble(StoreError),
}

/// Write an entry's files, flushed to disk, the manifest last.
pub(super) fn write(
    folder: &Path,
    header: EntryHeader,
    contents: &IndexMap<String, Vec<u8>>,
) -> Result<Manifest, StoreError> {
    fs::create_dir(folder).map_err(|source| StoreError::io("create the folder", folder, source))?;
    for (name, bytes) in contents {
        write_flushed(&folder.join(name), bytes)?;
    }
    let manifest = Manifest::new(header, contents);
    let path = folder.join(MANIFEST);
    let json = manifest.to_json().map_err(|problem| StoreError::content("write", &path, problem))?;
    write_flushed(&path, json.as_bytes())?;
    flush_folder(folder)?;
    Ok(manifest)
}

/// The manifest of the entry in a folder; `None` if there is no folder. Every file must exist with the length in the
/// manifest; the content is not read.
pub(super) fn manifest(folder: &Path, fingerprint: &Fingerprint) -> Result<Option<Manifest>, Unusable> {
    let path = folder.join(MANIFEST);
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(error) if error.kind() == ErrorKind::NotFound && !folder.exists() => return Ok(None),
        Err(error) => return Err(unreadable(&path, error)),
    };
    let manifest = Manifest::from_json(&json).map_err(Unusable::Damaged)?;
    if manifest.header.fingerprint != *fingerprint {
        let other = manifest.header.fingerprint.short();
        return Err(Unusable::Damaged(format!("{MANIFEST} belongs to another entry, {other}")));
    }
    manifest.files.iter().try_for_each(|(name, record)| check_length(&folder.join(name), name, record))?;
    Ok(Some(manifest))
}

/// Every file of an entry, with verified digest.
pub(super) fn verified(folder: &Path, manifest: &Manifest) -> Result<IndexMap<String, Mmap>, Unusable> {
    let verified = |(name, record): (&String, &FileRecord)| {
        let path = folder.join(name);
        let bytes = map_file(&path).map_err(|error| unreadable(&path, error))?;
        if blake3::hash(&bytes).to_hex().as_str() != record.blake3 {
            return Err(Unusable::Damaged(format!("the digest of {name} differs")));
        }
        Ok((name.clone(), bytes))
    };
    manifest.files.iter().map(verified).collect()
}

/// Map a file into memory.
pub(super) fn map(path: &Path) -> Result<Mmap, StoreError> {
    map_file(path).map_err(|source| StoreError::io("read", path, source))
}

/// Map a file into memory, for reading.
///
/// # Errors
/// The file cannot be opened or mapped.
pub fn map_file(path: &Path) -> std::io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the files of an entry are never rewritten, and others are read at once, as plain bytes. Truncating a file
    // in use ends this process with a bus error, but does not corrupt memory.
    unsafe { Mmap::map(&file) }
}

/// Write a file and flush it to disk.
pub(super) fn write_flushed(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| StoreError::io("write", path, source))
}

/// Flush the names in a folder to disk; supported only on Unix.
pub(super) fn flush_folder(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let flushed = File::open(folder).and_then(|folder| folder.sync_all());
        flushed.map_err(|source| StoreError::io("write", folder, source))?;
    }
    Ok(())
}

fn check_length(path: &Path, name: &str, record: &FileRecord) -> Result<(), Unusable> {
    let metadata = path.metadata().map_err(|error| unreadable(path, error))?;
    if metadata.len() == record.bytes {
        return Ok(());
    }
    let (is, was) = (metadata.len(), record.bytes);
    Err(Unusable::Damaged(format!("{name} has {is} bytes, expected {was}")))
}

/// A missing file means damage, unless the whole entry was removed, which a second look shows.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Unusable {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => Unusable::Damaged(format!("{name} is missing")),
        _ => Unusable::Trouble(StoreError::io("read", path, error)),
    }
}
