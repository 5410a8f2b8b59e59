//! Builds a [`Dataset`] and its [`Summary`] from labels, names and pixels; checks that all kinds share.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;

use super::{DataError, Dataset, Labels, MultiLabelSummary, Pixels, Split, SplitName, State, Summary};
use kind::Problems;

/// One value per split, in the order of [`SplitName::ALL`].
pub(super) type PerSplit<T> = [T; 3];

/// Sides of images in pixels that a key `size` may have. Files may have smaller images.
const SIZES: RangeInclusive<usize> = 8..=4096;

/// Checks a key that is a side of images.
pub(super) fn validate_size(problems: &mut Problems, key: &str, size: usize) {
    problems.check(key, size, SIZES.contains(&size), &sizes());
}

fn sizes() -> String {
    format!("{} to {} pixels", SIZES.start(), SIZES.end())
}

impl Summary {
    /// Counts the labels of each split.
    pub(super) fn new<L: Into<Labels>>(
        classes: Vec<String>,
        labels: PerSplit<L>,
        digest: blake3::Hash,
    ) -> Self {
        let labels: PerSplit<Labels> = labels.map(Into::into);
        let counts = labels.each_ref().map(|labels| labels.tally(classes.len()).0);
        Self {
            classes,
            counts,
            multi_label: MultiLabelSummary::new(labels),
            digest: digest.to_hex().to_string(),
            warnings: Vec::new(),
            caveats: Vec::new(),
            train_groups: None,
        }
    }
}

impl MultiLabelSummary {
    /// `None` if images have one class each.
    fn new(labels: PerSplit<Labels>) -> Option<Self> {
        let multi = labels.into_iter().map(|labels| match labels {
            Labels::Single(_) => None,
            Labels::Multi(labels) => Some(labels),
        });
        let [train, val, test] = multi.collect::<Option<Vec<_>>>()?.try_into().ok()?;
        let all = [&train, &val, &test];
        let (images, unknown) =
            (all.map(|labels| labels.len()), all.map(|labels| labels.count(State::Unknown)));
        Some(Self { images, unknown, train })
    }
}

impl Dataset {
    /// Combines the parts of a data set. Labels must have passed [`check_labels`].
    pub(super) fn new<L: Into<Labels>>(
        classes: Vec<String>,
        size: usize,
        labels: PerSplit<L>,
        names: PerSplit<Vec<String>>,
        pixels: PerSplit<Pixels>,
    ) -> Self {
        let labels: PerSplit<Labels> = labels.map(Into::into);
        let mut splits = labels.into_iter().zip(names).zip(pixels).map(|((labels, names), pixels)| {
            assert_eq!(labels.len(), names.len(), "one name per image");
            let split = Split { pixels, labels, names, groups: None };
            assert_eq!(
                split.len() * split.image_bytes(),
                split.pixels.len(),
                "one square RGB image per label"
            );
            split
        });
        let mut next = || splits.next().expect("three splits");
        Self { classes, size, pixels: None, train: next(), val: next(), test: next() }
    }
}

/// Names images `<split>/<position>`.
pub(super) fn numbered_names(counts: PerSplit<usize>) -> PerSplit<Vec<String>> {
    SplitName::ALL
        .map(|split| (0..counts[split as usize]).map(|i| format!("{}/{i}", split.as_str())).collect())
}

/// Names classes `0`, `1`, … up to the largest label of all splits.
pub(super) fn numbered_classes(labels: &[Vec<u32>]) -> Vec<String> {
    let count = labels.iter().flatten().max().map_or(0, |&largest| largest + 1);
    (0..count).map(|class| class.to_string()).collect()
}

/// Checks that every label is a class index.
///
/// # Errors
/// The first label out of range, as `<split>_labels[<index>]`.
pub(super) fn check_labels(
    path: &Path,
    classes: &[String],
    labels: &PerSplit<Vec<u32>>,
) -> Result<(), DataError> {
    for (split, labels) in SplitName::ALL.iter().zip(labels) {
        if let Some(index) = labels.iter().position(|&label| label as usize >= classes.len()) {
            let message = format!(
                "label {} is out of range: {} classes are labeled 0 to {}; add the missing names to `classes`",
                labels[index],
                classes.len(),
                classes.len() - 1
            );
            return Err(DataError::at(path, format!("{}_labels[{index}]", split.as_str()), message));
        }
    }
    Ok(())
}

/// Checks that class names exist, differ, and are not empty.
///
/// # Errors
/// The first name that violates a rule.
pub(super) fn check_classes(path: &Path, classes: &[String]) -> Result<(), DataError> {
    if classes.is_empty() {
        return Err(DataError::new(path, "`classes` is empty; name every class, or omit `classes`"));
    }
    let mut before = HashSet::new();
    for (index, name) in classes.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(DataError::new(path, format!("name {index} of `classes` is empty")));
        }
        if !before.insert(name) {
            return Err(DataError::new(path, format!("duplicate name '{name}' in `classes`")));
        }
    }
    Ok(())
}

/// Checks that lists of classes, `a|b`, are unambiguous, as they are written for images of a multi-label data set.
///
/// # Errors
/// The first name with a `|`.
pub(super) fn check_listable(path: &Path, classes: &[String]) -> Result<(), DataError> {
    let Some(name) = classes.iter().find(|name| name.contains('|')) else { return Ok(()) };
    let message = format!("a class of a multi-label data set must not have `|` in its name, unlike '{name}'");
    Err(DataError::new(path, message))
}

/// Checks that the image side is supported.
///
/// # Errors
/// A side of 0 or above 4096 pixels.
pub(super) fn check_size(path: &Path, size: usize) -> Result<(), DataError> {
    if (1..=*SIZES.end()).contains(&size) {
        return Ok(());
    }
    Err(wrong_size(path, size))
}

/// The error of an unsupported side.
pub(super) fn wrong_size(path: &Path, size: usize) -> DataError {
    DataError::new(path, format!("`size` must be {}, not {size}", sizes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn a_label_out_of_range_is_reported_by_array_and_index() {
        let labels = [vec![0, 1], vec![0], vec![1, 0, 2]];
        let error = check_labels(Path::new("set.npz"), &strings(&["a", "b"]), &labels).unwrap_err();
        assert_eq!(error.place.as_deref(), Some("test_labels[2]"));
        assert!(error.to_string().contains("label 2 is out of range: 2 classes"), "{error}");
    }

    #[test]
    fn classes_are_counted_over_all_splits() {
        assert_eq!(numbered_classes(&[vec![0, 1], vec![], vec![3]]), ["0", "1", "2", "3"]);
        let summary = Summary::new(strings(&["a", "b"]), [vec![1, 1], vec![0], vec![]], blake3::hash(b""));
        assert_eq!(summary.counts, [vec![0, 2], vec![1, 0], vec![0, 0]]);
    }

    #[test]
    fn class_names_must_differ_and_sizes_be_possible() {
        let path = Path::new("set");
        let message = |names: &[&str]| check_classes(path, &strings(names)).unwrap_err().to_string();
        assert!(message(&["a", "b", "a"]).contains("duplicate name 'a'"));
        assert!(message(&["a", " "]).contains("name 1"));
        assert!(message(&[]).contains("`classes` is empty"));
        assert!(
            check_size(path, 0).is_err() && check_size(path, 5000).is_err() && check_size(path, 28).is_ok()
        );
    }
}
