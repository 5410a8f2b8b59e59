//! Drop and rescale (DARE, arXiv 2311.03099): random elements of each task vector τ_i = S_i − B are dropped, and the
//! remaining ones are divided by 1 − p, which preserves the expected value; then task arithmetic.
//!
//! mergekit (0.1.5) rescales differently, to preserve the sum of magnitudes. This follows the paper.

use candle_core::{Result, Tensor, bail};
use identity::Identity;
use kind::{Kind, Problems};
use rand::RngCore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::combination::{start, tensor_like};
use super::{LARGEST_SCALING, MergeMethod, MergeTensors};
use rng::{Purpose, name_index, rng};

/// Sum of task vectors with random elements dropped (DARE, arXiv 2311.03099).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DareSpec {
    /// Stage of the model from which all sources were fine-tuned.
    pub base: Option<String>,
    /// Probability p of dropping an element of a task vector, in [0, 1). The paper drops 0.9 and more of language
    /// models; smaller models and larger changes tolerate less.
    pub drop: f64,
    /// Whether to divide the kept elements by 1 − p.
    pub rescale: bool,
    /// Factor λ of the sum of task vectors, above 0, as in task arithmetic.
    pub scaling: f64,
    /// Seed of the masks. Each mask also depends on the tensor's name and the position of the source.
    pub seed: u64,
}

impl Default for DareSpec {
    fn default() -> Self {
        Self { base: None, drop: 0.9, rescale: true, scaling: 0.4, seed: 0 }
    }
}

impl Identity for DareSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["base"]
    }
}

impl Kind for DareSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.fraction_below_1("drop", self.drop);
        problems.positive_up_to("scaling", self.scaling, LARGEST_SCALING);
    }
}

impl MergeMethod for DareSpec {
    fn common_start(&self) -> Option<&Option<String>> {
        Some(&self.base)
    }

    fn formula(&self, _: usize) -> Option<Box<dyn MergeTensors>> {
        Some(Box::new(self.build()))
    }
}

impl DareSpec {
    /// The formula of this spec.
    pub fn build(&self) -> Dare {
        Dare { options: Self { base: None, ..self.clone() } }
    }
}

/// B + λ · Σ_i m_i ⊙ (S_i − B) / (1 − p), with binary masks m_i.
#[derive(Clone, Debug, PartialEq)]
pub struct Dare {
    options: DareSpec,
}

impl Dare {
    /// The mask of a source's tensor: 1 for kept elements, 0 for dropped ones, in the shape of `like`.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn kept(&self, name: &str, source: usize, like: &Tensor) -> Result<Tensor> {
        let mut random = rng(self.options.seed, Purpose::Drop, source as u64, name_index(name));
        let dropped_below = self.options.drop * 2f64.powi(32);
        let kept = |_| f32::from(u8::from(f64::from(random.next_u32()) >= dropped_below));
        tensor_like(like, (0..like.elem_count()).map(kept).collect())
    }

    /// Apply the formula with given masks m_i.
    ///
    /// # Errors
    /// The number of masks differs from the number of sources, or a shape differs.
    pub fn merge_kept(&self, base: &Tensor, sources: &[Tensor], kept: &[Tensor]) -> Result<Tensor> {
        if kept.len() != sources.len() {
            bail!("{} masks for {} sources", kept.len(), sources.len());
        }
        let DareSpec { drop, rescale, scaling, .. } = self.options;
        let factor = if rescale { scaling / (1.0 - drop) } else { scaling };
        let mut merged = base.clone();
        for (source, kept) in sources.iter().zip(kept) {
            merged = (merged + (((source - base)? * kept)? * factor)?)?;
        }
        Ok(merged)
    }
}

impl MergeTensors for Dare {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        let base = start(name, base)?;
        let kept = (0..sources.len()).map(|source| self.kept(name, source, base));
        self.merge_kept(base, sources, &kept.collect::<Result<Vec<_>>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn kept(spec: DareSpec, name: &str, source: usize) -> Vec<f32> {
        let like = Tensor::zeros(10_000, DType::F32, &Device::Cpu).unwrap();
        spec.build().kept(name, source, &like).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_kept_fraction_is_close_to_the_expected_one() {
        for (drop, least, most) in [(0.0, 10_000.0, 10_000.0), (0.3, 6_800.0, 7_200.0), (0.9, 850.0, 1_150.0)]
        {
            let sum: f32 = kept(DareSpec { drop, ..DareSpec::default() }, "a", 0).iter().sum();
            assert!((least..=most).contains(&sum), "{drop}: {sum}");
        }
    }

    #[test]
    fn masks_depend_on_seed_name_and_source_alone() {
        let base = kept(DareSpec::default(), "a", 0);
        assert_eq!(base, kept(DareSpec { scaling: 2.0, ..DareSpec::default() }, "a", 0));
        for other in [
            kept(DareSpec { seed: 1, ..DareSpec::default() }, "a", 0),
            kept(DareSpec::default(), "b", 0),
            kept(DareSpec::default(), "a", 1),
        ] {
            assert_ne!(base, other);
        }
    }
}
