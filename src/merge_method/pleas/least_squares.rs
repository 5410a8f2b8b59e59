//! The fit of each linear map: W* = argmin ‖W·z − 1/N Σ_i W_i·x_i‖² (arXiv 2407.02447), with x_i what enters
//! the layer in source i after permuting, on images of the target, and z their mean over the sources.
//!
//! Layers are fitted one by one, each on what enters it in the sources; what enters it in the merged network plays no
//! part, so their order does not matter.
//!
//! With W̄ the mean of the W_i, the target is W̄·z + e with e = 1/N Σ_i W_i·(x_i − z). So W* = W̄ + Δ, where Δ is the fit of
//! e, `(Σ z·zᵀ + ridge)·Δᵀ = Σ z·eᵀ`, and it is exactly 0 if the sources are equal. A bias is a further input that is 1.

use std::collections::BTreeMap;

use backbone::Backbone;
use candle_core::{Result, Tensor, bail};
use dataset::SplitName;
use model::{KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};
use nn::{StateDict, add_to};
use rayon::prelude::*;

use super::PleasSpec;
use crate::Merging;
use crate::cholesky::Cholesky;
use crate::combination::mean;
use crate::features::joint_bytes;
use crate::linear_maps::{Layer, elements, in_place_of, in_rows, layers, ridge};
use crate::measure::{F64, Input, Measured, PATCHES, Passes, joint_batch, shared_classes, within_budget};

/// Inputs of a layer, the constant 1 of its bias included.
fn inputs(layer: &Layer) -> usize {
    layer.inputs + usize::from(layer.has_bias)
}

/// Bytes of the normal equations of a layer.
fn bytes(layer: &Layer) -> u64 {
    let inputs = inputs(layer) as u64;
    product([F64, inputs, sum([inputs, layer.outputs as u64])])
}

/// The fitted weights and biases of all linear maps, by name, given the permuted sources.
///
/// # Errors
/// A convolution is grouped, a source computes values that are not finite, or the user interrupted.
pub(crate) fn fitted(
    spec: &PleasSpec,
    merging: &Merging<'_>,
    aligned: &[StateDict],
) -> std::result::Result<StateDict, StageError> {
    let infos: Vec<&ModelInfo> = merging.sources.iter().map(|source| &source.info).collect();
    let (context, classes, size) = (merging.context, shared_classes(&infos), merging.dataset().size);
    let backbone = infos[0].backbone.build();
    let layers = layers(&*backbone, classes);
    let groups = within_budget(&layers, bytes);
    let images = merging.drawn(merging.dataset().train.len(), spec.images);
    let normalize = &infos[0].normalize;
    let measured = Measured { backbone: &*backbone, normalize, classes, images: &images, context };
    let batch = joint_batch(&*backbone, aligned.len(), size);
    let mut progress = Passes::new(context, groups.len() * aligned.len() * images.len());
    let mut tensors = StateDict::new();
    for group in groups {
        let equations = equations(&measured, aligned, group, batch, &mut progress)?;
        for (layer, equations) in group.iter().zip(equations) {
            let failed = |error| StageError::Failed(format!("failed to fit `{}`: {error}", layer.name));
            let correction = correction(&equations, spec.ridge).map_err(failed)?;
            tensors.extend(corrected(layer, aligned, &correction)?);
            progress.add(0)?;
        }
    }
    Ok(tensors)
}

/// The normal equations of some layers: Σ z·zᵀ and Σ z·eᵀ over images.
fn equations(
    measured: &Measured<'_>,
    aligned: &[StateDict],
    group: &[Layer],
    batch: usize,
    progress: &mut Passes<'_>,
) -> std::result::Result<Vec<[Tensor; 2]>, StageError> {
    let networks: Vec<&StateDict> = aligned.iter().collect();
    let by_name: BTreeMap<&str, &Layer> = group.iter().map(|layer| (layer.name.as_str(), layer)).collect();
    let names: Vec<&str> = by_name.keys().copied().collect();
    let mut sums: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
    measured.watch_jointly(&networks, &names, batch, progress, |name, inputs| {
        let layer = by_name[name];
        let [gram, products] = of_batch(layer, &of_layer(&layer.weight(), aligned)?, inputs)?;
        let [grams, sums] = sums.entry(name.to_owned()).or_default();
        add_to(grams, gram)?;
        add_to(sums, products)
    })?;
    let no_images = || StageError::Failed("the data set has no training images to measure on".into());
    let of_layer = |layer: &Layer| match sums.remove(&layer.name) {
        Some([Some(gram), Some(products)]) => Ok([gram, products]),
        _ => Err(no_images()),
    };
    group.iter().map(of_layer).collect()
}

/// The tensor called `name` of each source.
fn of_layer(name: &str, aligned: &[StateDict]) -> Result<Vec<Tensor>> {
    let tensor = |source: &StateDict| match source.get(name) {
        Some(tensor) => Ok(tensor.clone()),
        None => bail!("a source has no tensor `{name}`"),
    };
    aligned.iter().map(tensor).collect()
}

/// The normal equations of a layer on a batch, given the sources' weights and what enters it in each source.
fn of_batch(layer: &Layer, weights: &[Tensor], inputs: &[Input]) -> Result<[Tensor; 2]> {
    let z = mean(&inputs.iter().map(|input| input.x.clone()).collect::<Vec<_>>())?;
    let deviations = inputs.iter().zip(weights).map(|(input, weight)| {
        let deviation = input.with((&input.x - &z)?);
        deviation.of_layer().output(weight)
    });
    let e = mean(&deviations.collect::<Result<Vec<_>>>()?)?;
    inputs[0].with(z).of_layer().normal_equations(&e, layer.has_bias)
}

