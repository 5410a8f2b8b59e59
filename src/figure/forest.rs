//! The differences of a table, column by column.

use chart::{Panel, file};
use experiment::figure_spec::forest::ForestSpec;

use super::{Files, Shown};

pub(super) fn files(name: &str, spec: &ForestSpec, shown: &Shown<'_>) -> Files {
    let Some((_, pivot)) = shown.tables.iter().find(|(table, _)| *table == spec.table) else {
        return Files::new();
    };
    let pictures = (0..pivot.columns.len()).filter_map(|column| chart::forest(pivot, column));
    let panels: Vec<_> =
        pictures.map(|picture| vec![Some(Panel { title: picture.title.clone(), picture })]).collect();
    if panels.is_empty() {
        return Files::new();
    }
    let by = table::compared_by(pivot).unwrap_or_default();
    let caption =
        format!("Differences with {} % confidence intervals: {by}.", table::percent(pivot.spec.confidence));
    vec![("svg", file(&shown.title(name), &panels, &[], &[&caption])), ("csv", table::compare_csv(pivot))]
}
