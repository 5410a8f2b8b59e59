//! Axes, lines and bars. Coordinates are rounded to a tenth of a pixel.

use maud::{Markup, html};

use super::path::path;
use super::picture::{Picture, fill, stroke};

/// Space for tick labels and names of axes.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 10.0;

/// Of names at the horizontal axis: their least distance, and the estimated width of a letter.
const NAME_HEIGHT: f64 = 10.5;
const NAME_LETTER: f64 = 5.2;

/// A chart with two axes.
#[derive(Debug)]
pub struct Chart<'a> {
    /// What it shows, for readers who cannot see it.
    pub title: &'a str,
    /// Names of the axes.
    pub names: [&'a str; 2],
    /// Ranges of the axes.
    pub ranges: [(f64, f64); 2],
    /// Width and height of the plot.
    pub size: (f64, f64),
    /// What stands at the horizontal axis.
    pub scale: Scale<'a>,
}

/// What stands at the horizontal axis.
#[derive(Clone, Copy, Debug, Default)]
pub enum Scale<'a> {
    /// Round numbers.
    #[default]
    Linear,
    /// Round numbers whose common logarithms are the positions.
    Log,
    /// A name at each of 0, 1, …, upward.
    Names(&'a [&'a str]),
}

impl Chart<'_> {
    /// The chart with `content` in its plot.
    pub fn draw(&self, content: &Markup) -> Picture {
        let (width, height) = (self.size.0 + LEFT + RIGHT, self.size.1 + TOP + self.below());
        let (right, bottom) = (LEFT + self.size.0, TOP + self.size.1);
        let content = html! {
            g.frame {
                path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (right) } {}
                text x=(round(LEFT + self.size.0 / 2.0)) y=(height - 4.0) text-anchor="middle" { (self.names[0]) }
                @if !self.names[1].is_empty() {
                    text transform={ "translate(11 " (round(TOP + self.size.1 / 2.0)) ") rotate(-90)" } text-anchor="middle" {
                        (self.names[1])
                    }
                }
            }
            (self.horizontal(bottom))
            g.frame text-anchor="end" {
                path.grid d=(self.rows(right)) {}
                @for tick in ticks(self.ranges[1]) {
                    text x=(LEFT - 5.0) y=(round(self.y(tick) + 4.0)) { (label(tick)) }
                }
            }
            (content)
        };
        Picture { title: self.title.to_owned(), width, height, content }
    }

    /// Lines at the ticks of the vertical axis.
    fn rows(&self, right: f64) -> String {
        ticks(self.ranges[1]).into_iter().map(|tick| format!("M{LEFT} {}H{right}", self.y(tick))).collect()
    }

    /// Lines at the ticks of the horizontal axis.
    fn columns(&self, bottom: f64) -> String {
        self.horizontal_ticks().into_iter().map(|tick| format!("M{} {TOP}V{bottom}", self.x(tick))).collect()
    }

    fn horizontal_ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => ticks(self.ranges[0]),
            Scale::Log => log_ticks(self.ranges[0]),
            Scale::Names(_) => Vec::new(),
        }
    }

    /// The value at a tick of the horizontal axis.
    fn tick_label(&self, tick: f64) -> String {
        label(if matches!(self.scale, Scale::Log) { 10f64.powf(tick) } else { tick })
    }

    /// What stands at the horizontal axis, at `bottom`.
    fn horizontal(&self, bottom: f64) -> Markup {
        let Scale::Names(names) = self.scale else {
            return html! {
                g.frame text-anchor="middle" {
                    path.grid d=(self.columns(bottom)) {}
                    @for tick in self.horizontal_ticks() {
                        text x=(self.x(tick)) y=(bottom + 14.0) { (self.tick_label(tick)) }
                    }
                }
            };
        };
        let upward = |x: f64| format!("translate({} {}) rotate(-90)", round(x + 3.0), round(bottom + 5.0));
        html! {
            g.frame text-anchor="end" style="font-size:9px" {
                @for (i, name) in names.iter().enumerate().step_by(self.names_apart(names.len())) {
                    text transform=(upward(self.x(i as f64))) { (name) }
                }
            }
        }
    }

    /// At how many of `names` names one is written, so that they do not overlap.
    fn names_apart(&self, names: usize) -> usize {
        (NAME_HEIGHT * names as f64 / self.size.0).ceil().max(1.0) as usize
    }

    /// Space below the horizontal axis.
    fn below(&self) -> f64 {
        match self.scale {
            Scale::Names(names) => {
                let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
                round(BOTTOM - 10.0 + NAME_LETTER * longest as f64)
            }
            _ => BOTTOM,
        }
    }

    /// A line in a color.
    pub fn line(&self, points: &[[f64; 2]], color: usize) -> Markup {
        html! { path.line style=(stroke(color)) d=(self.path(points)) {} }
    }

    /// A faint line in a color, one of several that belong together.
    pub fn thin_line(&self, points: &[[f64; 2]], color: usize) -> Markup {
        html! { path.line stroke-opacity="0.6" style=(stroke(color)) d=(self.path(points)) {} }
    }

    /// A dashed line in a color.
    pub fn dashed(&self, points: &[[f64; 2]], color: usize) -> Markup {
        html! { path.line stroke-dasharray="5 3" style=(stroke(color)) d=(self.path(points)) {} }
    }

    /// The area between two lines with the same horizontal positions.
    pub fn band(&self, low: &[[f64; 2]], high: &[[f64; 2]], color: usize) -> Markup {
        let outline: Vec<[f64; 2]> = high.iter().chain(low.iter().rev()).copied().collect();
        html! { path fill-opacity="0.18" style=(fill(color)) d={ (self.path(&outline)) "Z" } {} }
    }

    /// The line of what is expected by chance, or of perfect agreement.
    pub fn even(&self, points: &[[f64; 2]]) -> Markup {
        html! { path.even d=(self.path(points)) {} }
    }

    /// Points, marked.
    pub fn dots(&self, points: &[[f64; 2]], color: usize) -> Markup {
        // A line of almost no length has the shape of its round caps.
        let dot = |[x, y]: &[f64; 2]| format!("M{} {}h.1", self.x(*x), self.y(*y));
        html! { path.dots style=(stroke(color)) d=(points.iter().map(dot).collect::<String>()) {} }
    }

    /// Rectangles, each from where to where on both axes.
    pub fn blocks(&self, blocks: &[[(f64, f64); 2]], color: usize) -> Markup {
        let block = |[(from, to), (low, high)]: &[(f64, f64); 2]| {
            let (left, top) = (self.x(*from), self.y(*high));
            let (width, height) = (round(self.x(*to) - left), round(self.y(*low) - top));
            format!("M{left} {top}h{width}v{height}h{}z", -width)
        };
        html! {
            path fill-opacity="0.5" style=(fill(color)) d=(blocks.iter().map(block).collect::<String>()) {}
        }
    }

    fn path(&self, points: &[[f64; 2]]) -> String {
        path(points.iter().map(|[x, y]| [self.x(*x), self.y(*y)]))
    }

    fn x(&self, value: f64) -> f64 {
        round(LEFT + self.size.0 * share(value, self.ranges[0]))
    }

    fn y(&self, value: f64) -> f64 {
        round(TOP + self.size.1 * (1.0 - share(value, self.ranges[1])))
    }
}

