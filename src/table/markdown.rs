//! `<table>.md`: GitHub Markdown; the best of each column in bold, the second underlined.

use super::compare::Difference;
use super::note::{self, note};
use super::pivot::Mark;
use super::text::{Grid, has_marks, pad};
use super::{Pivot, text};

pub(super) fn render(pivot: &Pivot) -> String {
    let grid = Grid::new(pivot, escape, decorate);
    let widths: Vec<usize> = grid.widths().into_iter().map(|width| width.max(3)).collect();
    let mut lines = vec![row(&grid.header, &widths), rule(&widths)];
    lines.extend(grid.lines.iter().map(|line| row(line, &widths)));
    lines.push(String::new());
    lines.push(footnote(pivot));
    lines.join("\n") + "\n"
}

fn footnote(pivot: &Pivot) -> String {
    let Some(note) = note(pivot) else { return text::NO_SCORES.to_owned() };
    let marks = if has_marks(pivot) { " **Best** and <u>second best</u> of each column." } else { "" };
    escape(&note.join(" ")) + marks
}

fn row(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(i, (cell, &width))| pad(i, cell, width));
    format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
}

/// Labels are left-aligned, numbers right-aligned.
fn rule(widths: &[usize]) -> String {
    let dashes = widths.iter().enumerate().map(|(i, &width)| match i {
        0 => format!(":{}", "-".repeat(width - 1)),
        _ => format!("{}:", "-".repeat(width - 1)),
    });
    format!("| {} |", dashes.collect::<Vec<_>>().join(" | "))
}

fn decorate(text: String, mark: Mark, differs: Option<Difference>) -> String {
    let dagger = note::mark(differs);
    match mark {
        Mark::Best => format!("**{text}**{dagger}"),
        Mark::Second => format!("<u>{text}</u>{dagger}"),
        Mark::None => text + dagger,
    }
}

/// Escape characters that would end a cell or start markup, except underscores within words.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if "\\|*<`[".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores, score, scores, spec};
    use super::*;

    #[test]
    fn a_whole_table() {
        let pivot = Pivot::new("main", &spec(), &axes(), &scores()).unwrap();
        insta::assert_snapshot!(render(&pivot), @r"
        | model         |   lesions / macro_f1 |   lesions / log_loss |    fundus / macro_f1 |    fundus / log_loss |
        | :------------ | -------------------: | -------------------: | -------------------: | -------------------: |
        | LP-FT A       |        0.710 ± 0.010 |        0.790 ± 0.010 |        0.610 ± 0.010 |        0.890 ± 0.010 |
        | Average + FT  | <u>0.760 ± 0.010</u> | <u>0.740 ± 0.010</u> | <u>0.660 ± 0.010</u> | <u>0.840 ± 0.010</u> |
        | MedMerge + FT |    **0.810 ± 0.010** |    **0.690 ± 0.010** |    **0.710 ± 0.010** |    **0.790 ± 0.010** |

        Mean ± sample standard deviation over seed, n = 3. **Best** and <u>second best</u> of each column.
        ");
    }

    #[test]
    fn a_table_with_everything() {
        let pivot = Pivot::new("main", &full_spec(), &axes(), &predicted_scores()).unwrap();
        insta::assert_snapshot!(render(&pivot), @r"
        | model         |          lesions / macro_f1 |           fundus / macro_f1 | rank |
        | :------------ | --------------------------: | --------------------------: | ---: |
        | LP-FT A       | <u>0.626 [0.531, 0.719]</u> |        0.592 [0.470, 0.698] | 2.50 |
        | Average + FT  |        0.625 [0.533, 0.708] | <u>0.692 [0.576, 0.790]</u> | 2.50 |
        | MedMerge + FT |   **0.905 [0.840, 0.954]**† |   **0.889 [0.801, 0.957]**† | 1.00 |

        Mean over seed (0, 1, 2), n = 3, in brackets its 95 % bootstrap interval over images and seed (500 resamples, percentiles). Images: lesions (60), fundus (60). † better, ‡ worse than LP-FT A with p \< 0.05: paired bootstrap over images and seed (500 resamples), two-sided, Holm's correction for 4 comparisons. rank: mean rank over the columns, 1 is best. **Best** and <u>second best</u> of each column.
        ");
    }

    #[test]
    fn missing_cells_and_cells_of_fewer_seeds() {
        let scores = [
            score("a|b", "fundus", "0", Some(0.5)),
            score("a|b", "fundus", "1", Some(0.75)),
            score("*c*", "fundus", "0", Some(0.25)),
            score("*c*", "fundus", "1", None),
            score("d", "", "0", None),
        ];
        let pivot = Pivot::new("main", &spec(), &axes(), &scores).unwrap();
        insta::assert_snapshot!(render(&pivot), @r"
        | model |    fundus / macro_f1 | – / macro_f1 |
        | :---- | -------------------: | -----------: |
        | a\|b  |    **0.625 ± 0.177** |            – |
        | \*c\* | <u>0.250 (n = 1)</u> |            – |
        | d     |                    – |            – |

        Mean ± sample standard deviation over seed, n = 2 unless the cell says otherwise. **Best** and <u>second best</u> of each column.
        ");
    }

    #[test]
    fn one_seed_and_no_score_at_all() {
        let one = Pivot::new("main", &spec(), &axes(), &[score("a", "t", "0", Some(0.5))]).unwrap();
        let none = Pivot::new("main", &spec(), &axes(), &[]).unwrap();
        insta::assert_snapshot!(render(&one) + &render(&none), @r"
        | model | t / macro_f1 |
        | :---- | -----------: |
        | a     |        0.500 |

        One score each (n = 1 over seed), so no spread.
        | model |
        | :---- |

        No scores: no stage that the table takes from has finished.
        ");
    }
}
