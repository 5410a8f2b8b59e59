//! Scores in rows × columns: means, standard deviations, intervals and comparisons per cell.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use super::compare::{self, Comparison, Difference};
use super::draws::{Grid, sorted};
use super::layout::{Layout, Scores};
use super::repeats;
use super::resample::Resamples;
use super::spec::IntervalKind;
use super::steps::{self, Range};
use super::{Score, TableError, TableSpec, metrics_csv};
use experiment::cell::Fields;
use statistics::variance_components::standard_deviation;
use statistics::{Interval, Undetermined, ranks::mean_ranks};

/// The smallest and the largest count of the scores of a data set, by data set.
pub type Counts = IndexMap<String, (usize, usize)>;

/// A table before rendering.
#[derive(Clone, Debug, PartialEq)]
pub struct Pivot {
    /// The spec of the table.
    pub spec: TableSpec,
    /// Columns from left to right.
    pub columns: Vec<Column>,
    /// Rows from top to bottom.
    pub lines: Vec<Line>,
    /// Comparisons, column by column and row by row; empty unless the spec compares.
    pub comparisons: Vec<Comparison>,
    /// The values of each axis of `over`, numbers in numerical order.
    pub over: Vec<Vec<String>>,
    /// The number of images that scores were computed from, by data set.
    pub images: Counts,
    /// The number of groups of these images, by data set; only of data sets whose images are resampled by group.
    pub groups: Counts,
    /// What readers must know about a data set, by data set; only of data sets with such caveats.
    pub caveats: IndexMap<String, Arc<[String]>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// A value for each of the table's `columns`, outermost first.
    pub values: Vec<String>,
    /// Whether a larger mean is better; `None` if the column mixes metrics or its metric is unknown.
    pub higher_is_better: Option<bool>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The row's value: the model, …
    pub label: String,
    /// Cells, one per column.
    pub cells: Vec<Cell>,
    /// Mean rank over the columns in which every row has a mean, 1 being the best; `None` unless the spec asks for it
    /// and there is such a column.
    pub rank: Option<f64>,
    /// How long its models were trained, as far as it is known.
    pub(super) steps: Option<Range>,
    /// The axes of `over`, by position, along which its scores are of one model.
    pub(super) repeats: Vec<usize>,
}

/// A cell of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// Mean of the defined scores, if any.
    pub mean: Option<f64>,
    /// Sample standard deviation (n − 1), for at least two scores. With several axes, the standard deviation of a
    /// single score, from pairs of scores that share no value: see [`standard_deviation`].
    pub std: Option<f64>,
    /// Number of defined scores.
    pub n: usize,
    /// Confidence interval of the mean, if the spec asks for it.
    pub interval: Option<Interval>,
    /// Why there is no interval, if the spec asks for it and there are scores.
    pub undetermined: Option<Undetermined>,
    /// Number of resamples with an undefined mean or, for random effects, with an undefined score.
    pub undefined: usize,
    /// Significant difference from the reference, at the spec's alpha.
    pub differs: Option<Difference>,
}

/// Rank of a cell in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The best mean of several.
    Best,
    /// The second best.
    Second,
    /// Neither.
    None,
}

impl Pivot {
    /// The pivot of table `name` of an experiment with these sweep axes. Rows and columns are in the order of their
    /// first score, metrics in the order of the spec.
    ///
    /// # Errors
    /// The spec names a field that scores do not have, several scores share a cell and their values of `over`, or images
    /// are to be resampled and a score has no predictions.
    pub fn new(name: &str, spec: &TableSpec, axes: &[String], scores: &[Score]) -> Result<Self, TableError> {
        let layout = Layout::new(name, spec, axes, scores)?;
        let mut pivot = Self::of_means(spec, &layout);
        let resamples = match spec.draws_images() {
            true => Some(Resamples::new(name, spec, &layout)?),
            false => None,
        };
        if let (Some(kind), Some(resamples)) = (spec.interval, &resamples) {
            pivot.add_intervals(kind, &layout, resamples);
        }
        if let Some(compare) = &spec.compare {
            pivot.comparisons = compare::comparisons(&pivot, compare, &layout, resamples.as_ref());
            for found in &pivot.comparisons {
                let higher = pivot.columns[found.column].higher_is_better.unwrap_or(true);
                pivot.lines[found.row].cells[found.column].differs = found.significant(compare.alpha, higher);
            }
        }
        if spec.rank {
            pivot.add_ranks();
        }
        Ok(pivot)
    }

