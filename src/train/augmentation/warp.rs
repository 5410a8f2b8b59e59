//! Affine maps of images, for rotations, shears and shifts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a pixel between others is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The nearest pixel
    Nearest,
    /// A weighted mean of the four pixels around it
    #[default]
    Bilinear,
}

/// An affine transform with torchvision's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    /// Counterclockwise, in degrees.
    pub(super) angle: f64,
    /// To the right and down, in pixels.
    pub(super) translate: [f64; 2],
    pub(super) scale: f64,
    /// Along x and along y, in degrees.
    pub(super) shear: [f64; 2],
    /// Fixed point relative to the image's center, in pixels.
    pub(super) center: [f64; 2],
}

impl Default for Affine {
    fn default() -> Self {
        Self { angle: 0.0, translate: [0.0; 2], scale: 1.0, shear: [0.0; 2], center: [0.0; 2] }
    }
}

impl Affine {
    /// The map from output to input coordinates relative to the image's center, `[a, b, c, d, e, f]`:
    /// x = a x' + b y' + c, y = d x' + e y' + f. It inverts translate · center · rotate · shear · scale · center⁻¹.
    fn inverse(&self) -> [f64; 6] {
        let [cx, cy] = self.center;
        let [x, y] = [cx + self.translate[0], cy + self.translate[1]];
        // the angle of torchvision's matrix is clockwise
        let rotation = -self.angle.to_radians();
        let [shear_x, shear_y] = self.shear.map(f64::to_radians);
        let turned = rotation - shear_y;
        let a = turned.cos() / shear_y.cos();
        let b = -turned.cos() * shear_x.tan() / shear_y.cos() - rotation.sin();
        let c = turned.sin() / shear_y.cos();
        let d = -turned.sin() * shear_x.tan() / shear_y.cos() + rotation.cos();
        let [a, b, c, d] = [d, -b, -c, a].map(|entry| entry / self.scale);
        [a, b, cx - a * x - b * y, c, d, cy - c * x - d * y]
    }

    /// Writes the transformed square RGB image to `out`; black where the input ends.
    pub(super) fn apply(&self, image: &[u8], size: usize, interpolation: Interpolation, out: &mut [u8]) {
        let [a, b, c, d, e, f] = self.inverse();
        let center = (size as f64 - 1.0) / 2.0;
        for (position, pixel) in out.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = ((position % size) as f64 - center, (position / size) as f64 - center);
            let (x, y) = (a * x + b * y + c + center, d * x + e * y + f + center);
            *pixel = match interpolation {
                Interpolation::Nearest => at(image, size, x.round_ties_even(), y.round_ties_even()),
                Interpolation::Bilinear => bilinear(image, size, x, y),
            };
        }
    }
}

/// A pixel; black outside of the image.
fn at(image: &[u8], size: usize, x: f64, y: f64) -> [u8; 3] {
    let inside = |at: f64| (0.0..size as f64).contains(&at);
    match inside(x) && inside(y) {
        true => image.as_chunks::<3>().0[y as usize * size + x as usize],
        false => [0; 3],
    }
}

fn bilinear(image: &[u8], size: usize, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, bottom_share) = (x - left, y - top);
    let mut sum = [0.0; 3];
    for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)] {
        let share = (1.0 - dx - right_share).abs() * (1.0 - dy - bottom_share).abs();
        for (sum, level) in sum.iter_mut().zip(at(image, size, left + dx, top + dy)) {
            *sum += share * f64::from(level);
        }
    }
    sum.map(|level| level.round_ties_even() as u8)
}
