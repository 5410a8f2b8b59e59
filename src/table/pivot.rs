//! Scores laid out as rows × columns, with mean and standard deviation in the cells.

use std::collections::{HashMap, HashSet};

use indexmap::{IndexMap, IndexSet};

use super::{Score, TableError, TableSpec};
use crate::metric;

/// A table before it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Pivot {
    /// What a row is: `model`, …
    pub rows: String,
    /// What the mean is taken over: `seed`, …
    pub over: String,
    /// Columns from left to right.
    pub columns: Vec<Column>,
    /// Lines from top to bottom.
    pub lines: Vec<Line>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// A value for each of the table's `columns`, outermost first.
    pub values: Vec<String>,
    /// Whether a larger mean is better; `None` if the column mixes metrics or its metric is not known.
    pub higher_is_better: Option<bool>,
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The model, …
    pub label: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// What is known of a row in a column.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Mean of the defined scores, if there are any.
    pub mean: Option<f64>,
    /// Sample standard deviation (n − 1), from two scores on.
    pub std: Option<f64>,
    /// Number of defined scores.
    pub n: usize,
}

/// How a cell compares with the others of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The best mean of several.
    Best,
    /// The second best.
    Second,
    /// Neither.
    None,
}

/// Where a score stands: its row and the values of its column.
type Place<'a> = (&'a str, Vec<&'a str>);

/// Scores of one cell by their value of `over`.
type Cells<'a> = IndexMap<Place<'a>, IndexMap<&'a str, &'a Score>>;

impl Pivot {
    /// The table `name` of an experiment with these sweep axes. Rows and columns stand in the order in
    /// which the scores first name them, metrics in the order of the spec.
    ///
    /// # Errors
    /// If the spec names no field of the scores, or several scores fall into one cell for one value of
    /// `over`.
    pub fn new(name: &str, spec: &TableSpec, axes: &[String], scores: &[Score]) -> Result<Self, TableError> {
        check_fields(name, spec, axes)?;
        let from: HashSet<&String> = spec.from.iter().collect();
        let shown = |score: &&Score| from.contains(&score.stage) && spec.metrics.contains(&score.metric);
        let scores: Vec<&Score> = scores.iter().filter(shown).collect();
        let cells = group(name, spec, axes, &scores)?;
        let columns = columns(spec, &scores);
        let line = |label: &str| Line {
            label: label.to_owned(),
            cells: columns.iter().map(|column| cell(&cells, label, column)).collect(),
        };
        let lines = values(spec, &scores, &spec.rows).into_iter().map(line).collect();
        let metrics = metrics(&cells);
        let columns = columns.iter().map(|values| Column::new(values, &metrics[values])).collect();
        Ok(Self { rows: spec.rows.clone(), over: spec.over.clone(), columns, lines })
    }

    /// How each line compares in a column; [`Mark::None`] everywhere if nothing can be compared.
    pub fn marks(&self, column: usize) -> Vec<Mark> {
        let means: Vec<Option<f64>> = self.lines.iter().map(|line| line.cells[column].mean).collect();
        let mut best_first: Vec<f64> = means.iter().copied().flatten().collect();
        let Some(higher) = self.columns[column].higher_is_better.filter(|_| best_first.len() > 1) else {
            return vec![Mark::None; means.len()];
        };
        best_first.sort_by(|a, b| if higher { b.total_cmp(a) } else { a.total_cmp(b) });
        best_first.dedup();
        best_first.truncate(2);
        let mark = |mean: Option<f64>| match best_first.iter().position(|&other| mean == Some(other)) {
            Some(0) => Mark::Best,
            Some(_) => Mark::Second,
            None => Mark::None,
        };
        means.into_iter().map(mark).collect()
    }
}

impl Column {
    fn new(values: &[&str], metrics: &IndexSet<&str>) -> Self {
        let metric = metrics.first().filter(|_| metrics.len() == 1).and_then(|name| metric::by_name(name));
        Self {
            values: values.iter().map(ToString::to_string).collect(),
            higher_is_better: metric.map(|metric| metric.higher_is_better),
        }
    }
}

impl Cell {
    fn new(values: &[f64]) -> Self {
        let n = values.len();
        let mean = (n > 0).then(|| values.iter().sum::<f64>() / n as f64);
        let squares = |mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = mean.filter(|_| n > 1).map(|mean| (squares(mean) / (n - 1) as f64).sqrt());
        Self { mean, std, n }
    }
}

