//! Images that must not be in two splits: the same file, the same content, the same group. Scores would be too good.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, PathBuf};

use super::listing::{Listed, Row};
use crate::inspect::SharedGroup;
use crate::{DataError, SplitName};

/// Checks that no two images have the same path.
///
/// # Errors
/// The first image that was listed before.
pub(super) fn check_paths(images: &[Listed]) -> Result<(), DataError> {
    let mut seen: HashMap<PathBuf, &Listed> = HashMap::with_capacity(images.len());
    for image in in_order(images.iter()) {
        // `./a.png` and `a.png` are the same image.
        let parts = image.file.components().filter(|part| *part != Component::CurDir);
        if let Some(first) = seen.insert(parts.collect(), image) {
            return Err(repeats(image, first, image.split.zip(first.split).filter(|(a, b)| a != b)));
        }
    }
    Ok(())
}

/// Checks that no two rows name the same file, through a link or a path such as `x/../a.png`. Only images with the same
/// content can be the same file.
///
/// # Errors
/// The first row whose file an earlier row names, too.
pub(super) fn check_aliases(rows: &[Row], hashes: &[blake3::Hash]) -> Result<(), DataError> {
    let mut first_of: HashMap<PathBuf, &Row> = HashMap::new();
    for row in repeated(rows, hashes) {
        let file = row.file.canonicalize().map_err(|error| DataError::io(&row.file, "find", &error))?;
        if let Some(first) = first_of.insert(file, row) {
            let splits = (row.split != first.split).then_some((row.split, first.split));
            return Err(repeats(row, first, splits));
        }
    }
    Ok(())
}

/// The rows whose content another row has, too, as they are listed.
fn repeated<'r>(rows: &'r [Row], hashes: &[blake3::Hash]) -> Vec<&'r Row> {
    let mut counts: HashMap<&[u8; 32], usize> = HashMap::new();
    hashes.iter().for_each(|hash| *counts.entry(hash.as_bytes()).or_default() += 1);
    let pairs = rows.iter().zip(hashes);
    let mut repeated: Vec<&Row> =
        pairs.filter(|(_, hash)| counts[hash.as_bytes()] > 1).map(|(row, _)| row).collect();
    repeated.sort_by(|a, b| a.order().cmp(&b.order()));
    repeated
}

fn in_order<'i>(images: impl Iterator<Item = &'i Listed>) -> Vec<&'i Listed> {
    let mut images: Vec<&Listed> = images.collect();
    images.sort_by(|a, b| a.order().cmp(&b.order()));
    images
}

/// The error that an image is listed twice, perhaps in two splits.
fn repeats(image: &Listed, first: &Listed, splits: Option<(SplitName, SplitName)>) -> DataError {
    let earlier = match first.name == image.name {
        true => first.place(),
        false => format!("{} as '{}'", first.place(), first.name),
    };
    let name = &image.name;
    image.error(match splits {
        None => format!("image '{name}' is a duplicate of {earlier}; list each image once"),
        Some((here, there)) => format!(
            "image '{name}' is in two splits: {} here and {} in {earlier}; scores would be too good",
            here.as_str(),
            there.as_str(),
        ),
    })
}

/// Pairs of images of one group in two splits: the number of such groups, and the first pair.
pub(super) fn shared_groups(rows: &[Row]) -> Option<Leak> {
    let mut first_of: HashMap<&str, &Row> = HashMap::new();
    let mut shared: Vec<(&str, [&Row; 2])> = Vec::new();
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    for row in rows {
        let Some(group) = row.group.as_deref() else { continue };
        let first = *first_of.entry(group).or_insert(row);
        if first.split != row.split {
            shared.push((group, [first, row]));
        }
    }
    let (group, [first, row]) = *shared.first()?;
    let mut groups: Vec<&str> = shared.iter().map(|(group, _)| *group).collect();
    groups.sort_unstable();
    groups.dedup();
    let error = row.error(format!(
        "group '{group}' is in two splits: {} here and {} in {}; scores would be too good: put all images of a group \
         into one split, or set `allow = [\"shared_groups\"]`",
        row.split.as_str(),
        first.split.as_str(),
        first.place(),
    ));
    let caveat = match groups.len() {
        1 => "1 group (patient, lesion) is in several splits".to_owned(),
        count => format!("{count} groups (patients, lesions) are in several splits"),
    };
    Some(Leak { error, caveat })
}

/// All groups in several splits, by name.
pub(super) fn all_shared_groups(rows: &[Row]) -> Vec<SharedGroup> {
    let mut groups: BTreeMap<&str, (BTreeSet<SplitName>, usize)> = BTreeMap::new();
    for row in rows {
        let Some(group) = row.group.as_deref() else { continue };
        let (splits, images) = groups.entry(group).or_default();
        splits.insert(row.split);
        *images += 1;
    }
    let shared = groups.into_iter().filter(|(_, (splits, _))| splits.len() > 1);
    let named = |(group, (splits, images)): (&str, (BTreeSet<SplitName>, usize))| SharedGroup {
        group: group.to_owned(),
        splits: splits.into_iter().collect(),
        images,
    };
    shared.map(named).collect()
}

/// Pairs of byte-identical images in two splits.
pub(super) fn identical(rows: &[Row], hashes: &[blake3::Hash]) -> Option<Leak> {
    let mut by_hash: Vec<_> = hashes.iter().map(blake3::Hash::as_bytes).zip(rows).collect();
    by_hash.sort_by_key(|&(hash, row)| (hash, row.split));
    let leak = |pair: &&[(&[u8; 32], &Row)]| pair[0].0 == pair[1].0 && pair[0].1.split != pair[1].1.split;
    let leaks: Vec<_> = by_hash.windows(2).filter(leak).collect();
    let [(_, a), (_, b)] = leaks.first()? else { return None };
    let name = |row: &Row| format!("{} ({}, {})", row.name, row.place(), row.split.as_str());
    let caveat = match leaks.len() {
        1 => "1 pair of identical images is in different splits".to_owned(),
        count => format!("{count} pairs of identical images are in different splits"),
    };
    let error = b.error(format!(
        "{caveat}, so scores would be too good; the first: {} and {}; remove one of each, or set \
         `allow = [\"identical_images\"]`",
        name(a),
        name(b)
    ));
    Some(Leak { error, caveat })
}

/// What is in two splits.
pub(super) struct Leak {
    /// The error, unless it is allowed.
    pub(super) error: DataError,
    /// What tables say if it is allowed.
    pub(super) caveat: String,
}

impl Leak {
    /// The caveat if it is allowed.
    ///
    /// # Errors
    /// It is not allowed.
    pub(super) fn checked(leak: Option<Self>, is_allowed: bool) -> Result<Option<String>, DataError> {
        match leak {
            Some(leak) if !is_allowed => Err(leak.error),
            leak => Ok(leak.map(|leak| leak.caveat)),
        }
    }
}

/// Checks that all files exist.
///
/// # Errors
/// The first three that do not, and how many more.
pub(super) fn check_exist(rows: &[Row], advice: &str) -> Result<(), DataError> {
    const NAMED: usize = 3;
    let missing = in_order(rows.iter().map(|row| &row.image).filter(|image| !image.file.is_file()));
    let Some(first) = missing.first() else { return Ok(()) };
    let name = |image: &&Listed| format!("{} ({})", image.file.display(), image.place());
    let named: Vec<_> = missing.iter().take(NAMED).map(name).collect();
    let more = match missing.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(first.error(format!("no such image: {}{more}{advice}", named.join(", "))))
}