    fn of_means(spec: &TableSpec, layout: &Layout<'_>) -> Self {
        let line = |(row, cells): (&&str, &Vec<Scores<'_>>)| {
            let steps =
                steps::range(cells.iter().flat_map(|scores| scores.values().map(|score| score.steps)));
            let repeats = repeats::axes(cells, spec.over.axes().len());
            let cells = cells.iter().map(|scores| Cell::of(spec, scores)).collect();
            Line { label: (*row).to_owned(), cells, rank: None, steps, repeats }
        };
        let column = |(i, values): (usize, &Vec<&str>)| Column::new(values, &layout.metrics(i));
        Self {
            spec: spec.clone(),
            columns: layout.columns.iter().enumerate().map(column).collect(),
            lines: layout.rows.iter().zip(&layout.cells).map(line).collect(),
            comparisons: Vec::new(),
            over: values_of_over(spec, layout),
            images: counts(layout, |score| Some(score.n)),
            groups: counts(layout, |score| groups(spec, score)),
            caveats: caveats(layout),
        }
    }

    fn add_intervals(&mut self, kind: IntervalKind, layout: &Layout<'_>, resamples: &Resamples<'_>) {
        for (line, row) in self.lines.iter_mut().zip(&layout.cells) {
            for (cell, scores) in line.cells.iter_mut().zip(row).filter(|(cell, _)| cell.n > 0) {
                let values = sorted(scores.iter().map(|(levels, score)| (levels.clone(), *score)));
                let (interval, undefined) = match kind {
                    IntervalKind::Bootstrap => resamples.percentiles(&values),
                    IntervalKind::RandomEffects => resamples.random_effects(&values),
                };
                (cell.interval, cell.undetermined, cell.undefined) =
                    (interval.ok(), interval.err(), undefined);
            }
        }
    }

    fn add_ranks(&mut self) {
        let ranked = self.ranked_columns();
        let ranks: Vec<Vec<f64>> = ranked.iter().map(|&column| self.ranks(column)).collect();
        for (i, line) in self.lines.iter_mut().enumerate().filter(|_| !ranks.is_empty()) {
            line.rank = Some(ranks.iter().map(|ranks| ranks[i]).sum::<f64>() / ranks.len() as f64);
        }
    }

    /// The columns in which every row has a mean and it is known which is the best.
    pub fn ranked_columns(&self) -> Vec<usize> {
        let complete = |&column: &usize| self.lines.iter().all(|line| line.cells[column].mean.is_some());
        let directed = |&column: &usize| self.columns[column].higher_is_better.is_some();
        (0..self.columns.len()).filter(directed).filter(complete).collect()
    }

    /// The rank of each row in a column, 1 being the best; ties share their mean rank.
    fn ranks(&self, column: usize) -> Vec<f64> {
        let sign = if self.columns[column].higher_is_better == Some(true) { -1.0 } else { 1.0 };
        let means = self.lines.iter().filter_map(|line| line.cells[column].mean);
        mean_ranks(&means.map(|mean| sign * mean).collect::<Vec<f64>>())
    }

    /// Whether any cell differs significantly from its reference.
    pub(super) fn has_differences(&self) -> bool {
        self.lines.iter().flat_map(|line| &line.cells).any(|cell| cell.differs.is_some())
    }

    /// The mark of each row in a column; [`Mark::None`] for all rows if they cannot be compared.
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
    /// The cell of these scores.
    fn of(spec: &TableSpec, scores: &Scores<'_>) -> Self {
        let values: Vec<f64> = scores.values().filter_map(|score| score.defined()).collect();
        if !spec.over.is_crossed() {
            return Self::new(&values);
        }
        let sorted = sorted(scores.iter().map(|(levels, score)| (levels.clone(), *score)));
        let values: Vec<f64> = sorted.iter().filter_map(|(_, score)| score.defined()).collect();
        Self { std: standard_deviation(&values, &Grid::new(&sorted).places), ..Self::new(&values) }
    }

    fn new(values: &[f64]) -> Self {
        let n = values.len();
        let mean = (n > 0).then(|| values.iter().sum::<f64>() / n as f64);
        let squares = |mean: f64| values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let std = mean.filter(|_| n > 1).map(|mean| (squares(mean) / (n - 1) as f64).sqrt());
        Self { mean, std, n, ..Self::default() }
    }
}

fn values_of_over(spec: &TableSpec, layout: &Layout<'_>) -> Vec<Vec<String>> {
    let of_axis = |axis: &String| {
        let values: IndexSet<&str> = layout.scores().map(|score| score.field(axis)).collect();
        let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        values.sort_by(|a, b| metrics_csv::compare(a, b));
        values
    };
    spec.over.axes().iter().map(of_axis).collect()
}

fn caveats(layout: &Layout<'_>) -> IndexMap<String, Arc<[String]>> {
    let with_caveats = layout.scores().filter(|score| !score.caveats.is_empty());
    with_caveats.map(|score| (score.dataset.clone(), score.caveats.clone())).collect()
}

