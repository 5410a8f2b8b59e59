//! Gram matrices of layer inputs for each source, and the weights that follow from them.
//!
//! A Gram matrix has one element per pair of inputs: 85 MB for the 4608 inputs of a 3x3 convolution over 512 channels.
//! So layers are measured in groups, each with as many layers as fit into
//! [`BUDGET`](crate::measure::BUDGET) for all sources (at least one), with one pass over the images per group.
//!
//! The inputs of a layer are those of this implementation: after the attention of a transformer's last block only the
//! class token; in a dense network's transition the outputs of the pooling.

use std::cell::RefCell;

use candle_core::{Result, Tensor, bail};
use dataset::SplitName;
use model::{Checkpoint, KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};
use nn::{LayerInput, StateDict};

use super::{RegmeanSpec, solved};
use crate::Merging;
use crate::linear_maps::{Layer, layers};
use crate::measure::{BATCH, F64, Measured, PATCHES, Passes, shared_classes, within_budget};

/// Bytes of an element of a Gram matrix.
const F32: u64 = 4;

/// Bytes of the Gram matrices of a layer for `sources` sources.
fn gram_bytes(layer: &Layer, sources: usize) -> u64 {
    product([F32, layer.gram_elements(), sources as u64])
}

/// The solved weights of all linear maps, by name.
///
/// # Errors
/// A convolution is grouped, a source computes values that are not finite, or the user interrupted.
pub(crate) fn solved_weights(
    spec: &RegmeanSpec,
    merging: &Merging<'_>,
) -> std::result::Result<StateDict, StageError> {
    let (context, sources) = (merging.context, &merging.sources);
    let classes = shared_classes(&sources.iter().map(|source| &source.info).collect::<Vec<_>>());
    let backbone = sources[0].info.backbone.build();
    let layers = layers(&*backbone, classes);
    let groups = within_budget(&layers, |layer| gram_bytes(layer, sources.len()));
    let images = merging.drawn(merging.dataset().train.len(), spec.images);
    let mut weights = StateDict::new();
    let normalize = &sources[0].info.normalize;
    let measured = Measured { backbone: &*backbone, normalize, classes, images: &images, context };
    let mut progress = Passes::new(context, groups.len() * sources.len() * images.len());
    for group in &groups {
        let mut grams = Vec::new();
        for source in sources {
            grams.push(gram_matrices(&measured, source, group, &mut progress)?);
        }
        for layer in *group {
            let name = layer.weight();
            let of_layer: Vec<Tensor> =
                grams.iter_mut().filter_map(|grams| grams.remove(&layer.name)).collect();
            let of_sources = sources.iter().filter_map(|source| source.tensors.get(&name).cloned());
            let of_sources: Vec<Tensor> = of_sources.collect();
            if of_layer.len() != sources.len() || of_sources.len() != sources.len() {
                let problem = format!("the sources do not all have a layer `{}`", layer.name);
                return Err(StageError::Failed(problem));
            }
            weights.insert(name, solved(&of_layer, &of_sources, spec.alpha)?);
            progress.add(0)?;
        }
    }
    Ok(weights)
}

/// Xᵀ·X of the input rows of each of some layers of a model, over images in evaluation mode.
fn gram_matrices(
    measured: &Measured<'_>,
    model: &Checkpoint,
    group: &[Layer],
    progress: &mut Passes<'_>,
) -> std::result::Result<StateDict, StageError> {
    let grams = RefCell::new(StateDict::new());
    let watch = |name: &str, input: LayerInput<'_>| -> Result<()> {
        let Some(layer) = group.iter().find(|layer| layer.name == name) else { return Ok(()) };
        let gram = input.gram()?;
        if gram.dims() != [layer.inputs, layer.inputs] {
            bail!("`{name}` takes {} inputs, but its Gram matrix has shape {:?}", layer.inputs, gram.dims());
        }
        let mut grams = grams.borrow_mut();
        let sum = match grams.get(name) {
            Some(sum) => (sum + gram)?,
            None => gram,
        };
        grams.insert(name.to_owned(), sum);
        Ok(())
    };
    measured.watch(&model.tensors, &watch, progress)?;
    Ok(grams.into_inner())
}

/// One pass over the images for each source and group. A Gram matrix costs as much as its layer, times the layer's
/// inputs over its outputs; layers are assumed to cost the same.
pub(super) fn work(
    spec: &RegmeanSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    networks: &mut Networks,
) -> Work {
    let classes = shared_classes(sources);
    let layers = layers(&*sources[0].backbone.build(), classes);
    let groups = within_budget(&layers, |layer| gram_bytes(layer, sources.len()));
    let network = networks.get(&sources[0].backbone, classes, dataset.size);
    let images = dataset.images(SplitName::Train).min(spec.images as u64);
    let passes = product([images, sources.len() as u64]);
    let ratio: f64 = layers.iter().map(|layer| layer.inputs as f64 / layer.outputs as f64).sum();
    let grams = (network.forward() as f64 * ratio / layers.len() as f64) as u64;
    let solving = layers.iter().map(|layer| {
        let (inputs, outputs) = (layer.inputs as u64, layer.outputs as u64);
        let products = product([inputs, inputs, outputs, sources.len() as u64 + 1]);
        sum([product([inputs, inputs, inputs]) / 6, products])
    });
    let of_group = |group: &&[Layer]| sum(group.iter().map(|layer| gram_bytes(layer, sources.len())));
    let held = groups.iter().map(of_group).max().unwrap_or(0);
    let largest = layers.iter().map(Layer::gram_elements).max();
    Work {
        operations: sum([
            product([network.forward(), passes, groups.len() as u64]),
            product([grams, passes]),
            sum(solving),
        ]),
        memory_bytes: sum([
            held,
            product([2 * F64, largest.unwrap_or(0)]),
            network.bytes(),
            network.inference(images.min(BATCH as u64)),
            2 * PATCHES,
        ]),
        ..Work::default()
    }
}
