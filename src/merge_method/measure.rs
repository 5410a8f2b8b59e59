//! Running the sources on training images and observing what enters their layers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use backbone::Backbone;
use candle_core::{Result, Tensor, bail};
use model::{Context, ModelInfo, StageError};
use nn::conv2d::ConvOptions;
use nn::cost::{product, sum};
use nn::{LayerInput, Mode, Net, Normalize, StateDict, Value, Watch};
use train::{Interrupted, Progress, pixels};

/// Bytes of measurements held at once: 1 GiB.
pub(crate) const BUDGET: u64 = 1 << 30;
/// Bytes of patches gathered at once.
pub(crate) const PATCHES: u64 = 64 << 20;
/// Bytes of an element in double precision.
pub(crate) const F64: u64 = 8;
/// Largest number of images per batch.
pub(crate) const BATCH: usize = 32;

/// Number of classes of the head that all sources share, which is merged; 0 if they share none, which is skipped.
pub(crate) fn shared_classes(sources: &[&ModelInfo]) -> usize {
    let head = sources[0].head.as_ref();
    let shared = sources.iter().all(|source| source.head.as_ref() == head);
    if shared { sources[0].classes().len() } else { 0 }
}

/// The items in groups, in order, each with as many as fit into [`BUDGET`], at least one.
pub(crate) fn within_budget<T>(items: &[T], bytes: impl Fn(&T) -> u64) -> Vec<&[T]> {
    let mut groups = Vec::new();
    let (mut first, mut held) = (0, 0);
    for (i, item) in items.iter().enumerate() {
        let bytes = bytes(item);
        if i > first && sum([held, bytes]) > BUDGET {
            groups.push(&items[first..i]);
            (first, held) = (i, 0);
        }
        held = sum([held, bytes]);
    }
    groups.push(&items[first..]);
    groups
}

/// Images per batch, when the inputs of all layers of so many sources are held at once.
pub(crate) fn joint_batch(backbone: &dyn Backbone, sources: usize, image_size: usize) -> usize {
    let held = product([4, sources as u64, backbone.cost(image_size).activations]);
    ((BUDGET / held.max(1)) as usize).clamp(1, BATCH)
}

/// Networks of one backbone, and the images that they are run on.
pub(crate) struct Measured<'a> {
    /// The backbone of all networks.
    pub backbone: &'a dyn Backbone,
    /// The scaling of the images' pixels.
    pub normalize: &'a Normalize,
    /// Classes of the head; 0 to run none.
    pub classes: usize,
    /// Indices of training images.
    pub images: &'a [usize],
    /// The stage's context.
    pub context: &'a Context<'a>,
}

