//! The back of an eye. Kind and number of lesions determine five grades, modeled on diabetic retinopathy.

use super::canvas::{Camera, Canvas, Color, Ink, Texture};
use super::dice::Dice;
use super::shape::{Blob, Disc, Point, Stroke, step, turn};

/// Grades, mildest first.
pub(super) const CLASSES: [&str; 5] = ["none", "mild", "moderate", "severe", "proliferative"];

const CAMERA: Camera = Camera { light: 0.35, tint: 0.08, blur: 0.015, grain: 0.04 };

/// An eye without lesions.
struct Eye {
    center: Point,
    radius: f32,
    disc: Point,
    blood: Color,
}

/// Minimum and maximum number of lesions of each kind in a grade.
struct Lesions {
    aneurysms: (usize, usize),
    exudates: (usize, usize),
    haemorrhages: (usize, usize),
    new_vessels: (usize, usize),
}

const GRADES: [Lesions; 5] = [
    Lesions { aneurysms: (0, 0), exudates: (0, 0), haemorrhages: (0, 0), new_vessels: (0, 0) },
    Lesions { aneurysms: (5, 9), exudates: (0, 0), haemorrhages: (0, 0), new_vessels: (0, 0) },
    Lesions { aneurysms: (3, 8), exudates: (3, 5), haemorrhages: (0, 1), new_vessels: (0, 0) },
    Lesions { aneurysms: (2, 7), exudates: (0, 2), haemorrhages: (5, 9), new_vessels: (0, 0) },
    Lesions { aneurysms: (0, 5), exudates: (0, 2), haemorrhages: (0, 3), new_vessels: (3, 4) },
];

pub(super) fn draw(class: usize, side: usize, dice: &mut Dice) -> Canvas {
    let mut canvas = Canvas::new(side, [0.03; 3]);
    let nasal = dice.sign();
    let center = dice.point([0.5, 0.5], 0.03);
    let radius = dice.uniform(0.43, 0.52);
    let disc = [center[0] + nasal * dice.uniform(0.2, 0.3), center[1] + dice.within(0.07)];
    let eye = Eye { center, radius, disc, blood: dice.near([0.4, 0.1, 0.08], 0.04) };
    eye.retina(&mut canvas, dice);
    eye.landmarks(nasal, &mut canvas, dice);
    eye.vessels(&mut canvas, dice);
    eye.artifacts(&mut canvas, dice);
    eye.lesions(&GRADES[class], &mut canvas, dice);
    canvas.photograph(&CAMERA, dice)
}

impl Eye {
    fn retina(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let color = dice.near([0.72, 0.38, 0.2], 0.09);
        canvas.fill(&Disc { center: self.center, radius: self.radius }, Ink::soft(color, 1.0, 0.03));
        let (patches, color) = (Texture::new(5, dice), color.map(|level| level * 0.75));
        let ink = Ink::soft(color, dice.uniform(0.3, 0.7), 0.1);
        canvas.fill_by(&Disc { center: self.center, radius: self.radius - 0.04 }, ink, |point| {
            patches.at(point)
        });
    }

    /// The optic disc, and the dark macula on the opposite side.
    fn landmarks(&self, nasal: f32, canvas: &mut Canvas, dice: &mut Dice) {
        let size = dice.uniform(0.055, 0.08);
        let bright = dice.near([0.93, 0.76, 0.5], 0.05);
        canvas.fill(
            &Blob::new(self.disc, size, dice.uniform(1.0, 1.2), 0.05, dice),
            Ink::soft(bright, 0.9, 0.03),
        );
        let macula = [self.center[0] - nasal * dice.uniform(0.0, 0.1), self.center[1] + dice.within(0.04)];
        let dark = Ink::soft([0.38, 0.16, 0.08], dice.uniform(0.4, 0.7), 0.12);
        canvas.fill(&Disc { center: macula, radius: dice.uniform(0.05, 0.09) }, dark);
    }

