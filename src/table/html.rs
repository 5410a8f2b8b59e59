//! A table as HTML, for reports: the best of each column in bold, the second underlined.

use super::compare::Difference;
use super::note::{self, note};
use super::pivot::Mark;
use super::text::Grid;
use super::{Pivot, text};

/// A `<table>` and the note below it.
pub fn render(name: &str, pivot: &Pivot) -> String {
    let grid = Grid::new(pivot, escape, decorate);
    let header: String = grid.header.iter().map(|cell| format!("<th scope=\"col\">{cell}</th>")).collect();
    let rows: String = grid.lines.iter().map(|line| row(line)).collect();
    format!(
        "<table class=\"sortable\"><caption>{}</caption><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>\
         <p class=\"note\">{}</p>",
        escape(name),
        footnote(pivot)
    )
}

fn row(cells: &[String]) -> String {
    let Some((label, cells)) = cells.split_first() else { return String::new() };
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr><th scope=\"row\">{label}</th>{cells}</tr>")
}

fn footnote(pivot: &Pivot) -> String {
    let Some(note) = note(pivot) else { return text::NO_SCORES.to_owned() };
    let marks =
        if text::has_marks(pivot) { " <b>Best</b> and <u>second best</u> of each column." } else { "" };
    escape(&note.join(" ")) + marks
}

fn decorate(text: String, mark: Mark, differs: Option<Difference>) -> String {
    let dagger = note::mark(differs);
    match mark {
        Mark::Best => format!("<b>{text}</b>{dagger}"),
        Mark::Second => format!("<u>{text}</u>{dagger}"),
        Mark::None => text + dagger,
    }
}

/// Text as HTML, also inside of quotes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, full_spec, predicted_scores};
    use super::*;

    #[test]
    fn a_table_with_everything() {
        let pivot = Pivot::new("main", &full_spec(), &axes(), &predicted_scores()).unwrap();
        let html = render("a < b", &pivot);
        assert!(html.starts_with(
            "<table class=\"sortable\"><caption>a &lt; b</caption><thead><tr><th scope=\"col\">"
        ));
        assert!(
            html.contains("<tr><th scope=\"row\">MedMerge + FT</th><td><b>0.905 [0.840, 0.954]</b>†</td>"),
            "{html}"
        );
        assert!(html.contains("<td><u>0.626 [0.531, 0.719]</u></td>"), "{html}");
        assert!(
            html.contains("with p &lt; 0.05") && html.ends_with("second best</u> of each column.</p>"),
            "{html}"
        );
    }
}
