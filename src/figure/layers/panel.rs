//! The arrangement of stages in panels.

use indexmap::{IndexMap, IndexSet};

use super::{FigureError, LayersSpec, LearnedWeights, STAGE, SourceStatistics, statistics};

/// Stages that differ only in their value of `over`.
#[derive(Debug, PartialEq)]
pub(super) struct Panel<'a> {
    /// Title of the panel.
    pub(super) title: String,
    /// Names of the sources.
    pub(super) sources: &'a [String],
    /// Layers, in network order.
    pub(super) layers: Vec<PanelLayer<'a>>,
    /// Number of pooled stages.
    pub(super) n: usize,
}

/// A layer, over the kernels of all pooled stages.
#[derive(Debug, PartialEq)]
pub(super) struct PanelLayer<'a> {
    pub(super) name: &'a str,
    /// Statistics, one per source.
    pub(super) sources: Vec<SourceStatistics>,
}

/// Panels, row by row; `None` where there is no such stage.
pub(super) type Grid<'a> = Vec<Vec<Option<Panel<'a>>>>;

/// The row of a panel: the values of all fields that are neither pooled nor the column's.
type Row<'a> = Vec<(&'a str, &'a str)>;

/// The panels of a figure. Rows and columns are in the order of their first stage.
///
/// # Errors
/// Pooled stages have different sources or layers.
pub(super) fn grid<'a>(
    figure: &str,
    spec: &'a LayersSpec,
    axes: &'a [String],
    all: &[&'a LearnedWeights],
) -> Result<Grid<'a>, FigureError> {
    let mut cells: IndexMap<Row<'_>, IndexMap<&str, Vec<&LearnedWeights>>> = IndexMap::new();
    for &learned in all {
        let (row, column) = place(spec, axes, learned);
        cells.entry(row).or_default().entry(column).or_default().push(learned);
    }
    let columns: IndexSet<&str> = cells.values().flat_map(IndexMap::keys).copied().collect();
    let row = |(row, of_row): (&Row<'a>, &IndexMap<&'a str, Vec<&'a LearnedWeights>>)| {
        let panel = |&column: &&'a str| {
            let together = of_row.get(column)?;
            Some(Panel::new(figure, spec, title(spec, row, column), together))
        };
        columns.iter().map(|column| panel(column).transpose()).collect()
    };
    cells.iter().map(row).collect()
}

impl<'a> Panel<'a> {
    fn new(
        figure: &str,
        spec: &LayersSpec,
        title: String,
        together: &[&'a LearnedWeights],
    ) -> Result<Self, FigureError> {
        let first = together[0];
        for other in &together[1..] {
            if let Some(what) = difference(first, other) {
                return Err(FigureError::Different {
                    figure: figure.to_owned(),
                    first: first.id.clone(),
                    second: other.id.clone(),
                    what,
                    over: spec.over.clone(),
                });
            }
        }
        let layer = |i: usize| PanelLayer {
            name: &first.layers[i].layer,
            sources: statistics(&all_kernels(together, i, first.sources.len())),
        };
        let layers = (0..first.layers.len()).map(layer).collect();
        Ok(Self { title, sources: &first.sources, layers, n: together.len() })
    }
}

/// The mismatch that prevents pooling two stages.
fn difference(a: &LearnedWeights, b: &LearnedWeights) -> Option<&'static str> {
    let layers = |learned: &'_ LearnedWeights| -> Vec<(String, usize)> {
        let layer =
            |layer: &super::LayerWeights| (layer.layer.clone(), layer.weights.first().map_or(0, Vec::len));
        learned.layers.iter().map(layer).collect()
    };
    match () {
        () if a.sources != b.sources => Some("sources"),
        () if layers(a) != layers(b) => Some("layers"),
        () => None,
    }
}

/// Pooled weights, `[sources][kernels of all stages]`.
fn all_kernels(together: &[&LearnedWeights], layer: usize, sources: usize) -> Vec<Vec<f32>> {
    let of_source = |source: usize| {
        let of_stages = together.iter().map(|learned| learned.layers[layer].weights[source].as_slice());
        of_stages.collect::<Vec<_>>().concat()
    };
    (0..sources).map(of_source).collect()
}

fn place<'a>(spec: &'a LayersSpec, axes: &'a [String], learned: &'a LearnedWeights) -> (Row<'a>, &'a str) {
    let fields = std::iter::once(STAGE).chain(axes.iter().map(String::as_str));
    let value = |field: &'a str| match field {
        STAGE => Some(learned.stage.as_str()),
        axis => learned.at.get(axis).map(String::as_str),
    };
    let column = spec.columns.as_deref();
    let row = fields.filter(|&field| field != spec.over && Some(field) != column);
    let row = row.filter_map(|field| Some((field, value(field)?))).collect();
    (row, column.and_then(value).unwrap_or(""))
}

