//! Names for readers of Markdown and LaTeX: labels of the spec, and the titles of metrics. CSV files and the terminal
//! keep the names of the experiment file.

use super::Pivot;
use super::pivot::Counts;
use super::spec::{BEST, TableSpec};

/// Field whose values are metrics.
const METRIC: &str = "metric";

/// The pivot with its names replaced by what readers see.
pub(super) fn named(pivot: &Pivot) -> Pivot {
    let mut named = pivot.clone();
    let spec = &pivot.spec;
    for column in &mut named.columns {
        for (value, field) in column.values.iter_mut().zip(&spec.columns) {
            *value = shown(spec, field, value);
        }
    }
    named.lines.iter_mut().for_each(|line| line.label = shown(spec, &spec.rows, &line.label));
    for (axis, values) in spec.over.axes().iter().zip(&mut named.over) {
        values.iter_mut().for_each(|value| *value = shown(spec, axis, value));
    }
    named.images = by_dataset(spec, &pivot.images);
    named.groups = by_dataset(spec, &pivot.groups);
    named.spec = spec_named(spec);
    named
}

/// Counts with what readers see of the names of data sets.
fn by_dataset(spec: &TableSpec, counts: &Counts) -> Counts {
    counts.iter().map(|(dataset, counts)| (shown(spec, "dataset", dataset), *counts)).collect()
}

fn spec_named(spec: &TableSpec) -> TableSpec {
    let mut named = spec.clone();
    named.rows = heading(spec, &spec.rows);
    named.over = spec.over.map(|axis| shown(spec, "", axis));
    if let Some(compare) = &mut named.compare {
        let rows = compare
            .among
            .iter_mut()
            .chain(&mut compare.rows)
            .chain([&mut compare.to].into_iter().filter(|to| *to != BEST));
        rows.for_each(|row| *row = shown(spec, &spec.rows, row));
    }
    named
}

/// What readers see of the name of a field: `Model`, but an axis as the file names it.
fn heading(spec: &TableSpec, field: &str) -> String {
    let title = match field {
        "model" => "Model",
        "dataset" => "Data set",
        METRIC => "Metric",
        axis => axis,
    };
    spec.labels.get(field).map_or(title, String::as_str).to_owned()
}

/// What readers see of a value of a field.
fn shown(spec: &TableSpec, field: &str, value: &str) -> String {
    let title = || metric::by_name(value).filter(|_| field == METRIC).map(|metric| metric.title);
    spec.labels.get(value).map(String::as_str).or_else(title).unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::super::example::{axes, full_spec, predicted_scores, scores, spec};
    use super::*;

    #[test]
    fn f11_labels_apply_everywhere_and_titles_to_metrics() {
        let labels = [("LP-FT A", "A"), ("lesions", "Lesions"), ("model", "Method"), ("seed", "seeds")];
        let labels: IndexMap<String, String> = labels.map(|(name, label)| (name.into(), label.into())).into();
        let spec = TableSpec { labels, ..full_spec() };
        let named = named(&Pivot::new("main", &spec, &axes(), &predicted_scores()).unwrap());
        assert_eq!(named.lines[0].label, "A");
        assert_eq!(named.columns[0].values, ["Lesions", "Macro F1"]);
        assert_eq!((named.spec.rows.as_str(), named.spec.over.axes()[0].as_str()), ("Method", "seeds"));
        assert_eq!(named.spec.compare.unwrap().to, "A");
        assert_eq!(named.images.keys().collect::<Vec<_>>(), ["Lesions", "fundus"]);
    }

    #[test]
    fn f24_the_heading_of_the_rows_is_a_word_like_those_of_the_columns() {
        let rows = |rows: &str| spec_named(&TableSpec { rows: rows.into(), ..spec() }).rows;
        assert_eq!(
            ["model", "dataset", "metric", "target"].map(rows),
            ["Model", "Data set", "Metric", "target"]
        );
    }

    #[test]
    fn f11_a_model_named_like_a_metric_keeps_its_name() {
        let scores: Vec<_> = scores()
            .into_iter()
            .map(|score| super::super::Score { model: "accuracy".into(), ..score })
            .collect();
        let scores: Vec<_> = scores.into_iter().take(1).collect();
        let named = named(&Pivot::new("main", &spec(), &axes(), &scores).unwrap());
        assert_eq!(named.lines[0].label, "accuracy");
    }
}
