//! Importing entries from an archive.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;

use zip::ZipArchive;

use crate::entry::{flush_folder, write_flushed};
use crate::manifest::{MANIFEST, Manifest};
use crate::{FileRecord, Store, StoreError};
use identity::Fingerprint;

/// Limit of a manifest's length; real ones are much shorter.
const LONGEST_MANIFEST: u64 = 16 << 20;

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

/// The result of an import: each entry is in one of the lists, sorted.
#[derive(Debug, Default)]
pub struct Imported {
    /// Imported entries.
    pub added: Vec<Fingerprint>,
    /// Entries that were already in the store.
    pub present: Vec<Fingerprint>,
    /// An error for each damaged entry, which was not imported.
    pub damaged: Vec<StoreError>,
}

/// Index in the archive of each file of each entry, by name.
type Contents = BTreeMap<Fingerprint, BTreeMap<String, usize>>;

impl Store {
    /// Import every entry that the store lacks, with every digest verified: each is written to a temporary folder,
    /// flushed and renamed. A damaged entry does not affect others.
    ///
    /// # Errors
    /// The file is not an archive of entries: then nothing is imported. Or an intact entry cannot be written; entries
    /// before it are in the store.
    pub fn import(&self, path: &Path) -> Result<Imported, StoreError> {
        let unreadable = |source| StoreError::io("read the archive", path, source);
        let file = File::open(path).map_err(unreadable)?;
        let archive = ZipArchive::new(BufReader::new(file));
        let mut archive = archive.map_err(|problem| nothing(path, problem))?;
        let contents = contents(&archive).map_err(|problem| nothing(path, problem))?;
        let mut imported = Imported::default();
        for (fingerprint, files) in contents {
            if self.manifest(&fingerprint)?.is_some() {
                imported.present.push(fingerprint);
                continue;
            }
            let mut entry = ArchivedEntry { path, archive: &mut archive, fingerprint: &fingerprint, files };
            match self.import_entry(&mut entry) {
                Ok(()) => imported.added.push(fingerprint),
                Err(damaged @ StoreError::Archive { .. }) => imported.damaged.push(damaged),
                Err(error) => return Err(error),
            }
        }
        Ok(imported)
    }

    fn import_entry(&self, entry: &mut ArchivedEntry<'_>) -> Result<(), StoreError> {
        let (json, manifest) = entry.manifest()?;
        self.staged(|staging| {
            let beside = staging.join("entry");
            fs::create_dir(&beside).map_err(|source| StoreError::io("create the folder", &beside, source))?;
            for (name, record) in &manifest.files {
                entry.extract(name, record, &beside.join(name))?;
            }
            write_flushed(&beside.join(MANIFEST), &json)?;
            flush_folder(&beside)?;
            self.publish(&beside, entry.fingerprint, manifest)
        })
        .map(drop)
    }
}

/// An entry in an archive.
struct ArchivedEntry<'a> {
    path: &'a Path,
    archive: &'a mut ZipArchive<BufReader<File>>,
    fingerprint: &'a Fingerprint,
    files: BTreeMap<String, usize>,
}

