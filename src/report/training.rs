//! The epochs of each training: loss and validation score, and the epoch that is kept.

use chart::{Picture, Trained, losses, scores};
use maud::{Markup, html};

use super::Report;

pub(super) fn section(report: &Report) -> Option<Markup> {
    (!report.trained.is_empty()).then(|| html! { @for one in &report.trained { (block(one)) } })
}

fn block(one: &Trained) -> Markup {
    let kept = one.kept();
    let score = kept.and_then(|epoch| Some((epoch.val.get(&one.select)?, epoch)));
    html! {
        details data-text=(one.id) {
            summary {
                (one.id) " "
                span.faint {
                    (one.epochs.len()) " epochs"
                    @if let Some((value, epoch)) = score {
                        ", epoch " (epoch.epoch + 1) " is kept: " (one.title()) " " (format!("{value:.3}"))
                    }
                }
            }
            div.charts {
                @for picture in [losses(&[one]), scores(&[one])].into_iter().flatten() { (figure(&picture)) }
            }
        }
    }
}

fn figure(picture: &Picture) -> Markup {
    html! { figure { figcaption { (picture.title) } (picture.svg()) } }
}
