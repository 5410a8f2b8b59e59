//! Grades of diabetic retinopathy, as APTOS 2019 and EyePACS number them: the same names, so that models of one can be
//! evaluated on the other.

use crate::DataError;
use crate::image_files::csv::CsvRow;

/// Names of the grades 0 to 4 of the International Clinical Diabetic Retinopathy scale.
pub(crate) const GRADES: [&str; 5] = ["no_dr", "mild", "moderate", "severe", "proliferative"];

/// The name of the grade in a field.
///
/// # Errors
/// It is not a number from 0 to 4.
pub(crate) fn grade(row: CsvRow<'_>, column: usize) -> Result<&'static str, DataError> {
    let text = row.text(column)?;
    let grade = text.parse::<usize>().ok().and_then(|grade| GRADES.get(grade));
    grade.copied().ok_or_else(|| row.error(format!("the grade is '{text}'; it must be 0 to 4")))
}
