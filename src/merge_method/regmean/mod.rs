//! RegMean (Jin et al. 2023, "Dataless knowledge fusion", arXiv 2212.09849): each linear map is replaced by the
//! least-squares fit to the outputs of all sources on their own inputs.
//!
//! A convolution is a linear map of patches. Biases and norms are averaged, as in the paper.

pub(crate) mod grams;

use candle_core::{Result, Tensor, bail};
use dataset::SplitName;
use identity::Identity;
use kind::{Kind, Problems};
use model::{Networks, StageError, Work};
use nn::StateDict;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::average::AverageSpec;
use super::cholesky::Cholesky;
use super::linear_maps::{elements, in_place_of, in_rows, ridge};
use super::{KnownMerge, MergeMethod, MergeTensors, Merged, Merging};

/// Ridge on the diagonal of each Gram matrix, relative to its mean over the sources, so that rounding errors do not
/// decide between collinear inputs.
const RIDGE: f64 = 1e-6;

/// Least-squares merge of linear layers: each fits the outputs of all sources on their own inputs (RegMean, arXiv
/// 2212.09849).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RegmeanSpec {
    /// Number of training images to measure the Gram matrices on; all if there are fewer.
    pub images: usize,
    /// Factor α of the off-diagonal elements of the Gram matrices, from 0 to 1.
    pub alpha: f64,
}

impl Default for RegmeanSpec {
    /// `alpha` is the paper's; `images` is our choice.
    fn default() -> Self {
        Self { images: 256, alpha: 0.9 }
    }
}

impl Identity for RegmeanSpec {}

impl Kind for RegmeanSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("images", self.images, 1);
        problems.fraction("alpha", self.alpha);
    }
}

impl MergeMethod for RegmeanSpec {
    fn splits(&self) -> &'static [SplitName] {
        &[SplitName::Train]
    }

    fn measuring(&self, merge: &KnownMerge<'_>, _: u64, networks: &mut Networks) -> Work {
        grams::work(self, &merge.sources, &merge.known.datasets[0], networks)
    }

    fn merge(&self, merging: &Merging<'_>) -> std::result::Result<Merged, StageError> {
        merging.by_formula(&Regmean { solved: grams::solved_weights(self, merging)? }, false)
    }
}

/// Weights from [`solved`], and the mean of all other tensors.
pub struct Regmean {
    /// The solved weights, by name.
    pub solved: StateDict,
}

impl MergeTensors for Regmean {
    fn merge(&self, name: &str, sources: &[Tensor], base: Option<&Tensor>) -> Result<Tensor> {
        match self.solved.get(name) {
            Some(solved) => Ok(solved.clone()),
            None => AverageSpec::default().build(sources.len()).merge(name, sources, base),
        }
    }
}

/// The weight W = (Σ_i G_i)⁻¹·Σ_i G_i·W_i of a layer (equation 3, in terms of transposed weights).
///
/// `grams` are Xᵀ·X of the rows that enter each source's layer, `[in, in]`; `weights` are the sources' weights, `[out,
/// in]`, or `[out, ci, kh, kw]` for a convolution, with rows of `[kh, kw, ci]`. Computed in f64 on the CPU.
///
/// # Errors
/// Shapes do not match, or values are not finite.
pub fn solved(grams: &[Tensor], weights: &[Tensor], alpha: f64) -> Result<Tensor> {
    let rows = weights.iter().map(in_rows).collect::<Result<Vec<_>>>()?;
    let (outputs, inputs) = rows[0].dims2()?;
    let fits = |tensor: &Tensor, shape: [usize; 2]| tensor.dims() == shape;
    if grams.len() != rows.len()
        || !grams.iter().all(|gram| fits(gram, [inputs, inputs]))
        || !rows.iter().all(|row| fits(row, [outputs, inputs]))
    {
        bail!(
            "Gram matrices of shape {:?} do not match weights of shape {:?}",
            grams[0].dims(),
            weights[0].dims()
        );
    }
    let mut sum = vec![0.0; inputs * inputs];
    let mut solution = vec![0.0; outputs * inputs];
    let mut grams = grams.iter().map(elements).collect::<Result<Vec<_>>>()?;
    let ridge = ridge(&grams, inputs, RIDGE);
    for (gram, rows) in grams.iter_mut().zip(&rows) {
        scale(gram, &ridge, alpha);
        sum.par_iter_mut().zip(&*gram).for_each(|(sum, number)| *sum += number);
        let rows = elements(rows)?;
        let pairs = solution.par_chunks_mut(inputs).zip(rows.par_chunks(inputs));
        pairs.for_each(|(to, row)| add_product(to, row, gram));
    }
    let Some(factor) = Cholesky::factor(sum, inputs) else {
        bail!(
            "the equations of a layer have no solution: its inputs are not finite, or `alpha` is too close to 1"
        );
    };
    solution.par_chunks_mut(inputs).for_each(|row| factor.solve(row));
    let solution: Vec<f32> = solution.into_iter().map(|number| number as f32).collect();
    let solution = Tensor::from_vec(solution, (outputs, inputs), weights[0].device())?;
    in_place_of(&solution, &weights[0])
}

