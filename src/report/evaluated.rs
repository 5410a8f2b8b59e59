//! Each model on each data set: confusion matrix, scores of classes, ROC and precision-recall curves, reliability.

use chart::{Evaluated, Picture, key, precision_recall, reliability, roc};
use maud::{Markup, html};
use metric::curves::{ClassScores, per_class};
use metric::{Predictions, by_name, calibration};

use super::{Report, Wrong, wrong};

pub(super) fn section(report: &Report) -> Option<Markup> {
    let blocks = || report.evaluated.iter().map(|(one, wrong)| block(one, wrong));
    (!report.evaluated.is_empty()).then(|| html! { @for block in blocks() { (block) } })
}

fn block(one: &Evaluated, wrong: &[Wrong]) -> Markup {
    let title = [one.model.clone(), one.dataset.clone(), one.place()];
    let title: Vec<String> = title.into_iter().filter(|part| !part.is_empty()).collect();
    let Some((_, first)) = one.seeds.first() else { return html! {} };
    html! {
        details data-text=(title.join(" ")) {
            summary { (title.join(", ")) " " span.faint { (summary(one)) } }
            (confusion(one))
            (classes(one))
            (curves(one, first))
            (wrong::section(wrong))
            @if one.seeds.len() > 1 {
                p.note {
                    "Counts are sums over seeds, scores are means over seeds. Curves and images are those of seed " (one.seeds[0].0) "."
                }
            }
        }
    }
}

/// The mean of a score over seeds.
fn mean(one: &Evaluated, metric: &str) -> Option<f64> {
    let metric = by_name(metric)?;
    let values: Option<Vec<f64>> =
        one.seeds.iter().map(|(_, predictions)| metric.score(predictions)).collect();
    values.map(|values| values.iter().sum::<f64>() / values.len() as f64)
}

fn summary(one: &Evaluated) -> String {
    let score = |name, title| mean(one, name).map(|value| format!("{title} {value:.3}"));
    let scores = [("macro_f1", "macro F1"), ("accuracy", "accuracy"), ("auroc", "AUROC"), ("ece_15", "ECE")];
    scores.into_iter().filter_map(|(name, title)| score(name, title)).collect::<Vec<_>>().join(", ")
}

/// The confusion matrix, summed over seeds: counts, and shares of the rows as shades; nothing for a multi-label data
/// set.
fn confusion(one: &Evaluated) -> Markup {
    let Some(counts) = one.counts() else { return html! {} };
    html! {
        div.scroll tabindex="0" {
            table.confusion {
                caption { "Confusion matrix: rows are true classes, columns predicted ones; % of the row" }
                thead { tr { th scope="col" { "True" } @for class in &one.classes { th scope="col" { (class) } } } }
                tbody {
                    @for (class, row) in one.classes.iter().zip(&counts) {
                        @let total: usize = row.iter().sum();
                        tr {
                            th scope="row" { (class) }
                            @for count in row { (confusion_cell(*count, total)) }
                        }
                    }
                }
            }
        }
    }
}

fn confusion_cell(count: usize, total: usize) -> Markup {
    let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
    let shade = format!("{:.0}", 45.0 * share);
    let shade = (shade != "0").then(|| format!("--share:{shade}"));
    html! { td style=[shade] { (count) " " i { (format!("{:.0} %", 100.0 * share)) } } }
}

/// The scores of each class, as means over seeds.
fn classes(one: &Evaluated) -> Markup {
    let seeds: Vec<Vec<ClassScores>> =
        one.seeds.iter().map(|(_, predictions)| per_class(predictions)).collect();
    let text = |class: usize, score: fn(&ClassScores) -> Option<f64>| {
        let values: Option<Vec<f64>> = seeds.iter().map(|scores| score(&scores[class])).collect();
        values.map_or("–".to_owned(), |values| {
            format!("{:.3}", values.iter().sum::<f64>() / values.len() as f64)
        })
    };
    html! {
        div.scroll tabindex="0" {
            table.sortable {
                caption { "Scores of each class against the rest" }
                thead {
                    tr { @for name in ["Class", "Images", "Precision", "Recall", "F1", "AUROC", "Average precision"] {
                        th scope="col" { (name) }
                    } }
                }
                tbody {
                    @for (i, class) in one.classes.iter().enumerate() {
                        tr {
                            th scope="row" { (class) }
                            td { (seeds[0][i].support) }
                            td { (text(i, |class| Some(class.precision))) }
                            td { (text(i, |class| Some(class.recall))) }
                            td { (text(i, |class| Some(class.f1))) }
                            td { (text(i, |class| class.auroc)) }
                            td { (text(i, |class| class.average_precision)) }
                        }
                    }
                }
            }
        }
    }
}

fn curves(one: &Evaluated, predictions: &Predictions) -> Markup {
    let names: Vec<&str> = one.classes.iter().map(String::as_str).collect();
    let first = || std::iter::once(predictions);
    html! {
        div.charts {
            @for picture in [roc(first()), precision_recall(first())] { (figure(&picture.title, &picture)) }
            @if let Some(bins) = calibration::bins(predictions) {
                (figure(&format!("Reliability{}", ece(predictions)), &reliability(&bins)))
            }
        }
        (key(&names))
    }
}

fn figure(caption: &str, picture: &Picture) -> Markup {
    html! { figure { figcaption { (caption) } (picture.svg()) } }
}

fn ece(predictions: &Predictions) -> String {
    let ece = by_name("ece_15").and_then(|metric| metric.score(predictions));
    ece.map_or(String::new(), |ece| format!(", ECE {ece:.3}"))
}
