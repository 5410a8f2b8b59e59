//! Isotropic merging in the common subspace (Iso-C, arXiv 2502.04959): the sum of the task vectors of a matrix, with
//! all singular values replaced by their mean.
//!
//! A convolution is treated as the matrix `[out, in · height · width]`, which the paper, written for transformers, does
//! not. Vectors (biases, norms) are averaged, as there.

use candle_core::{Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::start;
use super::singular::{Singular, merge_matrices, singular};
use super::{LARGEST_SCALING, MergeMethod, MergeTensors};

/// The sum of task vectors with equal singular values (Iso-C, arXiv 2502.04959).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IsoCSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Factor λ of the merged task vector, above 0. The paper chooses it on validation data.
    pub scaling: f64,
}

impl Default for IsoCSpec {
    fn default() -> Self {
        Self { base: None, scaling: 1.0 }
    }
}

impl Identity for IsoCSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for IsoCSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.positive_up_to("scaling", self.scaling, LARGEST_SCALING);
    }
}

impl MergeMethod for IsoCSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(IsoC { scaling: self.scaling }))
    }
}

/// B + λ · mean(σ) · U V, where Σ_i τ_i = U diag(σ) V.
struct IsoC {
    scaling: f64,
}

impl MergeTensors for IsoC {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        merge_matrices(start(name, base)?, sources, self.scaling, isotropic)
    }
}

fn isotropic(task_vectors: &[Tensor]) -> Result<Tensor> {
    let (rows, columns) = task_vectors[0].dims2()?;
    let first = task_vectors[0].clone();
    let sum = task_vectors[1..].iter().try_fold(first, |sum, task_vector| sum + task_vector)?;
    let Singular { u, values, v } = singular(&sum)?;
    let mean = values.iter().sum::<f64>() / rows.min(columns) as f64;
    u.matmul(&v)? * mean
}
