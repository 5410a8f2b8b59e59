//! A drawing, as it stands on a page or in a file of its own.

use maud::{Markup, html};

/// Number of colors.
const COLORS: usize = 8;

/// How lines of further classes are dashed, which have the same colors again.
const DASHES: [&str; 3] = ["", ";stroke-dasharray:6 2", ";stroke-dasharray:2 2"];

/// Height of a name in a key.
const LINE: f64 = 15.0;

/// A drawing. Colors are the variables `--c0` to `--c7` and the classes `axis`, `grid`, `line` and `even`, which a page
/// or a [`file`](super::file) defines.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What it shows, for readers who cannot see it.
    pub title: String,
    /// Width in pixels.
    pub width: f64,
    /// Height in pixels.
    pub height: f64,
    /// What it consists of.
    pub content: Markup,
}

impl Picture {
    /// The element of a page.
    pub fn svg(&self) -> Markup {
        let Self { title, width, height, content } = self;
        html! {
            svg role="img" aria-label=(title) viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) {
                (content)
            }
        }
    }

    /// With another one below it.
    pub fn above(self, below: &Self) -> Self {
        let content = html! {
            (self.content)
            g transform={ "translate(0 " (self.height) ")" } { (below.content) }
        };
        Self { width: self.width.max(below.width), height: self.height + below.height, content, ..self }
    }

    /// With a key of colors below it.
    pub fn with_key(self, names: &[String]) -> Self {
        let y = |i: usize| self.height + LINE * (i as f64 + 0.6);
        let content = html! {
            (self.content)
            @for (i, name) in names.iter().enumerate() {
                path.line style=(stroke(i)) d={ "M8 " (y(i)) "h20" } {}
                text x="34" y=(y(i) + 4.0) { (name) }
            }
        };
        Self { height: self.height + LINE * names.len() as f64, content, ..self }
    }
}

/// The style of a line in a color. After the last color they begin again, dashed.
pub fn stroke(color: usize) -> String {
    format!("stroke:var(--c{}){}", color % COLORS, DASHES[color / COLORS % DASHES.len()])
}

/// The style of an area in a color.
pub fn fill(color: usize) -> String {
    format!("fill:var(--c{})", color % COLORS)
}

/// A sign of each color with its meaning, for a page.
pub fn key(names: &[&str]) -> Markup {
    html! {
        p {
            @for (color, name) in names.iter().enumerate() {
                span.key {
                    svg viewBox="0 0 22 8" aria-hidden="true" {
                        g.frame { path.line style=(stroke(color)) d="M1 4H21" {} }
                    }
                    " " (name)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_that_begin_again_are_dashed() {
        assert_eq!(
            [0, 9, 17].map(stroke),
            [
                "stroke:var(--c0)",
                "stroke:var(--c1);stroke-dasharray:6 2",
                "stroke:var(--c1);stroke-dasharray:2 2"
            ]
        );
    }
}
