//! Interpolation between the common start and the fine-tuned sources (WiSE-FT, arXiv 2109.01903), which keeps more of
//! the start's performance on other data.

use std::ops::RangeInclusive;

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{combination, start};
use super::{MergeMethod, MergeTensors};

/// Interpolation between the common start and the mean of the sources: (1 − α) · B + α · mean_i S_i (WiSE-FT, arXiv
/// 2109.01903).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WiseFtSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Weight α of the sources, from 0 (the base) to 1 (their mean). The default, 0.5, is the paper's recommendation
    /// without validation data.
    pub alpha: f64,
}

impl Default for WiseFtSpec {
    fn default() -> Self {
        Self { base: None, alpha: 0.5 }
    }
}

impl Identity for WiseFtSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for WiseFtSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction("alpha", self.alpha);
    }
}

impl MergeMethod for WiseFtSpec {
    fn takes(&self) -> RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl WiseFtSpec {
    /// The formula of this spec.
    pub fn build(&self) -> WiseFt {
        WiseFt { alpha: self.alpha }
    }
}

/// (1 − α) · B + α · mean_i S_i.
#[derive(Clone, Debug, PartialEq)]
pub struct WiseFt {
    alpha: f64,
}

impl MergeTensors for WiseFt {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let share = self.alpha / sources.len() as f64;
        let base = (start(name, base)?, 1.0 - self.alpha);
        combination([base].into_iter().chain(sources.iter().map(|source| (source, share))))
    }
}
