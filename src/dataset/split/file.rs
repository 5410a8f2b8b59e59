//! A split from a CSV `image,split`, as written by `medmerge data split`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use identity::Identity;

use super::*;
use crate::image_files::csv::{Csv, CsvRow, parse_split};
use crate::image_files::listing::Row;

/// A split from a CSV with the columns `image` and `split`, as written by `medmerge data split`. Other columns are
/// ignored, and images that it does not name are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSplitSpec {
    /// Path of the CSV, relative to the experiment file. An image is named as in the data set, or by its file name
    /// with or without extension.
    pub path: PathBuf,
}

impl Identity for FileSplitSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["path"]
    }
}

impl Kind for FileSplitSpec {
    fn paths(&mut self) -> Vec<kind::NamedPath<'_>> {
        vec![kind::NamedPath::file("path", &mut self.path)]
    }
}

impl SplitKind for FileSplitSpec {
    fn assign(&self, list: &Path, images: &[Listed]) -> Result<Vec<Option<SplitName>>, DataError> {
        let csv = Csv::read(&self.path, &["image", "split"])?;
        let (image, split) = (csv.column("image")?, csv.column("split")?);
        let names = Names::of(images);
        let mut splits = vec![None; images.len()];
        for row in csv.rows() {
            let position = named(&names, row, image, list)?;
            let split = parse_split(row.text(split)?).map_err(|message| row.error(message))?;
            if splits[position].replace(split).is_some() {
                return Err(row.error(format!("image '{}' is listed twice", row.raw(image))));
            }
        }
        Ok(splits)
    }

    fn files(&self) -> Vec<&Path> {
        vec![&self.path]
    }
}

/// The position of the image of a row. A name may start or end with a blank.
fn named(names: &Names<'_>, row: CsvRow<'_>, image: usize, list: &Path) -> Result<usize, DataError> {
    let trimmed = row.text(image)?;
    let found = names.find(row.raw(image)).or_else(|_| names.find(trimmed));
    found.map_err(|why| row.error(format!("image '{trimmed}' {why} in {}", list.display())))
}

/// A row as `medmerge data split` writes it.
#[derive(Serialize)]
struct Line<'r> {
    image: &'r str,
    label: Cow<'r, str>,
    split: SplitName,
    group: Option<&'r str>,
}

/// A CSV `image,label,split,group` of these images.
pub(crate) fn csv_of(rows: &[Row]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        let (split, group) = (row.split, row.group.as_deref());
        let line = Line { image: &row.name, label: row.label.text(), split, group };
        writer.serialize(line).expect("memory can be written");
    }
    writer.into_inner().expect("memory can be written")
}

/// Positions of images by name, by file name, and by file name without extension.
struct Names<'i>([HashMap<&'i str, Vec<usize>>; 3]);

impl<'i> Names<'i> {
    fn of(images: &'i [Listed]) -> Self {
        let mut names: [HashMap<&str, Vec<usize>>; 3] = Default::default();
        for (position, image) in images.iter().enumerate() {
            let path = Path::new(&image.name);
            let parts = [path.file_name(), path.file_stem()].map(|part| part.and_then(|part| part.to_str()));
            let [file, stem] = parts.map(|part| part.unwrap_or(&image.name));
            for (names, name) in names.iter_mut().zip([image.name.as_str(), file, stem]) {
                names.entry(name).or_default().push(position);
            }
        }
        Self(names)
    }

    /// The image with this name; why there is none.
    fn find(&self, name: &str) -> Result<usize, &'static str> {
        let mut found = self.0.iter().filter_map(|names| names.get(name));
        match found.next().map(Vec::as_slice) {
            Some([position]) => Ok(*position),
            Some(_) => Err("is the name of several images"),
            None => Err("is not"),
        }
    }
}
