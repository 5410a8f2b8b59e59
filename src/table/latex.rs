//! `<table>.tex`: LaTeX for `\input` within a `table`; needs the package booktabs.

use super::compare::Difference;
use super::note::{self, BETTER, WORSE, note};
use super::pivot::Mark;
use super::text::{Grid, MEAN, NO_SCORES, NOTHING, RANK, has_marks, label};
use super::{Pivot, pivot::Column};

const HEAD: &str = "% \\usepackage{booktabs}, and \\input this file within \\begin{table} … \\end{table}";

/// One header line for each of the table's `columns`; the best of each column in bold, the second underlined.
pub(super) fn render(pivot: &Pivot) -> String {
    let Some(note) = note(pivot) else { return format!("% {NO_SCORES}\n") };
    let room = pivot.has_differences();
    let grid = Grid::new(pivot, escape, |text, mark, differs| decorate(&text, mark, differs, room));
    let columns = grid.header.len() - 1;
    let mut lines = vec![HEAD.to_owned(), format!("\\begin{{tabular}}{{l{}}}", "r".repeat(columns))];
    lines.push("\\toprule".to_owned());
    lines.extend(header(pivot));
    lines.push("\\midrule".to_owned());
    lines.extend(grid.lines.iter().map(|cells| row(cells)));
    lines.extend(["\\bottomrule", "\\end{tabular}", "", "\\smallskip"].map(str::to_owned));
    let marks = match has_marks(pivot) {
        true => " \\textbf{Best} and \\underline{second best} of each column.",
        false => "",
    };
    lines.push(format!("{{\\footnotesize {}{marks}\\par}}", escape(&note.join(" "))));
    lines.join("\n") + "\n"
}

fn row(cells: &[String]) -> String {
    format!("{} \\\\", cells.join(" & "))
}

/// Header lines: outer values span their columns, each group with a rule below; the innermost values are next to the
/// name of the rows.
fn header(pivot: &Pivot) -> Vec<String> {
    let depth = pivot.spec.columns.len();
    let rank = || pivot.spec.rank.then_some(RANK);
    let mut lines = Vec::new();
    for level in 0..depth.saturating_sub(1) {
        let groups = groups(&pivot.columns, level);
        let over = |(value, columns): &(String, usize)| format!("\\multicolumn{{{columns}}}{{c}}{{{value}}}");
        let rest = rank().map(|_| String::new());
        let cells = std::iter::once(String::new()).chain(groups.iter().map(over)).chain(rest);
        lines.extend([row(&cells.collect::<Vec<_>>()), rules(&groups)]);
    }
    let innermost =
        |column: &Column| column.values.last().map_or(MEAN.to_owned(), |value| escape(&label(value)));
    let cells = std::iter::once(escape(&pivot.spec.rows)).chain(pivot.columns.iter().map(innermost));
    lines.push(row(&cells.chain(rank().map(str::to_owned)).collect::<Vec<_>>()));
    lines
}

/// Adjacent columns with the same values down to a level: the value there and the number of columns.
fn groups(columns: &[Column], level: usize) -> Vec<(String, usize)> {
    let same = |a: &Column, b: &Column| a.values[..=level] == b.values[..=level];
    let group = |group: &[Column]| (escape(&label(&group[0].values[level])), group.len());
    columns.chunk_by(same).map(group).collect()
}

fn rules(groups: &[(String, usize)]) -> String {
    let rule = |end: &mut usize, columns: usize| {
        let start = *end + 1;
        *end += columns;
        Some(format!("\\cmidrule(lr){{{start}-{end}}}"))
    };
    groups.iter().map(|(_, columns)| *columns).scan(1, rule).collect::<Vec<_>>().join(" ")
}

/// With `room`, cells that do not differ reserve the width of the mark.
fn decorate(text: &str, mark: Mark, differs: Option<Difference>, room: bool) -> String {
    let text =
        if text == NOTHING { "--".to_owned() } else { text.replace('-', "$-$").replace('±', "$\\pm$") };
    let marked = match mark {
        Mark::Best => format!("\\textbf{{{text}}}"),
        Mark::Second => format!("\\underline{{{text}}}"),
        Mark::None => text,
    };
    match differs {
        Some(_) => marked + &escape(note::mark(differs)),
        None if room => marked + &format!("\\phantom{{{}}}", escape(BETTER)),
        None => marked,
    }
}

