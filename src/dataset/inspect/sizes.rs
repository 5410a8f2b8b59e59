//! Extents of image files.

use serde::Serialize;

/// Width and height of the smallest, the median and the largest image, by number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Width and height of the smallest.
    pub smallest: [u32; 2],
    /// Width and height of the one in the middle; of the larger of two.
    pub median: [u32; 2],
    /// Width and height of the largest.
    pub largest: [u32; 2],
}

impl Sizes {
    /// Of some images; `None` without any.
    pub(crate) fn of(mut extents: Vec<[u32; 2]>) -> Option<Self> {
        extents.sort_by_key(|&[width, height]| (u64::from(width) * u64::from(height), width));
        let (smallest, largest) = (*extents.first()?, *extents.last()?);
        Some(Self { smallest, median: extents[extents.len() / 2], largest })
    }
}
