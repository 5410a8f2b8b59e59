//! A split from a CSV `image,split`, as written by `medmerge data split`.

use std::collections::HashMap;
use std::path::PathBuf;

use identity::Identity;

use super::*;
use crate::image_files::csv::{Csv, parse_split};

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
            let position = names.find(row.text(image)?).map_err(|why| {
                row.error(format!("image '{}' {why} in {}", row.raw(image), list.display()))
            })?;
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