/// G ← α·G + (1 − α)·diag(G) + ridge.
fn scale(gram: &mut [f64], ridge: &[f64], alpha: f64) {
    for (i, row) in gram.chunks_exact_mut(ridge.len()).enumerate() {
        let diagonal = row[i] + ridge[i];
        row.iter_mut().for_each(|number| *number *= alpha);
        row[i] = diagonal;
    }
}

/// `to += row · matrix`.
fn add_product(to: &mut [f64], row: &[f64], matrix: &[f64]) {
    for (factor, row) in row.iter().zip(matrix.chunks_exact(to.len())) {
        to.iter_mut().zip(row).for_each(|(to, number)| *to += factor * number);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn matrix(rows: &[[f32; 2]]) -> Tensor {
        Tensor::from_iter(rows.iter().flatten().copied(), &Device::Cpu)
            .unwrap()
            .reshape((rows.len(), 2))
            .unwrap()
    }

    fn assert_near(actual: &Tensor, expected: &[f32]) {
        let actual = actual.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let near = actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-5);
        assert!(near, "{actual:?} should be {expected:?}");
    }

    /// By hand: (G_a + G_b) = [[3, 1], [1, 2]], whose inverse is [[2, −1], [−1, 3]] / 5.
    #[test]
    fn a_small_case_agrees_with_the_solution_by_hand() {
        let grams = [matrix(&[[2.0, 1.0], [1.0, 1.0]]), matrix(&[[1.0, 0.0], [0.0, 1.0]])];
        let weights = [matrix(&[[1.0, 0.0]]), matrix(&[[0.0, 1.0]])];
        // w_a·G_a + w_b·G_b = [2, 1] + [0, 1] = [2, 2]
        assert_near(&solved(&grams, &weights, 1.0).unwrap(), &[0.4, 0.8]);
        // only the diagonals count: [1·2 / 3, 1·1 / 2]
        assert_near(&solved(&grams, &weights, 0.0).unwrap(), &[2.0 / 3.0, 0.5]);
    }

    #[test]
    fn an_input_that_never_occurs_has_the_mean_of_the_weights() {
        let grams = [matrix(&[[4.0, 0.0], [0.0, 0.0]]), matrix(&[[4.0, 0.0], [0.0, 0.0]])];
        let weights = [matrix(&[[1.0, 2.0]]), matrix(&[[3.0, 8.0]])];
        assert_near(&solved(&grams, &weights, 0.9).unwrap(), &[2.0, 5.0]);
        let nothing = [matrix(&[[0.0, 0.0], [0.0, 0.0]]), matrix(&[[0.0, 0.0], [0.0, 0.0]])];
        assert_near(&solved(&nothing, &weights, 0.9).unwrap(), &[2.0, 5.0]);
    }

    #[test]
    fn equal_sources_stay_as_they_are() {
        let gram = matrix(&[[2.0, 1.5], [1.5, 3.0]]);
        let weight = Tensor::new(&[[[[0.5f32]], [[-2.0]]]], &Device::Cpu).unwrap();
        let solved = solved(&[gram.clone(), gram], &[weight.clone(), weight.clone()], 0.9).unwrap();
        assert_eq!(solved.dims(), weight.dims());
        assert_near(&solved, &[0.5, -2.0]);
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let grams = [matrix(&[[f32::NAN, 0.0], [0.0, 1.0]])];
        let weights = [matrix(&[[1.0, 2.0]])];
        assert!(solved(&grams, &weights, 0.9).unwrap_err().to_string().contains("no solution"));
        assert!(solved(&grams, &[Tensor::new(&[1f32], &Device::Cpu).unwrap()], 0.9).is_err());
    }
}
