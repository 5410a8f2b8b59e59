//! Each model on each data set: confusion matrix, scores of classes, ROC and precision-recall curves, reliability.

use maud::{Markup, html};
use metric::calibration::{self, Bin};
use metric::curves::{ClassScores, per_class, precision_recall, roc};
use metric::ranking::Ranking;
use metric::{Confusion, Predictions, by_name};

use super::chart::{Chart, key};
use super::{Evaluated, Report, wrong};

/// Side of a plot in pixels.
const SIDE: f64 = 210.0;

pub(super) fn section(report: &Report) -> Option<Markup> {
    (!report.evaluated.is_empty()).then(|| html! { @for one in &report.evaluated { (block(one)) } })
}

fn block(one: &Evaluated) -> Markup {
    let title = [one.model.as_str(), one.dataset.as_str(), one.at.as_str()].map(str::to_owned);
    let title: Vec<String> = title.into_iter().filter(|part| !part.is_empty()).collect();
    let Some((_, first)) = one.seeds.first() else { return html! {} };
    html! {
        details data-text=(title.join(" ")) {
            summary { (title.join(", ")) " " span.faint { (summary(one)) } }
            (confusion(one))
            (classes(one))
            (curves(one, first))
            (wrong::section(&one.wrong))
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
    let seeds: Option<Vec<&Confusion>> =
        one.seeds.iter().map(|(_, predictions)| predictions.confusion()).collect();
    let Some(seeds) = seeds else { return html! {} };
    let count = |label, predicted| -> usize { seeds.iter().map(|seed| seed.count(label, predicted)).sum() };
    let n = one.classes.len();
    html! {
        div.scroll tabindex="0" {
            table.confusion {
                caption { "Confusion matrix: rows are true classes, columns predicted ones; % of the row" }
                thead { tr { th scope="col" { "True" } @for class in &one.classes { th scope="col" { (class) } } } }
                tbody {
                    @for (label, class) in one.classes.iter().enumerate() {
                        @let total: usize = (0..n).map(|predicted| count(label, predicted)).sum();
                        tr {
                            th scope="row" { (class) }
                            @for predicted in 0..n { (confusion_cell(count(label, predicted), total)) }
                        }
                    }
                }
            }
        }
    }
}

fn confusion_cell(count: usize, total: usize) -> Markup {
    let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
    let shade = format!("background:color-mix(in srgb, var(--c0) {:.0}%, transparent)", 45.0 * share);
    html! { td style=(shade) { (count) " " span.faint { (format!("{:.0} %", 100.0 * share)) } } }
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
    html! {
        div.charts {
            (class_curves("ROC", ["false positive rate", "true positive rate"], predictions, roc, Some([[0.0, 0.0], [1.0, 1.0]])))
            (class_curves("Precision and recall", ["recall", "precision"], predictions, precision_recall, None))
            (reliability(predictions))
        }
        (key(&names))
    }
}

/// A curve for each class.
fn class_curves(
    title: &str,
    names: [&str; 2],
    predictions: &Predictions,
    curve: fn(&Ranking) -> Option<Vec<[f64; 2]>>,
    even: Option<[[f64; 2]; 2]>,
) -> Markup {
    let chart = Chart { title, names, ranges: [(0.0, 1.0); 2], size: (SIDE, SIDE) };
    let curves =
        predictions.rankings().iter().enumerate().filter_map(|(i, ranking)| Some((i, curve(ranking)?)));
    let content = html! {
        @if let Some(even) = even { (chart.even(&even)) }
        @for (class, points) in curves { (chart.line(&points, class)) }
    };
    html! { figure { figcaption { (title) } (chart.draw(&content)) } }
}

/// Accuracy in bins of confidence; nothing for a multi-label data set.
fn reliability(predictions: &Predictions) -> Markup {
    let Some(bins) = calibration::bins(predictions) else { return html! {} };
    let width = 1.0 / bins.len() as f64;
    let title = "Reliability: accuracy by confidence";
    let names = ["confidence", "accuracy"];
    let chart = Chart { title, names, ranges: [(0.0, 1.0); 2], size: (SIDE, SIDE) };
    let filled = || bins.iter().enumerate().filter(|(_, bin)| bin.images > 0);
    let accuracy = |bin: &Bin| bin.correct as f64 / bin.images as f64;
    let content = html! {
        @for (i, bin) in filled() { (chart.bar((i as f64 * width, (i + 1) as f64 * width), accuracy(bin), 0)) }
        (chart.even(&[[0.0, 0.0], [1.0, 1.0]]))
        @for (_, bin) in filled() { (chart.dot([bin.confidence / bin.images as f64, accuracy(bin)], 1)) }
    };
    let ece = by_name("ece_15").and_then(|metric| metric.score(predictions));
    let ece = ece.map_or(String::new(), |ece| format!(", ECE {ece:.3}"));
    html! { figure { figcaption { "Reliability" (ece) } (chart.draw(&content)) } }
}
