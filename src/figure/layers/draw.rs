//! Panels as SVG: the merge weights above, the shares of kernels below.

use chart::{Chart, Picture, Scale, file};
use maud::{Markup, html};

use super::SourceStatistics;
use super::panel::{Grid, Panel};

/// Height of the plots.
const WEIGHTS: f64 = 190.0;
const SHARES: f64 = 96.0;

const CAPTION: [&str; 3] = [
    "Layers from the images to the head. Lines: mean of the merge weights of a layer's kernels;",
    "bands: ± standard deviation. Bars: share of the kernels for which a source has the largest",
    "weight in magnitude.",
];

/// The text of an SVG file.
pub(super) fn svg(title: &str, over: &str, grid: &Grid<'_>) -> String {
    let range = weight_range(grid);
    let drawn = |panel: &Panel<'_>| {
        let together = if panel.n > 1 { format!(" (n = {} over {over})", panel.n) } else { String::new() };
        let title = panel.title.clone() + &together;
        chart::Panel { picture: picture(panel, &title, range), title }
    };
    let rows: Vec<Vec<_>> =
        grid.iter().map(|row| row.iter().map(|panel| panel.as_ref().map(drawn)).collect()).collect();
    file(title, &rows, &[], &CAPTION)
}

/// A panel; `range` is that of the weights in all panels.
fn picture(panel: &Panel<'_>, title: &str, range: (f64, f64)) -> Picture {
    let names: Vec<&str> = panel.layers.iter().map(|layer| layer.name).collect();
    let chart = |name, range, height, scale| Chart {
        title,
        names: ["", name],
        ranges: [(-0.5, panel.layers.len() as f64 - 0.5), range],
        size: ((panel.layers.len() as f64 * 18.0).clamp(380.0, 960.0), height),
        scale,
    };
    let weights = chart("merge weight", range, WEIGHTS, Scale::Names(&[]));
    let shares = chart("share of kernels", (0.0, 1.0), SHARES, Scale::Names(&names));
    let weights = weights.draw(&lines(&weights, panel));
    weights.above(&shares.draw(&bars(&shares, panel))).with_key(panel.sources)
}

/// Means and bands of each source, and a line at 0.
fn lines(chart: &Chart<'_>, panel: &Panel<'_>) -> Markup {
    let (from, to) = chart.ranges[0];
    let runs = (0..panel.sources.len()).flat_map(|source| runs(panel, source).map(move |run| (source, run)));
    let runs: Vec<(usize, Vec<(f64, SourceStatistics)>)> = runs.collect();
    html! {
        (chart.even(&[[from, 0.0], [to, 0.0]]))
        @for (source, run) in &runs { (chart.band(&edge(run, -1.0), &edge(run, 1.0), *source)) }
        @for (source, run) in &runs {
            (chart.line(&edge(run, 0.0), *source))
            (chart.dots(&edge(run, 0.0), *source))
        }
    }
}

/// The means, moved by so many standard deviations.
fn edge(run: &[(f64, SourceStatistics)], deviations: f64) -> Vec<[f64; 2]> {
    run.iter().map(|(x, of)| [*x, of.mean + deviations * of.std.unwrap_or(0.0)]).collect()
}

/// Runs of layers with finite weights of a source, with their horizontal positions.
fn runs(panel: &Panel<'_>, source: usize) -> impl Iterator<Item = Vec<(f64, SourceStatistics)>> {
    let all: Vec<_> =
        panel.layers.iter().enumerate().map(|(i, layer)| (i as f64, layer.sources[source])).collect();
    let runs = all.split(|(_, of)| !of.mean.is_finite()).filter(|run| !run.is_empty());
    runs.map(<[_]>::to_vec).collect::<Vec<_>>().into_iter()
}

/// A stacked bar of the sources' shares for each layer, the first source at the bottom.
fn bars(chart: &Chart<'_>, panel: &Panel<'_>) -> Markup {
    let lows: Vec<Vec<f64>> = panel.layers.iter().map(|layer| lows(&layer.sources)).collect();
    let bar = |source: usize, i: usize| {
        let (low, share) = (lows[i][source], panel.layers[i].sources[source].share);
        (share > 0.0).then_some([(i as f64 - 0.4, i as f64 + 0.4), (low, low + share)])
    };
    let bars = |source| (0..lows.len()).filter_map(|i| bar(source, i)).collect::<Vec<_>>();
    html! { @for source in 0..panel.sources.len() { (chart.blocks(&bars(source), source)) } }
}