/// The smallest range that has all values; 0 to 1 without any.
pub fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        (finite.clone().fold(f64::INFINITY, f64::min), finite.fold(f64::NEG_INFINITY, f64::max));
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - 0.5, low + 0.5),
        false => (0.0, 1.0),
    }
}

fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

pub(super) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The smallest range that ends at ticks of its own.
pub(super) fn round_range((low, high): (f64, f64)) -> (f64, f64) {
    let Some(distance) = step((low, high)) else { return (low, high) };
    // What rounding adds to a multiple is no reason for the next one.
    let wider = ((low / distance + 1e-9).floor() * distance, (high / distance - 1e-9).ceil() * distance);
    // A wider range may have fewer ticks.
    if step(wider) == Some(distance) { wider } else { round_range(wider) }
}

/// The distance of about five round values within a range.
fn step((low, high): (f64, f64)) -> Option<f64> {
    let rough = (high - low) / 5.0;
    let magnitude = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude);
    steps
        .into_iter()
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .filter(|step| step.is_finite() && *step > 0.0)
}

/// About five round values within a range.
pub(super) fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let Some(step) = step((low, high)) else { return Vec::new() };
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Logarithms of 1, 2 and 5 times powers of ten within a range of logarithms; of powers of ten in a long one.
fn log_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let factors = if high - low > 3.0 { &[1.0][..] } else { &[1.0, 2.0, 5.0] };
    let powers = low.floor() as i32..=high.ceil() as i32;
    let ticks =
        powers.flat_map(|power| factors.iter().map(move |factor: &f64| factor.log10() + f64::from(power)));
    ticks.filter(|tick| (low - 1e-9..=high + 1e-9).contains(tick)).collect()
}

