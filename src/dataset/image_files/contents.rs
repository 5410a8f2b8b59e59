//! From a listing to rows: renamed labels, splits, classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::label::no_images;
use super::leaks::{self, Leak};
use super::listing::{Listing, Row};
use super::spec::Allowed;
use super::{ImageFiles, Listed};
use crate::assemble::{PerSplit, check_classes, check_listable, check_size};
use crate::split::SplitSpec;
use crate::{DataError, Labels};

/// The rows of a data set, sorted by name, and the class names.
pub(super) struct Contents {
    pub(super) classes: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) labels: PerSplit<Labels>,
    /// Whether keys that are not in the fingerprint, such as `class_map`, determine the classes or their order.
    pub(super) classes_enter_digest: bool,
    pub(super) warnings: Vec<String>,
    /// Leaks that were allowed.
    pub(super) caveats: Vec<String>,
}

impl Contents {
    /// Lists, splits and checks the images.
    pub(super) fn of<T: ImageFiles>(kind: &T) -> Result<Self, DataError> {
        let mut contents = Self::listed(kind)?;
        let groups = leaks::shared_groups(&contents.rows);
        contents.caveats.extend(Leak::checked(groups, kind.shared().allows(Allowed::SharedGroups))?);
        leaks::check_exist(&contents.rows, T::IF_MISSING)?;
        Ok(contents)
    }

    /// Lists and splits the images. They may be missing, and groups in several splits.
    pub(super) fn listed<T: ImageFiles>(kind: &T) -> Result<Self, DataError> {
        let shared = kind.shared();
        check_size(shared.path, shared.size)?;
        let mut listing = kind.list()?;
        let stated = listing.classes.clone();
        rename(&mut listing, shared.class_map)?;
        let is_multi_label = listing.is_multi_label();
        let classes_enter_digest = kind.classes_enter_digest() || is_multi_label || listing.classes != stated;
        leaks::check_paths(&listing.images)?;
        listing.images.sort_by(|a, b| a.name.cmp(&b.name));
        let classes = listing.classes.take().unwrap_or_else(|| classes_of(&listing.images));
        check_classes(shared.path, &classes)?;
        is_multi_label.then(|| check_listable(shared.path, &classes)).transpose()?;
        let default = kind.default_split();
        let (rows, warning) = split(listing, shared.split.unwrap_or(&default))?;
        let labels = labels(&rows, &classes, is_multi_label)?;
        let (warnings, caveats) = (warning.into_iter().collect(), Vec::new());
        Ok(Self { classes, rows, labels, classes_enter_digest, warnings, caveats })
    }
}

/// The images that are in a split; a warning about the others.
fn split(listing: Listing, split: &SplitSpec) -> Result<(Vec<Row>, Option<String>), DataError> {
    let Listing { list, images, .. } = listing;
    let (listed, splits) = (images.len(), split.assign(&list, &images)?);
    let pairs = images.into_iter().zip(splits);
    let rows: Vec<Row> = pairs.filter_map(|(image, split)| Some(Row { image, split: split? })).collect();
    if rows.is_empty() {
        return Err(DataError::new(&list, "no images are left; correct `split` or `class_map`"));
    }
    let left_out = listed - rows.len();
    let warning = || format!("{}: {left_out} of {listed} images are in no split", list.display());
    Ok((rows, (left_out > 0).then(warning)))
}

/// Renames labels and leaves out those that are renamed to nothing.
fn rename(listing: &mut Listing, class_map: &BTreeMap<String, String>) -> Result<(), DataError> {
    let known: BTreeSet<&str> = listing.images.iter().flat_map(|image| image.label.names()).collect();
    let known: BTreeSet<&str> =
        known.into_iter().chain(listing.classes.iter().flatten().map(String::as_str)).collect();
    if let Some(unknown) = class_map.keys().find(|label| !known.contains(label.as_str())) {
        let known: Vec<String> = known.into_iter().map(Into::into).collect();
        let message =
            format!("no image has the label '{unknown}' of `class_map`; labels are {}", shown(&known));
        return Err(DataError::new(&listing.list, message));
    }
    let renamed = |label: &str| class_map.get(label).map_or_else(|| label.to_owned(), Clone::clone);
    listing.images.iter_mut().for_each(|image| image.label.rename(renamed));
    listing.images.retain(|image| !image.label.is_nothing());
    if let Some(classes) = &mut listing.classes {
        let mut seen = BTreeSet::new();
        classes.iter_mut().for_each(|class| *class = renamed(class));
        classes.retain(|class| !class.is_empty() && seen.insert(class.clone()));
    }
    Ok(())
}

fn labels(rows: &[Row], classes: &[String], is_multi_label: bool) -> Result<PerSplit<Labels>, DataError> {
    let indices: HashMap<&str, u32> = (0..).zip(classes).map(|(i, class)| (class.as_str(), i)).collect();
    let index = |name: &str| indices.get(name).copied();
    let unknown =
        |row: &Row, name: &str| row.error(format!("label '{name}' is not in `classes` ({})", shown(classes)));
    if is_multi_label {
        let mut labels = no_images(classes.len());
        for row in rows {
            let states = row.label.states(classes.len(), index).map_err(|name| unknown(row, name))?;
            labels[row.split as usize].push(&states);
        }
        return Ok(labels.map(Labels::Multi));
    }
    let mut labels = PerSplit::<Vec<u32>>::default();
    for (row, name) in rows.iter().flat_map(|row| row.label.names().map(move |name| (row, name))) {
        labels[row.split as usize].push(index(name).ok_or_else(|| unknown(row, name))?);
    }
    Ok(labels.map(Labels::Single))
}

/// The first classes, for a message.
fn shown(classes: &[String]) -> String {
    const SHOWN: usize = 24;
    let more = if classes.len() > SHOWN { ", …" } else { "" };
    classes[..classes.len().min(SHOWN)].join(", ") + more
}

/// The labels that occur, sorted; numerically (`2` before `10`) if all are numbers.
fn classes_of(images: &[Listed]) -> Vec<String> {
    let classes: BTreeSet<&str> = images.iter().flat_map(|image| image.label.names()).collect();
    let mut classes: Vec<String> = classes.into_iter().map(Into::into).collect();
    if classes.iter().all(|class| class.parse::<u32>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<u32>().ok());
    }
    classes
}