/// The number of groups of a score's images, if they are resampled by group.
fn groups(spec: &TableSpec, score: &Score) -> Option<usize> {
    score.predicted.as_ref().filter(|_| spec.draws_groups())?.groups()
}

/// The least and the most of a count of each score, by data set.
fn counts(layout: &Layout<'_>, count: impl Fn(&Score) -> Option<usize>) -> Counts {
    let mut counts = Counts::new();
    for (score, count) in layout.scores().filter_map(|score| Some((score, count(score)?))) {
        let (least, most) = counts.entry(score.dataset.clone()).or_insert((count, count));
        (*least, *most) = (count.min(*least), count.max(*most));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores, score, scores, spec};
    use super::*;

    fn labels(pivot: &Pivot) -> Vec<&str> {
        pivot.lines.iter().map(|line| line.label.as_str()).collect()
    }

    #[test]
    fn rows_and_columns_are_in_the_order_of_the_scores_and_metrics_in_that_of_the_spec() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        assert_eq!(labels(&pivot), ["LP-FT A", "Average + FT", "MedMerge + FT"]);
        let columns: Vec<String> = pivot.columns.iter().map(|column| column.values.join(".")).collect();
        assert_eq!(columns, ["lesions.macro_f1", "lesions.log_loss", "fundus.macro_f1", "fundus.log_loss"]);
        let directions: Vec<_> =
            pivot.columns.iter().map(|column| column.higher_is_better.unwrap()).collect();
        assert_eq!(directions, [true, false, true, false]);
    }

    #[test]
    fn a_cell_has_mean_and_sample_standard_deviation() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        let cell = pivot.lines[0].cells[0];
        assert!((cell.mean.unwrap() - 0.71).abs() < 1e-12);
        assert!((cell.std.unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(cell.n, 3);
    }

    #[test]
    fn one_score_has_no_spread_and_none_has_no_mean() {
        assert_eq!(Cell::new(&[0.5]), Cell { mean: Some(0.5), n: 1, ..Cell::default() });
        assert_eq!(Cell::new(&[]), Cell::default());
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

    #[test]
    fn a_mean_rank_is_over_the_columns_in_which_every_line_has_a_score() {
        let mut scores = scores();
        let spec = TableSpec { rank: true, ..spec() };
        let ranks = |scores: &[Score]| -> Vec<Option<f64>> {
            let pivot = Pivot::new("main", &spec, &axes(), scores).unwrap();
            pivot.lines.iter().map(|line| line.rank).collect()
        };
        assert_eq!(ranks(&scores), [Some(3.0), Some(2.0), Some(1.0)]);
        // the first is now as good as the second on lesions by macro F1, one column of four
        for score in &mut scores {
            let tied = score.model == "LP-FT A" && score.dataset == "lesions" && score.metric == "macro_f1";
            score.value = score.value.map(|value| if tied { value + 0.05 } else { value });
        }
        assert_eq!(ranks(&scores), [Some(11.5 / 4.0), Some(8.5 / 4.0), Some(1.0)]);
        scores.retain(|score| score.model != "LP-FT A" || score.dataset == "lesions");
        assert_eq!(ranks(&scores), [Some(2.75), Some(2.25), Some(1.0)]);
        scores.retain(|score| score.model != "LP-FT A");
        scores.push(score("alone", "elsewhere", "0", Some(0.5)));
        assert_eq!(ranks(&scores), [None; 3]);
    }

    #[test]
    fn f05_a_worse_row_is_told_from_a_better_one_whichever_way_the_metric_goes() {
        let compared = |to: &str, metric: &str| -> Vec<Option<Difference>> {
            let mut spec = TableSpec { metrics: vec![metric.into()], ..full_spec() };
            spec.compare.iter_mut().for_each(|compare| compare.to = to.into());
            let of_metric = |score| Score { metric: metric.into(), ..score };
            let scores: Vec<Score> = predicted_scores().into_iter().map(of_metric).map(scored).collect();
            let pivot = Pivot::new("main", &spec, &axes(), &scores).unwrap();
            pivot.lines.iter().map(|line| line.cells[0].differs).collect()
        };
        let (better, worse) = (Some(Difference::Better), Some(Difference::Worse));
        for metric in ["macro_f1", "log_loss"] {
            assert_eq!(compared("LP-FT A", metric), [None, None, better], "{metric}");
            assert_eq!(compared("MedMerge + FT", metric), [worse, worse, None], "{metric}");
        }
    }

    /// The score of its metric, from its predictions.
    fn scored(score: Score) -> Score {
        let predicted = score.predicted.as_ref().unwrap();
        let value = metric::by_name(&score.metric).unwrap().score(&predicted.predictions);
        Score { value, ..score }
    }
}
