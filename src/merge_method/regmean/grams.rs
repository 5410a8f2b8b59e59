//! Gram matrices of what goes into the layers of each source, and the weights that follow from them.
//!
//! A Gram matrix has a number for each pair of inputs: 85 MB for the 4608 of a 3x3 convolution over 512 channels. So
//! layers are measured some at a time, as many as [`BUDGET`] holds for all sources, one if it has more; the images pass
//! once for each such group.
//!
//! What goes into a layer is what this program has it compute: of a transformer's last block behind its attention, the
//! class token alone; of a dense network's transition, the means that its pool makes.

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
use crate::method::classes as classes_of;

/// Bytes of the Gram matrices that are held at once: 1 GiB.
const BUDGET: u64 = 1 << 30;
/// Images that pass at once.
const BATCH: usize = 32;
/// Bytes of a number in a Gram matrix.
const F32: u64 = 4;
/// Bytes of a number where equations are solved.
const F64: u64 = 8;
/// Bytes of the patches that are gathered at once.
const PATCHES: u64 = 64 << 20;

/// A layer that has a linear map.
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

/// The weights of all layers that are linear maps, by name.
///
/// # Errors
/// A convolution has groups, a source computes numbers that are not finite, or the person asked to stop.
pub(crate) fn solved_weights(
    spec: &RegmeanSpec,
    merging: &Merging<'_>,
) -> std::result::Result<StateDict, StageError> {
    let (context, sources) = (merging.context, &merging.sources);
    // Heads are for the same classes if they are merged; else they are not.
    let head = sources[0].info.head.as_ref();
    let shared = sources.iter().all(|source| source.info.head.as_ref() == head);
    let classes = if shared { classes_of(&sources[0].info) } else { 0 };
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

/// The linear maps of a network, with a head for so many classes if any, in the order of its state_dict.
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

/// The layers that are measured at once.
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

/// Xᵀ·X of the rows that go into each of some layers of a model, over images that pass in evaluation mode.
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
            bail!("`{name}` has {} inputs, but was given others: {:?}", layer.inputs, gram.dims());
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

/// The images pass each source once for each group. A Gram matrix costs what its layer costs, times the layer's inputs
/// over its outputs; layers are taken to cost the same.
pub(super) fn work(
    spec: &RegmeanSpec,
    sources: &[&ModelInfo],
    dataset: &KnownDataset<'_>,
    networks: &mut Networks,
) -> Work {
    let head = sources[0].head.as_ref();
    let shared = sources.iter().all(|source| source.head.as_ref() == head);
    let classes = if shared { classes_of(sources[0]) } else { 0 };
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