impl Measured<'_> {
    /// Observe the inputs of one network's layers, in evaluation mode, batch by batch.
    ///
    /// # Errors
    /// The watch failed, a tensor operation failed, or the user interrupted.
    pub(crate) fn watch(
        &self,
        network: &StateDict,
        watch: &Watch<'_>,
        progress: &mut Passes<'_>,
    ) -> std::result::Result<(), StageError> {
        for positions in self.images.chunks(BATCH) {
            self.forward(network, &self.batch(positions)?, watch)?;
            progress.add(positions.len())?;
        }
        Ok(())
    }

    /// Pass the inputs of each of these layers in all networks on the same images to `take`, in batches of `batch`
    /// images.
    ///
    /// # Errors
    /// A network has no such layer, a tensor operation failed, or the user interrupted.
    pub(crate) fn watch_jointly(
        &self,
        networks: &[&StateDict],
        layers: &[&str],
        batch: usize,
        progress: &mut Passes<'_>,
        mut take: impl FnMut(&str, &[Input]) -> Result<()>,
    ) -> std::result::Result<(), StageError> {
        for positions in self.images.chunks(batch) {
            let x = self.batch(positions)?;
            let mut seen: BTreeMap<&str, Vec<Input>> = BTreeMap::new();
            for network in networks {
                for (layer, input) in self.inputs(network, &x, layers)? {
                    seen.entry(layer).or_default().push(input);
                }
                progress.add(positions.len())?;
            }
            for layer in layers {
                match seen.remove(layer) {
                    Some(inputs) => take(layer, &inputs)?,
                    None => {
                        return Err(StageError::Failed(format!("the backbone runs no layer `{layer}`")));
                    }
                }
            }
        }
        Ok(())
    }

    fn batch(&self, positions: &[usize]) -> Result<Tensor> {
        let dataset = &self.context.datasets[0];
        pixels::images(&dataset.train, dataset.size, positions, self.normalize, None, &self.context.device)
    }

    fn forward(&self, network: &StateDict, x: &Tensor, watch: &Watch<'_>) -> Result<()> {
        let net = Net::new(network, Mode::Eval).watched(watch);
        let features = self.backbone.features(&net, &Value::constant(x.clone()))?;
        if self.classes > 0 {
            self.backbone.head(self.classes).forward(&net, &features)?;
        }
        Ok(())
    }

    /// The inputs of some layers of a network on a batch.
    fn inputs<'l>(
        &self,
        network: &StateDict,
        x: &Tensor,
        layers: &[&'l str],
    ) -> Result<BTreeMap<&'l str, Input>> {
        let seen = RefCell::new(BTreeMap::new());
        let watch = |name: &str, input: LayerInput<'_>| {
            if let Some(&layer) = layers.iter().find(|layer| **layer == name) {
                seen.borrow_mut().insert(layer, Input::new(input));
            }
            Ok(())
        };
        self.forward(network, x, &watch)?;
        Ok(seen.into_inner())
    }
}

/// The progress of passes over images.
pub(crate) struct Passes<'a> {
    context: &'a Context<'a>,
    done: usize,
    of: usize,
}

impl<'a> Passes<'a> {
    /// No image of `of` has passed.
    pub(crate) fn new(context: &'a Context<'a>, of: usize) -> Self {
        Self { context, done: 0, of }
    }

    /// Report that `images` more have passed.
    ///
    /// # Errors
    /// The user interrupted.
    pub(crate) fn add(&mut self, images: usize) -> std::result::Result<(), Interrupted> {
        self.done += images;
        (self.context.report)(Progress::Count { done: self.done, of: self.of, what: "images".into() })
    }
}

/// The input of a layer on a batch.
pub(crate) struct Input {
    /// `[n, h, w, c]` of a convolution or the last pool, `[.., in]` of a linear layer.
    pub x: Tensor,
    convolution: Option<([usize; 2], ConvOptions)>,
}

impl Input {
    fn new(input: LayerInput<'_>) -> Self {
        match input {
            LayerInput::Rows(x) => Self { x: x.clone(), convolution: None },
            LayerInput::Images { x, kernel, options } => {
                Self { x: x.clone(), convolution: Some((kernel, options)) }
            }
        }
    }

    /// The input of the same layer with other elements.
    pub(crate) fn with(&self, x: Tensor) -> Self {
        Self { x, convolution: self.convolution }
    }

    /// The input as the layer gets it.
    pub(crate) fn of_layer(&self) -> LayerInput<'_> {
        match self.convolution {
            None => LayerInput::Rows(&self.x),
            Some((kernel, options)) => LayerInput::Images { x: &self.x, kernel, options },
        }
    }

    /// `size` channels from `start` on at every position: `[positions, size]`.
    pub(crate) fn channels(&self, start: usize, size: usize) -> Result<Tensor> {
        let rows = self.x.flatten_to(self.x.rank().saturating_sub(2))?;
        match rows.dims2()? {
            (_, channels) if channels >= start + size => rows.narrow(1, start, size),
            (_, channels) => bail!("a layer has {channels} channels, not {} or more", start + size),
        }
    }
}