/// Escape text for LaTeX: nothing in it is a command, an option or a star of the `\\` of the line above.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '#' | '$' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '|' => escaped.push_str("\\textbar{}"),
            '"' => escaped.push_str("''"),
            '[' | '*' => escaped.extend(['{', c, '}']),
            '±' => escaped.push_str("$\\pm$"),
            '…' => escaped.push_str("\\dots{}"),
            _ if c.to_string() == BETTER => escaped.push_str("$^{\\dagger}$"),
            _ if c.to_string() == WORSE => escaped.push_str("$^{\\ddagger}$"),
            _ if c.to_string() == NOTHING => escaped.push_str("--"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores, score, scores, spec};
    use super::super::{Score, TableSpec};
    use super::*;
    use proptest::prelude::*;

    fn rendered(spec: &TableSpec, scores: &[Score]) -> String {
        render(&Pivot::new("main", spec, &axes(), scores).unwrap())
    }

    #[test]
    fn a_whole_table() {
        insta::assert_snapshot!(rendered(&spec(), &scores()), @r"
        % \usepackage{booktabs}, and \input this file within \begin{table} … \end{table}
        \begin{tabular}{lrrrr}
        \toprule
         & \multicolumn{2}{c}{lesions} & \multicolumn{2}{c}{fundus} \\
        \cmidrule(lr){2-3} \cmidrule(lr){4-5}
        model & macro\_f1 & log\_loss & macro\_f1 & log\_loss \\
        \midrule
        LP-FT A & 0.710 $\pm$ 0.010 & 0.790 $\pm$ 0.010 & 0.610 $\pm$ 0.010 & 0.890 $\pm$ 0.010 \\
        Average + FT & \underline{0.760 $\pm$ 0.010} & \underline{0.740 $\pm$ 0.010} & \underline{0.660 $\pm$ 0.010} & \underline{0.840 $\pm$ 0.010} \\
        MedMerge + FT & \textbf{0.810 $\pm$ 0.010} & \textbf{0.690 $\pm$ 0.010} & \textbf{0.710 $\pm$ 0.010} & \textbf{0.790 $\pm$ 0.010} \\
        \bottomrule
        \end{tabular}

        \smallskip
        {\footnotesize Mean $\pm$ sample standard deviation over seed, n = 3. \textbf{Best} and \underline{second best} of each column.\par}
        ");
    }

    #[test]
    fn a_table_with_everything() {
        insta::assert_snapshot!(rendered(&full_spec(), &predicted_scores()), @r"
        % \usepackage{booktabs}, and \input this file within \begin{table} … \end{table}
        \begin{tabular}{lrrr}
        \toprule
         & \multicolumn{1}{c}{lesions} & \multicolumn{1}{c}{fundus} &  \\
        \cmidrule(lr){2-2} \cmidrule(lr){3-3}
        model & macro\_f1 & macro\_f1 & rank \\
        \midrule
        LP-FT A & \underline{0.626 [0.531, 0.719]}\phantom{$^{\dagger}$} & 0.592 [0.470, 0.698]\phantom{$^{\dagger}$} & 2.50 \\
        Average + FT & 0.625 [0.533, 0.708]\phantom{$^{\dagger}$} & \underline{0.692 [0.576, 0.790]}\phantom{$^{\dagger}$} & 2.50 \\
        MedMerge + FT & \textbf{0.905 [0.840, 0.954]}$^{\dagger}$ & \textbf{0.889 [0.801, 0.957]}$^{\dagger}$ & 1.00 \\
        \bottomrule
        \end{tabular}

        \smallskip
        {\footnotesize Mean over seed (0, 1, 2), n = 3, in brackets its 95 \% bootstrap interval over images and seed (500 resamples, percentiles). Images: lesions (60), fundus (60). $^{\dagger}$ better, $^{\ddagger}$ worse than LP-FT A with p \textless{} 0.05: paired bootstrap over images and seed (500 resamples), two-sided, Holm's correction for 4 comparisons. rank: mean rank over the columns, 1 is best. \textbf{Best} and \underline{second best} of each column.\par}
        ");
    }

    #[test]
    fn names_are_escaped() {
        let scores = [score("[a] & 50%_#$", "{t}~^", "0", Some(-0.5)), score("*b\\c", "", "0", None)];
        insta::assert_snapshot!(rendered(&spec(), &scores), @r"
        % \usepackage{booktabs}, and \input this file within \begin{table} … \end{table}
        \begin{tabular}{lrr}
        \toprule
         & \multicolumn{1}{c}{\{t\}\textasciitilde{}\textasciicircum{}} & \multicolumn{1}{c}{--} \\
        \cmidrule(lr){2-2} \cmidrule(lr){3-3}
        model & macro\_f1 & macro\_f1 \\
        \midrule
        {[}a] \& 50\%\_\#\$ & $-$0.500 & -- \\
        {*}b\textbackslash{}c & -- & -- \\
        \bottomrule
        \end{tabular}

        \smallskip
        {\footnotesize One score each (n = 1 over seed), so no spread.\par}
        ");
    }

    #[test]
    fn no_score_and_no_columns() {
        let spec = TableSpec { columns: Vec::new(), ..spec() };
        let alone = rendered(&spec, &[score("a", "t", "0", Some(0.5))]);
        insta::assert_snapshot!(alone + &rendered(&spec, &[]), @r"
        % \usepackage{booktabs}, and \input this file within \begin{table} … \end{table}
        \begin{tabular}{lr}
        \toprule
        model & mean \\
        \midrule
        a & 0.500 \\
        \bottomrule
        \end{tabular}

        \smallskip
        {\footnotesize One score each (n = 1 over seed), so no spread.\par}
        % No scores: no stage that the table takes from has finished.
        ");
    }

    proptest! {
        /// Every `&` and `\\` is the table's own, and braces are balanced.
        #[test]
        fn no_label_breaks_the_table(labels in prop::collection::btree_set("[ -~é]{1,9}", 2..5)) {
            let scores: Vec<Score> =
                labels.iter().map(|label| score(label, label, "0", Some(0.5))).collect();
            let text = rendered(&spec(), &scores);
            let bare = text.replace("\\{", "").replace("\\}", "").replace("\\&", "");
            prop_assert_eq!(bare.matches('{').count(), bare.matches('}').count());
            // two header lines, one line per label
            prop_assert_eq!(bare.matches("\\\\").count(), labels.len() + 2);
            prop_assert_eq!(bare.matches('&').count(), labels.len() * (labels.len() + 2));
        }
    }
}
