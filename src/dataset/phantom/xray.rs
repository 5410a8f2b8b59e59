//! Chest X-rays. The classes: no finding, patches in a lung, or fluid that fills a lung from below.

use super::canvas::{Camera, Canvas, Color, Ink, Texture};
use super::dice::Dice;
use super::shape::{Blob, Both, Disc, Point, Shape, Stroke};

/// Findings, in alphabetical order.
pub(super) const CLASSES: [&str; 3] = ["effusion", "normal", "pneumonia"];

const EFFUSION: usize = 0;
const NORMAL: usize = 1;

/// Films are gray: lighting and hue change all channels alike.
const CAMERA: Camera = Camera { light: 0.4, tint: 0.0, blur: 0.025, grain: 0.06 };

/// The fluid in a lung: everything below a level that rises toward the wall.
struct Fluid {
    level: f32,
    middle: f32,
    rise: f32,
}

pub(super) fn draw(class: usize, side: usize, dice: &mut Dice) -> Canvas {
    let mut canvas = Canvas::new(side, [0.06; 3]);
    let center = dice.point([0.5, 0.5], 0.05);
    let scale = dice.uniform(0.85, 1.1);
    let tissue = gray(dice.uniform(0.5, 0.7));
    body(center, scale, tissue, &mut canvas, dice);
    let air = gray(dice.uniform(0.12, 0.28));
    let lungs = [-1.0, 1.0].map(|lung| lung_field(center, scale, lung, dice));
    for lung in &lungs {
        canvas.fill(lung, Ink::soft(air, 0.9, 0.05));
    }
    heart(center, scale, tissue, &mut canvas, dice);
    distractors(&lungs, &mut canvas, dice);
    let sick = &lungs[dice.count(0, 1)];
    let veil = gray(dice.uniform(0.6, 0.8));
    match class {
        EFFUSION => effusion(sick, veil, &mut canvas, dice),
        NORMAL => {}
        _ => pneumonia(sick, veil, &mut canvas, dice),
    }
    ribs(center, &lungs, &mut canvas, dice);
    canvas.photograph(&CAMERA, dice)
}

fn gray(level: f32) -> Color {
    [level; 3]
}

fn body(center: Point, scale: f32, tissue: Color, canvas: &mut Canvas, dice: &mut Dice) {
    let torso = Blob::new([center[0], center[1] + 0.1], 0.55 * scale, 1.15, 0.05, dice).upright();
    canvas.fill(&torso, Ink::soft(tissue, 0.95, 0.05));
    let (clouds, bright) = (Texture::new(4, dice), tissue.map(|level| level + 0.2));
    canvas.fill_by(&torso, Ink::soft(bright, 0.4, 0.05), |point| clouds.at(point));
}

fn lung_field(center: Point, scale: f32, lung: f32, dice: &mut Dice) -> Blob {
    let middle = [center[0] + lung * scale * dice.uniform(0.18, 0.22), center[1] + dice.within(0.03)];
    Blob::new(middle, scale * dice.uniform(0.2, 0.24), dice.uniform(1.7, 2.2), 0.08, dice).upright()
}

fn heart(center: Point, scale: f32, tissue: Color, canvas: &mut Canvas, dice: &mut Dice) {
    let [x, y] = center;
    let spine = Stroke { from: [x, y - 0.5], to: [x, y + 0.5], radius: 0.05 * scale };
    canvas.fill(&spine, Ink::soft(tissue.map(|level| level + 0.12), 0.8, 0.04));
    let muscle = Blob::new([x + 0.06 * scale, y + 0.12], scale * dice.uniform(0.11, 0.17), 1.3, 0.08, dice);
    canvas.fill(&muscle, Ink::soft(tissue.map(|level| level + 0.08), 0.9, 0.04));
}

/// Soft tissue over both lungs, vessels and a wire, independent of the class.
fn distractors(lungs: &[Blob; 2], canvas: &mut Canvas, dice: &mut Dice) {
    let (low, strength) = (dice.uniform(0.1, 0.25), dice.uniform(0.0, 0.35));
    for lung in lungs {
        let [x, y] = lung.center;
        let breast = Disc { center: [x, y + low], radius: dice.uniform(0.12, 0.18) };
        canvas.fill(&breast, Ink::soft(gray(0.6), strength, 0.1));
        for _ in 0..dice.count(2, 5) {
            let (from, to) = (dice.point([0.5 * (x + 0.5), y], 0.05), dice.point([x, y], 0.18));
            canvas.fill(&Stroke { from, to, radius: 0.007 }, Ink::soft(gray(0.6), 0.35, 0.0));
        }
    }
    if dice.chance(0.3) {
        let (from, to) = ([dice.uniform(0.0, 1.0), 0.0], [dice.uniform(0.0, 1.0), 1.0]);
        canvas.fill(&Stroke { from, to, radius: 0.006 }, Ink::soft(gray(0.95), 0.7, 0.0));
    }
}

/// Bright arcs across both lungs.
fn ribs(center: Point, lungs: &[Blob; 2], canvas: &mut Canvas, dice: &mut Dice) {
    let (number, phase) = (dice.uniform(5.0, 8.0), dice.uniform(0.0, 1.0));
    let (bow, strength) = (dice.uniform(0.6, 1.6), dice.uniform(0.1, 0.3));
    for lung in lungs {
        canvas.fill_by(lung, Ink::soft(gray(0.8), strength, 0.02), |[x, y]| {
            let across = x - center[0];
            let wave = ((y + bow * across * across) * number + phase).fract();
            1.0 - (4.0 * (wave - 0.5).abs()).min(1.0)
        });
    }
}

/// Adjacent patches with ragged edges, anywhere in one lung.
fn pneumonia(lung: &Blob, veil: Color, canvas: &mut Canvas, dice: &mut Dice) {
    let center = [lung.center[0] + dice.within(0.06), lung.center[1] + dice.within(0.2)];
    let (ragged, strength) = (Texture::new(10, dice), dice.uniform(0.4, 0.7));
    for _ in 0..dice.count(2, 5) {
        let patch = Blob::new(dice.point(center, 0.1), dice.uniform(0.05, 0.1), 1.3, 0.3, dice);
        let ink = Ink::soft(veil, strength, 0.06);
        canvas.fill_by(&Both(*lung, patch), ink, |point| 0.75 + 0.5 * ragged.at(point));
    }
}

/// Fluid from the bottom of one lung up to a level.
fn effusion(lung: &Blob, veil: Color, canvas: &mut Canvas, dice: &mut Dice) {
    let fluid = Fluid {
        level: lung.center[1] + dice.uniform(0.05, 0.24),
        middle: lung.center[0] - 0.08 * (lung.center[0] - 0.5).signum(),
        rise: dice.uniform(0.5, 2.5),
    };
    canvas.fill(&Both(*lung, fluid), Ink::soft(veil, dice.uniform(0.5, 0.85), 0.04));
}

impl Shape for Fluid {
    fn distance(&self, [x, y]: Point) -> f32 {
        let aside = x - self.middle;
        self.level - self.rise * aside * aside - y
    }

    fn bounds(&self) -> [Point; 2] {
        [[0.0; 2], [1.0; 2]]
    }
}