    /// Four arcades, upper and lower on both sides, each with branches.
    fn vessels(&self, canvas: &mut Canvas, dice: &mut Dice) {
        for (sideways, vertical) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            let direction = turn([0.0, vertical], dice.within(0.5) - 0.4 * sideways * vertical);
            let bend = -sideways * vertical * dice.uniform(0.1, 0.28);
            let width = dice.uniform(0.009, 0.014);
            self.vessel((self.disc, direction), bend, width, canvas, dice);
        }
    }

    fn vessel(
        &self,
        (mut at, mut direction): (Point, Point),
        bend: f32,
        mut width: f32,
        canvas: &mut Canvas,
        dice: &mut Dice,
    ) {
        for piece in 0..8 {
            let to = step(at, direction, 0.075);
            if !self.holds(to, 0.02) {
                return;
            }
            canvas.fill(&Stroke { from: at, to, radius: width }, Ink::soft(self.blood, 0.7, 0.0));
            if piece > 1 && width > 0.007 && dice.chance(0.4) {
                let aside = turn(direction, dice.sign() * dice.uniform(0.4, 0.9));
                let branch =
                    Stroke { from: to, to: step(to, aside, dice.uniform(0.08, 0.16)), radius: width * 0.6 };
                if self.holds(branch.to, 0.02) {
                    canvas.fill(&branch, Ink::soft(self.blood, 0.6, 0.0));
                }
            }
            at = to;
            direction = turn(direction, bend + dice.within(0.15));
            width *= 0.9;
        }
    }

    /// Dust and reflections, independent of the grade.
    fn artifacts(&self, canvas: &mut Canvas, dice: &mut Dice) {
        for _ in 0..dice.count(0, 3) {
            let reflection =
                Disc { center: dice.point(self.center, self.radius), radius: dice.uniform(0.03, 0.08) };
            canvas.fill(&reflection, Ink::soft([0.9, 0.8, 0.65], dice.uniform(0.1, 0.3), 0.1));
        }
        for _ in 0..dice.count(0, 2) {
            let dust =
                Disc { center: dice.point(self.center, self.radius), radius: dice.uniform(0.015, 0.03) };
            canvas.fill(&dust, Ink::soft([0.3; 3], 0.35, 0.02));
        }
    }

    fn lesions(&self, grade: &Lesions, canvas: &mut Canvas, dice: &mut Dice) {
        for _ in 0..dice.count(grade.exudates.0, grade.exudates.1) {
            self.exudate(canvas, dice);
        }
        for _ in 0..dice.count(grade.haemorrhages.0, grade.haemorrhages.1) {
            let radius = dice.uniform(0.04, 0.065);
            let blob = Blob::new(self.place(dice), radius, dice.uniform(1.0, 2.0), 0.3, dice);
            canvas.fill(&blob, Ink::soft(self.blood, dice.uniform(0.7, 0.9), 0.01));
        }
        for _ in 0..dice.count(grade.aneurysms.0, grade.aneurysms.1) {
            let dot = Disc { center: self.place(dice), radius: dice.uniform(0.02, 0.028) };
            canvas.fill(&dot, Ink::soft(self.blood, dice.uniform(0.6, 0.9), 0.0));
        }
        for _ in 0..dice.count(grade.new_vessels.0, grade.new_vessels.1) {
            self.tangle(canvas, dice);
        }
    }

    /// A few bright adjacent grains.
    fn exudate(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let (center, color) = (self.place(dice), dice.near([0.93, 0.85, 0.5], 0.05));
        for _ in 0..dice.count(2, 5) {
            let grain = Disc { center: dice.point(center, 0.045), radius: dice.uniform(0.016, 0.026) };
            canvas.fill(&grain, Ink::soft(color, 0.85, 0.0));
        }
    }

    /// Fine new vessels that wind around a point.
    fn tangle(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let center = self.place(dice);
        let (mut at, mut direction) = (center, dice.direction());
        for _ in 0..dice.count(9, 14) {
            let to = dice.point(step(at, direction, 0.04), 0.02);
            canvas.fill(&Stroke { from: at, to, radius: 0.009 }, Ink::soft(self.blood, 0.75, 0.0));
            direction = turn(direction, dice.uniform(0.5, 1.4));
            at = if dice.chance(0.2) { center } else { to };
        }
    }

    /// A random point on the retina, off the optic disc.
    fn place(&self, dice: &mut Dice) -> Point {
        loop {
            let [x, y] = dice.point(self.center, self.radius * 0.85);
            let [dx, dy] = [x - self.disc[0], y - self.disc[1]];
            if dx * dx + dy * dy > 0.01 {
                return [x, y];
            }
        }
    }

    fn holds(&self, [x, y]: Point, margin: f32) -> bool {
        let [dx, dy] = [x - self.center[0], y - self.center[1]];
        (dx * dx + dy * dy).sqrt() < self.radius - margin
    }
}
