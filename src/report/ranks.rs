//! Ranks of the rows of a table over its columns: a critical-difference diagram (Demšar 2006) after a significant Friedman
//! test, or else how often each row beats each other one.

use maud::{Markup, html};
use statistics::friedman::Friedman;
use table::Pivot;

/// Fewer columns or rows tell nothing about ranks.
const COLUMNS: usize = 3;
const ROWS: usize = 3;

/// Significance of the test, and of the differences.
const ALPHA: f64 = 0.05;

/// Width of the plot, space for labels on both sides, and height of a label.
const PLOT: f64 = 420.0;
const LABELS: f64 = 200.0;
const LINE: f64 = 18.0;

/// Columns with one metric: its name, and the scores of each column, larger ones being better.
type Metric = (String, Vec<Vec<f64>>);

pub(super) fn section(pivot: &Pivot) -> Markup {
    html! { @for metric in by_metric(pivot) { (of_metric(pivot, &metric)) } }
}

/// The columns in which every row has a mean, by metric.
fn by_metric(pivot: &Pivot) -> Vec<Metric> {
    let position = pivot.spec.columns.iter().position(|field| field == "metric");
    let mut found: Vec<Metric> = Vec::new();
    for (i, column) in pivot.columns.iter().enumerate() {
        let means: Option<Vec<f64>> = pivot.lines.iter().map(|line| line.cells[i].mean).collect();
        let (Some(higher), Some(mut means)) = (column.higher_is_better, means) else { continue };
        means.iter_mut().filter(|_| !higher).for_each(|mean| *mean = -*mean);
        let name = position.map_or(String::new(), |position| column.values[position].clone());
        match found.iter_mut().find(|(other, _)| *other == name) {
            Some((_, columns)) => columns.push(means),
            None => found.push((name, vec![means])),
        }
    }
    found.retain(|(_, columns)| columns.len() >= COLUMNS && pivot.lines.len() >= ROWS);
    found
}

fn of_metric(pivot: &Pivot, (metric, columns): &Metric) -> Markup {
    let Some(test) = Friedman::new(columns) else { return html! {} };
    let name = if metric.is_empty() { String::new() } else { format!("{metric}: ") };
    let difference = test.critical_difference().filter(|_| test.p() < ALPHA);
    let summary = match difference {
        Some(_) => format!("{name}mean ranks and critical difference"),
        None => format!("{name}pairwise wins"),
    };
    html! {
        details {
            summary { (summary) " " span.faint { (said(&test)) } }
            @match difference {
                Some(difference) => (diagram(pivot, &test, difference)),
                None => (wins(pivot, columns)),
            }
        }
    }
}

fn said(test: &Friedman) -> String {
    let p = if test.p() < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", test.p()) };
    let verdict = if test.p() < ALPHA { "ranks differ" } else { "no evidence that ranks differ" };
    format!("{} columns, Friedman test {p}: {verdict}", test.datasets)
}

/// Mean ranks on an axis, the best on the left; bars join rows whose ranks do not differ significantly.
fn diagram(pivot: &Pivot, test: &Friedman, difference: f64) -> Markup {
    let mut order: Vec<usize> = (0..pivot.lines.len()).collect();
    order.sort_by(|&a, &b| test.mean_ranks[a].total_cmp(&test.mean_ranks[b]));
    let ranks: Vec<f64> = order.iter().map(|&row| test.mean_ranks[row]).collect();
    let bars = cliques(&ranks, difference);
    let k = ranks.len();
    let x = |rank: f64| round(LABELS + PLOT * (rank - 1.0) / (k as f64 - 1.0));
    let bar = |i: usize| 34.0 + 7.0 * i as f64;
    let first = bar(bars.len()) + LINE;
    let left = k.div_ceil(2);
    let (width, height) = (2.0 * LABELS + PLOT, first + LINE * left as f64);
    // The best row at the top on the left; the worst one at the top on the right.
    let line = |i: usize| first + LINE * if i < left { i } else { k - 1 - i } as f64;
    html! {
        p.note { "Mean rank over columns, 1 being the best. Bars join rows that Nemenyi's test does not tell apart at "
            (ALPHA) ": their ranks differ by less than " (format!("{difference:.2}")) "." }
        div.scroll tabindex="0" {
            svg role="img" aria-label=(spoken(pivot, &order, test)) viewBox={ "0 0 " (width) " " (height) } width=(width)
                height=(height) {
                path.axis d={ "M" (x(1.0)) " 20H" (x(k as f64)) } {}
                @for rank in 1..=k {
                    path.axis d={ "M" (x(rank as f64)) " 16V20" } {}
                    text x=(x(rank as f64)) y="12" text-anchor="middle" { (rank) }
                }
                @for (i, (from, to)) in bars.iter().enumerate() {
                    path.bar style="stroke:var(--c0)" d={ "M" (x(ranks[*from]) - 3.0) " " (bar(i)) "H" (x(ranks[*to]) + 3.0) } {}
                }
                @for (i, &row) in order.iter().enumerate() {
                    @let is_left = i < left;
                    @let end = if is_left { LABELS - 6.0 } else { LABELS + PLOT + 6.0 };
                    path.axis d={ "M" (x(ranks[i])) " 20V" (line(i)) "H" (end) } {}
                    text x=(if is_left { end - 4.0 } else { end + 4.0 }) y=(line(i) + 4.0)
                        text-anchor=(if is_left { "end" } else { "start" }) {
                        (pivot.lines[row].label) " " (format!("{:.2}", ranks[i]))
                    }
                }
            }
        }
    }
}

