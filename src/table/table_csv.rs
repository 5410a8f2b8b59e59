//! `<table>.csv`: one row per table row, with mean, standard deviation and count of each column, and optional intervals
//! and ranks.

use super::pivot::{Cell, Column};
use super::{Pivot, csv_text, number_text};

/// The header is the field of the rows, then for each column `<values>.mean`, `.std`, `.n` and, with intervals, `.low`,
/// `.high`, where values are joined by `.`; finally an optional `rank`; scripts rely on it. Undefined numbers are
/// empty.
pub(super) fn render(pivot: &Pivot) -> String {
    let intervals = pivot.spec.interval.is_some();
    let rank = pivot.spec.rank.then(|| "rank".to_owned());
    let columns = pivot.columns.iter().flat_map(|column| header(column, intervals));
    let header = std::iter::once(pivot.spec.rows.clone()).chain(columns).chain(rank);
    let lines = pivot.lines.iter().map(|line| {
        let numbers = line.cells.iter().flat_map(|cell| numbers(cell, intervals));
        let rank = pivot.spec.rank.then(|| number_text(line.rank));
        std::iter::once(line.label.clone()).chain(numbers).chain(rank).collect()
    });
    csv_text(std::iter::once(header.collect()).chain(lines))
}

fn header(column: &Column, intervals: bool) -> Vec<String> {
    let what = if intervals { &["mean", "std", "n", "low", "high"][..] } else { &["mean", "std", "n"] };
    let name = |what: &&str| {
        let values = column.values.iter().map(String::as_str);
        values.chain([*what]).collect::<Vec<_>>().join(".")
    };
    what.iter().map(name).collect()
}

fn numbers(cell: &Cell, intervals: bool) -> Vec<String> {
    let mut numbers = vec![number_text(cell.mean), number_text(cell.std), cell.n.to_string()];
    if intervals {
        numbers.push(number_text(cell.interval.map(|interval| interval.low)));
        numbers.push(number_text(cell.interval.map(|interval| interval.high)));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::super::TableSpec;
    use super::super::example::{axes, predicted_scores, score, scores, spec};
    use super::super::spec::IntervalKind;
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
    fn intervals_and_ranks_have_columns_of_their_own() {
        let spec =
            TableSpec { interval: Some(IntervalKind::Bootstrap), resamples: 200, rank: true, ..spec() };
        let pivot = Pivot::new("main", &spec, &axes(), &predicted_scores()).unwrap();
        insta::assert_snapshot!(render(&pivot), @r"
        model,lesions.macro_f1.mean,lesions.macro_f1.std,lesions.macro_f1.n,lesions.macro_f1.low,lesions.macro_f1.high,fundus.macro_f1.mean,fundus.macro_f1.std,fundus.macro_f1.n,fundus.macro_f1.low,fundus.macro_f1.high,rank
        LP-FT A,0.6256893213414952,0.04861775264237429,3,0.5260368474014282,0.7063749300448865,0.5916953281642657,0.057670187269529175,3,0.46912184905579213,0.7061237921814191,2.5
        Average + FT,0.6252522735456237,0.01770764089629119,3,0.5417772148332608,0.7084779490503479,0.692182082564814,0.06727896861799534,3,0.5910495035963772,0.7927105510438842,2.5
        MedMerge + FT,0.9054165692163124,0.02536649995791788,3,0.8536031933276625,0.9550832868868517,0.8886920653048963,0.05367695316994711,3,0.7924816010181863,0.960786085439202,1.0
        ");
    }

    #[test]
    fn every_line_is_as_long_as_the_header() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        let text = render(&pivot);
        assert!(text.lines().all(|line| line.split(',').count() == 13), "{text}");
    }
}