/// Δ `[out, in]` of the normal equations Σ z·zᵀ `[in, in]` and Σ z·eᵀ `[in, out]`, with a ridge that is a fraction of
/// the equations' diagonal. Computed in f64 on the CPU.
///
/// # Errors
/// Shapes do not match, or values are not finite.
pub fn correction([gram, products]: &[Tensor; 2], fraction: f64) -> Result<Tensor> {
    let (inputs, outputs) = products.dims2()?;
    if gram.dims() != [inputs, inputs] {
        bail!(
            "a Gram matrix of shape {:?} does not match products of shape {:?}",
            gram.dims(),
            products.dims()
        );
    }
    let mut gram = vec![elements(gram)?];
    let ridge = ridge(&gram, inputs, fraction);
    let mut gram = gram.remove(0);
    gram.iter_mut().step_by(inputs + 1).zip(ridge).for_each(|(diagonal, ridge)| *diagonal += ridge);
    let Some(factor) = Cholesky::factor(gram, inputs) else {
        bail!("its equations have no solution: its inputs are not finite, or `ridge` is too small");
    };
    let mut rows = elements(&products.t()?)?;
    rows.par_chunks_mut(inputs).for_each(|row| factor.solve(row));
    let rows = rows.into_iter().map(|number| number as f32).collect::<Vec<_>>();
    Tensor::from_vec(rows, (outputs, inputs), products.device())
}

/// The mean of the sources' weights and biases plus the correction.
fn corrected(layer: &Layer, aligned: &[StateDict], correction: &Tensor) -> Result<StateDict> {
    let weight = mean(&of_layer(&layer.weight(), aligned)?)?;
    let rows = (in_rows(&weight)? + correction.narrow(1, 0, layer.inputs)?)?;
    let mut tensors = StateDict::from([(layer.weight(), in_place_of(&rows, &weight)?)]);
    if layer.has_bias {
        let bias = mean(&of_layer(&layer.bias(), aligned)?)?;
        tensors.insert(layer.bias(), (bias + correction.narrow(1, layer.inputs, 1)?.squeeze(1)?)?);
    }
    Ok(tensors)
}

/// One pass over the images for each source and group of layers, and the outputs of each layer for each source. A Gram
/// matrix costs as much as its layer, times the layer's inputs over its outputs; layers are assumed to cost the same.
pub(super) fn work(
    spec: &PleasSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    networks: &mut Networks,
) -> Work {
    let (classes, count) = (shared_classes(sources), sources.len() as u64);
    let backbone: Box<dyn Backbone> = sources[0].backbone.build();
    let layers = layers(&*backbone, classes);
    let groups = within_budget(&layers, bytes);
    let network = networks.get(&sources[0].backbone, classes, dataset.size);
    let images = dataset.images(SplitName::Train).min(spec.images as u64);
    let ratio: f64 = layers.iter().map(|layer| 1.0 + layer.inputs as f64 / layer.outputs as f64).sum();
    let grams = (network.forward() as f64 * ratio / layers.len() as f64) as u64;
    let solving = layers.iter().map(|layer| {
        let (inputs, outputs) = (inputs(layer) as u64, layer.outputs as u64);
        sum([product([inputs, inputs, inputs]) / 6, product([inputs, inputs, outputs])])
    });
    let held = groups.iter().map(|group| sum(group.iter().map(bytes))).max().unwrap_or(0);
    let largest = layers.iter().map(bytes).max().unwrap_or(0);
    Work {
        operations: sum([
            product([network.forward(), images, count, groups.len() as u64 + 1]),
            product([grams, images]),
            sum(solving),
        ]),
        memory_bytes: sum([
            held,
            product([2, largest]),
            joint_bytes(&*backbone, sources.len(), dataset.size, images),
            product([6, PATCHES]),
        ]),
        ..Work::default()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn equations(gram: &[[f64; 2]; 2], products: &[[f64; 1]; 2]) -> [Tensor; 2] {
        [Tensor::new(gram, &Device::Cpu).unwrap(), Tensor::new(products, &Device::Cpu).unwrap()]
    }

    /// By hand: the inverse of [[3, 1], [1, 2]] is [[2, −1], [−1, 3]] / 5.
    #[test]
    fn a_small_case_agrees_with_the_solution_by_hand() {
        let found = correction(&equations(&[[2.0, 1.0], [1.0, 4.0 / 3.0]], &[[5.0], [10.0]]), 0.5).unwrap();
        let found = found.to_vec2::<f32>().unwrap();
        assert!((found[0][0] - 0.0).abs() < 1e-6 && (found[0][1] - 5.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn an_input_that_never_occurs_changes_nothing() {
        let found = correction(&equations(&[[4.0, 0.0], [0.0, 0.0]], &[[4.0], [0.0]]), 1e-9).unwrap();
        let found = found.to_vec2::<f32>().unwrap();
        assert!((found[0][0] - 1.0).abs() < 1e-6 && found[0][1] == 0.0, "{found:?}");
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        let error = correction(&equations(&[[f64::NAN, 0.0], [0.0, 1.0]], &[[1.0], [1.0]]), 0.1).unwrap_err();
        assert!(error.to_string().contains("no solution"), "{error}");
        let transposed =
            equations(&[[1.0, 0.0], [0.0, 1.0]], &[[1.0], [1.0]]).map(|tensor| tensor.t().unwrap());
        assert!(correction(&transposed, 0.1).is_err());
    }
}
