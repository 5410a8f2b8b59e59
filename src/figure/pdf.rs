//! A figure's SVG as PDF, for papers. Its text is text, in a font of this machine whose used part is embedded.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use svg2pdf::usvg::fontdb::{Database, Family, Query};
use svg2pdf::usvg::{Group, Node, Options, Tree};
use svg2pdf::{ConversionOptions, PageOptions};

/// Fonts in the order of preference: those that journals ask for, or of the same widths, come first.
const SANS_SERIF: [&str; 9] = [
    "Arial",
    "Helvetica",
    "Liberation Sans",
    "DejaVu Sans",
    "Noto Sans",
    "Open Sans",
    "FreeSans",
    "Ubuntu",
    "Roboto",
];

/// Pixels of an inch, in SVG.
const DPI: f32 = 96.0;

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// None of the fonts that are looked for.
    #[error(
        "a PDF has its text in a sans-serif font, and this machine has none of {}; install one (on Debian and Ubuntu: \
         `apt install fonts-dejavu-core`), or remove `pdf = true`",
        SANS_SERIF.join(", ")
    )]
    NoFont,
    /// Characters that no font has.
    #[error("no font of this machine has the characters `{0}`; install one that has, or use other names")]
    NoGlyph(String),
    /// The SVG could not be converted.
    #[error("failed to convert its SVG: {0}")]
    Conversion(String),
}

/// The fonts of this machine, read once; `None` without any of [`SANS_SERIF`].
static FONTS: LazyLock<Option<Arc<Database>>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_system_fonts();
    sans_serif(fonts).map(Arc::new)
});

/// Whether this machine has one of the fonts.
#[cfg(test)]
pub(super) fn is_possible() -> bool {
    FONTS.is_some()
}

/// The fonts, with the first one of [`SANS_SERIF`] for text.
fn sans_serif(mut fonts: Database) -> Option<Database> {
    let has =
        |name: &&str| fonts.query(&Query { families: &[Family::Name(name)], ..Query::default() }).is_some();
    let name = SANS_SERIF.into_iter().find(has)?;
    fonts.set_sans_serif_family(name);
    Some(fonts)
}

/// An SVG as PDF. What it shows depends on nothing but the SVG and the fonts; its objects come in any order.
///
/// # Errors
/// A font or a character is missing.
pub(super) fn to_pdf(svg: &str) -> Result<Vec<u8>, PdfError> {
    let fontdb = FONTS.clone().ok_or(PdfError::NoFont)?;
    let tree = Tree::from_str(svg, &Options { fontdb, ..Options::default() })
        .map_err(|error| PdfError::Conversion(error.to_string()))?;
    let mut missing = BTreeSet::new();
    add_missing(tree.root(), &mut missing);
    if !missing.is_empty() {
        return Err(PdfError::NoGlyph(missing.into_iter().collect()));
    }
    svg2pdf::to_pdf(&tree, ConversionOptions::default(), PageOptions { dpi: DPI })
        .map_err(|error| PdfError::Conversion(format!("{error:?}")))
}

/// Adds the characters without a glyph.
fn add_missing(group: &Group, missing: &mut BTreeSet<String>) {
    for node in group.children() {
        match node {
            Node::Group(group) => add_missing(group, missing),
            Node::Text(text) => {
                let glyphs = text.layouted().iter().flat_map(|span| &span.positioned_glyphs);
                missing.extend(glyphs.filter(|glyph| glyph.id.0 == 0).map(|glyph| glyph.text.clone()));
            }
            Node::Path(_) | Node::Image(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_font_there_is_no_pdf() {
        assert!(sans_serif(Database::new()).is_none());
        let said = PdfError::NoFont.to_string();
        assert!(said.contains("none of Arial, Helvetica") && said.contains("fonts-dejavu-core"), "{said}");
    }

    #[test]
    fn characters_that_no_font_has_are_told() {
        if !is_possible() {
            return println!("not tested: this machine has no font for PDF files");
        }
        let of = |text: &str| {
            let style = "font-family='sans-serif'";
            to_pdf(&format!(
                "<svg xmlns='http://www.w3.org/2000/svg' width='99' height='20'><text y='9' {style}>{text}</text></svg>"
            ))
        };
        assert!(of("± ≥ −").is_ok());
        let error = of("a\u{10fffd}").unwrap_err().to_string();
        assert!(error.contains("the characters `\u{10fffd}`"), "{error}");
    }
}
