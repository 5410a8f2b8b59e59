//! The elements of the SVG, drawn on a page.

use std::collections::BTreeSet;

use pdf_writer::types::LineCapStyle;
use pdf_writer::{Content, Name, Str};
use roxmltree::{Document, Node};

use super::POINTS;
use super::font::{Embedded, Face};
use super::matrix::Matrix;
use super::shape::{Segment, outline};
use super::style::{Sheet, Style};

/// Width and height in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f32,
    pub(super) height: f32,
}

/// How much of areas and of lines covers what is below, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Opacity([u8; 2]);

impl Opacity {
    const FULL: Self = Self([100; 2]);

    fn of(style: &Style<'_>) -> Self {
        Self(["fill-opacity", "stroke-opacity"].map(|name| (style.number(name, 1.0) * 100.0).round() as u8))
    }

    pub(super) fn name(self) -> String {
        format!("O{}-{}", self.0[0], self.0[1])
    }

    pub(super) fn fill(self) -> f32 {
        f32::from(self.0[0]) / 100.0
    }

    pub(super) fn stroke(self) -> f32 {
        f32::from(self.0[1]) / 100.0
    }
}

/// A drawn page.
pub(super) struct Page {
    pub(super) size: Size,
    pub(super) content: Vec<u8>,
    pub(super) opacities: BTreeSet<Opacity>,
}

impl Page {
    /// Draws a document with a regular and a bold face.
    pub(super) fn draw(document: &Document<'_>, faces: &mut [Face<'_>; 2]) -> Self {
        let root = document.root_element();
        let numbers =
            root.attribute("viewBox").unwrap_or_default().split(' ').filter_map(|text| text.parse().ok());
        let [width, height] = numbers.skip(2).collect::<Vec<f32>>().try_into().unwrap_or([0.0; 2]);
        let css = document.descendants().find(|node| node.has_tag_name("style")).and_then(|node| node.text());
        let size = Size { width, height };
        let mut painter = Painter {
            size,
            sheet: Sheet::new(css.unwrap_or_default()),
            content: Content::new(),
            opacities: BTreeSet::new(),
            faces,
        };
        // PDF counts upward from the bottom.
        painter.content.transform([POINTS, 0.0, 0.0, -POINTS, 0.0, height * POINTS]);
        painter.children(root, Matrix::IDENTITY, &Style::default());
        Self { size, content: painter.content.finish().into_vec(), opacities: painter.opacities }
    }
}

struct Painter<'p, 'a, 'f> {
    size: Size,
    sheet: Sheet<'a>,
    content: Content,
    opacities: BTreeSet<Opacity>,
    /// Regular and bold.
    faces: &'p mut [Face<'f>; 2],
}

impl<'a> Painter<'_, 'a, '_> {
    fn children(&mut self, node: Node<'a, 'a>, matrix: Matrix, style: &Style<'a>) {
        for child in node.children().filter(Node::is_element) {
            let style = style.inside(child, &self.sheet);
            let matrix = matrix.of(Matrix::parse(child.attribute("transform").unwrap_or_default()));
            match child.tag_name().name() {
                "g" => self.children(child, matrix, &style),
                "text" => self.text(child, matrix, &style),
                _ => self.shape(child, matrix, &style),
            }
        }
    }

    fn shape(&mut self, node: Node<'a, 'a>, matrix: Matrix, style: &Style<'a>) {
        let Some(outline) = outline(node, self.size) else { return };
        let (fill, stroke) = (style.color("fill", "#000"), style.color("stroke", "none"));
        self.content.save_state();
        self.opacity(Opacity::of(style));
        if let Some([red, green, blue]) = fill {
            self.content.set_fill_rgb(red, green, blue);
        }
        if let Some([red, green, blue]) = stroke {
            self.content.set_stroke_rgb(red, green, blue);
            self.line(style);
        }
        outline.iter().for_each(|segment| self.segment(segment, matrix));
        match (fill, stroke) {
            (Some(_), Some(_)) => self.content.fill_nonzero_and_stroke(),
            (Some(_), None) => self.content.fill_nonzero(),
            (None, Some(_)) => self.content.stroke(),
            (None, None) => self.content.end_path(),
        };
        self.content.restore_state();
    }

    fn opacity(&mut self, opacity: Opacity) {
        if opacity != Opacity::FULL {
            self.content.set_parameters(Name(opacity.name().as_bytes()));
            self.opacities.insert(opacity);
        }
    }

    /// The width of a line, its dashes and its ends.
    fn line(&mut self, style: &Style<'a>) {
        self.content.set_line_width(style.number("stroke-width", 1.0));
        let dashes: Vec<f32> =
            style.text("stroke-dasharray").split([' ', ',']).filter_map(|text| text.parse().ok()).collect();
        if !dashes.is_empty() {
            self.content.set_dash_pattern(dashes, 0.0);
        }
        if style.text("stroke-linecap") == "round" {
            self.content.set_line_cap(LineCapStyle::RoundCap);
        }
    }

    fn segment(&mut self, segment: &Segment, matrix: Matrix) {
        let at = |point: &[f32; 2]| matrix.at(*point);
        match segment {
            Segment::Move(to) => self.content.move_to(at(to)[0], at(to)[1]),
            Segment::Line(to) => self.content.line_to(at(to)[0], at(to)[1]),
            Segment::Curve(a, b, to) => {
                let [[ax, ay], [bx, by], [x, y]] = [at(a), at(b), at(to)];
                self.content.cubic_to(ax, ay, bx, by, x, y)
            }
            Segment::Close => self.content.close_path(),
        };
    }

    fn text(&mut self, node: Node<'a, 'a>, matrix: Matrix, style: &Style<'a>) {
        let (Some(text), Some([red, green, blue])) = (node.text(), style.color("fill", "#000")) else {
            return;
        };
        let size = style.number("font-size", 16.0);
        let bold = usize::from(style.text("font-weight") == "bold");
        let (glyphs, width) = self.faces[bold].write(text);
        let before = match style.text("text-anchor") {
            "middle" => width * size / 2.0,
            "end" => width * size,
            _ => 0.0,
        };
        let number = |name: &str| node.attribute(name).and_then(|text| text.parse().ok()).unwrap_or(0.0);
        // Letters stand upright although the page is upside down.
        let Matrix(place) = matrix.of(Matrix([1.0, 0.0, 0.0, -1.0, number("x") - before, number("y")]));
        self.content.set_fill_rgb(red, green, blue).begin_text();
        self.content.set_font(Name(Embedded::NAMES[bold]), size).set_text_matrix(place);
        self.content.show(Str(&glyphs)).end_text();
    }
}
