//! A score on the line between two networks, and how much worse it is than the straight line between the ends.

use chart::{Chart, Panel, Picture, Scale, file, range};
use experiment::figure_spec::barrier::BarrierSpec;
use indexmap::{IndexMap, IndexSet};
use maud::html;
use metric::by_name;
use table::number_text;

use super::along::{Along, Line, Point, Selection, along};
use super::tidy::{csv, values, without_seed};
use super::{Files, Shown};

const SIZE: (f64, f64) = (300.0, 210.0);

/// The networks between two, on one data set.
struct Way<'a> {
    panel: &'a Along,
    /// Scores of the first network and of the second.
    ends: [f64; 2],
    /// By row label: share of the second network, and score. The ends belong to each.
    lines: IndexMap<&'a String, Vec<[f64; 2]>>,
    higher_is_better: bool,
}

pub(super) fn files(name: &str, spec: &BarrierSpec, shown: &Shown<'_>) -> Files {
    let BarrierSpec { from, x, metric, models, datasets, ends, .. } = spec;
    let models: Vec<String> = match models.is_empty() {
        true => Vec::new(),
        false => models.iter().chain(ends).cloned().collect(),
    };
    let panels =
        along(shown, &Selection { from, x, metric, models: &models, datasets, over: &["seed".to_owned()] });
    let ways: Vec<Way<'_>> = panels.iter().filter_map(|panel| Way::new(panel, spec)).collect();
    if ways.is_empty() {
        return Files::new();
    }
    let names: IndexSet<&String> = ways.iter().flat_map(|way| way.lines.keys()).copied().collect();
    let draw = |way: &Way<'_>| Some(Panel { title: way.panel.title(), picture: way.picture(&names, spec) });
    let drawn = vec![ways.iter().map(draw).collect()];
    let key: Vec<String> = names.iter().map(ToString::to_string).collect();
    let caption = [
        "Mean over seeds. Dashed: the straight line between both ends; the barrier is the most that a",
        "score is worse than it (`barrier` in the CSV).",
    ];
    vec![("svg", file(&shown.title(name), &drawn, &key, &caption)), ("csv", tidy(shown, &ways))]
}

impl<'a> Way<'a> {
    /// `None` unless both ends have a score.
    fn new(panel: &'a Along, spec: &BarrierSpec) -> Option<Self> {
        // An end does not depend on the axis, but the stage that evaluates it may.
        let end = |label: &String| {
            let line = panel.lines.get(label)?;
            Some(line.constant.as_ref().or(line.points.first())?.mean)
        };
        let ends = [end(&spec.ends[0])?, end(&spec.ends[1])?];
        let share = |point: &Point| if spec.ratio { point.x / (1.0 + point.x) } else { point.x };
        let is_merged = |label: &String, line: &Line| !spec.ends.contains(label) && !line.points.is_empty();
        let merged = panel.lines.iter().filter(|(label, line)| is_merged(label, line));
        let lines = merged.map(|(label, line)| {
            let between = line.points.iter().map(|point| [share(point), point.mean]);
            let between = between.filter(|[share, _]| *share > 0.0 && *share < 1.0);
            let first = std::iter::once([0.0, ends[0]]);
            (label, first.chain(between).chain([[1.0, ends[1]]]).collect())
        });
        let higher_is_better = by_name(&spec.metric).is_some_and(|metric| metric.higher_is_better);
        Some(Self { panel, ends, lines: lines.collect(), higher_is_better })
    }

    /// How much worse a score is than the straight line between the ends.
    fn excess(&self, [share, score]: [f64; 2]) -> f64 {
        let line = (1.0 - share) * self.ends[0] + share * self.ends[1];
        if self.higher_is_better { line - score } else { score - line }
    }

    /// The most of these; at least 0, as at the ends.
    fn barrier(&self, points: &[[f64; 2]]) -> f64 {
        points.iter().map(|point| self.excess(*point)).fold(0.0, f64::max)
    }

    fn picture(&self, names: &IndexSet<&String>, spec: &BarrierSpec) -> Picture {
        let points = self.lines.values().flatten();
        let ranges = [(0.0, 1.0), range(points.map(|[_, score]| *score))];
        let title = by_name(&spec.metric).map_or(spec.metric.as_str(), |metric| metric.title);
        let names_of_axes = [format!("share of {}", spec.ends[1]), title.to_owned()];
        let chart = Chart {
            title: &self.panel.title(),
            names: names_of_axes.each_ref().map(String::as_str),
            ranges,
            size: SIZE,
            scale: Scale::Linear,
        };
        chart.draw(&html! {
            (chart.even(&[[0.0, self.ends[0]], [1.0, self.ends[1]]]))
            @for (label, points) in &self.lines {
                @let color = names.get_index_of(label).unwrap_or_default();
                (chart.line(points, color))
                (chart.dots(points, color))
            }
        })
    }
}

/// A row per network on the way, the ends with each; `barrier` is that of the whole line.
fn tidy(shown: &Shown<'_>, ways: &[Way<'_>]) -> String {
    let axes = without_seed(shown.axes);
    let axes: Vec<&String> =
        axes.into_iter().filter(|axis| ways.iter().any(|way| way.panel.at.contains_key(*axis))).collect();
    let mut rows = Vec::new();
    for way in ways {
        for (model, points) in &way.lines {
            let barrier = way.barrier(points);
            for point in points {
                let place = vec![(*model).clone(), way.panel.dataset.clone()];
                let numbers = [point[0], point[1], way.excess(*point), barrier];
                let numbers = numbers.map(|number| number_text(Some(number))).to_vec();
                rows.push([place, values(&axes, &way.panel.at), numbers].concat());
            }
        }
    }
    csv(&["model", "dataset"], &axes, &["share", "score", "excess", "barrier"], rows)
}
