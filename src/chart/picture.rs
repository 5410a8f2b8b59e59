//! A drawing, as it stands on a page or in a file of its own.

use maud::{Markup, html};

/// Number of colors.
const COLORS: usize = 8;

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
}

/// The style of a line in a color.
pub fn stroke(color: usize) -> String {
    format!("stroke:var(--c{})", color % COLORS)
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
                    svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true" {
                        path.line style=(stroke(color)) d="M1 4H21" {}
                    }
                    " " (name)
                }
            }
        }
    }
}
