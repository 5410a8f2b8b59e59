//! A figure's SVG as PDF, for papers: its lines as lines, and its text as text in a font of this machine. Only what
//! [`chart::file`] writes is read. The bytes depend on nothing but the SVG and the font.
//!
//! | file | what |
//! |---|---|
//! | this one | the document: a page, its fonts and opacities |
//! | `page` | the elements of the SVG, drawn |
//! | `style` | colors, widths and sizes, from the style sheet and from attributes |
//! | `shape` | rectangles, circles and paths as lines and curves |
//! | `matrix` | where things are |
//! | `font` | the font: where it is, which characters it has, what of it goes into the file |

mod font;
mod matrix;
mod page;
mod shape;
mod style;

use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::{Filter, Finish, Name, Pdf, Rect, Ref};
use roxmltree::Document;

pub use font::PdfError;
use font::{Embedded, Family, folders};
use page::{Page, Size};

/// Points of a pixel: SVG has 96 pixels an inch, PDF has 72 points.
const POINTS: f32 = 0.75;

/// Objects of the document.
const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
/// The first one of the fonts, [`font::OBJECTS`] for each.
const FONTS: i32 = 5;

/// An SVG that [`chart::file`] wrote as PDF, with the first font of this machine that has all of its characters.
///
/// # Errors
/// There is no such font.
pub(super) fn pdf(svg: &str) -> Result<Vec<u8>, PdfError> {
    with_fonts(svg, &folders())
}

fn with_fonts(svg: &str, folders: &[PathBuf]) -> Result<Vec<u8>, PdfError> {
    let document = Document::parse(svg).map_err(|error| PdfError::Svg(error.to_string()))?;
    let family = Family::find(folders, &letters(&document))?;
    let mut faces = family.faces()?;
    let page = Page::draw(&document, &mut faces);
    let mut pdf = Pdf::new();
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([PAGE]).count(1);
    write_page(&mut pdf, &page);
    let content = deflated(&page.content);
    pdf.stream(CONTENT, &content).filter(Filter::FlateDecode);
    for (face, first) in faces.iter().zip((FONTS..).step_by(font::OBJECTS)) {
        face.embedded()?.write(&mut pdf, first);
    }
    Ok(pdf.finish())
}

/// Every character that is written, once.
fn letters(document: &Document<'_>) -> Vec<char> {
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    let mut letters: Vec<char> = texts.filter_map(|node| node.text()).flat_map(str::chars).collect();
    letters.sort_unstable();
    letters.dedup();
    letters
}

fn write_page(pdf: &mut Pdf, drawn: &Page) {
    let Size { width, height } = drawn.size;
    let mut page = pdf.page(PAGE);
    page.parent(PAGES).contents(CONTENT);
    page.media_box(Rect::new(0.0, 0.0, width * POINTS, height * POINTS));
    let mut resources = page.resources();
    let mut fonts = resources.fonts();
    for (name, first) in Embedded::NAMES.iter().zip((FONTS..).step_by(font::OBJECTS)) {
        fonts.pair(Name(name), Ref::new(first));
    }
    fonts.finish();
    let mut states = resources.ext_g_states();
    for opacity in &drawn.opacities {
        let mut state = states
            .insert(Name(opacity.name().as_bytes()))
            .start::<pdf_writer::writers::ExtGraphicsState<'_>>();
        state.non_stroking_alpha(opacity.fill()).stroking_alpha(opacity.stroke());
    }
}

/// Compressed, as nearly all readers of PDF expect it.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory can be written to")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_font_there_is_no_pdf() {
        let folder = std::env::temp_dir().join("medmerge-no-fonts");
        let error = with_fonts("<svg viewBox='0 0 9 9'><text>a</text></svg>", &[folder]).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("medmerge-no-fonts") && said.contains("DejaVu"), "{said}");
    }
}
