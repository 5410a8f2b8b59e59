//! CSV in memory: rows of cells to bytes and back, with errors that name row and column.

use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord, Writer};

use super::ContentError;

/// Encode rows as CSV, header first.
pub(super) fn to_bytes(rows: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<u8>, ContentError> {
    let mut writer = Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| ContentError::Csv(error.into_error().into()))
}

/// The header and the rows of a CSV; all rows have the length of the header.
pub(super) fn rows(bytes: &[u8]) -> Result<(StringRecord, Vec<StringRecord>), ContentError> {
    let mut reader = ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers()?.clone();
    Ok((header, reader.records().collect::<Result<_, _>>()?))
}

/// Parse the cell of a row in a column.
pub(super) fn parse<T: FromStr>(
    header: &StringRecord,
    row: &StringRecord,
    column: usize,
) -> Result<T, ContentError> {
    let cell = row.get(column).unwrap_or_default();
    let wrong = || {
        let line = row.position().map_or(0, csv::Position::line);
        let name = header.get(column).unwrap_or_default();
        ContentError::Malformed(format!("line {line}: `{cell}` is not a valid `{name}`"))
    };
    cell.parse().map_err(|_| wrong())
}
