//! The columns that all CSV files of figures begin with: where a row comes from.

use indexmap::IndexMap;
use table::csv_text;

/// A CSV: `first`, the axes, then `last`. An axis with the name of another column has the column `axis.<name>`; no name
/// of an axis has a dot.
pub(super) fn csv(
    first: &[&str],
    axes: &[&String],
    last: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let is_taken = |axis: &str| first.contains(&axis) || last.contains(&axis);
    let axes = axes.iter().map(|axis| if is_taken(axis) { format!("axis.{axis}") } else { (*axis).clone() });
    let columns = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let header = columns(first).into_iter().chain(axes).chain(columns(last)).collect();
    csv_text(std::iter::once(header).chain(rows))
}

/// The values of axes; empty for those that it does not depend on.
pub(super) fn values(axes: &[&String], at: &IndexMap<String, String>) -> Vec<String> {
    axes.iter().map(|axis| at.get(*axis).cloned().unwrap_or_default()).collect()
}

/// The axes other than the seed.
pub(super) fn without_seed(axes: &[String]) -> Vec<&String> {
    axes.iter().filter(|axis| *axis != "seed").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_an_axis_is_prefixed_only_if_its_name_is_taken() {
        let axes = ["target", "model"].map(str::to_owned);
        let at = IndexMap::from([("target".to_owned(), "fundus".to_owned())]);
        let axes: Vec<&String> = axes.iter().collect();
        let row = [vec!["A".to_owned()], values(&axes, &at), vec!["1".to_owned()]].concat();
        assert_eq!(csv(&["model"], &axes, &["n"], [row]), "model,target,axis.model,n\nA,fundus,,1\n");
    }
}
