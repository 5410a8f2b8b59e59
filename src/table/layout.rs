//! The layout of scores: rows × columns × values of `over`.

use std::collections::HashSet;

use indexmap::{IndexMap, IndexSet};

use super::{Score, TableError, TableSpec};
use experiment::cell::{Clash, Fields, Levels, Place, levels, place};

/// Scores of one cell, by their values of `over`.
pub(super) type Scores<'a> = IndexMap<Levels<'a>, &'a Score>;

/// The scores of a table, in their places.
pub(super) struct Layout<'a> {
    /// Labels of the rows, from top to bottom.
    pub(super) rows: Vec<&'a str>,
    /// Values of the columns, from left to right, the outermost first.
    pub(super) columns: Vec<Vec<&'a str>>,
    /// Scores of each row in each column; empty where there are none.
    pub(super) cells: Vec<Vec<Scores<'a>>>,
}

impl<'a> Layout<'a> {
    /// The layout of table `name` of an experiment with these sweep axes. Rows and columns are in the order of their
    /// first score, metrics in the order of the spec.
    ///
    /// # Errors
    /// The spec names a field that scores do not have, or several scores share a cell and their values of `over`.
    pub(super) fn new(
        name: &str,
        spec: &'a TableSpec,
        axes: &[String],
        scores: &'a [Score],
    ) -> Result<Self, TableError> {
        check_fields(name, spec, axes)?;
        let from: HashSet<&String> = spec.from.iter().collect();
        let shown = |score: &&Score| from.contains(&score.stage) && spec.metrics.contains(&score.metric);
        let scores: Vec<&Score> = scores.iter().filter(shown).collect();
        let mut places = group(name, spec, axes, &scores)?;
        let columns = columns(spec, &scores);
        let rows: Vec<&str> = values(spec, &scores, &spec.rows).into_iter().collect();
        let mut cell =
            |row, column: &Vec<&'a str>| places.swap_remove(&(row, column.clone())).unwrap_or_default();
        let cells =
            rows.iter().map(|row| columns.iter().map(|column| cell(*row, column)).collect()).collect();
        Ok(Self { rows, columns, cells })
    }

    /// The metrics of a column.
    pub(super) fn metrics(&self, column: usize) -> IndexSet<&'a str> {
        self.scores_of(column).map(|score| score.metric.as_str()).collect()
    }

    /// The scores of a column.
    fn scores_of(&self, column: usize) -> impl Iterator<Item = &'a Score> {
        self.cells.iter().flat_map(move |row| row[column].values().copied())
    }

    /// Every shown score, column by column.
    pub(super) fn scores(&self) -> impl Iterator<Item = &'a Score> {
        (0..self.columns.len()).flat_map(|column| self.scores_of(column))
    }
}

fn check_fields(table: &str, spec: &TableSpec, axes: &[String]) -> Result<(), TableError> {
    let known: IndexSet<&str> = Score::FIELDS.into_iter().chain(axes.iter().map(String::as_str)).collect();
    let columns = spec.columns.iter().map(|column| ("columns", column));
    let over = spec.over.axes().iter().map(|axis| ("over", axis));
    let mut named = [("rows", &spec.rows)].into_iter().chain(over).chain(columns);
    match named.find(|(_, field)| !known.contains(field.as_str())) {
        None => Ok(()),
        Some((key, field)) => Err(TableError::UnknownField {
            table: table.to_owned(),
            key,
            field: field.clone(),
            known: known.into_iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn group<'a>(
    table: &str,
    spec: &TableSpec,
    axes: &[String],
    scores: &[&'a Score],
) -> Result<IndexMap<Place<'a>, Scores<'a>>, TableError> {
    let mut cells: IndexMap<Place<'a>, Scores<'a>> = IndexMap::new();
    for &score in scores {
        let cell = cells.entry(place(spec, score)).or_default();
        if let Some(other) = cell.insert(levels(spec, score), score) {
            let clash = Clash::new(spec, axes.iter().map(String::as_str), other, score);
            return Err(TableError::Clash { table: table.to_owned(), clash });
        }
    }
    Ok(cells)
}

/// The values of a field, in table order.
fn values<'a>(spec: &'a TableSpec, scores: &[&'a Score], field: &str) -> IndexSet<&'a str> {
    let found: IndexSet<&str> = scores.iter().map(|score| score.field(field)).collect();
    if field != "metric" {
        return found;
    }
    spec.metrics.iter().map(String::as_str).filter(|metric| found.contains(metric)).collect()
}

/// The columns with a score, outer values first.
fn columns<'a>(spec: &'a TableSpec, scores: &[&'a Score]) -> Vec<Vec<&'a str>> {
    let orders: Vec<IndexSet<&str>> = spec.columns.iter().map(|field| values(spec, scores, field)).collect();
    let found: IndexSet<Vec<&str>> = scores.iter().map(|score| place(spec, *score).1).collect();
    let mut columns: Vec<Vec<&str>> = found.into_iter().collect();
    columns.sort_by_key(|column| -> Vec<Option<usize>> {
        column.iter().zip(&orders).map(|(value, order)| order.get_index_of(value)).collect()
    });
    columns
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, score, scores, spec};
    use super::*;

    fn error(spec: &TableSpec, scores: &[Score]) -> String {
        Layout::new("main", spec, &axes(), scores).err().expect("an error").to_string()
    }

    #[test]
    fn an_axis_that_the_table_leaves_out_is_an_error_that_names_it() {
        let spec = TableSpec { columns: vec!["metric".into()], ..spec() };
        let error = error(&spec, &scores());
        insta::assert_snapshot!(error, @r#"table `main`: several scores fall into row `LP-FT A`, column `macro_f1` for seed = `0`: they differ in `target` (`lesions` and `fundus`); add "target" to `columns`, set `rows` or `over` to it, or make one table for each"#);
    }

    #[test]
    fn leaving_out_the_metric_is_an_error_too() {
        let spec = TableSpec { columns: vec!["target".into()], ..spec() };
        let error = error(&spec, &scores());
        assert!(error.contains("differ in `metric` (`macro_f1` and `log_loss`)"), "{error}");
    }

    #[test]
    fn the_same_score_twice_is_an_error() {
        let scores = [score("a", "t", "0", Some(0.1)), score("a", "t", "0", Some(0.2))];
        let error = error(&spec(), &scores);
        assert!(error.contains("duplicate scores in row `a`, column `t.macro_f1` for seed = `0`"), "{error}");
    }

    #[test]
    fn an_unknown_field_is_an_error_that_lists_the_known_ones() {
        let spec = TableSpec { rows: "targt".into(), ..spec() };
        let error = error(&spec, &[]);
        assert!(error.contains("`rows` has `targt`") && error.contains("`target`"), "{error}");
    }
}
