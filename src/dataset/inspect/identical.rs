//! Images with the same content.

use super::{Content, NamedImage};

/// Groups of two or more images with the same content, in the order of their first image.
pub(super) fn groups(contents: &[Content]) -> Vec<Vec<NamedImage>> {
    let mut sorted: Vec<&Content> = contents.iter().collect();
    sorted.sort_by(|a, b| (a.hash.as_bytes(), &a.image).cmp(&(b.hash.as_bytes(), &b.image)));
    let groups = sorted.chunk_by(|a, b| a.hash == b.hash).filter(|group| group.len() > 1);
    let mut groups: Vec<Vec<NamedImage>> =
        groups.map(|group| group.iter().map(|content| content.image.clone()).collect()).collect();
    groups.sort();
    groups
}

/// Whether they are in several splits.
pub(super) fn is_across(group: &[NamedImage]) -> bool {
    group.iter().any(|image| image.split != group[0].split)
}
