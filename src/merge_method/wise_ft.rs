//! A step back from what was fine-tuned to where it started (WiSE-FT, arXiv 2109.01903): the weights in between
//! keep more of what the start could do on other data.

use std::ops::RangeInclusive;

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{combination, start};
use super::{MergeMethod, MergeTensors};

/// Between the common start and the mean of the sources: (1 − α) · B + α · mean of S_i.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WiseFtSpec {
    /// The stage that made the common start of all sources.
    pub base: Option<String>,
    /// Share of the sources, from 0 (the base) to 1 (their mean); 0.5 is what the paper recommends where nothing
    /// can be measured.
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
        Some(Box::new(self.of()))
    }
}

impl WiseFtSpec {
    /// The formula.
    pub fn of(&self) -> WiseFt {
        WiseFt { alpha: self.alpha }
    }
}

/// (1 − α) · B + α · mean of S_i.
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
