//! The cell of a table that a score falls into, and the error for two scores in one cell.

use std::fmt;

use super::TableSpec;

/// A score, by field: `model`, `dataset`, `metric`, `stage`, `split`, `seed` or a sweep axis.
pub trait Fields {
    /// The value of a field; empty for an axis that does not apply.
    fn field(&self, name: &str) -> &str;
}

/// A cell: the label of its row and the values of its column, outermost first.
pub type Place<'a> = (&'a str, Vec<&'a str>);

/// The cell of a score.
pub fn place<'a>(spec: &TableSpec, score: &'a impl Fields) -> Place<'a> {
    (score.field(&spec.rows), spec.columns.iter().map(|column| score.field(column)).collect())
}

/// The value of each axis of `over`: what tells the scores of a cell apart.
pub type Levels<'a> = Vec<&'a str>;

/// The levels of a score.
pub fn levels<'a>(spec: &TableSpec, score: &'a impl Fields) -> Levels<'a> {
    spec.over.axes().iter().map(|axis| score.field(axis)).collect()
}

/// Two scores in one cell with the same values of `over`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// Row, column and values of `over`, in words.
    cell: String,
    /// The field in which they differ and its two values; `None` if they differ in nothing.
    difference: Option<[String; 3]>,
}

impl Clash {
    /// The clash of two scores of an experiment with these axes. It names an axis rather than a field that follows from
    /// it, such as the data set.
    pub fn new<'a>(
        spec: &TableSpec,
        axes: impl Iterator<Item = &'a str>,
        first: &impl Fields,
        second: &impl Fields,
    ) -> Self {
        let mut fields = axes.chain(["seed", "metric", "dataset", "model", "split", "stage"]);
        let field = fields.find(|field| first.field(field) != second.field(field));
        let (row, column) = place(spec, first);
        let value = |axis: &String| format!("{axis} = `{}`", first.field(axis));
        let over: Vec<String> = spec.over.axes().iter().map(value).collect();
        Self {
            cell: format!("row `{row}`, column `{}` for {}", column.join("."), over.join(", ")),
            difference: field
                .map(|field| [field, first.field(field), second.field(field)].map(str::to_owned)),
        }
    }

    /// What is wrong.
    pub fn message(&self) -> String {
        let cell = &self.cell;
        match &self.difference {
            Some([field, first, second]) => {
                format!(
                    "several scores fall into {cell}: they differ in `{field}` (`{first}` and `{second}`)"
                )
            }
            None => format!("duplicate scores in {cell}"),
        }
    }

    /// What to do.
    pub fn help(&self) -> String {
        match &self.difference {
            Some([field, ..]) if ["stage", "split"].contains(&field.as_str()) => {
                "make one table for each, or give their models different labels".to_owned()
            }
            Some([field, ..]) => format!(
                "add \"{field}\" to `columns`, set `rows` or `over` to it, or make one table for each"
            ),
            None => "name each stage in `from` once and give each model its own label".to_owned(),
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message(), self.help())
    }
}
