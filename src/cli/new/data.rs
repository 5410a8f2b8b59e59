//! The data sets of a template: synthetic images, or those that a CSV lists.

use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;

use super::{Error, unusable};

/// Side of synthetic images, and of others if none is given.
const PHANTOM_SIZE: usize = 28;
const SIZE: usize = 64;

const RANDOM_SPLIT: &str = "split.random = { val = 0.15, test = 0.15, seed = 0 }     # stratified by class; by group with `columns.group`\n";

/// Kinds of synthetic images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Family {
    Cells,
    Fundus,
    Lesions,
    Xray,
}

/// Where images come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Phantom(Family),
    /// Images that a CSV lists.
    Manifest {
        /// Path of the CSV, as seen from the experiment file.
        path: PathBuf,
        /// Whether the CSV has a column `split`.
        has_split: bool,
    },
}

/// What a data set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Target,
    Source,
}

impl Data {
    /// A family, or the path of a CSV, for an experiment file in `folder`.
    ///
    /// # Errors
    /// It is no family, and no CSV that can be read.
    pub(super) fn named(word: &str, folder: &Path) -> Result<Self, Error> {
        match Family::from_str(word, true) {
            Ok(family) => Ok(Self::Phantom(family)),
            Err(_) if word.contains(['.', '/', '\\']) => Self::listed(Path::new(word), folder),
            Err(_) => Err(Error::Usage(format!(
                "{word:?} is neither synthetic images (cells, fundus, lesions, or xray) nor the path of a CSV"
            ))),
        }
    }

    /// The images that a CSV lists.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn listed(csv: &Path, folder: &Path) -> Result<Self, Error> {
        let bytes = fs::read(csv).map_err(|error| unusable("read", csv, &error))?;
        let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let has_split = header.split(|byte| b",;\t|\r\"".contains(byte)).any(|column| column == b"split");
        let path = from_folder(csv, folder).map_err(|error| unusable("find", csv, &error))?;
        Ok(Self::Manifest { path, has_split })
    }

    /// Whether a CSV lists its images.
    pub(super) fn is_listed(&self) -> bool {
        matches!(self, Self::Manifest { .. })
    }

    /// The side of the images of an experiment with these data sets.
    pub(super) fn size(all: &[&Self]) -> usize {
        if all.iter().any(|data| data.is_listed()) { SIZE } else { PHANTOM_SIZE }
    }

    /// Its section.
    pub(super) fn text(&self, name: &str, role: Role) -> String {
        let (what, [train, val, test]) = match role {
            Role::Target => ("The target", ["200", "100", "400"]),
            Role::Source => ("What a source learns", ["1200", "200", "200"]),
        };
        let text = match self {
            Self::Phantom(family) => {
                let family = family.to_possible_value().map(|value| value.get_name().to_owned());
                let text = include_str!("phantom.toml").replace("{family}", &family.unwrap_or_default());
                text.replace("{train}", train).replace("{val}", val).replace("{test}", test)
            }
            Self::Manifest { path, has_split } => {
                let split = if *has_split { "" } else { RANDOM_SPLIT };
                let csv = toml::Value::String(path.display().to_string()).to_string();
                include_str!("manifest.toml").replace("{csv}", &csv).replace("{split}\n", split)
            }
        };
        text.replace("{role}", what).replace("{dataset}", name)
    }
}

/// A path as seen from a folder.
fn from_folder(path: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let is_plain = folder.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_absolute() || !is_plain {
        return fs::canonicalize(path);
    }
    let up = folder.components().filter(|part| matches!(part, Component::Normal(_))).map(|_| "..");
    Ok(up.collect::<PathBuf>().join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_the_folder() {
        let from = |path: &str, folder: &str| from_folder(Path::new(path), Path::new(folder)).unwrap();
        assert_eq!(from("skin/labels.csv", "experiments"), Path::new("../skin/labels.csv"));
        assert_eq!(from("labels.csv", "./a/b"), Path::new("../../labels.csv"));
        assert_eq!(from("labels.csv", "."), Path::new("labels.csv"));
    }

    #[test]
    fn a_word_is_a_family_or_a_path() {
        let named = |word: &str| Data::named(word, Path::new("experiments"));
        assert_eq!(named("XRay").unwrap(), Data::Phantom(Family::Xray));
        assert!(named("skin").unwrap_err().to_string().contains("nor the path of a CSV"));
        assert!(named("none/labels.csv").unwrap_err().to_string().contains("failed to read none/labels.csv"));
    }
}
