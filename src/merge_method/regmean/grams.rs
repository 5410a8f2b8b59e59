//! Gram matrices of layer inputs for each source, and the weights that follow from them.
//!
//! A Gram matrix has one element per pair of inputs: 85 MB for the 4608 inputs of a 3x3 convolution over 512 channels.
//! So layers are measured in groups, each with as many layers as fit into [`BUDGET`] for all sources (at least one),
//! with one pass over the images per group.
//!
//! The inputs of a layer are those of this implementation: after the attention of a transformer's last block only the
//! class token; in a dense network's transition the outputs of the pooling.

use std::cell::RefCell;

use backbone::Backbone;
use candle_core::{Result, Tensor, bail};
use dataset::SplitName;
use model::{Checkpoint, Context, KnownDataset, ModelInfo, Networks, StageError, Work};
use nn::cost::{product, sum};
use nn::{LayerInput, Mode, Net, StateDict, Value};
use train::{Progress, batch};

use super::{RegmeanSpec, solved};
use crate::Merging;

/// Bytes of Gram matrices held at once: 1 GiB.
const BUDGET: u64 = 1 << 30;
/// Images per batch.
const BATCH: usize = 32;
/// Bytes of an element of a Gram matrix.
const F32: u64 = 4;
/// Bytes of an element of the linear systems.
const F64: u64 = 8;
/// Bytes of patches gathered at once.
const PATCHES: u64 = 64 << 20;

/// A layer with a linear map.
struct Layer {
    name: String,
    outputs: usize,
    inputs: usize,
}

impl Layer {
    fn gram_bytes(&self) -> u64 {
        product([F32, self.inputs as u64, self.inputs as u64])
    }
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
    // Merged heads are for the same classes; other heads are skipped.
    let head = sources[0].info.head.as_ref();
    let shared = sources.iter().all(|source| source.info.head.as_ref() == head);
    let classes = if shared { sources[0].info.classes().len() } else { 0 };
    let backbone = sources[0].info.backbone.build();
    let layers = layers(&*backbone, classes);
    let groups = groups(&layers, sources.len());
    let images = merging.drawn(merging.dataset().train.len(), spec.images);
    let mut weights = StateDict::new();
    let mut done = 0;
    let of = groups.len() * sources.len() * images.len();
    for group in &groups {
        let mut grams = Vec::new();
        for source in sources {
            let passed = |images: usize| {
                done += images;
                (context.report)(Progress::Count { done, of, what: "images".into() })
            };
            grams.push(gram_matrices(&*backbone, source, classes, group, &images, context, passed)?);
        }
        for layer in *group {
            let name = format!("{}.weight", layer.name);
            let of_layer: Vec<Tensor> =
                grams.iter_mut().filter_map(|grams| grams.remove(&layer.name)).collect();
            let of_sources = sources.iter().filter_map(|source| source.tensors.get(&name).cloned());
            let of_sources: Vec<Tensor> = of_sources.collect();
            if of_layer.len() != sources.len() || of_sources.len() != sources.len() {
                let problem = format!("the sources do not all have a layer `{}`", layer.name);
                return Err(StageError::Failed(problem));
            }
            weights.insert(name, solved(&of_layer, &of_sources, spec.alpha)?);
            (context.report)(Progress::Count { done, of, what: "images".into() })?;
        }
    }
    Ok(weights)
}

/// The linear maps of a network in `state_dict` order, with a head for `classes` classes (0: no head).
fn layers(backbone: &dyn Backbone, classes: usize) -> Vec<Layer> {
    let parameters = backbone.all_parameters((classes > 0).then_some(classes)).into_iter();
    let layer = |parameter: nn::init::Parameter| {
        let name = parameter.name.strip_suffix(".weight")?.to_owned();
        let is_map = matches!(parameter.shape.len(), 2 | 4);
        let (outputs, inputs) = (parameter.shape.first()?, parameter.shape[1..].iter().product());
        is_map.then_some(Layer { name, outputs: *outputs, inputs })
    };
    parameters.filter_map(layer).collect()
}

/// The groups of layers that are measured at once.
fn groups(layers: &[Layer], sources: usize) -> Vec<&[Layer]> {
    let mut groups = Vec::new();
    let (mut first, mut held) = (0, 0);
    for (i, layer) in layers.iter().enumerate() {
        let bytes = product([layer.gram_bytes(), sources as u64]);
        if i > first && sum([held, bytes]) > BUDGET {
            groups.push(&layers[first..i]);
            (first, held) = (i, 0);
        }
        held = sum([held, bytes]);
    }
    groups.push(&layers[first..]);
    groups
}

/// Xᵀ·X of the input rows of each of some layers of a model, over images in evaluation mode.
fn gram_matrices(
    backbone: &dyn Backbone,
    model: &Checkpoint,
    classes: usize,
    group: &[Layer],
    images: &[usize],
    context: &Context<'_>,
    mut passed: impl FnMut(usize) -> std::result::Result<(), train::Interrupted>,
) -> std::result::Result<StateDict, StageError> {
    let dataset = &context.datasets[0];
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
    for positions in images.chunks(BATCH) {
        let normalize = &model.info.normalize;
        let x = batch::images(&dataset.train, dataset.size, positions, normalize, None, &context.device)?;
        let net = Net::new(&model.tensors, Mode::Eval).watched(&watch);
        let features = backbone.features(&net, &Value::constant(x))?;
        if classes > 0 {
            backbone.head(classes).forward(&net, &features)?;
        }
        passed(positions.len())?;
    }
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
    let head = sources[0].head.as_ref();
    let shared = sources.iter().all(|source| source.head.as_ref() == head);
    let classes = if shared { sources[0].classes().len() } else { 0 };
    let layers = layers(&*sources[0].backbone.build(), classes);
    let groups = groups(&layers, sources.len());
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
    let of_group = |group: &&[Layer]| sum(group.iter().map(Layer::gram_bytes));
    let held = product([groups.iter().map(of_group).max().unwrap_or(0), sources.len() as u64]);
    let largest = layers.iter().map(|layer| product([layer.inputs as u64, layer.inputs as u64])).max();
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