impl ArchivedEntry<'_> {
    /// The manifest as bytes and parsed. It must list the entry's other files exactly.
    fn manifest(&mut self) -> Result<(Vec<u8>, Manifest), StoreError> {
        let json = self.read(MANIFEST, LONGEST_MANIFEST)?;
        let manifest = Manifest::from_json(&json).map_err(|problem| self.damaged(problem))?;
        if manifest.header.fingerprint != *self.fingerprint {
            let other = manifest.header.fingerprint.short();
            return Err(self.damaged(format!("{MANIFEST} belongs to another entry, {other}")));
        }
        let unlisted = |name: &&String| *name != MANIFEST && !manifest.files.contains_key(*name);
        if let Some(name) = self.files.keys().find(unlisted) {
            return Err(self.damaged(format!("{MANIFEST} does not list {name}")));
        }
        manifest.header.check().map_err(|problem| self.damaged(problem))?;
        Ok((json, manifest))
    }

    /// Write a file whose length and digest are those in the manifest, piece by piece.
    fn extract(&mut self, name: &str, record: &FileRecord, path: &Path) -> Result<(), StoreError> {
        let index = self.index(name)?;
        let bytes = self.length(index);
        if bytes != Some(record.bytes) {
            let found = bytes.map_or_else(|| "an unknown number of".into(), |bytes| bytes.to_string());
            return Err(self.damaged(format!("{name} has {found} bytes, expected {}", record.bytes)));
        }
        let unwritable = |source| StoreError::io("write", path, source);
        let mut file = File::create(path).map_err(unwritable)?;
        let mut digest = blake3::Hasher::new();
        let copied = self.pieces(index, record.bytes, |piece| {
            digest.update(piece);
            file.write_all(piece).map_err(unwritable)
        })?;
        copied.map_err(|problem| self.damaged(format!("{name} {problem}")))?;
        if digest.finalize().to_hex().as_str() != record.blake3 {
            return Err(self.damaged(format!("the digest of {name} differs from that of the export")));
        }
        file.sync_all().map_err(unwritable)
    }

    /// The bytes of a short file.
    fn read(&mut self, name: &str, longest: u64) -> Result<Vec<u8>, StoreError> {
        let index = self.index(name)?;
        let mut bytes = Vec::new();
        let read = self.pieces(index, longest, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        read.map_err(|problem| self.damaged(format!("{name} {problem}")))?;
        Ok(bytes)
    }

    fn index(&self, name: &str) -> Result<usize, StoreError> {
        self.files.get(name).copied().ok_or_else(|| self.damaged(format!("{name} is missing")))
    }

    /// The length of a file as the archive states it.
    fn length(&mut self, index: usize) -> Option<u64> {
        self.archive.by_index(index).ok().map(|file| file.size())
    }

    /// Hand over a file piece by piece, which need little memory; the inner error says what is wrong with the file.
    fn pieces(
        &mut self,
        index: usize,
        longest: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<Result<(), String>, StoreError> {
        let unreadable = |error: &dyn Display| Ok(Err(format!("cannot be read ({error})")));
        let mut file = match self.archive.by_index(index) {
            Ok(file) => file,
            Err(error) => return unreadable(&error),
        };
        let (mut piece, mut length) = (vec![0; PIECE], 0);
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(Ok(())),
                Ok(read) => {
                    length += read as u64;
                    if length > longest {
                        return Ok(Err(format!("is longer than {longest} bytes")));
                    }
                    take(&piece[..read])?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return unreadable(&error),
            }
        }
    }

    fn damaged(&self, problem: String) -> StoreError {
        let what = format!("the entry {}", self.fingerprint.short());
        StoreError::Archive { path: self.path.into(), what, problem: format!("{problem}; export it again") }
    }
}

/// The index of each file of each entry.
///
/// # Errors
/// A name that is not valid for a file of an entry: it might be outside of the entry's folder.
fn contents(archive: &ZipArchive<BufReader<File>>) -> Result<Contents, String> {
    if archive.has_duplicate_names() {
        return Err("two of its files have the same name".into());
    }
    let mut contents = Contents::new();
    for (index, name) in archive.file_names().enumerate() {
        let name = name.map_err(|error| error.to_string())?;
        let (fingerprint, file) = entry_and_file(&name)
            .ok_or_else(|| format!("`{name}` is not a valid name for a file of an entry"))?;
        let files = contents.entry(fingerprint).or_default();
        // Other programs also list the folders.
        if !file.is_empty() {
            files.insert(file.into(), index);
        }
    }
    Ok(contents)
}

/// `<fingerprint>/<file>`, or `<fingerprint>/`.
fn entry_and_file(name: &str) -> Option<(Fingerprint, &str)> {
    let (fingerprint, file) = name.split_once('/')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain = file.chars().all(plain) && !file.starts_with('.');
    Some((fingerprint.parse().ok()?, file)).filter(|_| plain)
}

fn nothing(path: &Path, problem: impl Display) -> StoreError {
    let problem =
        format!("{problem}; create the archive again with `medmerge store export`, and copy it completely");
    StoreError::Archive { path: path.into(), what: "anything".into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_names_of_files_are_accepted() {
        let entry = "0a".repeat(32);
        let file = |name: &str| entry_and_file(&format!("{entry}/{name}")).map(|(_, file)| file.to_string());
        for name in ["manifest.json", "a1b2.c3d4.predictions.csv", ""] {
            assert_eq!(file(name).as_deref(), Some(name));
        }
        for name in ["../x", "a/b", "..", ".", "a\\b", "C:x", "/etc/passwd", "a\0", "\u{202e}x"] {
            assert_eq!(file(name), None, "{name:?}");
        }
        for name in ["", "manifest.json", "0a/manifest.json", "../x", &"0A/x".replace("0A", &"0A".repeat(32))]
        {
            assert_eq!(entry_and_file(name), None, "{name:?}");
        }
    }
}
