//! A table in plain text, printed at the end of a run.

use super::note::{DAGGER, note};
use super::pivot::Mark;
use super::text::{Grid, has_marks, pad};
use super::{Pivot, text};

/// Aligned columns below the table's name; the best of each column is marked with `*`, significant differences with a
/// dagger.
pub(super) fn render(name: &str, pivot: &Pivot) -> String {
    let Some(mut note) = note(pivot) else { return format!("{name}\n\n{}\n", text::NO_SCORES) };
    // Unmarked numbers reserve the marks' width, so that digits are aligned.
    let room = if pivot.has_differences() { " " } else { "" };
    let decorate = |text: String, mark, differs| {
        let dagger = if differs { DAGGER } else { room };
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
    let row = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| pad(i, cell, width));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![name.to_owned(), String::new(), row(&grid.header)];
    lines.extend(grid.lines.iter().map(row));
    if has_marks(pivot) {
        note[0].push_str(" * best of the column.");
    }
    lines.push(String::new());
    lines.extend(note);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores, score, scores, spec};
    use super::*;

    #[test]
    fn a_whole_table() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        insta::assert_snapshot!(render("main", &pivot), @r"
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
        insta::assert_snapshot!(render("main", &pivot), @r"
        main

        model            lesions / macro_f1        fundus / macro_f1     rank
        LP-FT A        0.626 [0.531, 0.719]     0.592 [0.470, 0.698]     2.50
        Average + FT   0.625 [0.533, 0.708]     0.692 [0.576, 0.790]     2.50
        MedMerge + FT  0.905 [0.840, 0.954]† *  0.889 [0.801, 0.957]† *  1.00

        Mean over seed (0, 1, 2), n = 3, in brackets its 95 % bootstrap interval over images and seed (500 resamples, percentiles). * best of the column.
        Images: lesions 60, fundus 60.
        † differs from LP-FT A with p < 0.05: paired bootstrap over images and seed (500 resamples), two-sided, Holm's correction for 4 comparisons.
        rank: mean rank over the columns, 1 is best.
        ");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        let scores = [score("模型", "t", "0", Some(0.5)), score("abcde", "t", "0", Some(0.25))];
        let pivot = Pivot::new("main", &spec(), &axes(), &scores).unwrap();
        insta::assert_snapshot!(render("main", &pivot), @r"
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
        insta::assert_snapshot!(render("main", &pivot), @r"
        main

        No scores: no stage that the table takes from has finished.
        ");
    }
}
