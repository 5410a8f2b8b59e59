//! A table in plain text, printed at the end of a run.

use std::ops::Range;

use super::compare::Difference;
use super::note::{self, note};
use super::pivot::Mark;
use super::text::{Grid, has_marks, pad};
use super::{Pivot, text};

/// Between columns.
const GAP: &str = "  ";

/// Aligned columns below the table's name; the best of each column is marked with `*`, significant differences with a
/// dagger. A table wider than `width` comes in blocks of columns, each with the labels of the rows.
pub(super) fn render(name: &str, pivot: &Pivot, width: usize) -> String {
    let Some(mut note) = note(pivot) else { return format!("{name}\n\n{}\n", text::NO_SCORES) };
    // Unmarked numbers reserve the marks' width, so that digits are aligned.
    let room = if pivot.has_differences() { " " } else { "" };
    let decorate = |text: String, mark, differs: Option<Difference>| {
        let dagger = if differs.is_some() { note::mark(differs) } else { room };
        let best = if mark == Mark::Best { " *" } else { "  " };
        text + dagger + best
    };
    let mut grid = Grid::new(pivot, str::to_owned, decorate);
    grid.header
        .iter_mut()
        .skip(1)
        .take(pivot.columns.len())
        .for_each(|title| title.push_str(&format!("{room}  ")));
    let widths = grid.widths();
    let mut lines = vec![name.to_owned()];
    for block in blocks(&widths, width) {
        let row = |cells: &Vec<String>| {
            let shown = std::iter::once(0).chain(block.clone());
            let padded = shown.map(|column| pad(column, &cells[column], widths[column]));
            padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
        };
        lines.extend([String::new(), row(&grid.header)]);
        lines.extend(grid.lines.iter().map(row));
    }
    if has_marks(pivot) {
        note[0].push_str(" * best of the column.");
    }
    lines.push(String::new());
    lines.extend(note);
    lines.join("\n") + "\n"
}

/// Columns that fit next to the labels, column 0: as many as possible in each block, at least one.
fn blocks(widths: &[usize], width: usize) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (column, own) in widths.iter().enumerate().skip(1) {
        let more = GAP.len() + own;
        match blocks.last_mut().filter(|_| used + more <= width) {
            Some(block) => block.end = column + 1,
            None => {
                blocks.push(column..column + 1);
                used = widths[0];
            }
        }
        used += more;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores, score, scores, spec};
    use super::*;

    #[test]
    fn a_whole_table() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        insta::assert_snapshot!(render("main", &pivot, usize::MAX), @r"
        main

        model          lesions / macro_f1    lesions / log_loss    fundus / macro_f1    fundus / log_loss
        LP-FT A             0.710 ± 0.010         0.790 ± 0.010        0.610 ± 0.010        0.890 ± 0.010
        Average + FT        0.760 ± 0.010         0.740 ± 0.010        0.660 ± 0.010        0.840 ± 0.010
        MedMerge + FT       0.810 ± 0.010 *       0.690 ± 0.010 *      0.710 ± 0.010 *      0.790 ± 0.010 *

        Mean ± sample standard deviation over seed, n = 3. * best of the column.
        ");
    }

    #[test]
    fn a_table_with_everything() {
        let pivot = Pivot::new("main", &full_spec(), &axes(), &predicted_scores()).unwrap();
        insta::assert_snapshot!(render("main", &pivot, usize::MAX), @r"
        main

        model            lesions / macro_f1        fundus / macro_f1     rank
        LP-FT A        0.626 [0.531, 0.719]     0.592 [0.470, 0.698]     2.50
        Average + FT   0.625 [0.533, 0.708]     0.692 [0.576, 0.790]     2.50
        MedMerge + FT  0.905 [0.840, 0.954]† *  0.889 [0.801, 0.957]† *  1.00

        Mean over seed (0, 1, 2), n = 3, in brackets its 95 % bootstrap interval over images and seed (500 resamples, percentiles). * best of the column.
        Images: lesions (60), fundus (60).
        † better, ‡ worse than LP-FT A with p < 0.05: paired bootstrap over images and seed (500 resamples), two-sided, Holm's correction for 4 comparisons.
        rank: mean rank over the columns, 1 is best.
        ");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let scores = [score("模型", "t", "0", Some(0.5)), score("abcde", "t", "0", Some(0.25))];
        let pivot = Pivot::new("main", &spec(), &axes(), &scores).unwrap();
        insta::assert_snapshot!(render("main", &pivot, usize::MAX), @r"
        main

        model  t / macro_f1
        模型          0.500 *
        abcde         0.250

        One score each (n = 1 over seed), so no spread. * best of the column.
        ");
    }

    #[test]
    fn no_score_at_all() {
        let pivot = Pivot::new("main", &spec(), &axes(), &[]).unwrap();
        insta::assert_snapshot!(render("main", &pivot, usize::MAX), @r"
        main

        No scores: no stage that the table takes from has finished.
        ");
    }

    #[test]
    fn f09_a_wide_table_comes_in_blocks_that_fit() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        let table = |width| {
            let text = render("main", &pivot, width);
            text.split("\n\nMean").next().unwrap_or_default().to_owned()
        };
        assert_eq!(table(120), table(usize::MAX));
        assert!(table(80).lines().all(|line| line.chars().count() <= 80), "{}", table(80));
        assert_eq!(table(80).matches("LP-FT A").count(), 2);
        let first = "main\n\nmodel          lesions / macro_f1\nLP-FT A             0.710 ± 0.010\n";
        assert!(table(40).starts_with(first), "{}", table(40));
        assert_eq!(table(40).matches("LP-FT A").count(), 4);
        assert_eq!(table(1), table(40), "a block has one column at least");
    }
}
