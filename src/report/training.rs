//! The epochs of each training: loss and validation score, and the epoch that is kept.

use maud::{Markup, html};
use metric::by_name;
use train::EpochRecord;

use super::chart::{Chart, range};
use super::{Report, Trained};

pub(super) fn section(report: &Report) -> Option<Markup> {
    (!report.trained.is_empty()).then(|| html! { @for one in &report.trained { (block(one)) } })
}

fn block(one: &Trained) -> Markup {
    let kept = kept(one);
    let score = kept.and_then(|epoch| Some((epoch.val.get(&one.select)?, epoch)));
    html! {
        details data-text=(one.stage) {
            summary {
                (one.stage) " "
                span.faint {
                    (one.epochs.len()) " epochs"
                    @if let Some((value, epoch)) = score {
                        ", epoch " (epoch.epoch + 1) " is kept: " (title(&one.select)) " " (format!("{value:.3}"))
                    }
                }
            }
            div.charts {
                (curve("Training loss", one, kept, |epoch| Some(epoch.train_loss)))
                @if !one.select.is_empty() {
                    (curve(&format!("Validation: {}", title(&one.select)), one, kept, |epoch| epoch.val.get(&one.select).copied()))
                }
            }
        }
    }
}

fn title(metric: &str) -> &str {
    by_name(metric).map_or(metric, |metric| metric.title)
}

/// The epoch whose weights are kept: the last best one, or the last one.
fn kept(one: &Trained) -> Option<&EpochRecord> {
    one.epochs.iter().rev().find(|epoch| epoch.best && !one.select.is_empty()).or(one.epochs.last())
}

fn curve(
    title: &str,
    one: &Trained,
    kept: Option<&EpochRecord>,
    value: impl Fn(&EpochRecord) -> Option<f64>,
) -> Markup {
    let point = |epoch: &EpochRecord| Some([(epoch.epoch + 1) as f64, value(epoch)?]);
    let points: Vec<[f64; 2]> = one.epochs.iter().filter_map(point).collect();
    if points.is_empty() {
        return html! {};
    }
    let ranges = [0, 1].map(|axis| range(points.iter().map(|point| point[axis])));
    let chart = Chart { title, names: ["epoch", ""], ranges, size: (300.0, 150.0) };
    let content = html! {
        (chart.line(&points, 0))
        @if let Some(kept) = kept.and_then(point) { (chart.dot(kept, 1)) }
    };
    html! { figure { figcaption { (title) } (chart.draw(&content)) } }
}