fn check_fields(table: &str, spec: &TableSpec, axes: &[String]) -> Result<(), TableError> {
    let known: IndexSet<&str> = Score::FIELDS.into_iter().chain(axes.iter().map(String::as_str)).collect();
    let columns = spec.columns.iter().map(|column| ("columns", column));
    let mut named = [("rows", &spec.rows), ("over", &spec.over)].into_iter().chain(columns);
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

fn place<'a>(spec: &TableSpec, score: &'a Score) -> Place<'a> {
    (score.field(&spec.rows), spec.columns.iter().map(|column| score.field(column)).collect())
}

fn group<'a>(
    table: &str,
    spec: &TableSpec,
    axes: &[String],
    scores: &[&'a Score],
) -> Result<Cells<'a>, TableError> {
    let mut cells = Cells::new();
    for &score in scores {
        let cell = cells.entry(place(spec, score)).or_default();
        if let Some(other) = cell.insert(score.field(&spec.over), score) {
            return Err(clash(table, spec, axes, other, score));
        }
    }
    Ok(cells)
}

/// Why two scores must not share a cell. Axes are named before what follows from them, such as the
/// data set.
fn clash(table: &str, spec: &TableSpec, axes: &[String], first: &Score, second: &Score) -> TableError {
    let mut fields =
        axes.iter().map(String::as_str).chain(["seed", "metric", "dataset", "model", "split", "stage"]);
    let field = fields.find(|field| first.field(field) != second.field(field));
    let (row, column) = place(spec, first);
    let (over, value) = (&spec.over, first.field(&spec.over));
    let cell = format!("row `{row}`, column `{}` for {over} = `{value}`", column.join("."));
    let table = table.to_owned();
    match field {
        None => TableError::Duplicate { table, cell },
        Some(field) => TableError::Ambiguous {
            table,
            cell,
            field: field.to_owned(),
            first: first.field(field).to_owned(),
            second: second.field(field).to_owned(),
        },
    }
}

/// The values of a field, in the order of the table.
fn values<'a>(spec: &'a TableSpec, scores: &[&'a Score], field: &str) -> IndexSet<&'a str> {
    let found: IndexSet<&str> = scores.iter().map(|score| score.field(field)).collect();
    if field != "metric" {
        return found;
    }
    spec.metrics.iter().map(String::as_str).filter(|metric| found.contains(metric)).collect()
}

/// The metrics of each column.
fn metrics<'a>(cells: &Cells<'a>) -> HashMap<Vec<&'a str>, IndexSet<&'a str>> {
    let mut metrics: HashMap<_, IndexSet<_>> = HashMap::new();
    for ((_, column), scores) in cells {
        let named = scores.values().map(|score| score.metric.as_str());
        metrics.entry(column.clone()).or_default().extend(named);
    }
    metrics
}

