//! `color_jitter`: change brightness, contrast, saturation and hue at random, in random order; torchvision's
//! `ColorJitter`.

use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Augmentation, Change, color, draws};

/// Changes brightness, contrast, saturation and hue by random factors, in random order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitterSpec {
    /// The factor is drawn from 1 − brightness to 1 + brightness.
    pub brightness: f64,
    /// The factor is drawn from 1 − contrast to 1 + contrast.
    pub contrast: f64,
    /// The factor is drawn from 1 − saturation to 1 + saturation.
    pub saturation: f64,
    /// Largest shift of the hue to either side, in turns of the color wheel.
    pub hue: f64,
}

impl Default for ColorJitterSpec {
    fn default() -> Self {
        Self { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.0 }
    }
}

impl Identity for ColorJitterSpec {}

impl Kind for ColorJitterSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("brightness", self.brightness);
        problems.fraction("contrast", self.contrast);
        problems.fraction("saturation", self.saturation);
        problems.check("hue", self.hue, (0.0..=0.5).contains(&self.hue), "from 0 to 0.5");
    }
}

impl Augmentation for ColorJitterSpec {
    fn draw(&self, draws: &mut dyn RngCore) -> Box<dyn Change> {
        let mut factor = |most: f64| draws::between(draws, [1.0 - most, 1.0 + most]) as f32;
        let steps = [
            Step::Brightness(factor(self.brightness)),
            Step::Contrast(factor(self.contrast)),
            Step::Saturation(factor(self.saturation)),
        ];
        let hue = Step::Hue(draws::between(draws, [-self.hue, self.hue]) as f32);
        let mut steps: Vec<Step> = steps.into_iter().chain([hue]).collect();
        draws::shuffle(draws, &mut steps);
        Box::new(ColorJitter { steps })
    }
}

/// Steps in order.
struct ColorJitter {
    steps: Vec<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

impl Change for ColorJitter {
    fn apply(&self, image: &[u8], _: usize, out: &mut [u8]) {
        out.copy_from_slice(image);
        for step in &self.steps {
            match *step {
                Step::Brightness(factor) if factor != 1.0 => color::brightness(out, factor),
                Step::Contrast(factor) if factor != 1.0 => color::contrast(out, factor),
                Step::Saturation(factor) if factor != 1.0 => color::saturation(out, factor),
                Step::Hue(shift) if shift != 0.0 => color::hue(out, shift),
                _ => {}
            }
        }
    }
}
