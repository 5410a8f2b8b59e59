//! An archive to entries.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use crate::entry::{flush_folder, write_flushed};
use crate::manifest::{MANIFEST, Manifest};
use crate::{FileRecord, Store, StoreError};
use identity::Fingerprint;

/// A manifest is much shorter.
const LONGEST_MANIFEST: u64 = 64 << 20;

/// What came of an archive. Each entry is in one of them, sorted.
#[derive(Debug, Default)]
pub struct Imported {
    /// Entries that are in the store now.
    pub added: Vec<Fingerprint>,
    /// Entries that were there before.
    pub present: Vec<Fingerprint>,
    /// What is wrong with each entry that is not whole; it was not imported.
    pub damaged: Vec<StoreError>,
}

/// Position in the archive of each file of each entry, by name.
type Contents = BTreeMap<Fingerprint, BTreeMap<String, usize>>;

impl Store {
    /// Takes every entry of an archive that the store lacks, each written beside, every digest verified,
    /// flushed, renamed. An entry is imported whole or not at all, whatever is wrong with others.
    ///
    /// # Errors
    /// A file that is no archive, or not one of entries: then nothing is imported. An entry that cannot be
    /// written, though it is whole; those before it are in the store.
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
                write_flushed(&beside.join(name), &entry.verified(name, record)?)?;
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
    /// The manifest as it was read and as it was understood. It lists the entry's other files, and no others.
    fn manifest(&mut self) -> Result<(Vec<u8>, Manifest), StoreError> {
        let json = self.read(MANIFEST, LONGEST_MANIFEST)?;
        let manifest = Manifest::from_json(&json).map_err(|problem| self.damaged(problem))?;
        if manifest.header.fingerprint != *self.fingerprint {
            let other = manifest.header.fingerprint.short();
            return Err(self.damaged(format!("{MANIFEST} is of another entry, {other}")));
        }
        let unlisted = |name: &&String| *name != MANIFEST && !manifest.files.contains_key(*name);
        if let Some(name) = self.files.keys().find(unlisted) {
            return Err(self.damaged(format!("{MANIFEST} does not list {name}")));
        }
        Ok((json, manifest))
    }

    /// A file that is what the manifest says.
    fn verified(&mut self, name: &str, record: &FileRecord) -> Result<Vec<u8>, StoreError> {
        let bytes = self.read(name, record.bytes)?;
        if blake3::hash(&bytes).to_hex().as_str() != record.blake3 {
            return Err(self.damaged(format!("{name} is not what was exported (its digest differs)")));
        }
        Ok(bytes)
    }

    /// A file, to its end or just beyond the longest that it may be.
    fn read(&mut self, name: &str, longest: u64) -> Result<Vec<u8>, StoreError> {
        let &index = self.files.get(name).ok_or_else(|| self.damaged(format!("{name} is missing")))?;
        let mut bytes = Vec::new();
        let read = match self.archive.by_index(index) {
            Ok(file) => file.take(longest.saturating_add(1)).read_to_end(&mut bytes),
            Err(error) => Err(error.into()),
        };
        match read {
            Ok(_) if bytes.len() as u64 <= longest => Ok(bytes),
            Ok(_) => Err(self.damaged(format!("{name} is longer than {longest} bytes"))),
            Err(error) => Err(self.damaged(format!("{name} cannot be read ({error})"))),
        }
    }

    fn damaged(&self, problem: String) -> StoreError {
        let what = format!("the entry {}", self.fingerprint.short());
        StoreError::Archive { path: self.path.into(), what, problem: format!("{problem}; export it again") }
    }
}

/// Where each file of each entry is.
///
/// # Errors
/// A name that no file of an entry can have: it might lead out of the entry's folder.
fn contents(archive: &ZipArchive<BufReader<File>>) -> Result<Contents, String> {
    if archive.has_duplicate_names() {
        return Err("two of its files have the same name".into());
    }
    let mut contents = Contents::new();
    for (index, name) in archive.file_names().enumerate() {
        let name = name.map_err(|error| error.to_string())?;
        let (fingerprint, file) =
            entry_and_file(&name).ok_or_else(|| format!("`{name}` is the name of no file of an entry"))?;
        let files = contents.entry(fingerprint).or_default();
        // Other programs list the folders, too.
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
        format!("{problem}; make the archive again with `medmerge store export`, and copy it whole");
    StoreError::Archive { path: path.into(), what: "anything".into(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_of_entries_are_taken() {
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
