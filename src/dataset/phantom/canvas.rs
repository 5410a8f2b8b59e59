//! A small anti-aliased canvas, and the effects of a camera.

use super::dice::Dice;
use super::shape::{Point, Shape};

/// Red, green and blue from 0 to 1.
pub(super) type Color = [f32; 3];

/// A square floating-point image.
pub(super) struct Canvas {
    side: usize,
    pixels: Vec<Color>,
}

/// How a shape is painted.
#[derive(Clone, Copy)]
pub(super) struct Ink {
    /// The color.
    pub(super) color: Color,
    /// From 0 (transparent) to 1 (opaque).
    pub(super) opacity: f32,
    /// Width of the soft edge; at least a pixel.
    pub(super) edge: f32,
}

/// Camera effects, which must not depend on the class.
pub(super) struct Camera {
    /// Strength of uneven lighting.
    pub(super) light: f32,
    /// Variation of brightness and hue between images.
    pub(super) tint: f32,
    /// Maximum blur, as a fraction of the side.
    pub(super) blur: f32,
    /// Noise per pixel.
    pub(super) grain: f32,
}

impl Ink {
    /// A brush with color, opacity and edge.
    pub(super) fn soft(color: Color, opacity: f32, edge: f32) -> Self {
        Self { color, opacity, edge }
    }
}

impl Canvas {
    /// A uniformly colored image.
    pub(super) fn new(side: usize, color: Color) -> Self {
        Self { side, pixels: vec![color; side * side] }
    }

    /// Paints a shape.
    pub(super) fn fill(&mut self, shape: &impl Shape, ink: Ink) {
        self.fill_by(shape, ink, |_| 1.0);
    }