/// The diagram for readers who cannot see it.
fn spoken(pivot: &Pivot, order: &[usize], test: &Friedman) -> String {
    let row = |row: &usize| format!("{} {:.2}", pivot.lines[*row].label, test.mean_ranks[*row]);
    format!("Mean ranks: {}", order.iter().map(row).collect::<Vec<_>>().join(", "))
}

/// The longest runs of ascending ranks whose ends differ by less than a difference, as first and last position.
fn cliques(ranks: &[f64], difference: f64) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for from in 0..ranks.len() {
        let to = (from..ranks.len()).rfind(|&to| ranks[to] - ranks[from] < difference).unwrap_or(from);
        if to > from && found.last().is_none_or(|&(_, last)| to > last) {
            found.push((from, to));
        }
    }
    found
}

/// In how many columns each row is better than each other one.
fn wins(pivot: &Pivot, columns: &[Vec<f64>]) -> Markup {
    let count = |row: usize, other: usize| columns.iter().filter(|means| means[row] > means[other]).count();
    let rows = 0..pivot.lines.len();
    html! {
        div.scroll tabindex="0" {
            table.wins {
                caption { "In how many of " (columns.len()) " columns the row is better than the column" }
                thead { tr { td {} @for line in &pivot.lines { th scope="col" { span { (line.label) } } } } }
                tbody {
                    @for row in rows.clone() {
                        tr {
                            th scope="row" { (pivot.lines[row].label) }
                            @for other in rows.clone() {
                                td { @if row == other { "–" } @else { (count(row, other)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use table::{Score, TableSpec};

    use super::*;

    /// Accuracies of models on data sets.
    fn pivot(accuracies: &[&[f64]]) -> Pivot {
        let spec = serde_json::json!({ "from": ["scores"], "columns": ["dataset"], "metrics": ["accuracy"] });
        let spec: TableSpec = serde_json::from_value(spec).unwrap();
        let score = |model: usize, dataset: usize, value: f64| Score {
            experiment: "e".into(),
            stage: "scores".into(),
            model: format!("model {model}"),
            dataset: format!("set {dataset}"),
            split: "test".into(),
            seed: String::new(),
            axes: IndexMap::new(),
            metric: "accuracy".into(),
            value: Some(value),
            n: 100,
            predicted: None,
            caveats: [].into(),
            steps: None,
            model_fingerprint: None,
        };
        let row = |(model, row): (usize, &&[f64])| {
            row.iter().enumerate().map(|(dataset, value)| score(model, dataset, *value)).collect::<Vec<_>>()
        };
        let scores: Vec<Score> = accuracies.iter().enumerate().flat_map(row).collect();
        Pivot::new("main", &spec, &[], &scores).unwrap()
    }

    #[test]
    fn ranks_that_differ_are_drawn_and_others_are_counted() {
        let [low, middle, high] = [[0.5, 0.6, 0.5, 0.4], [0.6, 0.7, 0.6, 0.5], [0.9, 0.8, 0.7, 0.8]];
        let drawn = section(&pivot(&[&middle, &low, &high])).into_string();
        assert!(drawn.contains("mean ranks and critical difference"), "{drawn}");
        assert!(
            drawn.contains("aria-label=\"Mean ranks: model 2 1.00, model 0 2.00, model 1 3.00\""),
            "{drawn}"
        );
        let mixed = section(&pivot(&[&[0.5, 0.7, 0.6], &[0.6, 0.5, 0.7], &[0.7, 0.6, 0.5]])).into_string();
        assert!(mixed.contains("no evidence that ranks differ"), "{mixed}");
        assert!(mixed.contains("<th scope=\"row\">model 0</th><td>–</td><td>1</td><td>2</td>"), "{mixed}");
        let two = section(&pivot(&[&[0.5, 0.7], &[0.6, 0.5], &[0.7, 0.6]])).into_string();
        assert!(two.is_empty(), "two columns tell nothing: {two}");
    }

    #[test]
    fn bars_join_what_does_not_differ() {
        assert_eq!(cliques(&[1.0, 1.5, 3.0, 3.2], 1.0), [(0, 1), (2, 3)]);
        assert_eq!(cliques(&[1.0, 1.5, 2.2, 3.0], 1.0), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(cliques(&[1.0, 1.1, 1.2], 5.0), [(0, 2)]);
        assert!(cliques(&[1.0, 3.0], 1.0).is_empty());
    }
}