/// Without digits that come from rounding.
pub(super) fn label(tick: f64) -> String {
    let text = format!("{tick:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        let labels = |range| ticks(range).into_iter().map(label).collect::<Vec<_>>().join(" ");
        assert_eq!(labels((0.0, 1.0)), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(labels((-0.013, 0.07)), "0 0.02 0.04 0.06");
        assert_eq!(labels((1.0, 15.0)), "5 10 15");
        assert_eq!(labels((-3.0, 4.0)), "-2 0 2 4");
    }

    #[test]
    fn logarithmic_ticks_are_round_numbers() {
        let labels = |low: f64, high: f64| {
            let ticks = log_ticks((low.log10(), high.log10())).into_iter();
            ticks.map(|tick| label(10f64.powf(tick))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(0.05, 1.0), "0.05 0.1 0.2 0.5 1");
        assert_eq!(labels(3.0, 90.0), "5 10 20 50");
        assert_eq!(labels(0.001, 100.0), "0.001 0.01 0.1 1 10 100");
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(range([0.5, 2.0, f64::NAN].into_iter()), (0.5, 2.0));
        assert_eq!(range([2.0, 2.0].into_iter()), (1.5, 2.5));
        assert_eq!(range([].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn a_round_range_ends_at_ticks() {
        let ends = |range| {
            let (low, high) = round_range(range);
            let ticks = ticks((low, high));
            assert_eq!((label(low), label(high)), (label(ticks[0]), label(ticks[ticks.len() - 1])));
            [low, high].map(label)
        };
        assert_eq!(ends((0.19, 0.38)), ["0.15", "0.4"]);
        assert_eq!(ends((0.19, 0.41)), ["0.1", "0.5"]);
        assert_eq!(ends((0.147, 1.005)), ["0", "1.25"]);
        assert_eq!(ends((-0.013, 0.07)), ["-0.02", "0.08"]);
        assert_eq!(ends((0.3, 0.6)), ["0.3", "0.6"]);
        assert_eq!(ends((0.0, 1.0)), ["0", "1"]);
        assert_eq!(round_range((0.0, f64::NAN)).0, 0.0);
    }

    #[test]
    fn points_at_one_place_are_drawn_once_and_outliers_at_the_edge() {
        let chart = Chart {
            title: "t",
            names: ["x", "y"],
            ranges: [(0.0, 1.0); 2],
            size: (100.0, 100.0),
            scale: Scale::Linear,
        };
        let path = chart.path(&[[0.0, 0.0], [0.0001, 0.0], [1.0, 7.0], [1.0, 0.501], [0.5, 0.5]]);
        assert_eq!(path, "M44 108l100-100v49.9l-50 .1");
        assert_eq!(chart.path(&[]), "");
    }
}