/// Where the bar of each source begins.
fn lows(sources: &[SourceStatistics]) -> Vec<f64> {
    let low = |low: &mut f64, of: &SourceStatistics| Some(std::mem::replace(low, *low + of.share.max(0.0)));
    sources.iter().scan(0.0, low).collect()
}

/// The range of mean ± standard deviation, including 0, with a margin.
fn weight_range(grid: &Grid<'_>) -> (f64, f64) {
    let layers = grid.iter().flatten().flatten().flat_map(|panel| &panel.layers);
    let (mut low, mut high) = (0f64, 0f64);
    for of in layers.flat_map(|layer| &layer.sources).filter(|of| of.mean.is_finite()) {
        let std = of.std.unwrap_or(0.0);
        (low, high) = (low.min(of.mean - std), high.max(of.mean + std));
    }
    let room = if high > low { 0.05 * (high - low) } else { 1.0 };
    (low - room, high + room)
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, learned, spec};
    use super::super::panel::grid;
    use super::super::{LayersSpec, LearnedWeights};
    use super::*;

    fn drawn(spec: &LayersSpec, all: &[LearnedWeights]) -> String {
        let (axes, all) = (axes(), all.iter().collect::<Vec<_>>());
        svg("tiny: layers", &spec.over, &grid("layers", spec, &axes, &all).unwrap())
    }

    /// What is written, in order.
    fn texts(svg: &str) -> Vec<&str> {
        let ends = svg.split("</text>").map(|before| before.rsplit('>').next().unwrap());
        ends.filter(|text| !text.trim().is_empty()).collect()
    }

    #[test]
    fn a_figure_says_what_it_shows() {
        let svg = drawn(&spec(), &[learned("fundus & <x>", "0", 0.0), learned("fundus & <x>", "1", 0.5)]);
        insta::assert_snapshot!(texts(&svg).join("\n"), @r"
        tiny: layers
        target = fundus &amp; &lt;x&gt; (n = 2 over seed)
        merge weight
        0
        1
        2
        share of kernels
        conv1
        layer1.0.conv1
        0
        0.2
        0.4
        0.6
        0.8
        1
        probe_a
        probe_b
        Layers from the images to the head. Lines: mean of the merge weights of a layer's kernels;
        bands: ± standard deviation. Bars: share of the kernels for which a source has the largest
        weight in magnitude.
        ");
        for color in ["#0072b2", "#d55e00"] {
            assert!(
                svg.contains(&format!("fill:{color}")) && svg.contains(&format!("stroke:{color}")),
                "{color}"
            );
        }
    }

    #[test]
    fn weights_change_the_figure_and_the_order_of_pooled_stages_does_not() {
        let of = |seeds: [(&str, f32); 2]| {
            drawn(&spec(), &seeds.map(|(seed, shift)| learned("fundus", seed, shift)))
        };
        let figure = of([("0", 0.0), ("1", 0.5)]);
        assert_eq!(figure, of([("1", 0.5), ("0", 0.0)]));
        assert_ne!(figure, of([("0", 0.0), ("1", 0.25)]));
    }

    #[test]
    fn shares_are_stacked() {
        let all = learned("fundus", "0", 0.0);
        let (axes, spec) = (axes(), spec());
        let grid = grid("layers", &spec, &axes, &[&all]).unwrap();
        let layer = &grid[0][0].as_ref().unwrap().layers[0];
        assert_eq!(lows(&layer.sources), [0.0, layer.sources[0].share]);
    }

    #[test]
    fn weights_that_are_not_finite_leave_a_gap() {
        let mut broken = learned("fundus", "0", 0.0);
        broken.layers[0].weights[0][1] = f32::NAN;
        broken.layers[1].weights[1][0] = f32::INFINITY;
        let svg = drawn(&spec(), &[broken]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn weights_that_are_all_the_same_have_a_range() {
        let mut flat = learned("fundus", "0", 0.0);
        flat.layers.iter_mut().flat_map(|layer| &mut layer.weights).for_each(|of| of.fill(0.0));
        let svg = drawn(&spec(), &[flat]);
        assert!(svg.contains("merge weight") && !svg.contains("NaN"), "{svg}");
    }
}
