//! CSV files with a header: columns by name, and errors that name the row.

use std::cmp::Reverse;
use std::path::Path;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};

use super::label::Label;
use crate::{DataError, SplitName, State};

/// Largest CSV, in bytes.
const LARGEST_CSV: u64 = 1 << 30;

/// What may stand between columns.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A CSV in memory.
#[derive(Debug)]
pub struct Csv {
    path: Arc<Path>,
    header: Vec<String>,
    records: Vec<(u64, StringRecord)>,
}

/// A row of a CSV.
#[derive(Clone, Copy, Debug)]
pub struct CsvRow<'c> {
    csv: &'c Csv,
    /// Line of the file where the row starts; the header is line 1.
    pub number: u64,
    record: &'c StringRecord,
}

/// A field of a class that is neither 1 nor 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Nothing.
    Blank,
    /// −1.
    Uncertain,
}

impl Csv {
    /// Reads a CSV with these columns, and others. It is separated by whichever of `,` `;` tab `|` gives a header with
    /// most of them.
    ///
    /// # Errors
    /// The file cannot be read, is not UTF-8, has no rows, lacks a column, or a row has another number of fields.
    pub fn read(path: &Path, columns: &[&str]) -> Result<Self, DataError> {
        let bytes = kind::file::read(path, LARGEST_CSV)
            .map_err(|error| DataError::io(path, "read the CSV", &error))?;
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(DataError::new(path, "the CSV is UTF-16; save it as UTF-8"));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        // The known columns count first, so that a comma in a name changes nothing.
        let columns_of = |delimiter: &u8| {
            let header = reader(bytes, *delimiter).headers().cloned().unwrap_or_default();
            let known = columns.iter().filter(|column| header.iter().any(|name| name.trim() == **column));
            (known.count(), header.len(), Reverse(*delimiter))
        };
        let delimiter = DELIMITERS.into_iter().max_by_key(columns_of).unwrap_or(b',');
        let csv = Self::parse(path, bytes, delimiter)?;
        columns.iter().try_for_each(|column| csv.column(column).map(drop))?;
        match csv.records.is_empty() {
            true => Err(DataError::new(path, "the CSV has no rows; it needs one per image")),
            false => Ok(csv),
        }
    }

    fn parse(path: &Path, bytes: &[u8], delimiter: u8) -> Result<Self, DataError> {
        let mut reader = reader(bytes, delimiter);
        let header = reader.headers().map_err(|error| csv_error(path, &error))?;
        let header = header.iter().map(|name| name.trim().to_owned()).collect();
        let record = |record: csv::Result<StringRecord>| {
            let record = record.map_err(|error| csv_error(path, &error))?;
            Ok((record.position().map_or(0, |position| line(bytes, position)), record))
        };
        let records = reader.records().map(record).collect::<Result<_, _>>()?;
        Ok(Self { path: path.into(), header, records })
    }

    /// Its path.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Position of a column that may be missing.
    ///
    /// # Errors
    /// Several have this name.
    pub(crate) fn optional_column(&self, name: &str) -> Result<Option<usize>, DataError> {
        self.header.iter().any(|column| column == name).then(|| self.column(name)).transpose()
    }

    /// Position of a column that must exist.
    ///
    /// # Errors
    /// It is missing, or several have this name.
    pub fn column(&self, name: &str) -> Result<usize, DataError> {
        let mut positions = (0..self.header.len()).filter(|&position| self.header[position] == name);
        let problem = match (positions.next(), positions.next()) {
            (Some(position), None) => return Ok(position),
            (Some(_), Some(_)) => "occurs twice",
            (None, _) => "is missing",
        };
        let message = format!("column '{name}' {problem}; the header is '{}'", self.header.join(","));
        Err(DataError::at(&self.path, "row 1", message))
    }

    /// All rows, in the order of the file.
    pub fn rows(&self) -> impl Iterator<Item = CsvRow<'_>> {
        self.records.iter().map(|(number, record)| CsvRow { csv: self, number: *number, record })
    }
}

