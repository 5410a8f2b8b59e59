//! Panels as SVG. Font metrics are never queried, so that the bytes are the same on every machine.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::SourceStatistics;
use super::layout::{FINE, Layout, fine};
use super::panel::{Grid, Panel};

/// Okabe and Ito's colors, which color-blind readers can distinguish ("Color Universal Design", 2008), without yellow,
/// which has little contrast on white.
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);

const CAPTION: [&str; 2] = [
    "Lines: mean of the merge weights of a layer's kernels; bands: ± standard deviation.",
    "Bars: share of the kernels for which a source has the largest weight in magnitude.",
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'p, 'a> = ChartContext<'p, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The text of an SVG file.
pub(super) fn svg(title: &str, over: &str, grid: &Grid<'_>) -> String {
    let layout = Layout::new(grid);
    let (width, height) = (layout.width(), layout.height());
    let mut text = String::new();
    {
        let size = (fine(width) as u32, fine(height) as u32);
        let page = SVGBackend::with_string(&mut text, size).into_drawing_area();
        page_of(&page, title, over, grid, &layout).expect("drawing to memory cannot fail");
    }
    // Shown at its nominal size, independent of the coordinates.
    let drawn = format!("width=\"{}\" height=\"{}\"", fine(width), fine(height));
    text.replacen(&drawn, &format!("width=\"{width}\" height=\"{height}\""), 1)
}

fn page_of(page: &Area<'_>, title: &str, over: &str, grid: &Grid<'_>, layout: &Layout) -> Drawn {
    page.fill(&WHITE)?;
    write(page, title, (Layout::MARGIN, 20.0), font(15.0).style(FontStyle::Bold), HPos::Left)?;
    let range = weight_range(grid);
    for (row, panels) in grid.iter().enumerate() {
        for (column, panel) in panels.iter().enumerate() {
            if let Some(panel) = panel {
                Drawing { page, panel, layout, at: layout.corner(row, column), range }.draw(over)?;
            }
        }
    }
    for (line, text) in CAPTION.into_iter().enumerate() {
        let y = layout.height() - 30.0 + 15.0 * line as f64;
        write(page, text, (Layout::MARGIN, y), font(10.5), HPos::Left)?;
    }
    page.present()
}

/// One panel on the page.
struct Drawing<'d, 'a> {
    page: &'d Area<'a>,
    panel: &'d Panel<'d>,
    layout: &'d Layout,
    /// Its upper left corner.
    at: (f64, f64),
    /// Range of the weights in all panels.
    range: (f64, f64),
}

impl<'a> Drawing<'_, 'a> {
    fn draw(&self, over: &str) -> Drawn {
        let n = self.panel.n;
        let together = if n > 1 { format!(" (n = {n} over {over})") } else { String::new() };
        let title = self.panel.title.clone() + &together;
        let bold = font(12.0).style(FontStyle::Bold);
        write(self.page, &title, self.below((Layout::LEFT, 8.0)), bold, HPos::Left)?;
        self.legend()?;
        self.weights()?;
        self.shares()?;
        self.layer_names()
    }

    /// Page coordinates of a position in the panel.
    fn below(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.at.0 + x, self.at.1 + y)
    }

    fn legend(&self) -> Drawn {
        for (source, (x, y)) in self.layout.legend(self.panel).into_iter().enumerate() {
            let (x, y) = self.below((x, y));
            let ends = vec![(fine(x), fine(y)), (fine(x + 18.0), fine(y))];
            self.page.draw(&PathElement::new(ends, line(source)))?;
            mark(self.page, source, (fine(x + 9.0), fine(y)))?;
            let name = &self.panel.sources[source];
            write(self.page, name, (x + 23.0, y), font(Layout::LEGEND_FONT), HPos::Left)?;
        }
        Ok(())
    }

    /// Axes in the part of the panel that starts at `top`.
    fn plot<R>(
        &self,
        (top, height): (f64, f64),
        (low, high): (f64, f64),
        name: &str,
        labels: usize,
        draw: impl FnOnce(&mut Plot<'_, 'a>) -> Result<R, DrawingAreaErrorKind<std::io::Error>>,
    ) -> Result<R, DrawingAreaErrorKind<std::io::Error>> {
        let corner = self.below((0.0, top));
        let size = (Layout::LEFT + self.layout.plot, height);
        let area = self.page.clone().shrink(pixel(corner), (fine(size.0) as u32, fine(size.1) as u32));
        let layers = self.panel.layers.len() as f64;
        let mut plot = ChartBuilder::on(&area)
            .set_label_area_size(LabelAreaPosition::Left, fine(Layout::LEFT))
            .build_cartesian_2d(-0.5..layers - 0.5, low..high)?;
        plot.configure_mesh()
            .disable_x_mesh()
            .y_labels(labels)
            .y_desc(name)
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT.stroke_width(fine(0.6) as u32))
            .axis_style(INK.stroke_width(fine(0.8) as u32))
            .set_tick_mark_size(LabelAreaPosition::Left, fine(3.0))
            .label_style(font(10.0).color(&INK))
            .axis_desc_style(font(10.5).color(&INK))
            .draw()?;
        draw(&mut plot)
    }

    /// Means and bands of each source.
    fn weights(&self) -> Drawn {
        let part = (self.layout.weights_top(), Layout::WEIGHTS);
        self.plot(part, self.range, "merge weight", 6, |plot| {
            let ends = vec![(-0.5, 0.0), (self.panel.layers.len() as f64 - 0.5, 0.0)];
            plot.plotting_area()
                .draw(&PathElement::new(ends, INK.mix(0.5).stroke_width(fine(0.8) as u32)))?;
            (0..self.panel.sources.len()).try_for_each(|source| self.band(plot, source))?;
            (0..self.panel.sources.len()).try_for_each(|source| self.means(plot, source))
        })
    }

    /// One polygon for each run of layers with finite weights.
    fn band(&self, plot: &Plot<'_, 'a>, source: usize) -> Drawn {
        for run in self.runs(source) {
            let edge = |sign: f64| {
                run.iter()
                    .map(move |(x, of)| (*x, of.mean + sign * of.std.unwrap_or(0.0)))
                    .collect::<Vec<_>>()
            };
            let mut outline = edge(1.0);
            outline.extend(edge(-1.0).into_iter().rev());
            plot.plotting_area().draw(&Polygon::new(outline, color(source).mix(0.18)))?;
        }
        Ok(())
    }

    fn means(&self, plot: &Plot<'_, 'a>, source: usize) -> Drawn {
        for run in self.runs(source) {
            let points: Vec<(f64, f64)> = run.iter().map(|(x, of)| (*x, of.mean)).collect();
            plot.plotting_area().draw(&PathElement::new(points.clone(), line(source)))?;
            for point in &points {
                let (x, y) = plot.backend_coord(point);
                mark(self.page, source, (x, y))?;
            }
        }
        Ok(())
    }

    /// Runs of layers with finite weights of a source, with their horizontal positions.
    fn runs(&self, source: usize) -> Vec<Vec<(f64, SourceStatistics)>> {
        let all: Vec<_> = self.panel.layers.iter().map(|layer| layer.sources[source]).enumerate().collect();
        let runs = all.split(|(_, of)| !of.mean.is_finite());
        let run = |run: &[(usize, SourceStatistics)]| run.iter().map(|(i, of)| (*i as f64, *of)).collect();
        runs.filter(|run| !run.is_empty()).map(run).collect()
    }

    /// A stacked bar of the sources' shares for each layer, the first source at the bottom.
    fn shares(&self) -> Drawn {
        let part = (self.layout.shares_top(), Layout::SHARES);
        self.plot(part, (0.0, 1.0), "share of kernels", 3, |plot| {
            let half = if self.layout.layer_width(self.panel) < 6.0 { 0.5 } else { 0.4 };
            for (i, layer) in self.panel.layers.iter().enumerate() {
                let (x, mut low) = (i as f64, 0.0);
                for (source, of) in layer.sources.iter().enumerate().filter(|(_, of)| of.share > 0.0) {
                    let corners = [(x - half, low), (x + half, low + of.share)];
                    plot.plotting_area().draw(&Rectangle::new(corners, color(source).filled()))?;
                    low += of.share;
                }
            }
            Ok(())
        })
    }

    /// Layer names below the bars, as many as fit, and the label of the axis.
    fn layer_names(&self) -> Drawn {
        let width = self.layout.layer_width(self.panel);
        let step = (Layout::NAME_HEIGHT / width).ceil().max(1.0) as usize;
        let top = self.layout.shares_top() + Layout::SHARES;
        for (i, layer) in self.panel.layers.iter().enumerate().step_by(step) {
            let x = Layout::LEFT + (i as f64 + 0.5) * width;
            let ends = [(x, top), (x, top + 3.0)].map(|end| pixel(self.below(end))).to_vec();
            self.page.draw(&PathElement::new(ends, INK.stroke_width(fine(0.8) as u32)))?;
            let upward = font(Layout::NAME_FONT).transform(FontTransform::Rotate270);
            write(self.page, layer.name, self.below((x, top + 6.0)), upward, HPos::Right)?;
        }
        let middle = (Layout::LEFT + self.layout.plot / 2.0, self.layout.panel_height() - 16.0);
        write(self.page, "layer, from the images to the head", self.below(middle), font(10.5), HPos::Center)
    }
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

