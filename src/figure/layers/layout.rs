//! Positions of the parts of a figure, in displayed pixels.

use super::panel::{Grid, Panel};

/// Drawing scale: coordinates are larger than displayed, because plotters uses integers.
pub(super) const FINE: i32 = 4;

/// A length in drawing coordinates.
pub(super) fn fine(pixels: f64) -> i32 {
    (pixels * f64::from(FINE)).round() as i32
}

/// Sizes shared by all panels.
pub(super) struct Layout {
    /// Width of the plots.
    pub(super) plot: f64,
    /// Height reserved for the longest layer name.
    names: f64,
    /// Number of lines of the longest legend.
    legend_lines: usize,
    rows: usize,
    columns: usize,
}

impl Layout {
    pub(super) const MARGIN: f64 = 12.0;
    /// Width reserved for the vertical axis.
    pub(super) const LEFT: f64 = 58.0;
    /// Height of the plot of weights.
    pub(super) const WEIGHTS: f64 = 190.0;
    /// Height of the plot of shares.
    pub(super) const SHARES: f64 = 96.0;
    /// Font size of layer names, and their minimal distance.
    pub(super) const NAME_FONT: f64 = 9.0;
    pub(super) const NAME_HEIGHT: f64 = 10.5;
    pub(super) const LEGEND_FONT: f64 = 11.0;
    const LEGEND_LINE: f64 = 16.0;
    const TITLE: f64 = 20.0;
    const GAP: f64 = 12.0;
    const HEADER: f64 = 40.0;
    const CAPTION: f64 = 46.0;
    /// Minimal width of a figure, so that the caption is not cut off.
    const LEAST_WIDTH: f64 = 500.0;
    /// Mean width of a letter, relative to the font size.
    const LETTER: f64 = 0.58;

    pub(super) fn new(grid: &Grid<'_>) -> Self {
        let panels = || grid.iter().flatten().flatten();
        let layers = panels().map(|panel| panel.layers.len()).max().unwrap_or(1);
        let names = panels().flat_map(|panel| &panel.layers).map(|layer| layer.name.chars().count());
        let mut layout = Self {
            plot: (layers as f64 * 18.0).clamp(380.0, 960.0),
            names: names.max().unwrap_or(0) as f64 * Self::NAME_FONT * Self::LETTER,
            legend_lines: 1,
            rows: grid.len(),
            columns: grid.iter().map(Vec::len).max().unwrap_or(0),
        };
        let lines = |panel: &Panel<'_>| layout.flow(panel).last().map_or(0, |(line, _)| line + 1);
        layout.legend_lines = panels().map(lines).max().unwrap_or(1);
        layout
    }

    pub(super) fn width(&self) -> f64 {
        (2.0 * Self::MARGIN + self.columns as f64 * self.panel_width()).max(Self::LEAST_WIDTH)
    }

    pub(super) fn height(&self) -> f64 {
        (Self::HEADER + self.rows as f64 * self.panel_height() + Self::CAPTION).ceil()
    }

    /// The upper left corner of a panel.
    pub(super) fn corner(&self, row: usize, column: usize) -> (f64, f64) {
        let (x, y) = (column as f64 * self.panel_width(), row as f64 * self.panel_height());
        (Self::MARGIN + x, Self::HEADER + y)
    }

    fn panel_width(&self) -> f64 {
        Self::LEFT + self.plot + 2.0 * Self::GAP
    }

    pub(super) fn panel_height(&self) -> f64 {
        self.shares_top() + Self::SHARES + 8.0 + self.names + 30.0
    }

    pub(super) fn weights_top(&self) -> f64 {
        Self::TITLE + self.legend_lines as f64 * Self::LEGEND_LINE + 4.0
    }

    pub(super) fn shares_top(&self) -> f64 {
        self.weights_top() + Self::WEIGHTS + Self::GAP
    }

    /// Width of a layer in a panel.
    pub(super) fn layer_width(&self, panel: &Panel<'_>) -> f64 {
        self.plot / panel.layers.len().max(1) as f64
    }

    /// Position of each source's legend entry, relative to the panel's corner.
    pub(super) fn legend(&self, panel: &Panel<'_>) -> Vec<(f64, f64)> {
        let place =
            |(line, x): (usize, f64)| (Self::LEFT + x, Self::TITLE + 6.0 + line as f64 * Self::LEGEND_LINE);
        self.flow(panel).into_iter().map(place).collect()
    }

    /// Line and horizontal position of each source's legend entry: as many per line as fit.
    fn flow(&self, panel: &Panel<'_>) -> Vec<(usize, f64)> {
        let (mut line, mut x) = (0, 0.0);
        let mut places = Vec::new();
        for name in panel.sources {
            let width = 23.0 + name.chars().count() as f64 * Self::LEGEND_FONT * Self::LETTER + 16.0;
            if x > 0.0 && x + width > self.plot {
                (line, x) = (line + 1, 0.0);
            }
            places.push((line, x));
            x += width;
        }
        places
    }
}
