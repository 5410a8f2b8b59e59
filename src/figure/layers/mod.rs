//! Learned merge weights, layer by layer.
//!
//! | file | what |
//! |---|---|
//! | [`learned`] | the merge weights of a stage, by layer in network order |
//! | [`statistics`](mod@statistics) | statistics of a layer's merge weights, source by source |
//! | `tidy` | the CSV: a row per layer and source; a row per merge weight |
//! | `panel` | which stages stand where, and which are put together |
//! | `draw` | panels as SVG |

mod draw;
pub mod learned;
mod panel;
pub mod statistics;
mod tidy;

use experiment::figure_spec::layers::LayersSpec;
use experiment::figure_spec::{COLUMNS, STAGE};

use super::{FigureError, Files, Shown};
use learned::{LayerWeights, LearnedWeights};
use statistics::{SourceStatistics, statistics};

/// `svg`, `csv`, and optionally `kernels.csv`.
pub(super) fn files(name: &str, spec: &LayersSpec, shown: &Shown<'_>) -> Result<Files, FigureError> {
    let learned = shown.learned.iter().filter(|learned| spec.from.contains(&learned.stage));
    let learned: Vec<&LearnedWeights> = learned.collect();
    if learned.is_empty() {
        return Ok(Files::new());
    }
    let grid = panel::grid(name, spec, shown.axes, &learned)?;
    let mut files = vec![
        ("svg", draw::svg(&shown.title(name), &spec.over, &grid)),
        ("csv", tidy::layers(shown.axes, &learned)),
    ];
    if spec.kernels {
        files.push(("kernels.csv", tidy::kernels(shown.axes, &learned)));
    }
    Ok(files)
}

/// Merge weights for the tests of this crate.
#[cfg(test)]
pub(super) mod example {
    use indexmap::IndexMap;

    use super::*;

    /// Two sources with two layers, of three kernels and of one; `shift` is added to all weights of the first source.
    pub(crate) fn learned(target: &str, seed: &str, shift: f32) -> LearnedWeights {
        let layer = |layer: &str, weights: [&[f32]; 2]| LayerWeights {
            of_slices: false,
            layer: layer.into(),
            weights: vec![weights[0].iter().map(|w| w + shift).collect(), weights[1].to_vec()],
        };
        LearnedWeights {
            stage: "weights".into(),
            id: format!("weights[seed={seed},target={target}]"),
            at: IndexMap::from([("seed".into(), seed.into()), ("target".into(), target.into())]),
            sources: vec!["probe_a".into(), "probe_b".into()],
            layers: vec![
                layer("conv1", [&[1.0, 0.5, -1.0], &[0.0, 0.5, 3.0]]),
                layer("layer1.0.conv1", [&[1.5], &[-0.5]]),
            ],
        }
    }

    pub(crate) fn axes() -> Vec<String> {
        vec!["seed".into(), "target".into()]
    }

    pub(crate) fn spec() -> LayersSpec {
        LayersSpec {
            from: vec!["weights".into()],
            columns: Some("target".into()),
            over: "seed".into(),
            kernels: false,
            pdf: false,
        }
    }
}
