//! Shapes as signed distance functions: negative inside, zero on the edge, in units of the square's side.

use super::dice::Dice;

/// A point in the unit square; y points down.
pub(super) type Point = [f32; 2];

/// Number of harmonics of a blob's outline, from the second; the first would only translate it.
const HARMONICS: usize = 4;

/// A shape that can be filled.
pub(super) trait Shape {
    /// Signed distance to the edge, negative inside.
    fn distance(&self, point: Point) -> f32;

    /// Corners of the bounding box: minimum and maximum coordinates.
    fn bounds(&self) -> [Point; 2];
}

/// A disc.
#[derive(Clone, Copy)]
pub(super) struct Disc {
    pub(super) center: Point,
    pub(super) radius: f32,
}

/// A line segment with round ends.
#[derive(Clone, Copy)]
pub(super) struct Stroke {
    pub(super) from: Point,
    pub(super) to: Point,
    pub(super) radius: f32,
}

/// An ellipse with a wavy outline: its radius is multiplied by `1 + Σ_k a_k cos kθ + b_k sin kθ`.
#[derive(Clone, Copy)]
pub(super) struct Blob {
    pub(super) center: Point,
    /// Semi-axes, along `axis` and perpendicular to it.
    pub(super) radii: [f32; 2],
    /// Unit vector along the first semi-axis.
    pub(super) axis: Point,
    /// `a_k` and `b_k` for k = 2, 3, …
    wave: [[f32; 2]; HARMONICS],
}

/// Intersection of two shapes.
#[derive(Clone, Copy)]
pub(super) struct Both<A, B>(pub(super) A, pub(super) B);

/// Difference of two shapes.
#[derive(Clone, Copy)]
pub(super) struct Without<A, B>(pub(super) A, pub(super) B);

/// A line along the edge of a shape, with the given half width.
#[derive(Clone, Copy)]
pub(super) struct Outline<A>(pub(super) A, pub(super) f32);

impl Blob {
    /// A blob at a random angle. `elongation` is the ratio of its semi-axes; `wave` is the deviation of the outline
    /// from the ellipse, as a fraction of the radius.
    pub(super) fn new(center: Point, radius: f32, elongation: f32, wave: f32, dice: &mut Dice) -> Self {
        let stretch = elongation.sqrt();
        let harmonic = |k: usize, dice: &mut Dice| {
            let [x, y] = dice.direction();
            let height = wave * dice.uniform(0.3, 1.0) / (k as f32 + 2.0).sqrt();
            [x * height, y * height]
        };
        let axis = dice.direction();
        let wave = std::array::from_fn(|k| harmonic(k, dice));
        Self { center, radii: [radius * stretch, radius / stretch], axis, wave }
    }

    /// The same blob with its axis upright.
    pub(super) fn upright(self) -> Self {
        Self { axis: [0.0, 1.0], ..self }
    }
}

impl Shape for Disc {
    fn distance(&self, point: Point) -> f32 {
        length(minus(point, self.center)) - self.radius
    }

    fn bounds(&self) -> [Point; 2] {
        around(self.center, self.radius)
    }
}

impl Shape for Stroke {
    fn distance(&self, point: Point) -> f32 {
        let (along, offset) = (minus(self.to, self.from), minus(point, self.from));
        let share = (dot(along, offset) / dot(along, along).max(1e-12)).clamp(0.0, 1.0);
        length([offset[0] - share * along[0], offset[1] - share * along[1]]) - self.radius
    }

    fn bounds(&self) -> [Point; 2] {
        let [low, high] =
            [f32::min, f32::max].map(|pick| [0, 1].map(|axis| pick(self.from[axis], self.to[axis])));
        [low.map(|x| x - self.radius), high.map(|x| x + self.radius)]
    }
}

impl Shape for Blob {
    fn distance(&self, point: Point) -> f32 {
        let offset = minus(point, self.center);
        let [along, across] = [dot(offset, self.axis), self.axis[0] * offset[1] - self.axis[1] * offset[0]];
        let scaled = [along / self.radii[0], across / self.radii[1]];
        let radius = length(scaled);
        let [cos, sin] = scaled.map(|x| x / radius.max(1e-6));
        let (mut edge, mut turn) = (1.0, [cos, sin]);
        for [a, b] in self.wave {
            // cos and sin of the next multiple of the angle
            turn = [turn[0] * cos - turn[1] * sin, turn[0] * sin + turn[1] * cos];
            edge += a * turn[0] + b * turn[1];
        }
        (radius - edge) * self.radii[0].min(self.radii[1])
    }

