//! The predictions of a model on a data set: confusion matrix, ROC and precision-recall curves, reliability.

use indexmap::IndexMap;
use maud::{Markup, html};
use metric::calibration::{self, Bin};
use metric::curves;
use metric::ranking::Ranking;
use metric::{Confusion, Predictions};

use super::axes::{Chart, Scale, round};
use super::picture::Picture;

/// Side of a plot in pixels.
const SIDE: f64 = 210.0;
/// Side of a cell of a confusion matrix.
const CELL: f64 = 46.0;
/// Width of a letter, at most.
const LETTER: f64 = 6.2;

/// Predictions of a model or ensemble on a data set.
#[derive(Debug)]
pub struct Evaluated {
    /// Name of the `evaluate` stage.
    pub stage: String,
    /// Row label.
    pub model: String,
    /// Name of the data set.
    pub dataset: String,
    /// Values of the axes other than the seed.
    pub at: IndexMap<String, String>,
    /// Class names, by label.
    pub classes: Vec<String>,
    /// For each seed, its predictions.
    pub seeds: Vec<(String, Predictions)>,
}

/// The values of axes as text, but for one that names the data set: `fraction=0.1, width=16`.
pub fn place(at: &IndexMap<String, String>, dataset: &str) -> String {
    let at = at.iter().filter(|(_, value)| *value != dataset);
    at.map(|(axis, value)| format!("{axis}={value}")).collect::<Vec<_>>().join(", ")
}

impl Evaluated {
    /// As [`place`].
    pub fn place(&self) -> String {
        place(&self.at, &self.dataset)
    }

    /// Images by true and predicted class, summed over seeds; `None` for a multi-label data set.
    pub fn counts(&self) -> Option<Vec<Vec<usize>>> {
        let seeds: Vec<&Confusion> =
            self.seeds.iter().map(|(_, predictions)| predictions.confusion()).collect::<Option<_>>()?;
        let n = self.classes.len();
        let count = |label, predicted| seeds.iter().map(|seed| seed.count(label, predicted)).sum();
        Some((0..n).map(|label| (0..n).map(|predicted| count(label, predicted)).collect()).collect())
    }

    /// Bins of confidence, summed over seeds; `None` for a multi-label data set.
    pub fn bins(&self) -> Option<Vec<Bin>> {
        let mut sums: Vec<Bin> = Vec::new();
        for (_, predictions) in &self.seeds {
            let bins = calibration::bins(predictions)?;
            sums.resize(bins.len(), Bin::default());
            for (sum, bin) in sums.iter_mut().zip(bins) {
                sum.images += bin.images;
                sum.correct += bin.correct;
                sum.confidence += bin.confidence;
            }
        }
        Some(sums)
    }
}

/// A confusion matrix: counts, with shares of the rows as shades.
pub fn confusion(counts: &[Vec<usize>], classes: &[String]) -> Picture {
    let letters = classes.iter().map(|class| class.chars().count()).max().unwrap_or_default();
    let (left, n) = (LETTER * letters as f64 + 24.0, classes.len());
    let size = CELL * n as f64;
    let middle = |i: usize| (i as f64 + 0.5) * CELL;
    let bottom = size + LETTER * letters as f64 + 24.0;
    let content = html! {
        @for (label, row) in counts.iter().enumerate() {
            @let total: usize = row.iter().sum();
            text x=(round(left - 6.0)) y=(round(middle(label) + 4.0)) text-anchor="end" { (classes[label]) }
            @for (predicted, &count) in row.iter().enumerate() {
                @let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
                (cell((left + CELL * predicted as f64, CELL * label as f64), count, share))
            }
        }
        @for (predicted, class) in classes.iter().enumerate() {
            @let x = round(left + middle(predicted) + 4.0);
            text transform={ "translate(" (x) " " (size + 6.0) ") rotate(-90)" } text-anchor="end" { (class) }
        }
        text x=(round(left + size / 2.0)) y=(round(bottom - 4.0)) text-anchor="middle" { "predicted" }
        text transform={ "translate(11 " (round(size / 2.0)) ") rotate(-90)" } text-anchor="middle" { "true" }
    };
    Picture { title: "Confusion matrix".into(), width: left + size + 8.0, height: bottom, content }
}

fn cell((x, y): (f64, f64), count: usize, share: f64) -> Markup {
    let ink = if share > 0.6 { "fill:#fff" } else { "" };
    let middle = round(x + CELL / 2.0);
    html! {
        rect x=(round(x)) y=(y) width=(CELL - 1.0) height=(CELL - 1.0) style="fill:var(--c0)"
            fill-opacity=(format!("{:.2}", 0.04 + 0.86 * share)) {}
        text x=(middle) y=(y + 20.0) text-anchor="middle" style=(ink) { (count) }
        text x=(middle) y=(y + 34.0) text-anchor="middle" style=(ink) { (format!("{:.0}%", 100.0 * share)) }
    }
}

/// ROC curves, one line per class and seed.
pub fn roc<'a>(seeds: impl Iterator<Item = &'a Predictions> + Clone) -> Picture {
    let names = ["false positive rate", "true positive rate"];
    class_curves("ROC", names, seeds, curves::roc, Some([[0.0, 0.0], [1.0, 1.0]]))
}

/// Precision-recall curves, one line per class and seed.
pub fn precision_recall<'a>(seeds: impl Iterator<Item = &'a Predictions> + Clone) -> Picture {
    class_curves("Precision and recall", ["recall", "precision"], seeds, curves::precision_recall, None)
}

fn class_curves<'a>(
    title: &str,
    names: [&str; 2],
    seeds: impl Iterator<Item = &'a Predictions> + Clone,
    curve: fn(&Ranking) -> Option<Vec<[f64; 2]>>,
    even: Option<[[f64; 2]; 2]>,
) -> Picture {
    let chart = Chart { title, names, ranges: [(0.0, 1.0); 2], size: (SIDE, SIDE), scale: Scale::Linear };
    let is_one = seeds.clone().count() == 1;
    let lines = seeds.flat_map(|predictions| {
        let of_class = |(class, ranking)| Some((class, curve(ranking)?));
        predictions.rankings().iter().enumerate().filter_map(of_class).collect::<Vec<_>>()
    });
    chart.draw(&html! {
        @if let Some(even) = even { (chart.even(&even)) }
        @for (class, points) in lines {
            @if is_one { (chart.line(&points, class)) } @else { (chart.thin_line(&points, class)) }
        }
    })
}

/// Accuracy in bins of confidence.
pub fn reliability(bins: &[Bin]) -> Picture {
    let width = 1.0 / bins.len() as f64;
    let title = "Reliability: accuracy by confidence";
    let names = ["confidence", "accuracy"];
    let chart = Chart { title, names, ranges: [(0.0, 1.0); 2], size: (SIDE, SIDE), scale: Scale::Linear };
    let filled: Vec<(usize, &Bin)> = bins.iter().enumerate().filter(|(_, bin)| bin.images > 0).collect();
    let accuracy = |bin: &Bin| bin.correct as f64 / bin.images as f64;
    let bar = |(i, bin): &(usize, &Bin)| [(*i as f64 * width, (i + 1) as f64 * width), (0.0, accuracy(bin))];
    let dot = |(_, bin): &(usize, &Bin)| [bin.confidence / bin.images as f64, accuracy(bin)];
    chart.draw(&html! {
        (chart.blocks(&filled.iter().map(bar).collect::<Vec<_>>(), 0))
        (chart.even(&[[0.0, 0.0], [1.0, 1.0]]))
        (chart.dots(&filled.iter().map(dot).collect::<Vec<_>>(), 1))
    })
}
