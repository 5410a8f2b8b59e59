//! Skin lesions under a dermatoscope. Symmetry, border and inner structure determine the type; all types share one
//! color palette.

use super::canvas::{Camera, Canvas, Color, Ink, Texture, mix};
use super::dice::Dice;
use super::shape::{Blob, Both, Disc, Outline, Point, Stroke, step, turn};

/// Types of lesions, in alphabetical order.
pub(super) const CLASSES: [&str; 5] = ["basal_cell", "keratosis", "melanoma", "naevus", "vascular"];

const BASAL_CELL: usize = 0;
const KERATOSIS: usize = 1;
const MELANOMA: usize = 2;
const NAEVUS: usize = 3;

const CAMERA: Camera = Camera { light: 0.35, tint: 0.08, blur: 0.02, grain: 0.05 };

/// Position, size and colors of a lesion.
struct Lesion {
    center: Point,
    radius: f32,
    color: Color,
    skin: Color,
}

pub(super) fn draw(class: usize, side: usize, dice: &mut Dice) -> Canvas {
    let skin = dice.near([0.82, 0.63, 0.54], 0.1);
    let mut canvas = Canvas::new(side, skin);
    let creases = Texture::new(9, dice);
    let depth = dice.uniform(0.01, 0.05);
    canvas.shade(|point, color| color.map(|level| level + depth * creases.at(point)));
    let brown_or_red = mix([0.32, 0.18, 0.12], [0.62, 0.3, 0.3], dice.uniform(0.0, 1.0));
    let lesion = Lesion {
        center: dice.point([0.5, 0.5], 0.13),
        radius: dice.uniform(0.17, 0.31),
        color: dice.near(brown_or_red, 0.07),
        skin,
    };
    match class {
        BASAL_CELL => lesion.basal_cell(&mut canvas, dice),
        KERATOSIS => lesion.keratosis(&mut canvas, dice),
        MELANOMA => lesion.melanoma(&mut canvas, dice),
        NAEVUS => lesion.naevus(&mut canvas, dice),
        _ => lesion.vascular(&mut canvas, dice),
    }
    for _ in 0..dice.count(0, 4) {
        hair(&mut canvas, dice);
    }
    canvas.photograph(&CAMERA, dice)
}

fn hair(canvas: &mut Canvas, dice: &mut Dice) {
    let (mut at, mut direction) = ([dice.uniform(0.0, 1.0), dice.uniform(0.0, 1.0)], dice.direction());
    let (bend, radius) = (dice.within(0.25), dice.uniform(0.004, 0.009));
    for _ in 0..dice.count(3, 6) {
        let to = step(at, direction, 0.12);
        canvas.fill(&Stroke { from: at, to, radius }, Ink::soft([0.16, 0.11, 0.08], 0.7, 0.0));
        at = to;
        direction = turn(direction, bend);
    }
}

impl Lesion {
    fn outline(&self, wave: f32, dice: &mut Dice) -> Blob {
        Blob::new(self.center, self.radius, dice.uniform(1.0, 1.45), wave, dice)
    }

    /// Sharpness of the border, independent of the type.
    fn edge(dice: &mut Dice) -> f32 {
        dice.uniform(0.01, 0.08)
    }

    /// Round and uniform, a little darker toward the middle.
    fn naevus(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let outline = self.outline(0.1, dice);
        canvas.fill(&outline, Ink::soft(self.color, 0.85, Self::edge(dice)));
        let dark = self.color.map(|level| level * 0.8);
        let middle = Disc { center: self.center, radius: self.radius * dice.uniform(0.3, 0.6) };
        canvas.fill(&middle, Ink::soft(dark, dice.uniform(0.0, 0.6), 0.12));
    }

    /// An irregular border, and patches of other colors on one side.
    fn melanoma(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let outline = self.outline(dice.uniform(0.22, 0.42), dice);
        canvas.fill(&outline, Ink::soft(self.color, 0.85, Self::edge(dice)));
        let aside = dice.direction();
        for _ in 0..dice.count(2, 4) {
            let center = dice.point(step(self.center, aside, self.radius * 0.4), self.radius * 0.6);
            let patch = Blob::new(center, self.radius * dice.uniform(0.25, 0.45), 1.4, 0.3, dice);
            let other = [[0.15, 0.1, 0.1], [0.42, 0.42, 0.5], [0.75, 0.55, 0.5]][dice.count(0, 2)];
            let color = dice.near(other, 0.05);
            canvas.fill(&Both(outline, patch), Ink::soft(color, dice.uniform(0.4, 0.75), 0.04));
        }
    }

    /// Rough, with small bright cysts.
    fn keratosis(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let outline = self.outline(dice.uniform(0.08, 0.2), dice);
        canvas.fill(&outline, Ink::soft(self.color, 0.85, Self::edge(dice)));
        let (rough, dark) = (Texture::new(12, dice), self.color.map(|level| level * 0.6));
        canvas.fill_by(&outline, Ink::soft(dark, 0.55, 0.03), |point| rough.at(point));
        let pale = mix(self.skin, [1.0; 3], 0.35);
        for _ in 0..dice.count(3, 7) {
            let cyst = Disc {
                center: dice.point(self.center, self.radius * 0.75),
                radius: dice.uniform(0.014, 0.024),
            };
            canvas.fill(&cyst, Ink::soft(pale, dice.uniform(0.5, 0.85), 0.0));
        }
    }

    /// A raised rim around a paler middle, crossed by fine vessels.
    fn basal_cell(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let outline = self.outline(dice.uniform(0.08, 0.2), dice);
        let pale = mix(self.color, self.skin, dice.uniform(0.3, 0.6));
        canvas.fill(&outline, Ink::soft(pale, 0.8, Self::edge(dice)));
        let rim = Outline(outline, self.radius * dice.uniform(0.1, 0.18));
        canvas.fill(&rim, Ink::soft(self.color, dice.uniform(0.4, 0.75), 0.03));
        for _ in 0..dice.count(2, 4) {
            let from = dice.point(self.center, self.radius * 0.9);
            let to = dice.point(self.center, self.radius * 0.7);
            canvas.fill(&Stroke { from, to, radius: 0.008 }, Ink::soft([0.6, 0.2, 0.2], 0.6, 0.0));
        }
    }

    /// Round chambers close together.
    fn vascular(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let halo = mix(self.color, self.skin, 0.55);
        canvas.fill(&self.outline(0.12, dice), Ink::soft(halo, 0.7, Self::edge(dice)));
        for _ in 0..dice.count(5, 9) {
            let radius = self.radius * dice.uniform(0.18, 0.32);
            let chamber = Blob::new(dice.point(self.center, self.radius * 0.75), radius, 1.15, 0.06, dice);
            canvas.fill(&chamber, Ink::soft(dice.near(self.color, 0.04), 0.8, 0.01));
        }
    }
}