/// The title `target = fundus`, with the stage's name if there are several stages or it would be empty.
fn title(spec: &LayersSpec, row: &Row<'_>, column: &str) -> String {
    let of_column = spec.columns.iter().map(|field| (field.as_str(), column));
    let all = row.iter().copied().chain(of_column).filter(|(_, value)| !value.is_empty());
    let (stage, axes): (Vec<_>, Vec<_>) = all.partition(|(field, _)| *field == STAGE);
    let mut parts: Vec<String> = axes.iter().map(|(axis, value)| format!("{axis} = {value}")).collect();
    if spec.from.len() > 1 || parts.is_empty() {
        parts.splice(0..0, stage.iter().map(|(_, name)| (*name).to_owned()));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::example::{axes, learned, spec};
    use super::*;

    fn titles(spec: &LayersSpec, all: &[LearnedWeights]) -> Vec<Vec<Option<(String, usize)>>> {
        let all: Vec<_> = all.iter().collect();
        let axes = axes();
        let grid = grid("layers", spec, &axes, &all).unwrap();
        let title = |panel: Option<Panel<'_>>| panel.map(|panel| (panel.title, panel.n));
        grid.into_iter().map(|row| row.into_iter().map(title).collect()).collect()
    }

    fn some(title: &str, n: usize) -> Option<(String, usize)> {
        Some((title.to_owned(), n))
    }

    #[test]
    fn seeds_are_pooled_and_targets_are_columns() {
        let all = [("lesions", "0"), ("fundus", "0"), ("lesions", "1"), ("fundus", "1"), ("fundus", "2")]
            .map(|(target, seed)| learned(target, seed, 0.0));
        assert_eq!(titles(&spec(), &all), [[some("target = lesions", 2), some("target = fundus", 3)]]);
        let below = LayersSpec { columns: None, ..spec() };
        assert_eq!(titles(&below, &all), [[some("target = lesions", 2)], [some("target = fundus", 3)]]);
        let over_targets = LayersSpec { columns: Some("seed".into()), over: "target".into(), ..spec() };
        assert_eq!(
            titles(&over_targets, &all),
            [[some("seed = 0", 2), some("seed = 1", 2), some("seed = 2", 1)]]
        );
    }

    #[test]
    fn each_stage_has_its_own_row_with_gaps_for_missing_panels() {
        let mut all =
            [learned("lesions", "0", 0.0), learned("fundus", "0", 0.0), learned("fundus", "0", 0.0)];
        all[2].stage = "convex".into();
        let two = LayersSpec { from: vec!["weights".into(), "convex".into()], ..spec() };
        assert_eq!(
            titles(&two, &all),
            [
                [some("weights, target = lesions", 1), some("weights, target = fundus", 1)],
                [None, some("convex, target = fundus", 1)],
            ]
        );
        let mut alone = learned("", "0", 0.0);
        alone.at.shift_remove("target");
        assert_eq!(titles(&spec(), &[alone]), [[some("weights", 1)]]);
    }

    #[test]
    fn a_panel_is_over_the_kernels_of_all_seeds() {
        let all = [learned("fundus", "0", 0.0), learned("fundus", "1", 1.0)];
        let (axes, spec) = (axes(), spec());
        let grid = grid("layers", &spec, &axes, &all.iter().collect::<Vec<_>>()).unwrap();
        let panel = grid[0][0].as_ref().unwrap();
        let first = panel.layers[1].sources[0];
        assert_eq!((first.mean, first.std, first.max), (2.0, Some(0.5f64.sqrt()), 2.5));
        assert_eq!(panel.layers[0].name, "conv1");
        assert_eq!(panel.layers[0].sources[0].mean, (1.0 + 0.5 - 1.0 + 2.0 + 1.5 + 0.0) / 6.0);
    }

    #[test]
    fn stages_with_other_sources_or_layers_cannot_be_pooled() {
        let mut all = [learned("fundus", "0", 0.0), learned("fundus", "1", 0.0)];
        let (axes, spec) = (axes(), spec());
        let error = |all: &[LearnedWeights; 2]| {
            grid("layers", &spec, &axes, &all.iter().collect::<Vec<_>>()).unwrap_err().to_string()
        };
        all[1].layers.pop();
        assert!(error(&all).contains("different layers"), "{}", error(&all));
        all[1].sources[1] = "probe_c".into();
        insta::assert_snapshot!(error(&all), @"figure `layers`: `weights[seed=0,target=fundus]` and `weights[seed=1,target=fundus]` have different sources, so their weights cannot be pooled over `seed`; set `over` to another axis");
    }
}