    /// Paints a shape with spatially varying opacity.
    pub(super) fn fill_by(&mut self, shape: &impl Shape, ink: Ink, share: impl Fn(Point) -> f32) {
        let pixel = 1.0 / self.side as f32;
        let edge = ink.edge.max(pixel);
        let [low, high] = shape.bounds();
        let span = |axis: usize| {
            let first = ((low[axis] - edge / 2.0) * self.side as f32).max(0.0) as usize;
            let last = ((high[axis] + edge / 2.0) * self.side as f32).ceil().max(0.0) as usize;
            first.min(self.side)..last.min(self.side)
        };
        let (columns, rows) = (span(0), span(1));
        for row in rows {
            for column in columns.clone() {
                let point = [(column as f32 + 0.5) * pixel, (row as f32 + 0.5) * pixel];
                let coverage = (0.5 - shape.distance(point) / edge).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    let opacity = (coverage * ink.opacity * share(point)).clamp(0.0, 1.0);
                    let under = &mut self.pixels[row * self.side + column];
                    *under = mix(*under, ink.color, opacity);
                }
            }
        }
    }

    /// Changes every pixel as a function of its position.
    pub(super) fn shade(&mut self, change: impl Fn(Point, Color) -> Color) {
        let pixel = 1.0 / self.side as f32;
        for (row, pixels) in self.pixels.chunks_exact_mut(self.side).enumerate() {
            for (column, color) in pixels.iter_mut().enumerate() {
                *color = change([(column as f32 + 0.5) * pixel, (row as f32 + 0.5) * pixel], *color);
            }
        }
    }

    /// Adds uneven lighting, a hue shift, blur and noise.
    pub(super) fn photograph(mut self, camera: &Camera, dice: &mut Dice) -> Self {
        let [slope_x, slope_y] = dice.direction().map(|x| x * dice.uniform(0.0, camera.light));
        let gain = dice.near([1.0; 3], camera.tint);
        let contrast = dice.uniform(1.0 - camera.tint, 1.0 + camera.tint);
        self.shade(|[x, y], color| {
            let light = 1.0 + slope_x * (x - 0.5) + slope_y * (y - 0.5);
            [0, 1, 2].map(|channel| (0.5 + contrast * (color[channel] - 0.5)) * light * gain[channel])
        });
        self.blur(dice.uniform(0.0, camera.blur));
        self.grain(camera.grain * dice.uniform(0.3, 1.0), dice);
        self
    }

    /// Gaussian blur; the standard deviation is a fraction of the side.
    fn blur(&mut self, deviation: f32) {
        let deviation = deviation * self.side as f32;
        if deviation < 0.25 {
            return;
        }
        let reach = (2.5 * deviation).ceil() as isize;
        let weight = |offset: isize| (-((offset * offset) as f32) / (2.0 * deviation * deviation)).exp();
        let kernel: Vec<f32> = (-reach..=reach).map(weight).collect();
        let total: f32 = kernel.iter().sum();
        let kernel: Vec<f32> = kernel.iter().map(|weight| weight / total).collect();
        for stride in [1, self.side] {
            self.convolve(&kernel, stride);
        }
    }

    /// Convolves along rows (`stride` 1) or columns (`stride` is the side); the border is replicated.
    fn convolve(&mut self, kernel: &[f32], stride: usize) {
        let across = if stride == 1 { self.side } else { 1 };
        let last = self.side as isize - 1;
        let reach = (kernel.len() / 2) as isize;
        let mut line = vec![[0.0; 3]; self.side];
        for start in (0..self.side).map(|line| line * across) {
            for (position, pixel) in line.iter_mut().enumerate() {
                *pixel = self.pixels[start + position * stride];
            }
            for position in 0..self.side {
                let mut sum = [0.0; 3];
                for (offset, weight) in (-reach..=reach).zip(kernel) {
                    let neighbor = line[(position as isize + offset).clamp(0, last) as usize];
                    (0..3).for_each(|channel| sum[channel] += weight * neighbor[channel]);
                }
                self.pixels[start + position * stride] = sum;
            }
        }
    }

    /// Adds triangularly distributed noise to every pixel: mostly gray, partly colored.
    fn grain(&mut self, amount: f32, dice: &mut Dice) {
        let scale = amount / 255.0;
        for pixel in &mut self.pixels {
            let bytes = dice.bytes().map(f32::from);
            let gray = bytes[6] + bytes[7] - 255.0;
            for channel in 0..3 {
                let color = bytes[channel] - bytes[channel + 3];
                pixel[channel] += scale * (gray + 0.5 * color);
            }
        }
    }

    /// Writes `[side, side, 3]` bytes.
    pub(super) fn write_rgb(&self, out: &mut [u8]) {
        for (pixel, bytes) in self.pixels.iter().zip(out.chunks_exact_mut(3)) {
            for (level, byte) in pixel.iter().zip(bytes) {
                *byte = (level * 255.0).round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Blends two colors: `share` of the second, the rest of the first.
pub(super) fn mix(first: Color, second: Color, share: f32) -> Color {
    [0, 1, 2].map(|channel| first[channel] + share * (second[channel] - first[channel]))
}

/// Smooth random noise from -1 to 1.
pub(super) struct Texture {
    cells: usize,
    heights: Vec<f32>,
}

impl Texture {
    /// A texture with a grid of `cells` x `cells` in the unit square.
    pub(super) fn new(cells: usize, dice: &mut Dice) -> Self {
        Self { cells, heights: (0..(cells + 1) * (cells + 1)).map(|_| dice.within(1.0)).collect() }
    }

    /// Value at a point; outside the square, that of the nearest edge.
    pub(super) fn at(&self, point: Point) -> f32 {
        let [x, y] = point.map(|x| x.clamp(0.0, 0.9999) * self.cells as f32);
        let (column, row) = (x as usize, y as usize);
        let [right, down] = [x - column as f32, y - row as f32].map(|t| t * t * (3.0 - 2.0 * t));
        let corner = row * (self.cells + 1) + column;
        let across =
            |corner: usize| self.heights[corner] + right * (self.heights[corner + 1] - self.heights[corner]);
        let (above, below) = (across(corner), across(corner + self.cells + 1));
        above + down * (below - above)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Disc;
    use super::*;
    use rng::{Purpose, rng};

    fn dice() -> Dice {
        Dice::new(rng(0, Purpose::Phantom, 0, 0))
    }

    fn sum(canvas: &Canvas) -> f32 {
        canvas.pixels.iter().map(|pixel| pixel[0]).sum()
    }

    #[test]
    fn the_area_of_a_disc_is_that_of_a_circle() {
        let mut canvas = Canvas::new(28, [0.0; 3]);
        canvas.fill(&Disc { center: [0.43, 0.51], radius: 0.3 }, Ink::soft([1.0; 3], 1.0, 0.0));
        let area = std::f32::consts::PI * (0.3f32 * 28.0).powi(2);
        assert!((sum(&canvas) / area - 1.0).abs() < 0.01, "{} {area}", sum(&canvas));
    }

    #[test]
    fn shapes_beyond_the_image_are_clipped() {
        let mut canvas = Canvas::new(8, [0.0; 3]);
        canvas.fill(&Disc { center: [-1.0, 3.0], radius: 0.3 }, Ink::soft([1.0; 3], 1.0, 0.0));
        assert_eq!(sum(&canvas), 0.0);
        canvas.fill(&Disc { center: [0.5, 0.5], radius: 3.0 }, Ink::soft([1.0; 3], 1.0, 0.0));
        assert_eq!(sum(&canvas), 64.0);
    }

    #[test]
    fn blur_preserves_total_intensity_and_spreads_it() {
        let mut canvas = Canvas::new(28, [0.0; 3]);
        canvas.pixels[14 * 28 + 14] = [1.0; 3];
        canvas.blur(0.05);
        assert!((sum(&canvas) - 1.0).abs() < 1e-4);
        let [center, right, below] =
            [14 * 28 + 14, 14 * 28 + 15, 15 * 28 + 14].map(|at| canvas.pixels[at][0]);
        assert!(center > right && (right - below).abs() < 1e-6 && right > 0.02);
    }

    #[test]
    fn texture_is_continuous_and_bounded() {
        let texture = Texture::new(5, &mut dice());
        let heights: Vec<f32> = (0..=1000).map(|i| texture.at([i as f32 / 1000.0, 0.37])).collect();
        assert!(heights.iter().all(|height| height.abs() <= 1.0));
        assert!(heights.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.02));
    }
}
