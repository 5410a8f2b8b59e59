//! `<table>.csv`: a row per table row, with mean, standard deviation and count of each column.

use super::pivot::Column;
use super::{Pivot, csv_text, number_text};

/// The header is the row's kind, then `<column values>.mean`, `.std`, `.n`, values joined by `.`; scripts
/// rely on it. Mean and standard deviation are empty where they are not defined.
pub(super) fn render(pivot: &Pivot) -> String {
    let header = std::iter::once(pivot.rows.clone()).chain(pivot.columns.iter().flat_map(header));
    let lines = pivot.lines.iter().map(|line| {
        let cells = line.cells.iter();
        let numbers =
            cells.flat_map(|cell| [number_text(cell.mean), number_text(cell.std), cell.n.to_string()]);
        std::iter::once(line.label.clone()).chain(numbers).collect()
    });
    csv_text(std::iter::once(header.collect()).chain(lines))
}

fn header(column: &Column) -> [String; 3] {
    ["mean", "std", "n"].map(|what| {
        let values = column.values.iter().map(String::as_str);
        values.chain([what]).collect::<Vec<_>>().join(".")
    })
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, score, scores, spec};
    use super::*;

    #[test]
    fn a_table_of_two_scores_and_an_undefined_one() {
        let scores = [
            score("a, b", "fundus", "0", Some(0.5)),
            score("a, b", "fundus", "1", Some(0.75)),
            score("c", "fundus", "0", None),
            score("c", "lesions", "0", Some(0.25)),
        ];
        let pivot = Pivot::new("main", &spec(), &axes(), &scores).unwrap();
        insta::assert_snapshot!(render(&pivot), @r#"
        model,fundus.macro_f1.mean,fundus.macro_f1.std,fundus.macro_f1.n,lesions.macro_f1.mean,lesions.macro_f1.std,lesions.macro_f1.n
        "a, b",0.625,0.1767766952966369,2,,,0
        c,,,0,0.25,,1
        "#);
    }

    #[test]
    fn every_line_is_as_long_as_the_header() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        let text = render(&pivot);
        assert!(text.lines().all(|line| line.split(',').count() == 13), "{text}");
    }
}