fn color(source: usize) -> RGBColor {
    COLORS[source % COLORS.len()]
}

fn line(source: usize) -> ShapeStyle {
    color(source).stroke_width(fine(1.6) as u32)
}

/// A disc, a square or a triangle, so that sources differ not only in color.
fn mark(page: &Area<'_>, source: usize, at: (i32, i32)) -> Drawn {
    let style = color(source).filled();
    match source % 3 {
        0 => page.draw(&Circle::new(at, fine(2.4), style)),
        1 => {
            let half = fine(2.1);
            page.draw(&Rectangle::new([(at.0 - half, at.1 - half), (at.0 + half, at.1 + half)], style))
        }
        _ => page.draw(&TriangleMarker::new(at, fine(3.0), style)),
    }
}

/// plotters' font size is the height of the font, not the size in SVG.
fn font(size: f64) -> FontDesc<'static> {
    ("sans-serif", size * f64::from(FINE) * 1.24).into_font()
}

fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    (fine(x), fine(y))
}

/// Text, vertically centered at `at.1`.
fn write(page: &Area<'_>, text: &str, at: (f64, f64), font: FontDesc<'_>, side: HPos) -> Drawn {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let style = TextStyle::from(font).color(&INK).pos(Pos::new(side, VPos::Center));
    page.draw(&Text::new(text, pixel(at), style))
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

    fn texts(svg: &str) -> Vec<&str> {
        let lines = svg.lines().zip(svg.lines().skip(1));
        lines.filter(|(before, _)| before.starts_with("<text")).map(|(_, text)| text).collect()
    }

    #[test]
    fn a_figure_says_what_it_shows() {
        let svg = drawn(&spec(), &[learned("fundus & <x>", "0", 0.0), learned("fundus & <x>", "1", 0.5)]);
        insta::assert_snapshot!(texts(&svg).join("\n"), @r"
        tiny: layers
        target = fundus &amp; &lt;x&gt; (n = 2 over seed)
        probe_a
        probe_b
        merge weight
        0.0
        1.0
        2.0
        share of kernels
        0.0
        0.5
        1.0
        conv1
        layer1.0.conv1
        layer, from the images to the head
        Lines: mean of the merge weights of a layer&apos;s kernels; bands: ± standard deviation.
        Bars: share of the kernels for which a source has the largest weight in magnitude.
        ");
        for color in ["#0072B2", "#D55E00"] {
            assert!(svg.contains(&format!("fill=\"{color}\"")), "{color}");
        }
    }

    #[test]
    fn equal_weights_give_equal_bytes() {
        let all = [learned("fundus", "0", 0.0), learned("lesions", "0", 0.5)];
        let svg = drawn(&spec(), &all);
        assert_eq!(svg, drawn(&spec(), &all));
        let digest = blake3::hash(svg.as_bytes()).to_hex();
        assert_eq!(&digest[..16], "153f2fa26b69d580", "the figure changed; check that this is intended");
    }

    #[test]
    fn weights_that_are_not_finite_leave_a_gap() {
        let mut broken = learned("fundus", "0", 0.0);
        broken.layers[0].weights[0][1] = f32::NAN;
        broken.layers[1].weights[1][0] = f32::INFINITY;
        let svg = drawn(&spec(), &[broken]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!svg.contains(&i32::MAX.to_string()) && !svg.contains(&i32::MIN.to_string()), "{svg}");
    }

    #[test]
    fn weights_that_are_all_the_same_have_a_range() {
        let mut flat = learned("fundus", "0", 0.0);
        flat.layers.iter_mut().flat_map(|layer| &mut layer.weights).for_each(|of| of.fill(0.0));
        assert!(drawn(&spec(), &[flat]).contains("merge weight"));
    }
}
