//! Drawings in rows and columns, as an SVG file for papers: plain colors on white, which every program shows alike.

use maud::{Markup, html};

use super::axes::round;
use super::picture::{Picture, stroke};

/// Okabe and Ito's colors, which color-blind readers can distinguish ("Color Universal Design", 2008), with a darker
/// yellow and a second gray.
const COLORS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a5195"];

const STYLE: &str = "text{font:11px sans-serif;fill:#1c1c1c}.title{font-weight:bold}.head{font-size:14px;font-weight:bold}\
    .axis{stroke:#5c5c5c;fill:none}.grid{stroke:#d4d4d4;fill:none}.line{fill:none;stroke-width:1.6}\
    .dots{fill:none;stroke-width:7;stroke-linecap:round}\
    .even{fill:none;stroke:#5c5c5c;stroke-dasharray:4 3}";

const MARGIN: f64 = 12.0;
/// Height of the title of the file, of a panel, and of a line of the key or caption.
const HEAD: f64 = 24.0;
const TITLE: f64 = 18.0;
const LINE: f64 = 16.0;
/// Estimated width of a letter. Fonts are never queried, so that the bytes are the same on every machine.
const LETTER: f64 = 6.2;
/// Width of the sign of a color.
const SIGN: f64 = 28.0;

/// A drawing with its title.
#[derive(Clone, Debug)]
pub struct Panel {
    /// The title.
    pub title: String,
    /// The drawing.
    pub picture: Picture,
}

/// The text of an SVG file: panels in rows and columns, with gaps, a key of colors and lines of caption below.
pub fn file(title: &str, rows: &[Vec<Option<Panel>>], key: &[String], caption: &[&str]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width_of =
        |column: usize| most(rows.iter().filter_map(|row| row.get(column)?.as_ref()).map(Panel::width));
    let widths: Vec<f64> = (0..columns).map(width_of).collect();
    let heights: Vec<f64> = rows.iter().map(|row| most(row.iter().flatten().map(Panel::height))).collect();
    let text = caption.iter().map(|line| letters(line)).chain([1.3 * letters(title)]);
    let width = 2.0 * MARGIN + most(text.chain([widths.iter().sum()]));
    let key = key_lines(key, width - 2.0 * MARGIN);
    let below = MARGIN + HEAD + heights.iter().sum::<f64>();
    let height = below + LINE * (key.len() + caption.len()) as f64 + MARGIN;
    let lefts = starts(MARGIN, &widths);
    let tops = starts(MARGIN + HEAD, &heights);
    let captions = below + LINE * key.len() as f64;
    let content = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (round(width)) " " (round(height)) } width=(round(width))
            height=(round(height)) {
            title { (title) }
            style { (STYLE) }
            rect width="100%" height="100%" fill="#fff" {}
            text.head x=(MARGIN) y=(MARGIN + 10.0) { (title) }
            @for (row, top) in rows.iter().zip(&tops) {
                @for (panel, left) in row.iter().zip(&lefts) {
                    @if let Some(panel) = panel { (panel.placed(*left, *top)) }
                }
            }
            @for (i, line) in key.iter().enumerate() { (key_line(line, below + LINE * (i as f64 + 0.7))) }
            @for (i, line) in caption.iter().enumerate() {
                text x=(MARGIN) y=(round(captions + LINE * (i as f64 + 0.8))) { (line) }
            }
        }
    };
    let plain = |text: String, (i, color): (usize, &&str)| text.replace(&format!("var(--c{i})"), color);
    // Control characters, as a name may have them, are no XML.
    let text = content.into_string().replace(char::is_control, " ");
    COLORS.iter().enumerate().fold(text, plain) + "\n"
}

impl Panel {
    fn width(&self) -> f64 {
        self.picture.width.max(1.1 * letters(&self.title)) + MARGIN
    }

    fn height(&self) -> f64 {
        self.picture.height + TITLE + MARGIN
    }

    fn placed(&self, left: f64, top: f64) -> Markup {
        html! {
            g transform={ "translate(" (round(left)) " " (round(top)) ")" } {
                text.title x="0" y="12" { (self.title) }
                g transform={ "translate(0 " (TITLE) ")" } { (self.picture.content) }
            }
        }
    }
}

/// Estimated width of a text.
fn letters(text: &str) -> f64 {
    LETTER * text.chars().count() as f64
}

/// The largest; 0 of none.
fn most(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// Where each part starts.
fn starts(first: f64, lengths: &[f64]) -> Vec<f64> {
    let start = |start: &mut f64, length: &f64| Some(std::mem::replace(start, *start + length));
    lengths.iter().scan(first, start).collect()
}

/// Names with their colors, as many in a line as fit.
fn key_lines(names: &[String], width: f64) -> Vec<Vec<(usize, &str, f64)>> {
    let mut lines: Vec<Vec<(usize, &str, f64)>> = Vec::new();
    let mut left = f64::INFINITY;
    for (color, name) in names.iter().enumerate() {
        let length = SIGN + letters(name) + MARGIN;
        if left + length > width {
            lines.push(Vec::new());
            left = 0.0;
        }
        lines.last_mut().expect("a line").push((color, name, left));
        left += length;
    }
    lines
}

fn key_line(names: &[(usize, &str, f64)], y: f64) -> Markup {
    html! {
        @for (color, name, left) in names {
            path.line style=(stroke(*color)) d={ "M" (round(MARGIN + left)) " " (round(y)) "h20" } {}
            text x=(round(MARGIN + left + SIGN - 4.0)) y=(round(y + 4.0)) { (name) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(title: &str, width: f64) -> Option<Panel> {
        let content = html! { path.line style=(stroke(1)) d="M0 0H9" {} };
        Some(Panel {
            title: title.to_owned(),
            picture: Picture { title: "t".into(), width, height: 50.0, content },
        })
    }

    #[test]
    fn a_file_has_its_colors_and_stands_alone() {
        let rows = [vec![panel("a & b", 100.0), None], vec![panel("c", 80.0), panel("d", 40.0)]];
        let names = ["x".repeat(20), "y\u{1b}".into(), "<z>".into()];
        let text = file("tiny: f", &rows, &names, &["Below."]);
        assert!(!text.contains("var(") && !text.contains("NaN"), "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text}");
        assert!(text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 188 "), "{text}");
        let places: Vec<&str> = text
            .match_indices("translate(")
            .map(|(at, _)| text[at + 10..].split(')').next().unwrap())
            .collect();
        assert_eq!(places, ["12 36", "0 18", "12 116", "0 18", "124 116", "0 18"]);
        for part in ["a &amp; b", "&lt;z&gt;", "#d55e00", "Below."] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_file_without_panels_is_a_title() {
        assert!(file("nothing", &[], &[], &[]).contains("nothing"));
    }
}
