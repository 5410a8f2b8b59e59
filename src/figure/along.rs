//! Scores along an axis of numbers: panels, lines, and points that put seeds and other axes together.

use chart::place;
use experiment::cell::Fields;
use indexmap::IndexMap;
use table::Score;

use super::Shown;
use super::layers::statistics::mean_and_std;

/// Which scores are shown.
pub(super) struct Selection<'a> {
    pub(super) from: &'a [String],
    pub(super) x: &'a str,
    pub(super) metric: &'a str,
    /// All if empty.
    pub(super) models: &'a [String],
    /// All if empty.
    pub(super) datasets: &'a [String],
    /// Axes whose scores are put together.
    pub(super) over: &'a [String],
}

impl Selection<'_> {
    /// The axes that tell panels apart.
    pub(super) fn axes<'s>(&self, shown: &Shown<'s>) -> Vec<&'s String> {
        shown.axes.iter().filter(|axis| *axis != self.x && !self.over.contains(axis)).collect()
    }
}

/// Scores on one data set, at one place of the axes that are neither averaged over nor the horizontal one.
pub(super) struct Along {
    pub(super) dataset: String,
    /// Values of the other axes.
    pub(super) at: IndexMap<String, String>,
    /// By row label, in the order of the first score.
    pub(super) lines: IndexMap<String, Line>,
}

/// The scores of a model.
#[derive(Default)]
pub(super) struct Line {
    /// By position, ascending.
    pub(super) points: Vec<Point>,
    /// The score of a model that does not depend on the axis.
    pub(super) constant: Option<Point>,
}

/// Scores that are put together at one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Position on the axis; 0 if there is none.
    pub(super) x: f64,
    pub(super) mean: f64,
    /// Sample standard deviation; `None` of a single score.
    pub(super) std: Option<f64>,
    pub(super) n: usize,
}

impl Along {
    /// The panel's title.
    pub(super) fn title(&self) -> String {
        let parts = [self.dataset.clone(), place(&self.at, &self.dataset)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// The scores that a figure shows, panel by panel. Scores of models that do not depend on the axis are in every panel
/// that they belong to.
pub(super) fn along(shown: &Shown<'_>, selection: &Selection<'_>) -> Vec<Along> {
    let axes = selection.axes(shown);
    let has = |names: &[String], name: &String| names.is_empty() || names.contains(name);
    let is_shown = |score: &&Score| {
        selection.from.contains(&score.stage)
            && score.metric == selection.metric
            && has(selection.models, &score.model)
            && has(selection.datasets, &score.dataset)
    };
    let scores: Vec<&Score> = shown.scores.iter().filter(is_shown).collect();
    let (moving, constant): (Vec<&Score>, Vec<&Score>) =
        scores.into_iter().partition(|score| !score.field(selection.x).is_empty());
    let mut panels: IndexMap<(String, Vec<String>), Vec<&Score>> = IndexMap::new();
    for score in moving {
        let at = axes.iter().map(|axis| score.field(axis).to_owned()).collect();
        panels.entry((score.dataset.clone(), at)).or_default().push(score);
    }
    let panel = |((dataset, at), moving): ((String, Vec<String>), Vec<&Score>)| {
        let belongs = |score: &&&Score| {
            let mut values = axes.iter().zip(&at).map(|(axis, value)| (score.field(axis), value));
            score.dataset == dataset && values.all(|(own, value)| own.is_empty() || own == value)
        };
        let constant = constant.iter().filter(belongs).copied().collect();
        let lines = lines(moving, constant, selection.x);
        let at = axes.iter().zip(at).filter(|(_, value)| !value.is_empty());
        Along { dataset, at: at.map(|(axis, value)| ((*axis).clone(), value)).collect(), lines }
    };
    panels.into_iter().map(panel).collect()
}

fn lines(moving: Vec<&Score>, constant: Vec<&Score>, x: &str) -> IndexMap<String, Line> {
    let mut lines: IndexMap<String, Line> = IndexMap::new();
    let mut by_model: IndexMap<&String, Vec<(f64, &Score)>> = IndexMap::new();
    for score in moving {
        let Ok(position) = score.field(x).parse() else { continue };
        by_model.entry(&score.model).or_default().push((position, score));
    }
    for (model, mut scores) in by_model {
        scores.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let points = scores.chunk_by(|(a, _), (b, _)| a == b);
        let points = points.filter_map(|chunk| point(chunk[0].0, chunk.iter().map(|(_, score)| *score)));
        lines.entry(model.clone()).or_default().points = points.collect();
    }
    let mut of_model: IndexMap<&String, Vec<&Score>> = IndexMap::new();
    for score in constant {
        of_model.entry(&score.model).or_default().push(score);
    }
    for (model, scores) in of_model {
        lines.entry(model.clone()).or_default().constant = point(0.0, scores.into_iter());
    }
    lines
}

/// Mean and standard deviation of defined scores; `None` of none.
fn point<'a>(x: f64, scores: impl Iterator<Item = &'a Score>) -> Option<Point> {
    let values: Vec<f64> = scores.filter_map(|score| score.value).filter(|value| value.is_finite()).collect();
    let (n, (mean, std)) = (values.len(), mean_and_std(&values));
    (n > 0).then_some(Point { x, mean, std, n })
}
