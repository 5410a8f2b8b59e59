//! The font: where it is, which characters it has, and what of it goes into the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Filter, Name, Pdf, Rect, Ref, Str};
use ttf_parser::GlyphId;

use super::deflated;

/// Sans-serif fonts with the shapes of TrueType, as files in lower case without `.ttf`: regular and bold. The first ones
/// are the ones that journals ask for, or have their widths.
const FAMILIES: [[&str; 2]; 10] = [
    ["arial", "arialbd"],
    ["arial", "arial bold"],
    ["arial", "arial_bold"],
    ["liberationsans-regular", "liberationsans-bold"],
    ["dejavusans", "dejavusans-bold"],
    ["notosans-regular", "notosans-bold"],
    ["opensans-regular", "opensans-bold"],
    ["freesans", "freesansbold"],
    ["ubuntu-r", "ubuntu-b"],
    ["roboto-regular", "roboto-bold"],
];

/// Where systems have fonts.
const FOLDERS: [&str; 6] = [
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/run/current-system/sw/share/X11/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:\\Windows\\Fonts",
];

/// The same below a user's folder.
const OF_USER: [&str; 3] = [".local/share/fonts", ".fonts", "Library/Fonts"];

/// Folders are searched to this depth.
const DEPTH: usize = 6;

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// No font at all.
    #[error(
        "a PDF has its text in a sans-serif font, and there is none in {folders}; install one, such as DejaVu Sans \
         (on Debian and Ubuntu: `apt install fonts-dejavu-core`), or remove `pdf = true`"
    )]
    NoFont {
        /// Where fonts were searched.
        folders: String,
    },
    /// Fonts, none of which has all characters.
    #[error(
        "none of the sans-serif fonts found has the characters `{missing}`; install one that has, such as Noto Sans or \
         DejaVu Sans, or use other names"
    )]
    NoCharacter {
        /// What the best font lacks.
        missing: String,
    },
    /// A file is no font.
    #[error("{path}: no usable font: {why}; install another one, such as DejaVu Sans")]
    Font {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The SVG is damaged.
    #[error("the SVG cannot be read: {0}")]
    Svg(String),
}

/// The folders of this system and user that may have fonts.
pub(super) fn folders() -> Vec<PathBuf> {
    let home = std::env::home_dir().into_iter();
    let of_user = home.flat_map(|home| OF_USER.map(|folder| home.join(folder)));
    FOLDERS.iter().map(PathBuf::from).chain(of_user).collect()
}

/// A font: its regular and its bold file.
pub(super) struct Family([(PathBuf, Vec<u8>); 2]);

impl Family {
    /// The first font that has all characters.
    pub(super) fn find(folders: &[PathBuf], letters: &[char]) -> Result<Self, PdfError> {
        let mut files = BTreeMap::new();
        folders.iter().for_each(|folder| list(folder, DEPTH, &mut files));
        let mut least: Option<String> = None;
        for names in FAMILIES {
            let [Some(regular), Some(bold)] = names.map(|name| files.get(name)) else { continue };
            let Some(family) = Self::read([regular, bold]) else { continue };
            let missing = family.missing(letters)?;
            if missing.is_empty() {
                return Ok(family);
            }
            least = least.filter(|least| least.len() <= missing.len()).or(Some(missing));
        }
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Err(least.map_or(PdfError::NoFont { folders: folders.join(", ") }, |missing| PdfError::NoCharacter {
            missing,
        }))
    }

    /// `None` if a file cannot be read.
    fn read(paths: [&PathBuf; 2]) -> Option<Self> {
        let [regular, bold] = paths.map(|path| Some((path.clone(), fs::read(path).ok()?)));
        Some(Self([regular?, bold?]))
    }

    /// Those that a face lacks.
    fn missing(&self, letters: &[char]) -> Result<String, PdfError> {
        let faces = self.faces()?;
        let has = |letter: &char| faces.iter().all(|face| face.face.glyph_index(*letter).is_some());
        Ok(letters.iter().filter(|letter| !has(letter)).collect())
    }

    /// The regular and the bold face, of which nothing is used yet.
    pub(super) fn faces(&self) -> Result<[Face<'_>; 2], PdfError> {
        let [regular, bold] = self.0.each_ref().map(|(path, data)| {
            let error = |error: ttf_parser::FaceParsingError| PdfError::Font {
                path: path.clone(),
                why: error.to_string(),
            };
            Ok(Face {
                path,
                data,
                face: ttf_parser::Face::parse(data, 0).map_err(error)?,
                used: BTreeMap::new(),
            })
        });
        Ok([regular?, bold?])
    }
}

/// The TrueType files in a folder and those inside, by lower-case name; of several with a name the first path.
fn list(folder: &Path, depth: usize, found: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && depth > 0 {
            list(&path, depth - 1, found);
        } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("ttf")) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
            let first = found.entry(name).or_insert_with(|| path.clone());
            if path < *first {
                *first = path;
            }
        }
    }
}

