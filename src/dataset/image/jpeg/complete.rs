//! Whether a JPEG file has all of its scans. libjpeg-turbo guesses what others would have held, without a warning.

use std::collections::HashMap;

use super::frame::{Frame, START_OF_SCAN, Scan};
use crate::image::whole::markers;

/// Coefficients of a block.
const COEFFICIENTS: usize = 64;

/// Whether the scans of a file hold each component or, if it is progressive, each coefficient of each component to its
/// last bit.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let frame = Frame::of(bytes);
    let mut left: HashMap<u8, [u8; COEFFICIENTS]> =
        frame.components.iter().map(|&[component, ..]| (component, [u8::MAX; COEFFICIENTS])).collect();
    let scans = markers(bytes).filter(|(marker, _)| *marker == START_OF_SCAN);
    for scan in scans.filter_map(|(_, at)| Scan::read(&bytes[at..])) {
        let [first, last] = scan.coefficients.map(usize::from);
        let (coefficients, bits) = match frame.is_progressive() {
            true => (first..=last, scan.bits),
            false => (0..=COEFFICIENTS - 1, 0),
        };
        for [component, _] in scan.components {
            let left = left.get_mut(component).and_then(|left| left.get_mut(coefficients.clone()));
            left.unwrap_or_default().fill(bits);
        }
    }
    left.values().flatten().all(|&bits| bits == 0)
}
