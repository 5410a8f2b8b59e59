//! Resizing of images on the CPU.

use std::ops::Range;

use dataset::stretch::stretch;

/// Writes the part of a square RGB image, `[side, side, 3]`, that has these rows and columns as `[size, size, 3]`, with
/// an antialiased bilinear filter.
pub(super) fn resize(
    image: &[u8],
    side: usize,
    [rows, columns]: [Range<usize>; 2],
    size: usize,
    out: &mut [u8],
) {
    if [side, rows.len(), columns.len()] == [size; 3] {
        return out.copy_from_slice(image);
    }
    let part: Vec<u8> = rows
        .clone()
        .flat_map(|row| &image[(row * side + columns.start) * 3..][..columns.len() * 3])
        .copied()
        .collect();
    stretch(&part, (columns.len(), rows.len()), (size, size), out);
}
