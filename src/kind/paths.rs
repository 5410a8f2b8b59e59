//! Files and folders that a spec names.

use std::path::PathBuf;

/// A path in a spec.
#[derive(Debug)]
pub struct NamedPath<'s> {
    /// The key that it stands under.
    pub key: &'static str,
    /// The path: relative to the experiment file until it is located.
    pub path: &'s mut PathBuf,
    /// What must be there.
    pub kind: PathKind,
}

/// What a path must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

impl<'s> NamedPath<'s> {
    /// A file under a key.
    pub fn file(key: &'static str, path: &'s mut PathBuf) -> Self {
        Self { key, path, kind: PathKind::File }
    }

    /// A folder under a key.
    pub fn folder(key: &'static str, path: &'s mut PathBuf) -> Self {
        Self { key, path, kind: PathKind::Folder }
    }
}