    fn bounds(&self) -> [Point; 2] {
        let reach: f32 = self.wave.iter().map(|&harmonic| length(harmonic)).sum();
        around(self.center, self.radii[0].max(self.radii[1]) * (1.0 + reach))
    }
}

impl<A: Shape, B: Shape> Shape for Both<A, B> {
    fn distance(&self, point: Point) -> f32 {
        self.0.distance(point).max(self.1.distance(point))
    }

    fn bounds(&self) -> [Point; 2] {
        let ([low, high], [other_low, other_high]) = (self.0.bounds(), self.1.bounds());
        [
            [0, 1].map(|axis| low[axis].max(other_low[axis])),
            [0, 1].map(|axis| high[axis].min(other_high[axis])),
        ]
    }
}

impl<A: Shape, B: Shape> Shape for Without<A, B> {
    fn distance(&self, point: Point) -> f32 {
        self.0.distance(point).max(-self.1.distance(point))
    }

    fn bounds(&self) -> [Point; 2] {
        self.0.bounds()
    }
}

impl<A: Shape> Shape for Outline<A> {
    fn distance(&self, point: Point) -> f32 {
        self.0.distance(point).abs() - self.1
    }

    fn bounds(&self) -> [Point; 2] {
        let [low, high] = self.0.bounds();
        [low.map(|x| x - self.1), high.map(|x| x + self.1)]
    }
}

/// The point at this distance in this direction.
pub(super) fn step(from: Point, direction: Point, distance: f32) -> Point {
    [from[0] + distance * direction[0], from[1] + distance * direction[1]]
}

/// The direction rotated by a small angle, in radians.
pub(super) fn turn([x, y]: Point, angle: f32) -> Point {
    let (sin, cos) = angle.sin_cos();
    [x * cos - y * sin, x * sin + y * cos]
}

fn around(center: Point, reach: f32) -> [Point; 2] {
    [center.map(|x| x - reach), center.map(|x| x + reach)]
}

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::{Purpose, rng};

    #[test]
    fn distances_are_negative_inside_and_grow_outward() {
        let disc = Disc { center: [0.5, 0.5], radius: 0.2 };
        assert!(
            (disc.distance([0.5, 0.5]) + 0.2).abs() < 1e-6 && (disc.distance([0.5, 0.9]) - 0.2).abs() < 1e-6
        );
        let stroke = Stroke { from: [0.0, 0.0], to: [1.0, 0.0], radius: 0.1 };
        assert!(
            (stroke.distance([0.5, 0.3]) - 0.2).abs() < 1e-6
                && (stroke.distance([1.3, 0.0]) - 0.2).abs() < 1e-6
        );
        assert!(
            Without(disc, disc).distance([0.5, 0.5]) > 0.0 && Both(disc, disc).distance([0.5, 0.5]) < 0.0
        );
        assert!(
            Outline(disc, 0.01).distance([0.5, 0.7]) < 0.0 && Outline(disc, 0.01).distance([0.5, 0.5]) > 0.0
        );
    }

    #[test]
    fn blobs_stay_in_their_bounds() {
        let mut dice = Dice::new(rng(0, Purpose::Phantom, 0, 0));
        for _ in 0..20 {
            let blob = Blob::new([0.5, 0.5], 0.2, 1.5, 0.3, &mut dice);
            let [low, high] = blob.bounds();
            assert!(blob.distance([0.5, 0.5]) < 0.0);
            for at in [0.0, 0.25, 0.5, 0.75, 1.0] {
                let along = |a: f32, b: f32| a + (b - a) * at;
                assert!(blob.distance([low[0], along(low[1], high[1])]) > 0.0);
                assert!(blob.distance([along(low[0], high[0]), high[1]]) > 0.0);
            }
        }
    }
}
