#![doc = include_str!("layout/folder.md")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image_files::csv::parse_split;
use crate::image_files::listing::Place;
use crate::image_files::spec::{Shared, image_files, shared};
use crate::image_files::{ImageFiles, Listed, Listing, folder};
use crate::split::{RandomSplitSpec, SplitSpec};
use crate::{DataError, SplitName};

image_files! {
    /// A folder with one folder of images per class, or with such folders within `train`, `val` and `test`. Without
    /// those three, it is split at random unless the key `split` says otherwise.
    #[schemars(extend("x-layout" = include_str!("layout/folder.md")))]
    pub struct FolderSpec in a folder {
        /// The folder.
        pub path: PathBuf,
        /// Class names in the order of the logits; if absent, the names of the folders, sorted, numerically if all are
        /// numbers.
        #[serde(default)]
        pub classes: Option<Vec<String>>,
    }
    folders: []
    left_out: []
}

impl ImageFiles for FolderSpec {
    const NAME: &'static str = "folder";

    fn shared(&self) -> Shared<'_> {
        shared!(self)
    }

    fn default_split(&self) -> SplitSpec {
        match splits(&self.path) {
            Ok(Some(_)) => SplitSpec::default(),
            _ => SplitSpec::Random(RandomSplitSpec::default()),
        }
    }

    fn list(&self) -> Result<Listing, DataError> {
        let parts = match splits(&self.path)? {
            Some(parts) => parts.into_iter().map(|(part, split)| (part, Some(split))).collect(),
            None => vec![(self.path.clone(), None)],
        };
        let mut images = Vec::new();
        for (part, split) in parts {
            for class in folder::folders(&part)? {
                images.extend(self.class(&class, split)?);
            }
        }
        if images.is_empty() {
            let message = "it has no folders of images, one per class";
            return Err(DataError::new(&self.path, message));
        }
        Ok(Listing { list: self.path.clone(), images, classes: self.classes.clone(), files: Vec::new() })
    }
}

impl FolderSpec {
    fn class(&self, class: &Path, split: Option<SplitName>) -> Result<Vec<Listed>, DataError> {
        let label = class.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let list: Arc<Path> = self.path.as_path().into();
        let listed = |file: PathBuf| Listed {
            name: folder::relative(&file, &self.path),
            file,
            label: label.as_str().into(),
            group: None,
            split,
            place: Place::folder(&list),
        };
        Ok(folder::images(class)?.into_iter().map(listed).collect())
    }
}

/// The folders of splits; `None` if no folder has the name of a split.
///
/// # Errors
/// Only some folders do.
fn splits(path: &Path) -> Result<Option<Vec<(PathBuf, SplitName)>>, DataError> {
    let name = |folder: &Path| {
        folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let folders = folder::folders(path)?;
    let named: Vec<(PathBuf, Option<SplitName>)> = folders
        .into_iter()
        .map(|folder| {
            let split = parse_split(&name(&folder)).ok();
            (folder, split)
        })
        .collect();
    let other = named.iter().find(|(_, split)| split.is_none());
    let split: Vec<_> =
        named.iter().filter_map(|(folder, split)| Some((folder.clone(), (*split)?))).collect();
    match (split.first(), other) {
        (None, _) => Ok(None),
        (Some(_), None) => Ok(Some(split)),
        (Some((split, _)), Some((other, _))) => {
            let message = format!(
                "`{}` is the name of a split and `{}` is not; have either only train, val and test, or only classes",
                name(split),
                name(other)
            );
            Err(DataError::new(path, message))
        }
    }
}
