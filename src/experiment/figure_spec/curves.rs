//! Training curves: `[figure.<name>.curves]`.

use identity::Identity;
use kind::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FigureKind, Named, Shows};

/// Training loss and validation score of each epoch, one line per seed; a dot marks the epoch that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CurvesSpec {
    /// Stages that train: `pretrain`, `finetune`, `learn_merge_weights`, or `distill`.
    pub from: Vec<String>,
    /// Whether to also write the figure as PDF, to `<figure>.pdf`. Needs a sans-serif font on this machine.
    #[serde(default)]
    pub pdf: bool,
}

impl Identity for CurvesSpec {}
impl Kind for CurvesSpec {}

impl FigureKind for CurvesSpec {
    fn from(&self) -> &[String] {
        &self.from
    }

    fn pdf(&self) -> bool {
        self.pdf
    }

    fn shows(&self) -> Shows {
        Shows::Epochs
    }

    fn names(&self) -> Vec<(String, Named, &str)> {
        Vec::new()
    }
}
