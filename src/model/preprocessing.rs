//! How images became the input of a model.

use dataset::PixelSpec;
use serde::{Deserialize, Serialize};

use crate::ModelInfo;

/// How images became the input of a model: those that it was last trained on, or what its import says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preprocessing {
    /// Side in pixels; `None` if unknown, as in files of earlier versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// From an image file to pixels. `None` if no image files were read or nothing is known; files of earlier versions
    /// were made with the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelSpec>,
}

impl Preprocessing {
    /// That of images of a data set, if it has the key `pixels`.
    pub fn new(size: usize, pixels: Option<&PixelSpec>) -> Self {
        Self { size: Some(size), pixels: pixels.map(PixelSpec::without_limit) }
    }

    /// That of a model after more training, on other images.
    pub fn then(&self, next: Self) -> Self {
        Self { size: next.size, pixels: next.pixels.or_else(|| self.pixels.clone()) }
    }

    /// That of models which are merged: [`Known::sources`](crate::Known::sources) rejects different ones.
    pub fn shared<'a>(sources: impl IntoIterator<Item = &'a ModelInfo>) -> Self {
        let mut sources = sources.into_iter().map(|source| &source.preprocessing);
        let first = sources.next().cloned().unwrap_or_default();
        Self { pixels: first.pixels.or_else(|| sources.find_map(|source| source.pixels.clone())), ..first }
    }

    /// The choices of two, if they differ. A model without one of its own takes any.
    pub fn differs(&self, pixels: Option<&PixelSpec>) -> Option<(PixelSpec, PixelSpec)> {
        let (own, other) = (self.pixels.as_ref()?.choice(), pixels?.choice());
        (own != other).then_some((own, other))
    }
}

/// `size = 224, pixels = { … }`
impl std::fmt::Display for Preprocessing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(size) = self.size {
            write!(f, "size = {size}, ")?;
        }
        write!(f, "pixels = {}", self.pixels.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pixels(json: serde_json::Value) -> PixelSpec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn training_on_images_without_a_choice_keeps_the_models_own() {
        let center = pixels(json!({ "crop_mode": "center", "max_pixels": 9 }));
        let first = Preprocessing::new(32, Some(&center));
        assert_eq!(first.pixels, Some(pixels(json!({ "crop_mode": "center" }))), "a limit changes no pixel");
        assert_eq!(
            first.then(Preprocessing::new(28, None)),
            Preprocessing { size: Some(28), ..first.clone() }
        );
        assert_eq!(first.to_string(), r#"size = 32, pixels = { crop_mode = "center" }"#);
    }

    #[test]
    fn choices_differ_unless_one_is_absent_or_only_what_belongs_to_files_differs() {
        let of = |json| Preprocessing::new(8, Some(&pixels(json)));
        let twelve = pixels(json!({ "bits": 12, "trim_borders": true, "window": [4, 8], "max_pixels": 7 }));
        assert_eq!(of(json!({})).differs(Some(&twelve)), None);
        assert_eq!(of(json!({ "crop_pct": 0.9 })).differs(None), None);
        assert_eq!(Preprocessing::default().differs(Some(&pixels(json!({ "crop_pct": 0.9 })))), None);
        let (own, other) = of(json!({ "crop_pct": 0.9, "bits": 12 })).differs(Some(&twelve)).unwrap();
        assert_eq!((own.to_string(), other.to_string()), ("{ crop_pct = 0.9 }".into(), "{}".into()));
    }

    #[test]
    fn files_of_earlier_versions_have_none() {
        assert_eq!(serde_json::from_value::<Preprocessing>(json!({})).unwrap(), Preprocessing::default());
        assert_eq!(serde_json::to_value(Preprocessing::default()).unwrap(), json!({}));
    }
}
