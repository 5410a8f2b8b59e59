//! The options in which the rows of the evaluations differ.

use std::collections::{BTreeSet, HashMap};

use maud::{Markup, html};

use super::Report;

/// A table of rows and the options that are not the same in all of them.
pub(super) fn section(report: &Report) -> Option<Markup> {
    let rows: Vec<(&str, HashMap<&str, &str>)> =
        report.options.iter().map(|(row, options)| (row.as_str(), by_name(options))).collect();
    let names = differing(&report.options);
    (rows.len() > 1 && !names.is_empty()).then(|| {
        html! {
            p.note { "Of the stage that made each row: the inputs and options that differ among the rows that have them." }
            div.scroll tabindex="0" {
                table.sortable {
                    thead { tr { th scope="col" { "Row" } @for name in &names { th.text scope="col" { (name) } } } }
                    tbody {
                        @for (row, options) in &rows {
                            tr {
                                th scope="row" { (row) }
                                @for name in &names { td.text { (options.get(name).copied().unwrap_or("–")) } }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn by_name(options: &[(String, String)]) -> HashMap<&str, &str> {
    options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Names of options that have several values, in the order of their first occurrence. What only some rows have follows
/// from their kinds.
fn differing(rows: &[(String, Vec<(String, String)>)]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|(_, options)| options) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let values = |name: &str| -> BTreeSet<&str> {
        rows.iter().filter_map(|(_, options)| by_name(options).get(name).copied()).collect()
    };
    names.into_iter().filter(|name| values(name).len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn only_options_that_differ_are_shown() {
        let rows = vec![
            ("a".to_owned(), options(&[("kind", "finetune"), ("lr", "0.1"), ("epochs", "3")])),
            ("b".to_owned(), options(&[("kind", "merge"), ("epochs", "3"), ("method", "average")])),
            ("c".to_owned(), options(&[("kind", "finetune"), ("lr", "0.2"), ("epochs", "3")])),
        ];
        assert_eq!(differing(&rows), ["kind", "lr"]);
        let report = Report { options: rows, ..Report::default() };
        let html = section(&report).unwrap().into_string();
        assert!(
            html.contains("<th scope=\"row\">b</th><td class=\"text\">merge</td><td class=\"text\">–</td>"),
            "{html}"
        );
        assert!(!html.contains("epochs"), "{html}");
    }
}
