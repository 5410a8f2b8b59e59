//! Files and folders named by a spec.

use std::path::PathBuf;

/// A path in a spec.
#[derive(Debug)]
pub struct NamedPath<'s> {
    /// The key that holds the path.
    pub key: &'static str,
    /// The path, relative to the experiment file until it is resolved.
    pub path: &'s mut PathBuf,
    /// What the path must point to.
    pub kind: PathKind,
}

/// What a path must point to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

impl<'s> NamedPath<'s> {
    /// A path to a file.
    pub fn file(key: &'static str, path: &'s mut PathBuf) -> Self {
        Self { key, path, kind: PathKind::File }
    }

    /// A path to a folder.
    pub fn folder(key: &'static str, path: &'s mut PathBuf) -> Self {
        Self { key, path, kind: PathKind::Folder }
    }
}
