//! Axes, lines and bars as SVG. Coordinates are rounded to a tenth of a pixel.

use maud::{Markup, html};

/// Space for tick labels and names of axes.
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 8.0;
const RIGHT: f64 = 10.0;

/// Number of colors in the style.
const COLORS: usize = 8;

/// A chart with two axes.
pub(super) struct Chart<'a> {
    /// What it shows, for readers who cannot see it.
    pub(super) title: &'a str,
    /// Names of the axes.
    pub(super) names: [&'a str; 2],
    /// Ranges of the axes.
    pub(super) ranges: [(f64, f64); 2],
    /// Width and height of the plot.
    pub(super) size: (f64, f64),
}

impl Chart<'_> {
    /// The chart with `content` in its plot.
    pub(super) fn draw(&self, content: &Markup) -> Markup {
        let (width, height) = (self.size.0 + LEFT + RIGHT, self.size.1 + TOP + BOTTOM);
        let (right, bottom) = (LEFT + self.size.0, TOP + self.size.1);
        html! {
            svg role="img" aria-label=(self.title) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
                @for tick in ticks(self.ranges[0]) {
                    path.grid d={ "M" (self.x(tick)) " " (TOP) "V" (bottom) } {}
                    text x=(self.x(tick)) y=(bottom + 14.0) text-anchor="middle" { (label(tick)) }
                }
                @for tick in ticks(self.ranges[1]) {
                    path.grid d={ "M" (LEFT) " " (self.y(tick)) "H" (right) } {}
                    text x=(LEFT - 5.0) y=(round(self.y(tick) + 4.0)) text-anchor="end" { (label(tick)) }
                }
                path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (right) } {}
                text x=(round(LEFT + self.size.0 / 2.0)) y=(height - 4.0) text-anchor="middle" { (self.names[0]) }
                text transform={ "translate(11 " (round(TOP + self.size.1 / 2.0)) ") rotate(-90)" } text-anchor="middle" {
                    (self.names[1])
                }
                (content)
            }
        }
    }

    /// A line in a color.
    pub(super) fn line(&self, points: &[[f64; 2]], color: usize) -> Markup {
        html! { path.line style=(stroke(color)) d=(self.path(points)) {} }
    }

    /// The line of what is expected by chance, or of perfect agreement.
    pub(super) fn even(&self, points: &[[f64; 2]]) -> Markup {
        html! { path.even d=(self.path(points)) {} }
    }

    /// A point, marked.
    pub(super) fn dot(&self, [x, y]: [f64; 2], color: usize) -> Markup {
        html! { circle cx=(self.x(x)) cy=(self.y(y)) r="3.5" style=(fill(color)) {} }
    }

    /// A bar from the horizontal axis.
    pub(super) fn bar(&self, (from, to): (f64, f64), height: f64, color: usize) -> Markup {
        let (left, top) = (self.x(from), self.y(height));
        let bottom = self.y(self.ranges[1].0);
        html! {
            rect x=(left) y=(top) width=(round(self.x(to) - left)) height=(round(bottom - top)) fill-opacity="0.5"
                style=(fill(color)) {}
        }
    }

    fn path(&self, points: &[[f64; 2]]) -> String {
        let mut path = String::new();
        let mut last = None;
        for [x, y] in points {
            let at = (self.x(*x), self.y(*y));
            if last != Some(at) {
                path += &format!("{}{} {}", if last.is_none() { "M" } else { "L" }, at.0, at.1);
            }
            last = Some(at);
        }
        path
    }

    fn x(&self, value: f64) -> f64 {
        round(LEFT + self.size.0 * share(value, self.ranges[0]))
    }

    fn y(&self, value: f64) -> f64 {
        round(TOP + self.size.1 * (1.0 - share(value, self.ranges[1])))
    }
}

/// A sign of each color with its meaning.
pub(super) fn key(names: &[&str]) -> Markup {
    html! {
        p {
            @for (color, name) in names.iter().enumerate() {
                span.key {
                    svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true" {
                        path.line style=(stroke(color)) d="M1 4H21" {}
                    }
                    " " (name)
                }
            }
        }
    }
}

/// The smallest range that has all values; 0 to 1 without any.
pub(super) fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        (finite.clone().fold(f64::INFINITY, f64::min), finite.fold(f64::NEG_INFINITY, f64::max));
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - 0.5, low + 0.5),
        false => (0.0, 1.0),
    }
}

fn stroke(color: usize) -> String {
    format!("stroke:var(--c{})", color % COLORS)
}

fn fill(color: usize) -> String {
    format!("fill:var(--c{})", color % COLORS)
}

fn share(value: f64, (low, high): (f64, f64)) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// About five round values within a range.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let magnitude = 10f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude).into_iter().find(|step| *step >= rough);
    let Some(step) = step.filter(|step| step.is_finite() && *step > 0.0) else { return Vec::new() };
    let first = (low / step).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Without digits that come from rounding.
fn label(tick: f64) -> String {
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
    fn a_range_is_never_empty() {
        assert_eq!(range([0.5, 2.0, f64::NAN].into_iter()), (0.5, 2.0));
        assert_eq!(range([2.0, 2.0].into_iter()), (1.5, 2.5));
        assert_eq!(range([].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn points_at_one_place_are_drawn_once_and_outliers_at_the_edge() {
        let chart = Chart { title: "t", names: ["x", "y"], ranges: [(0.0, 1.0); 2], size: (100.0, 100.0) };
        let path = chart.path(&[[0.0, 0.0], [0.0001, 0.0], [1.0, 7.0]]);
        assert_eq!(path, "M44 108L144 8");
    }
}