impl<'c> CsvRow<'c> {
    /// A field as it is.
    pub(crate) fn raw(self, column: usize) -> &'c str {
        &self.record[column]
    }

    /// A field without the blanks around it.
    ///
    /// # Errors
    /// It is empty.
    pub fn text(self, column: usize) -> Result<&'c str, DataError> {
        match self.raw(column).trim() {
            "" => Err(self.error(format!("the {} is empty", self.csv.header[column]))),
            text => Ok(text),
        }
    }

    /// The class, of those with these columns, whose column is 1.
    ///
    /// # Errors
    /// A field is neither 0 nor 1, or not exactly one is 1.
    pub(crate) fn one_hot<'n>(self, columns: &[(usize, &'n str)]) -> Result<&'n str, DataError> {
        let mut class = None;
        for (column, name) in columns {
            match (self.text(*column)?.parse::<f64>(), class) {
                (Ok(0.0), _) => {}
                (Ok(1.0), None) => class = Some(*name),
                (Ok(1.0), Some(first)) => {
                    return Err(self.error(format!("it is both '{first}' and '{name}'")));
                }
                _ => {
                    return Err(self.error(format!("'{name}' is '{}'; it must be 0 or 1", self.raw(*column))));
                }
            }
        }
        class.ok_or_else(|| self.error("none of its classes is 1"))
    }

    /// What the columns of the classes of a multi-label data set say: 1 or 0, and `other` for a field that is neither.
    ///
    /// # Errors
    /// A field is not 1, 0, −1 or blank.
    pub(crate) fn multi_hot(
        self,
        columns: &[(usize, &str)],
        other: impl Fn(Field) -> State,
    ) -> Result<Label, DataError> {
        let (mut present, mut unknown) = (Vec::new(), Vec::new());
        for (column, name) in columns {
            match self.state(*column, name, &other)? {
                State::Absent => {}
                State::Present => present.push((*name).to_owned()),
                State::Unknown => unknown.push((*name).to_owned()),
            }
        }
        Ok(Label::any(present, unknown))
    }

    fn state(self, column: usize, name: &str, other: impl Fn(Field) -> State) -> Result<State, DataError> {
        let Some(text) = self.optional(column) else { return Ok(other(Field::Blank)) };
        match text.parse::<f64>() {
            Ok(0.0) => Ok(State::Absent),
            Ok(1.0) => Ok(State::Present),
            Ok(-1.0) => Ok(other(Field::Uncertain)),
            _ => Err(self.error(format!("'{name}' is '{text}'; it must be 1, 0, -1 or blank"))),
        }
    }

    /// A field that may be empty.
    pub(crate) fn optional(self, column: usize) -> Option<&'c str> {
        Some(self.raw(column).trim()).filter(|text| !text.is_empty())
    }

    /// An error in this row.
    pub(crate) fn error(self, message: impl Into<String>) -> DataError {
        DataError::at(&self.csv.path, format!("row {}", self.number), message)
    }
}

/// The line where a record starts. After `\r\n`, the reader's position is still before the `\n`.
fn line(bytes: &[u8], position: &csv::Position) -> u64 {
    let is_before_its_line = bytes.get(position.byte() as usize) == Some(&b'\n');
    position.line() + u64::from(is_before_its_line)
}

fn reader(bytes: &[u8], delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).from_reader(bytes)
}

fn csv_error(path: &Path, error: &csv::Error) -> DataError {
    let advice = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "; save it as UTF-8",
        _ => "",
    };
    let message = format!("failed to read the CSV: {error}{advice}");
    match error.position() {
        Some(position) => DataError::at(path, format!("row {}", position.line()), message),
        None => DataError::new(path, message),
    }
}

/// The split of this name, as commonly written.
///
/// # Errors
/// A message: it is unknown.
pub(crate) fn parse_split(text: &str) -> Result<SplitName, String> {
    match text.to_lowercase().as_str() {
        "train" | "training" => Ok(SplitName::Train),
        "val" | "valid" | "validation" | "dev" => Ok(SplitName::Val),
        "test" | "testing" => Ok(SplitName::Test),
        _ => Err(format!("unknown split '{text}'; it must be train, val or test")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, content).unwrap();
        let csv = Csv::read(&path, &["image", "label"]).map_err(|error| error.to_string())?;
        let label = csv.column("label").map_err(|error| error.to_string())?;
        Ok(csv.rows().map(|row| (row.number, row.raw(label).to_owned())).collect())
    }

    #[test]
    fn any_usual_delimiter_line_ending_and_byte_order_mark_is_understood() {
        for content in [
            "image,label\na,1\nb,\"2,5\"\n",
            "\u{feff}image;label\r\na;1\r\nb;2,5\r\n",
            "x\timage\tlabel\n0\ta\t1\n0\tb\t2,5",
            "label | image\n1|a\n2,5|b\n",
        ] {
            assert_eq!(read(content.as_bytes()).unwrap(), [(2, "1".into()), (3, "2,5".into())], "{content}");
        }
    }

    #[test]
    fn what_is_not_a_table_of_text_is_an_error_with_advice() {
        let error = |content: &[u8]| read(content).unwrap_err();
        assert!(error(b"image,label\na,\xe9\n").ends_with("; save it as UTF-8"));
        assert!(error(b"image,label\na,\xe9\n").contains("row 2: "));
        assert!(error(b"\xff\xfei\0m\0").ends_with("the CSV is UTF-16; save it as UTF-8"));
        assert!(
            error(b"image;class\na;b\n")
                .contains("row 1: column 'label' is missing; the header is 'image,class'")
        );
        assert!(
            error(b"image,class\na,b\n")
                .contains("row 1: column 'label' is missing; the header is 'image,class'")
        );
        assert!(
            error(b"image,label,label\na,b,c\n").contains("row 1: column 'label' occurs twice; the header")
        );
        assert!(error(b"image,label\n").ends_with("the CSV has no rows; it needs one per image"));
        assert!(error(b"image,label\na\n").contains("row 2: failed to read the CSV"));
    }
}
