//! What the results were made from: data sets, versions, the experiment file.

use maud::{Markup, html};

use super::{Dataset, Report};

pub(super) fn section(report: &Report) -> Option<Markup> {
    Some(html! {
        div.scroll tabindex="0" {
            table { tbody { @for (name, value) in &report.facts {
                tr { th scope="row" { (name) } td.text { code { (value) } } }
            } } }
        }
        @for dataset in &report.datasets { (of_dataset(dataset)) }
        @for (name, text) in &report.sources {
            details { summary { (name) } pre tabindex="0" { (text) } }
        }
    })
}

fn of_dataset(dataset: &Dataset) -> Markup {
    let [train, val, test] = dataset.images;
    html! {
        details data-text=(dataset.name) {
            summary {
                "Data set " (dataset.name) " "
                span.faint {
                    (dataset.kind) ", " (dataset.size) " pixels, " (dataset.classes.len()) " classes, "
                    (train) " / " (val) " / " (test) " images"
                }
            }
            @for caveat in &dataset.caveats { p.warning { (caveat) } }
            div.scroll tabindex="0" {
                table.sortable {
                    thead { tr { @for name in ["Class", "Training", "Validation", "Test"] { th scope="col" { (name) } } } }
                    tbody { @for (class, counts) in &dataset.classes {
                        tr { th scope="row" { (class) } @for count in counts { td { (count) } } }
                    } }
                }
            }
            p.faint { "Content: " code { (dataset.digest) } }
        }
    }
}