/// The columns that have a score, outer values first.
fn columns<'a>(spec: &'a TableSpec, scores: &[&'a Score]) -> Vec<Vec<&'a str>> {
    let orders: Vec<IndexSet<&str>> = spec.columns.iter().map(|field| values(spec, scores, field)).collect();
    let found: IndexSet<Vec<&str>> = scores.iter().map(|score| place(spec, score).1).collect();
    let mut columns: Vec<Vec<&str>> = found.into_iter().collect();
    columns.sort_by_key(|column| -> Vec<Option<usize>> {
        column.iter().zip(&orders).map(|(value, order)| order.get_index_of(value)).collect()
    });
    columns
}

fn cell(cells: &Cells<'_>, row: &str, column: &[&str]) -> Cell {
    let scores = cells.get(&(row, column.to_vec()));
    let values: Vec<f64> =
        scores.into_iter().flat_map(IndexMap::values).filter_map(|score| score.defined()).collect();
    Cell::new(&values)
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, score, scores, spec};
    use super::*;

    fn labels(pivot: &Pivot) -> Vec<&str> {
        pivot.lines.iter().map(|line| line.label.as_str()).collect()
    }

    #[test]
    fn rows_and_columns_stand_in_the_order_of_the_scores_and_metrics_in_that_of_the_table() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        assert_eq!(labels(&pivot), ["LP-FT A", "Average + FT", "MedMerge + FT"]);
        let columns: Vec<String> = pivot.columns.iter().map(|column| column.values.join(".")).collect();
        assert_eq!(columns, ["lesions.macro_f1", "lesions.log_loss", "fundus.macro_f1", "fundus.log_loss"]);
        let directions: Vec<_> =
            pivot.columns.iter().map(|column| column.higher_is_better.unwrap()).collect();
        assert_eq!(directions, [true, false, true, false]);
    }

    #[test]
    fn a_cell_holds_mean_and_sample_standard_deviation() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        let cell = pivot.lines[0].cells[0];
        assert!((cell.mean.unwrap() - 0.71).abs() < 1e-12);
        assert!((cell.std.unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(cell.n, 3);
    }

    #[test]
    fn one_score_has_no_spread_and_none_has_no_mean() {
        assert_eq!(Cell::new(&[0.5]), Cell { mean: Some(0.5), std: None, n: 1 });
        assert_eq!(Cell::new(&[]), Cell { mean: None, std: None, n: 0 });
    }

    #[test]
    fn undefined_scores_are_left_out_of_mean_and_count() {
        let scores = [Some(0.4), None, Some(0.6), Some(f64::NAN)];
        let scores: Vec<Score> = scores
            .into_iter()
            .zip(0..)
            .map(|(value, seed)| score("a", "t", &format!("{seed}"), value))
            .collect();
        let cell = Pivot::new("main", &spec(), &axes(), &scores).unwrap().lines[0].cells[0];
        assert_eq!((cell.mean, cell.n), (Some(0.5), 2));
    }

    #[test]
    fn an_axis_that_the_table_leaves_out_is_an_error_that_names_it() {
        let spec = TableSpec { columns: vec!["metric".into()], ..spec() };
        let error = Pivot::new("main", &spec, &axes(), &scores()).unwrap_err();
        insta::assert_snapshot!(error, @r#"table `main`: several scores fall into row `LP-FT A`, column `macro_f1` for seed = `0`: they differ in `target` (`lesions` and `fundus`); add "target" to `columns`, make it `rows` or `over`, or make a table for each"#);
    }

    #[test]
    fn leaving_out_the_metric_is_an_error_too() {
        let spec = TableSpec { columns: vec!["target".into()], ..spec() };
        let error = Pivot::new("main", &spec, &axes(), &scores()).unwrap_err().to_string();
        assert!(error.contains("differ in `metric` (`macro_f1` and `log_loss`)"), "{error}");
    }

    #[test]
    fn the_same_score_twice_is_an_error() {
        let scores = [score("a", "t", "0", Some(0.1)), score("a", "t", "0", Some(0.2))];
        let error = Pivot::new("main", &spec(), &axes(), &scores).unwrap_err().to_string();
        assert!(
            error.contains("two scores fall into row `a`, column `t.macro_f1` for seed = `0`"),
            "{error}"
        );
    }

    #[test]
    fn a_field_that_is_not_there_is_an_error_that_lists_those_that_are() {
        let spec = TableSpec { rows: "targt".into(), ..spec() };
        let error = Pivot::new("main", &spec, &axes(), &[]).unwrap_err().to_string();
        assert!(error.contains("`rows` names `targt`") && error.contains("`target`"), "{error}");
    }

    #[test]
    fn marks_follow_the_direction_of_the_metric_and_equals_share_them() {
        let scores = [("a", 0.5), ("b", 0.7), ("c", 0.7), ("d", 0.6)];
        let of = |metric: &str| -> Vec<Mark> {
            let score =
                |(model, value)| Score { metric: metric.into(), ..score(model, "t", "0", Some(value)) };
            Pivot::new("main", &spec(), &axes(), &scores.map(score)).unwrap().marks(0)
        };
        assert_eq!(of("macro_f1"), [Mark::None, Mark::Best, Mark::Best, Mark::Second]);
        assert_eq!(of("log_loss"), [Mark::Best, Mark::None, Mark::None, Mark::Second]);
    }

    #[test]
    fn a_column_of_one_score_or_of_several_metrics_has_no_best() {
        let alone = Pivot::new("main", &spec(), &axes(), &[score("a", "t", "0", Some(0.5))]).unwrap();
        assert_eq!(alone.marks(0), [Mark::None]);
        let spec =
            TableSpec { rows: "metric".into(), columns: vec!["target".into(), "model".into()], ..spec() };
        let mixed = Pivot::new("main", &spec, &axes(), &scores()).unwrap();
        assert_eq!(labels(&mixed), ["macro_f1", "log_loss"]);
        assert_eq!(mixed.marks(0), [Mark::None, Mark::None]);
    }

    #[test]
    fn a_table_without_scores_has_neither_rows_nor_columns() {
        let pivot = Pivot::new("main", &spec(), &axes(), &[]).unwrap();
        assert!(pivot.lines.is_empty() && pivot.columns.is_empty());
    }
}
