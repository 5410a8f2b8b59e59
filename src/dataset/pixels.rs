//! How an image file becomes pixels: the key `pixels` of kinds that read image files.
//!
//! Steps and their words are those of timm's and torchvision's evaluation transforms: decode, upright, trim, resize,
//! crop or pad. Only what differs from the default is serialized, so that a default enters no fingerprint.

use std::path::Path;

use identity::{Identity, Spec, options};
use kind::Problems;
use kind::problems::LARGEST;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::image::{self, Encoded};

/// Range of `crop_pct`.
const CROP_PCT: std::ops::RangeInclusive<f64> = 0.1..=1.0;

/// How an image file becomes a square of `size` pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PixelSpec {
    /// How an image that is not square becomes one.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "squash"))]
    pub crop_mode: CropMode,
    /// Share of the resized image's side that is kept, from 0.1 to 1: the image is resized to `size / crop_pct` and its
    /// center is cut out.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1.0))]
    pub crop_pct: f64,
    /// Filter of resizing, antialiased as Pillow's. All pixels are Pillow's, except that some levels of a bilinear squash
    /// with `crop_pct = 1` are rounded differently, by 1.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "bilinear"))]
    pub interpolation: Interpolation,
    /// Whether to cut off the dark surroundings of a fundus photograph before resizing: rows and columns at the edges
    /// in which no channel of any pixel exceeds level 10 of 255.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = false))]
    pub trim_borders: bool,
    /// Bits per channel of the data in 16-bit images, from 1 to 16: with 12, level 4095 is white. If absent, all 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// Center and width of the window that becomes 0 to 255 in a DICOM file, as `[40, 80]`. If absent, that of the file;
    /// if it has none, the range of its stored bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<[f64; 2]>,
    /// Largest number of pixels of an image file. A larger one is an error before it is decoded.
    #[serde(skip_serializing_if = "is_max_pixels")]
    #[schemars(extend("default" = 64_000_000))]
    pub max_pixels: u64,
}

/// How an image that is not square becomes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CropMode {
    /// Both sides are resized; the aspect ratio is lost.
    #[default]
    Squash,
    /// The shorter side is resized, and what the longer one has in excess is cut off.
    Center,
    /// The longer side is resized, and what the shorter one lacks is black.
    Border,
}

/// Filter of resizing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Triangle filter.
    #[default]
    Bilinear,
    /// Cubic filter, a = −0.5.
    Bicubic,
}

impl Default for PixelSpec {
    fn default() -> Self {
        Self {
            crop_mode: CropMode::default(),
            crop_pct: 1.0,
            interpolation: Interpolation::default(),
            trim_borders: false,
            bits: None,
            window: None,
            max_pixels: image::MAX_PIXELS,
        }
    }
}

impl Identity for PixelSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["max_pixels"]
    }
}

impl PixelSpec {
    /// Reports invalid values.
    pub fn validate(&self, problems: &mut Problems) {
        problems.check("crop_pct", self.crop_pct, CROP_PCT.contains(&self.crop_pct), "0.1 to 1");
        self.bits.iter().for_each(|&bits| problems.up_to("bits", bits as usize, 16));
        if let Some([center, width]) = self.window {
            problems.check("window.0", center, center.abs() <= LARGEST, "a finite number");
            problems.check("window.1", width, (1.0..=LARGEST).contains(&width), "1 or more");
        }
        problems.check("max_pixels", self.max_pixels, self.max_pixels >= 1, "1 or more");
    }

    /// The options of a kind that has the key `pixels`: with those that determine pixels, without any if all are the
    /// default.
    pub(super) fn within(&self, options: Value) -> Value {
        match self.is_plain() {
            true => options::without(options, &["pixels"]),
            false => options::replaced(options, "pixels", self.options()),
        }
    }

    /// Adds to a digest what determines pixels; nothing if all is the default.
    pub(super) fn enter(&self, hasher: &mut blake3::Hasher) {
        if !self.is_plain() {
            hasher.update(b"pixels").update(self.options().to_string().as_bytes());
        }
    }

    /// The same pixels with the default limit.
    pub fn without_limit(&self) -> Self {
        Self { max_pixels: image::MAX_PIXELS, ..self.clone() }
    }

    /// What a model expects of any data set: all but dark surroundings and how levels are stored, which belong to the
    /// files of one data set.
    pub fn choice(&self) -> Self {
        Self { trim_borders: false, bits: None, window: None, ..self.without_limit() }
    }

    /// Whether all that determines pixels is the default.
    fn is_plain(&self) -> bool {
        self.options().as_object().is_none_or(serde_json::Map::is_empty)
    }

    /// The pixels of an image file: RGB, u8, `[size, size, 3]`.
    ///
    /// # Errors
    /// A message that names the file: it cannot be read or decoded.
    pub fn read(&self, path: &Path, size: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![0; size * size * 3];
        Encoded::read(path, self)?.draw(size, &mut out)?;
        Ok(out)
    }
}

/// Every key that is not the default, as inline TOML after `pixels = `.
impl std::fmt::Display for PixelSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = self.to_json();
        let keys = json.as_object().into_iter().flatten();
        let keys: Vec<String> = keys.map(|(key, value)| format!("{key} = {value}")).collect();
        match keys.is_empty() {
            true => f.write_str("{}"),
            false => write!(f, "{{ {} }}", keys.join(", ")),
        }
    }
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn is_max_pixels(value: &u64) -> bool {
    *value == image::MAX_PIXELS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(json: Value) -> PixelSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_what_determines_pixels_enters_and_no_default() {
        let plain =
            json!({ "crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bilinear", "max_pixels": 5 });
        let digest = |spec: &PixelSpec| {
            let mut hasher = blake3::Hasher::new();
            spec.enter(&mut hasher);
            hasher.finalize()
        };
        let own = json!({ "size": 8, "pixels": { "max_pixels": 5 } });
        assert_eq!(spec(plain.clone()).within(own), json!({ "size": 8 }));
        assert_eq!(digest(&spec(plain)), blake3::hash(b""));
        let cut = spec(json!({ "crop_mode": "center", "crop_pct": 0.875, "max_pixels": 5 }));
        let own = json!({ "size": 8, "pixels": cut.to_json() });
        let within = json!({ "size": 8, "pixels": { "crop_mode": "center", "crop_pct": 0.875 } });
        assert_eq!(cut.within(own), within);
        assert_ne!(digest(&cut), blake3::hash(b""));
        assert_eq!(cut.to_string(), r#"{ crop_mode = "center", crop_pct = 0.875, max_pixels = 5 }"#);
        assert_eq!(PixelSpec::default().to_string(), "{}");
    }
}
