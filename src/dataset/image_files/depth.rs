//! Whether 16-bit images use the range that is scaled to 0 to 255. Otherwise they would be almost black.

use rayon::prelude::*;

use super::listing::Row;
use super::spec::Shared;
use super::with_image;
use crate::DataError;
use crate::image::white;
use crate::pixels::PixelSpec;

/// A warning if no image uses the upper half of the range, given the images with 16 bits.
pub(super) fn warning(shared: &Shared<'_>, deep: &[&Row]) -> Option<String> {
    let (path, pixels) = (shared.path.display(), shared.pixels);
    if deep.is_empty() {
        let unused = || format!("{path}: `pixels.bits` has no effect: no image has 16 bits per channel");
        return pixels.bits.map(|_| unused());
    }
    let white = white(pixels.bits.unwrap_or(16));
    let level = largest_level(deep, pixels, white / 2)?;
    let bits = (u16::BITS - level.leading_zeros()).max(1);
    Some(format!(
        "{path}: images with 16 bits use less than half of their range, so they are dark: their largest level is \
         {level} of {white}; set `pixels.bits = {bits}` if they hold data of {bits} bits"
    ))
}

/// A warning if a window is set that no image uses.
pub(super) fn window_warning(shared: &Shared<'_>, has_dicom: bool) -> Option<String> {
    let unused = || format!("{}: `pixels.window` has no effect: no image is DICOM", shared.path.display());
    shared.pixels.window.filter(|_| !has_dicom).map(|_| unused())
}

/// The largest level of all images, unless one exceeds `half`: the search ends there. A damaged image, too, ends it: it
/// is reported when it is decoded.
fn largest_level(deep: &[&Row], pixels: &PixelSpec, half: u16) -> Option<u16> {
    let level = |row: &&Row| level(row, pixels).ok().filter(|level| *level <= half);
    deep.par_iter().map(level).try_reduce(|| 0, |a, b| Some(a.max(b)))
}

fn level(row: &Row, pixels: &PixelSpec) -> Result<u16, DataError> {
    with_image(row, pixels, |image| image.largest_level())
}

#[cfg(test)]
mod tests {
    use super::super::ImageFiles;
    use super::window_warning;
    use crate::DatasetKind;
    use crate::manifest::ManifestSpec;

    /// The summary's warnings, and the level of the first training pixel.
    fn read(levels: [u16; 2], keys: &str) -> (Vec<String>, u8, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, level) in ["a.png", "b.png"].iter().zip(levels) {
            image::ImageBuffer::from_pixel(8, 8, image::Luma([level]))
                .save(folder.path().join(name))
                .unwrap();
        }
        let csv = folder.path().join("labels.csv");
        std::fs::write(&csv, "image,label,split\na.png,x,train\nb.png,y,train\n").unwrap();
        let mut spec: ManifestSpec =
            serde_json::from_value(serde_json::json!({ "path": csv, "size": 8 })).unwrap();
        spec.pixels.bits = keys.parse().ok();
        let summary = spec.summary().unwrap();
        (summary.warnings, spec.load(None).unwrap().train.pixels[0], summary.digest)
    }

    #[test]
    fn f02_twelve_bits_in_sixteen_give_a_warning_and_bits_scales_them() {
        let (warnings, level, plain) = read([4000, 3000], "");
        assert_eq!((warnings.len(), level), (1, 16));
        let expected =
            "their largest level is 4000 of 65535; set `pixels.bits = 12` if they hold data of 12 bits";
        assert!(warnings[0].contains(expected), "{warnings:?}");
        let (warnings, level, scaled) = read([4000, 3000], "12");
        assert_eq!((warnings.len(), level), (0, 249));
        assert_ne!(plain, scaled, "decoded images are cached by the digest");
        assert!(read([900, 800], "12").0[0].contains("900 of 4095; set `pixels.bits = 10`"));
    }

    #[test]
    fn a_window_without_dicom_gives_a_warning() {
        let json = serde_json::json!({ "path": "a.csv", "size": 8, "pixels": { "window": [40, 80] } });
        let spec: ManifestSpec = serde_json::from_value(json).unwrap();
        let warning = window_warning(&spec.shared(), false).unwrap();
        assert_eq!(warning, "a.csv: `pixels.window` has no effect: no image is DICOM");
        assert_eq!(window_warning(&spec.shared(), true), None);
    }

    #[test]
    fn one_bright_image_is_enough() {
        assert!(read([40_000, 3], "").0.is_empty());
    }
}
