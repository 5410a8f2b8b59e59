//! The common start plus a multiple of the sum of task vectors τ_i = S_i − B (arXiv 2212.04089).

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{combination, start};
use super::{LARGEST_SCALING, MergeMethod, MergeTensors};

/// The common start plus a multiple of the sum of task vectors: B + λ · Σ_i (S_i − B) (arXiv 2212.04089).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskArithmeticSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Factor λ of the sum of task vectors, above 0. The default, 0.4, is what the authors of TIES (arXiv 2306.01708)
    /// recommend for this method without validation data.
    pub scaling: f64,
}

impl Default for TaskArithmeticSpec {
    fn default() -> Self {
        Self { base: None, scaling: 0.4 }
    }
}

impl Identity for TaskArithmeticSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for TaskArithmeticSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.positive_up_to("scaling", self.scaling, LARGEST_SCALING);
    }
}

impl MergeMethod for TaskArithmeticSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl TaskArithmeticSpec {
    /// The formula of this spec.
    pub fn build(&self) -> TaskArithmetic {
        TaskArithmetic { scaling: self.scaling }
    }
}

/// B + λ · Σ_i (S_i − B).
#[derive(Clone, Debug, PartialEq)]
pub struct TaskArithmetic {
    scaling: f64,
}

impl MergeTensors for TaskArithmetic {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let rest = 1.0 - self.scaling * sources.len() as f64;
        let base = (start(name, base)?, rest);
        combination([base].into_iter().chain(sources.iter().map(|source| (source, self.scaling))))
    }
}
