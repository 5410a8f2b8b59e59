//! Stained white blood cells among red ones. Nucleus and granules determine the type; size, position and stain are
//! independent of it.

use super::canvas::{Camera, Canvas, Color, Ink, Texture};
use super::dice::Dice;
use super::shape::{Blob, Disc, Point, Stroke, Without, step, turn};

/// Types of white cells, in alphabetical order.
pub(super) const CLASSES: [&str; 4] = ["eosinophil", "lymphocyte", "monocyte", "neutrophil"];

const EOSINOPHIL: usize = 0;
const LYMPHOCYTE: usize = 1;
const MONOCYTE: usize = 2;

const CAMERA: Camera = Camera { light: 0.35, tint: 0.08, blur: 0.02, grain: 0.05 };

/// A white cell.
struct Cell {
    center: Point,
    radius: f32,
    stain: Color,
    cytoplasm: Color,
}

pub(super) fn draw(class: usize, side: usize, dice: &mut Dice) -> Canvas {
    let plasma = dice.near([0.9, 0.85, 0.84], 0.06);
    let mut canvas = Canvas::new(side, plasma);
    let unevenness = Texture::new(4, dice);
    canvas.shade(|point, color| color.map(|level| level + 0.03 * unevenness.at(point)));
    for _ in 0..dice.count(3, 8) {
        red_cell(&mut canvas, dice);
    }
    let cell = Cell {
        center: dice.point([0.5, 0.5], 0.1),
        radius: dice.uniform(0.23, 0.34),
        stain: dice.near([0.4, 0.24, 0.55], 0.1),
        cytoplasm: dice.near([0.74, 0.65, 0.78], 0.1),
    };
    cell.body(&mut canvas, dice);
    cell.granules(class, &mut canvas, dice);
    cell.nucleus(class, &mut canvas, dice);
    canvas.photograph(&CAMERA, dice)
}

/// A red cell, paler in the middle.
fn red_cell(canvas: &mut Canvas, dice: &mut Dice) {
    let center = [dice.uniform(-0.05, 1.05), dice.uniform(-0.05, 1.05)];
    let radius = dice.uniform(0.09, 0.15);
    let color = dice.near([0.82, 0.6, 0.6], 0.06);
    canvas.fill(&Blob::new(center, radius, dice.uniform(1.0, 1.3), 0.06, dice), Ink::soft(color, 0.85, 0.02));
    let pale = color.map(|level| level + 0.12);
    canvas.fill(&Disc { center, radius: radius * 0.45 }, Ink::soft(pale, 0.7, 0.06));
}

impl Cell {
    fn body(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let body = Blob::new(self.center, self.radius, dice.uniform(1.0, 1.25), 0.08, dice);
        canvas.fill(&body, Ink::soft(self.cytoplasm, 0.9, 0.02));
    }

    /// Coarse granules in eosinophils; the others have a few fine granules, or vacuoles, independent of the type.
    fn granules(&self, class: usize, canvas: &mut Canvas, dice: &mut Dice) {
        let color = dice.near([0.78, 0.42, 0.5], 0.12);
        let (count, size) = match class {
            EOSINOPHIL => (dice.count(14, 26), 0.075),
            _ => (dice.count(0, 16), 0.045),
        };
        for _ in 0..count {
            let center = dice.point(self.center, self.radius * 0.88);
            let radius = self.radius * size * dice.uniform(0.8, 1.4);
            canvas.fill(&Disc { center, radius }, Ink::soft(color, dice.uniform(0.4, 0.8), 0.0));
        }
    }

    fn nucleus(&self, class: usize, canvas: &mut Canvas, dice: &mut Dice) {
        let ink = Ink::soft(self.stain, 0.92, 0.02);
        match class {
            LYMPHOCYTE => canvas.fill(&self.round(dice), ink),
            MONOCYTE => {
                let bean = self.round(dice);
                let side = dice.direction();
                let notch = Disc {
                    center: step(bean.center, side, self.radius * dice.uniform(0.6, 0.75)),
                    radius: self.radius * dice.uniform(0.28, 0.42),
                };
                canvas.fill(&Without(bean, notch), ink);
            }
            EOSINOPHIL => self.lobes(2, canvas, ink, dice),
            _ => self.lobes(dice.count(3, 5), canvas, ink, dice),
        }
        self.chromatin(canvas, dice);
    }

    fn round(&self, dice: &mut Dice) -> Blob {
        let center = dice.point(self.center, self.radius * 0.15);
        let radius = self.radius * dice.uniform(0.55, 0.8);
        Blob::new(center, radius, dice.uniform(1.0, 1.3), 0.09, dice)
    }

    /// Lobes along a curved chain, joined by bridges.
    fn lobes(&self, count: usize, canvas: &mut Canvas, ink: Ink, dice: &mut Dice) {
        let spread = self.radius * dice.uniform(0.42, 0.55);
        let size = self.radius * if count == 2 { dice.uniform(0.32, 0.44) } else { dice.uniform(0.22, 0.32) };
        let bend = dice.sign() * if count == 2 { dice.uniform(1.6, 3.1) } else { dice.uniform(1.1, 1.5) };
        let mut direction = dice.direction();
        let mut last = None;
        for _ in 0..count {
            let center = step(self.center, direction, spread * dice.uniform(0.85, 1.15));
            let lobe = Blob::new(center, size * dice.uniform(0.85, 1.15), dice.uniform(1.0, 1.4), 0.1, dice);
            canvas.fill(&lobe, ink);
            if let Some(from) = last.replace(center) {
                canvas.fill(&Stroke { from, to: center, radius: self.radius * 0.07 }, ink);
            }
            direction = turn(direction, bend * dice.uniform(0.85, 1.15));
        }
    }

    /// Lighter specks in the nucleus.
    fn chromatin(&self, canvas: &mut Canvas, dice: &mut Dice) {
        let pale = self.stain.map(|level| level + 0.15);
        for _ in 0..dice.count(2, 6) {
            let speck =
                Disc { center: dice.point(self.center, self.radius * 0.5), radius: self.radius * 0.06 };
            canvas.fill(&speck, Ink::soft(pale, 0.4, 0.02));
        }
    }
}
