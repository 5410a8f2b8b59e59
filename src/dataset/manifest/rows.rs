//! The rows of a manifest's CSV, and the rules for them.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use csv::StringRecord;

use super::super::{DataError, SplitName};

/// Largest CSV, in bytes.
const LARGEST_CSV: u64 = 1 << 30;

/// An image of the data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Line of the file where the row starts; the header is line 1.
    pub(super) number: u64,
    /// Path, as in the CSV.
    pub(super) image: String,
    /// Class, as in the CSV.
    pub(super) label: String,
    /// Split of the image.
    pub(super) split: SplitName,
    /// What must stay in one split: a patient, a lesion.
    group: Option<String>,
}

impl Row {
    /// The row, as named in messages.
    pub(super) fn place(&self) -> String {
        format!("row {}", self.number)
    }

    /// The error that it has the image of an earlier row.
    pub(super) fn repeats(&self, path: &Path, first: &Self) -> DataError {
        let Self { image, number, split, .. } = self;
        let earlier = match first.image == *image {
            true => first.place(),
            false => format!("{} as '{}'", first.place(), first.image),
        };
        let message = match first.split == *split {
            true => format!("image '{image}' is a duplicate of {earlier}; list each image once"),
            false => format!(
                "image '{image}' is in two splits: {} here and {} in {earlier}; scores would be too good",
                split.as_str(),
                first.split.as_str(),
            ),
        };
        DataError::at(path, format!("row {number}"), message)
    }
}

/// Reads the rows and sorts them by image.
///
/// # Errors
/// The file cannot be read or is empty, a column is missing, a field is empty, a split is unknown, an image occurs in
/// two rows, or a group occurs in two splits. The message names the row.
pub(super) fn read_rows(path: &Path) -> Result<Vec<Row>, DataError> {
    let bytes =
        kind::file::read(path, LARGEST_CSV).map_err(|error| DataError::io(path, "read the CSV", &error))?;
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let header = reader.headers().map_err(|error| csv_error(path, &error))?;
    let columns = Columns::find(path, header)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(path, &error))?;
        let number = record.position().map_or(0, csv::Position::line);
        let row = columns.row(number, &record);
        rows.push(row.map_err(|message| DataError::at(path, format!("row {number}"), message))?);
    }
    if rows.is_empty() {
        return Err(DataError::new(path, "the CSV has no rows; it needs one per image: image,label,split"));
    }
    check_unique(path, &rows)?;
    check_groups(path, &rows)?;
    rows.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(rows)
}

fn csv_error(path: &Path, error: &csv::Error) -> DataError {
    let message = format!("failed to read the CSV: {error}");
    match error.position() {
        Some(position) => DataError::at(path, format!("row {}", position.line()), message),
        None => DataError::new(path, message),
    }
}

/// Positions of the columns.
struct Columns {
    image: usize,
    label: usize,
    split: usize,
    group: Option<usize>,
}

impl Columns {
    fn find(path: &Path, header: &StringRecord) -> Result<Self, DataError> {
        let position = |name: &str| header.iter().position(|column| column.trim() == name);
        let required = |name: &str| {
            position(name).ok_or_else(|| {
                let found = header.iter().collect::<Vec<_>>().join(",");
                let message = format!(
                    "column '{name}' is missing; the header must hold image,label,split, not '{found}'"
                );
                DataError::at(path, "row 1", message)
            })
        };
        Ok(Self {
            image: required("image")?,
            label: required("label")?,
            split: required("split")?,
            group: position("group"),
        })
    }

    fn row(&self, number: u64, record: &StringRecord) -> Result<Row, String> {
        let image = record[self.image].to_owned();
        let label = record[self.label].trim().to_owned();
        if image.is_empty() || label.is_empty() {
            return Err(format!("the {} is empty", if image.is_empty() { "image" } else { "label" }));
        }
        let split = parse_split(record[self.split].trim())?;
        let group = self.group.map(|column| record[column].trim()).filter(|group| !group.is_empty());
        Ok(Row { number, image, label, split, group: group.map(Into::into) })
    }
}

fn parse_split(text: &str) -> Result<SplitName, String> {
    match text {
        "train" => Ok(SplitName::Train),
        "val" | "valid" | "validation" => Ok(SplitName::Val),
        "test" => Ok(SplitName::Test),
        _ => Err(format!("unknown split '{text}'; it must be train, val or test")),
    }
}

fn check_unique(path: &Path, rows: &[Row]) -> Result<(), DataError> {
    let mut seen: HashMap<PathBuf, &Row> = HashMap::with_capacity(rows.len());
    for row in rows {
        // `./a.png` and `a.png` are the same image
        let parts = Path::new(&row.image).components().filter(|part| *part != Component::CurDir);
        let Some(first) = seen.insert(parts.collect(), row) else { continue };
        return Err(row.repeats(path, first));
    }
    Ok(())
}

fn check_groups(path: &Path, rows: &[Row]) -> Result<(), DataError> {
    let mut first_of: HashMap<&str, &Row> = HashMap::new();
    for row in rows {
        let Some(group) = row.group.as_deref() else { continue };
        let first = *first_of.entry(group).or_insert(row);
        if first.split != row.split {
            let message = format!(
                "group '{group}' is in two splits: {} here and {} in row {}; scores would be too good: \
                 put all images of a group into one split",
                row.split.as_str(),
                first.split.as_str(),
                first.number
            );
            return Err(DataError::at(path, row.place(), message));
        }
    }
    Ok(())
}