/// A face, and which of its glyphs are used.
pub(super) struct Face<'a> {
    path: &'a Path,
    data: &'a [u8],
    face: ttf_parser::Face<'a>,
    /// With the character of each.
    used: BTreeMap<u16, char>,
}

impl<'a> Face<'a> {
    /// A text as numbers of glyphs, of two bytes each, and its width for a font size of 1. There is no kerning.
    pub(super) fn write(&mut self, text: &str) -> (Vec<u8>, f32) {
        let (mut glyphs, mut width) = (Vec::new(), 0.0);
        for letter in text.chars() {
            let GlyphId(glyph) = self.face.glyph_index(letter).unwrap_or_default();
            self.used.insert(glyph, letter);
            glyphs.extend(glyph.to_be_bytes());
            width += self.width(glyph);
        }
        (glyphs, width)
    }

    fn width(&self, glyph: u16) -> f32 {
        self.scaled(self.face.glyph_hor_advance(GlyphId(glyph)).unwrap_or(0).into())
    }

    /// A length for a font size of 1.
    fn scaled(&self, units: f32) -> f32 {
        units / f32::from(self.face.units_per_em())
    }

    /// What of it goes into the file.
    pub(super) fn embedded(&self) -> Result<Embedded<'_, 'a>, PdfError> {
        let glyphs: Vec<u16> = self.used.keys().copied().collect();
        let error =
            |error: subsetter::Error| PdfError::Font { path: self.path.into(), why: error.to_string() };
        let file = subsetter::subset(self.data, 0, subsetter::Profile::pdf(&glyphs)).map_err(error)?;
        Ok(Embedded { face: self, file })
    }
}

/// Number of objects of a font.
pub(super) const OBJECTS: usize = 5;

/// A part of a face, as a file.
pub(super) struct Embedded<'f, 'a> {
    face: &'f Face<'a>,
    file: Vec<u8>,
}

impl Embedded<'_, '_> {
    /// What the regular and the bold face are called on the page.
    pub(super) const NAMES: [&'static [u8]; 2] = [b"F0", b"F1"];

    const SYSTEM: SystemInfo<'static> =
        SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

    /// Five objects from a number on: the font, its glyphs' widths, its measures, its characters, its file.
    pub(super) fn write(&self, pdf: &mut Pdf, first: i32) {
        let [font, widths, measures, characters, file] = [0, 1, 2, 3, 4].map(|i| Ref::new(first + i));
        let name = self.name();
        let name = Name(name.as_bytes());
        pdf.type0_font(font)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(widths)
            .to_unicode(characters);
        self.write_widths(pdf, (widths, measures), name);
        self.write_measures(pdf, (measures, file), name);
        self.write_characters(pdf, characters);
        pdf.stream(file, &deflated(&self.file)).filter(Filter::FlateDecode);
    }

    /// Of a part of a font, its name has six letters in front.
    fn name(&self) -> String {
        let stem = self.face.path.file_stem().unwrap_or_default().to_string_lossy();
        format!("MEDMRG+{}", stem.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', ""))
    }

    fn write_widths(&self, pdf: &mut Pdf, (id, measures): (Ref, Ref), name: Name<'_>) {
        let mut font = pdf.cid_font(id);
        font.subtype(CidFontType::Type2).base_font(name).system_info(Self::SYSTEM).font_descriptor(measures);
        font.cid_to_gid_map_predefined(Name(b"Identity"));
        let mut widths = font.widths();
        for &glyph in self.face.used.keys() {
            widths.consecutive(glyph, [1000.0 * self.face.width(glyph)]);
        }
    }

    fn write_measures(&self, pdf: &mut Pdf, (id, file): (Ref, Ref), name: Name<'_>) {
        let face = &self.face.face;
        let scaled = |units: i16| 1000.0 * self.face.scaled(units.into());
        let all = face.global_bounding_box();
        pdf.font_descriptor(id)
            .name(name)
            .flags(FontFlags::SYMBOLIC)
            .bbox(Rect::new(scaled(all.x_min), scaled(all.y_min), scaled(all.x_max), scaled(all.y_max)))
            .italic_angle(0.0)
            .ascent(scaled(face.ascender()))
            .descent(scaled(face.descender()))
            .cap_height(scaled(face.capital_height().unwrap_or(face.ascender())))
            .stem_v(80.0)
            .font_file2(file);
    }

    /// For readers that search and copy text.
    fn write_characters(&self, pdf: &mut Pdf, id: Ref) {
        let mut map = UnicodeCmap::new(Name(b"Characters"), Self::SYSTEM);
        self.face.used.iter().for_each(|(&glyph, &letter)| map.pair(glyph, letter));
        pdf.cmap(id, &map.finish());
    }
}
