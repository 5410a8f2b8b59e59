//! The operations that `rand_augment` and `trivial_augment` draw from, with their magnitudes.

use super::Change;
use super::color;
use super::warp::{Affine, Interpolation};

/// Magnitudes are numbered from 0 to this.
pub(super) const LARGEST_MAGNITUDE: usize = 30;

/// The operations of both policies, in torchvision's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Operation {
    pub(super) const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether its magnitude may be negative.
    pub(super) fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }
}

/// An operation with its magnitude.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operate {
    pub(super) operation: Operation,
    /// Shear: tangent; translation: pixels, or a share of the side; rotation: degrees; colors: the factor less 1;
    /// posterization: bits; solarization: threshold from 0 to 1.
    pub(super) magnitude: f64,
    /// Whether translations are shares of the side.
    pub(super) relative: bool,
}

impl Change for Operate {
    fn apply(&self, image: &[u8], size: usize, out: &mut [u8]) {
        let factor = 1.0 + self.magnitude as f32;
        if let Some(affine) = self.affine(size) {
            return affine.apply(image, size, Interpolation::Nearest, out);
        }
        out.copy_from_slice(image);
        match self.operation {
            Operation::Brightness => color::brightness(out, factor),
            Operation::Color => color::saturation(out, factor),
            Operation::Contrast => color::contrast(out, factor),
            Operation::Sharpness => color::sharpness(out, size, factor),
            Operation::Posterize => color::posterize(out, self.magnitude as u32),
            Operation::Solarize => color::solarize(out, (255.0 * self.magnitude) as f32),
            Operation::AutoContrast => color::autocontrast(out),
            Operation::Equalize => color::equalize(out),
            _ => {}
        }
    }

    fn is_identity(&self) -> bool {
        self.operation == Operation::Identity
    }
}

impl Operate {
    fn affine(&self, size: usize) -> Option<Affine> {
        // shears keep the upper left corner
        let corner = [-(size as f64) / 2.0; 2];
        let shear = self.magnitude.atan().to_degrees();
        let shift = (self.magnitude * if self.relative { size as f64 } else { 1.0 }).trunc();
        let unchanged = Affine::default();
        Some(match self.operation {
            Operation::ShearX => Affine { shear: [shear, 0.0], center: corner, ..unchanged },
            Operation::ShearY => Affine { shear: [0.0, shear], center: corner, ..unchanged },
            Operation::TranslateX => Affine { translate: [shift, 0.0], ..unchanged },
            Operation::TranslateY => Affine { translate: [0.0, shift], ..unchanged },
            Operation::Rotate => Affine { angle: self.magnitude, ..unchanged },
            _ => return None,
        })
    }
}
