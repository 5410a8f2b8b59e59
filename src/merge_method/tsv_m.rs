//! Task singular vectors, merged (TSV-M, arXiv 2412.00081): of each task vector's matrix the largest singular vectors,
//! as many as fit beside those of the other sources, made orthogonal to them.
//!
//! A convolution is treated as the matrix `[out, in · height · width]`, which the paper, written for transformers, does
//! not. Vectors (biases, norms) are averaged, as there.

use candle_core::{DType, Device, Result, Tensor};
use identity::Identity;
use kind::{Kind, Problems};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::start;
use super::singular::{closest_orthogonal, merge_matrices, singular};
use super::{LARGEST_SCALING, MergeMethod, MergeTensors};

/// The largest singular vectors of all task vectors, made orthogonal (TSV-M, arXiv 2412.00081).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TsvMSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Factor λ of the merged task vector, above 0. The paper uses 1.
    pub scaling: f64,
}

impl Default for TsvMSpec {
    fn default() -> Self {
        Self { base: None, scaling: 1.0 }
    }
}

impl Identity for TsvMSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for TsvMSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.positive_up_to("scaling", self.scaling, LARGEST_SCALING);
    }
}

impl MergeMethod for TsvMSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(TsvM { scaling: self.scaling }))
    }
}

/// B + λ · U⊥ diag(σ) V⊥: the largest singular vectors of all task vectors side by side, each set made orthogonal.
struct TsvM {
    scaling: f64,
}

impl MergeTensors for TsvM {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        merge_matrices(start(name, base)?, sources, self.scaling, orthogonal)
    }
}

fn orthogonal(task_vectors: &[Tensor]) -> Result<Tensor> {
    let (rows, columns) = task_vectors[0].dims2()?;
    let each = rows.min(columns) / task_vectors.len();
    let (mut left, mut values, mut right) = (Vec::new(), Vec::new(), Vec::new());
    for task_vector in task_vectors {
        let parts = singular(task_vector)?;
        let kept = each.min(parts.values.len());
        left.push(parts.u.narrow(1, 0, kept)?);
        right.push(parts.v.narrow(0, 0, kept)?);
        values.extend_from_slice(&parts.values[..kept]);
    }
    if values.is_empty() {
        return Tensor::zeros((rows, columns), DType::F64, &Device::Cpu);
    }
    let values = Tensor::from_slice(&values, (values.len(), 1), &Device::Cpu)?;
    let (left, right) = (Tensor::cat(&left, 1)?, Tensor::cat(&right, 0)?);
    closest_orthogonal(&left)?.matmul(&values.broadcast_mul(&closest_orthogonal(&right)?)?)
}
