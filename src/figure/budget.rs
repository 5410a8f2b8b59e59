//! A score against an axis of numbers: one line per model, with a band of one standard deviation.

use chart::{Chart, Panel, Scale, file, range};
use experiment::figure_spec::budget::BudgetSpec;
use experiment::over::Over;
use indexmap::IndexSet;
use maud::{Markup, html};
use metric::by_name;
use table::number_text;

use super::along::{Along, Line, Point, Selection, along};
use super::tidy::{csv, values};
use super::{Files, Shown};

const SIZE: (f64, f64) = (300.0, 210.0);

pub(super) fn files(name: &str, spec: &BudgetSpec, shown: &Shown<'_>) -> Files {
    let BudgetSpec { from, x, metric, models, datasets, over, log, .. } = spec;
    let selection = Selection { from, x, metric, models, datasets, over: over.axes() };
    let panels = along(shown, &selection);
    if panels.is_empty() {
        return Files::new();
    }
    let names: IndexSet<&String> = panels.iter().flat_map(|panel| panel.lines.keys()).collect();
    let draw = |panel: &Along| {
        let picture = Drawn { panel, names: &names, spec, log: *log }.picture();
        Some(Panel { title: panel.title(), picture })
    };
    let drawn = vec![panels.iter().map(draw).collect()];
    let key: Vec<String> = names.iter().map(ToString::to_string).collect();
    let together = if *over == Over::default() { "seeds".to_owned() } else { over.axes().join(" and ") };
    let caption = format!(
        "Mean over {together}; bands: ± standard deviation; dashed: models that do not depend on the axis."
    );
    let csv = tidy(&selection.axes(shown), x, &panels);
    vec![("svg", file(&shown.title(name), &drawn, &key, &[&caption])), ("csv", csv)]
}

struct Drawn<'a> {
    panel: &'a Along,
    /// Of all panels, in the order of their colors.
    names: &'a IndexSet<&'a String>,
    spec: &'a BudgetSpec,
    log: bool,
}

impl Drawn<'_> {
    fn picture(&self) -> chart::Picture {
        let lines = || self.panel.lines.values();
        let points = || lines().flat_map(|line| line.points.iter().chain(&line.constant));
        let spread = |point: &Point| [-1.0, 1.0].map(|sign| point.mean + sign * point.std.unwrap_or(0.0));
        let x = range(lines().flat_map(|line| &line.points).map(|point| self.x(point)));
        let title = by_name(&self.spec.metric).map_or(self.spec.metric.as_str(), |metric| metric.title);
        let ranges = [x, range(points().flat_map(spread))];
        let chart = Chart {
            title: &self.panel.title(),
            names: [&self.spec.x, title],
            ranges,
            size: SIZE,
            scale: if self.log { Scale::Log } else { Scale::Linear },
        };
        chart.draw(&html! {
            @for (name, line) in &self.panel.lines { (self.line(&chart, line, self.names.get_index_of(name))) }
        })
    }

    fn line(&self, chart: &Chart<'_>, line: &Line, color: Option<usize>) -> Markup {
        let color = color.unwrap_or_default();
        let shifted = |sign: f64| {
            let at = |point: &Point| [self.x(point), point.mean + sign * point.std.unwrap_or(0.0)];
            line.points.iter().map(at).collect::<Vec<_>>()
        };
        let means = shifted(0.0);
        let (from, to) = chart.ranges[0];
        html! {
            @if means.len() > 1 { (chart.band(&shifted(-1.0), &shifted(1.0), color)) (chart.line(&means, color)) }
            (chart.dots(&means, color))
            @if let Some(constant) = &line.constant {
                (chart.dashed(&[[from, constant.mean], [to, constant.mean]], color))
            }
        }
    }

    fn x(&self, point: &Point) -> f64 {
        if self.log { point.x.log10() } else { point.x }
    }
}

/// A row per point; the position of a model that does not depend on the axis is empty.
fn tidy(axes: &[&String], x: &str, panels: &[Along]) -> String {
    let mut rows = Vec::new();
    for panel in panels {
        for (model, line) in &panel.lines {
            let points = line.points.iter().map(|point| (Some(point.x), point));
            for (at, point) in points.chain(line.constant.iter().map(|point| (None, point))) {
                let place = [vec![model.clone(), panel.dataset.clone()], values(axes, &panel.at)].concat();
                let numbers = [at, Some(point.mean), point.std].map(number_text);
                rows.push([place, numbers.to_vec(), vec![point.n.to_string()]].concat());
            }
        }
    }
    csv(&["model", "dataset"], axes, &[x, "mean", "std", "n"], rows)
}
