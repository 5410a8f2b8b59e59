//! Figures of learned merge weights: the contribution of each source, layer by layer.
//!
//! | file | what |
//! |---|---|
//! | [`learned`] | the merge weights of a stage, by layer in network order |
//! | [`statistics`](mod@statistics) | statistics of a layer's merge weights, source by source |
//! | `tidy` | the CSV: a row per layer and source; a row per merge weight |
//! | `panel` | which stages stand where, and which are put together |
//! | `layout`, `draw` | panels as SVG |
//! | `write` | the files under `results/<experiment>/` |

mod draw;
mod error;
mod layout;
pub mod learned;
mod panel;
pub mod statistics;
mod tidy;
mod write;

pub use error::FigureError;
pub use experiment::figure_spec::{COLUMNS, FigureSpec, STAGE};
pub use learned::{LayerWeights, LearnedWeights};
pub use statistics::{SourceStatistics, statistics};
pub use write::write_figure;

/// Merge weights for the tests of this crate.
#[cfg(test)]
mod example {
    use indexmap::IndexMap;

    use super::*;

    /// Two sources with two layers, of three kernels and of one; `shift` is added to all weights of the first source.
    pub(super) fn learned(target: &str, seed: &str, shift: f32) -> LearnedWeights {
        let layer = |layer: &str, weights: [&[f32]; 2]| LayerWeights {
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

    pub(super) fn axes() -> Vec<String> {
        vec!["seed".into(), "target".into()]
    }

    pub(super) fn spec() -> FigureSpec {
        FigureSpec {
            from: vec!["weights".into()],
            columns: Some("target".into()),
            over: "seed".into(),
            kernels: false,
        }
    }
}
