//! The work of a stage, estimated before it runs from its options, image counts and network shapes.

use std::collections::HashMap;

use super::{Known, KnownDataset, ModelInfo};
use backbone::BackboneSpec;
use dataset::SplitName;
use identity::Numerics;
use nn::cost::{Cost, product, sum};
use nn::init::Parameter;
use train::TrainSpec;
use train::eval_batch::batch_for_inference;

/// Bytes of an element.
pub const F32: u64 = 4;
/// Activations that inference holds at once: a layer's input, its output, a residual.
const HELD: u64 = 3;
/// Activation gradients that the backward pass holds at once, in addition to the activations.
const GRADIENTS: u64 = 2;

/// Costs of a stage. Counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-adds of all networks.
    pub operations: u64,
    /// Bytes of models read without a forward pass: by an import or a merge.
    pub bytes_read: u64,
    /// Peak memory in bytes.
    pub memory_bytes: u64,
    /// Size of its store entry in bytes.
    pub disk_bytes: u64,
}

/// Cache of network costs. Plans have many stages but few distinct networks.
#[derive(Debug)]
pub struct Networks {
    numerics: Numerics,
    known: HashMap<(BackboneSpec, usize, usize), Network>,
}

impl Networks {
    /// Networks that will run on such a device.
    pub fn new(numerics: Numerics) -> Self {
        Self { numerics, known: HashMap::new() }
    }

    /// The network with a head for `classes` classes (0: no head), on images with a side of `image_size` pixels.
    pub fn get(&mut self, spec: &BackboneSpec, classes: usize, image_size: usize) -> Network {
        let key = (spec.clone(), classes, image_size);
        let numerics = self.numerics;
        *self.known.entry(key).or_insert_with(|| Network::new(spec, classes, image_size, numerics))
    }

    /// The network for the classes and image size of a data set.
    pub fn for_dataset(&mut self, spec: &BackboneSpec, dataset: &KnownDataset<'_>) -> Network {
        self.get(spec, dataset.summary.classes.len(), dataset.size)
    }

    /// Size of a model's checkpoint in bytes.
    pub fn bytes(&mut self, info: &ModelInfo) -> u64 {
        self.get(&info.backbone, info.classes().len(), 0).bytes()
    }
}

/// A network's size and its cost per image.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Cost up to the features.
    features: Cost,
    /// Cost of the head.
    pub head: Cost,
    /// Elements of an image and of its features.
    image: u64,
    feature_size: u64,
    /// Elements of all tensors, of the trainable ones and of the head's.
    elements: u64,
    /// Trainable elements.
    pub learned: u64,
    head_elements: u64,
    /// Images per batch of an evaluation.
    evaluated: u64,
}

impl Network {
    /// Costs of a network with a head for `classes` classes, on images with a side of `image_size` pixels.
    pub fn new(spec: &BackboneSpec, classes: usize, image_size: usize, numerics: Numerics) -> Self {
        let backbone = spec.build();
        let head = backbone.head(classes);
        let parameters = [backbone.parameters(), head.parameters()].concat();
        let learned = parameters.iter().filter(|parameter| parameter.is_trainable());
        Self {
            features: backbone.cost(image_size),
            head: head.cost(1),
            image: product([3, image_size as u64, image_size as u64]),
            feature_size: backbone.feature_size() as u64,
            elements: sum(parameters.iter().map(Parameter::elements)),
            learned: sum(learned.map(Parameter::elements)),
            head_elements: sum(head.parameters().iter().map(Parameter::elements)),
            evaluated: batch_for_inference(image_size, numerics == Numerics::Cpu) as u64,
        }
    }

    /// Multiply-adds per image up to the features.
    pub fn features(&self) -> u64 {
        self.features.multiply_adds
    }

    /// Multiply-adds per image.
    pub fn forward(&self) -> u64 {
        (self.features + self.head).multiply_adds
    }

    /// Size of its checkpoint in bytes.
    pub fn bytes(&self) -> u64 {
        product([F32, self.elements])
    }

    /// Whether it has running statistics, which are not trainable.
    pub fn has_batch_norm(&self) -> bool {
        self.elements > self.learned
    }

    /// Memory of inference on `images` images at once, in bytes.
    pub fn inference(&self, images: u64) -> u64 {
        let held = sum([self.image, product([HELD, self.features.largest])]);
        product([F32, images, held])
    }

    /// Memory of an evaluation of `images` images, in bytes: inference on a batch at a time.
    pub fn evaluation(&self, images: u64) -> u64 {
        self.inference(images.min(self.evaluated))
    }

    /// Memory of a training step on `images` images, in bytes, with the next batch prepared beside it.
    pub fn stepping(&self, images: u64) -> u64 {
        let (pixels, gradients) = (product([2, self.image]), product([GRADIENTS, self.features.largest]));
        product([F32, images, sum([pixels, self.features.activations, gradients])])
    }
}

impl KnownDataset<'_> {
    /// Number of images of a split.
    pub fn images(&self, split: SplitName) -> u64 {
        self.summary.images(split) as u64
    }

    /// Size of all its images in bytes, decoded.
    pub fn decoded_bytes(&self) -> u64 {
        let of_split = |split: SplitName| {
            let kept = self.cache_size.filter(|_| split == SplitName::Train);
            let side = kept.unwrap_or(self.size) as u64;
            product([self.images(split), 3, side, side])
        };
        sum(SplitName::ALL.map(of_split))
    }
}

/// The cost of training a network on a data set.
pub struct TrainingWork<'a> {
    network: Network,
    dataset: KnownDataset<'a>,
    spec: &'a TrainSpec,
}

impl<'a> TrainingWork<'a> {
    /// Training of a backbone on the first data set of a stage.
    pub fn new(
        backbone: &BackboneSpec,
        known: &Known<'a>,
        spec: &'a TrainSpec,
        networks: &mut Networks,
    ) -> Self {
        let dataset = known.datasets[0];
        Self { network: networks.for_dataset(backbone, &dataset), dataset, spec }
    }

    /// Training of all trainable parameters, in a network that is one of `models` in memory.
    pub fn whole(&self, models: u64) -> Work {
        let network = &self.network;
        let elements = [
            product([network.elements, models]),
            self.copies(network.elements),
            self.learning(network.learned),
        ];
        Work {
            operations: self.operations(),
            memory_bytes: sum([product([F32, sum(elements)]), self.step(), self.dataset.decoded_bytes()]),
            disk_bytes: network.bytes(),
            ..Work::default()
        }
    }

    /// Training of the head alone. Features of repeated image variants are cached.
    pub fn head(&self) -> Work {
        let (network, epochs) = (&self.network, self.spec.epochs as u64);
        let (images, validation) = (self.dataset.images(SplitName::Train), self.validation_images());
        let drawn = product([epochs, self.images_per_epoch()]);
        let passes = drawn.div_ceil(images.max(1));
        let variants = self.spec.augment.distinct_variants(passes);
        let computed =
            variants.map_or(drawn, |variants| drawn.min((images as f64 * variants).round() as u64));
        let remembered = sum([validation, variants.map_or(0, |_| computed)]);
        let features = product([remembered, network.feature_size]);
        let head = network.head_elements;
        let elements = [network.elements, features, self.copies(head), self.learning(head)];
        let backbone = product([network.features(), sum([computed, validation])]);
        let inference = network.inference(self.batch()).max(network.evaluation(validation));
        Work {
            operations: sum([backbone, product([network.head.multiply_adds, self.passes()])]),
            memory_bytes: sum([product([F32, sum(elements)]), inference, self.dataset.decoded_bytes()]),
            disk_bytes: network.bytes(),
            ..Work::default()
        }
    }

    /// Training of `per_source` merge weights for each of `sources` sources, with a base or without. A step computes one network with merged
    /// kernels. Memory holds the sources and the base as read and again stacked, the merged kernels and their gradients.
    pub fn merge_weights(&self, sources: usize, has_base: bool, per_source: u64) -> Work {
        let (network, sources) = (&self.network, sources as u64);
        let stacked = sum([sources, u64::from(has_base)]);
        let weights = product([sources, per_source]);
        let unmerged = sum([network.elements - network.learned, network.head_elements]);
        let models = product([network.elements, sum([product([2, stacked]), 2])]);
        let elements = [models, self.learning(sum([weights, network.head_elements]))];
        Work {
            operations: self.operations(),
            memory_bytes: sum([product([F32, sum(elements)]), self.step(), self.dataset.decoded_bytes()]),
            disk_bytes: product([F32, sum([weights, unmerged])]),
            ..Work::default()
        }
    }

    /// The same training with teachers, whose predictions of each image are computed in each epoch.
    pub fn taught(&self, training: Work, teachers: &[Network]) -> Work {
        let images = product([self.spec.epochs as u64, self.images_per_epoch()]);
        let passes = teachers.iter().map(|teacher| product([teacher.forward(), images]));
        let evaluation = teachers.iter().map(|teacher| teacher.evaluation(self.batch())).max();
        let held = teachers.iter().map(Network::bytes).chain(evaluation);
        Work {
            operations: sum([training.operations, sum(passes)]),
            memory_bytes: sum([training.memory_bytes, sum(held)]),
            ..training
        }
    }

    fn operations(&self) -> u64 {
        product([self.network.forward(), self.passes()])
    }

    /// Forward passes: three for each training image, as the backward pass costs two, and one for each validation
    /// image.
    fn passes(&self) -> u64 {
        let learned = product([3, self.images_per_epoch()]);
        product([self.spec.epochs as u64, sum([learned, self.validation_images()])])
    }

    fn images_per_epoch(&self) -> u64 {
        self.spec.images_per_epoch(self.dataset.images(SplitName::Train) as usize) as u64
    }

    fn validation_images(&self) -> u64 {
        if self.selects() { self.dataset.images(SplitName::Val) } else { 0 }
    }

    fn selects(&self) -> bool {
        self.spec.select.metric().is_some()
    }

    fn batch(&self) -> u64 {
        self.images_per_epoch().min(self.spec.batch_size as u64)
    }

    /// Elements of the copy of the best epoch, of the moving averages, and of what they replace in validation.
    fn copies(&self, elements: u64) -> u64 {
        let averages = if self.spec.ema > 0.0 { 2 } else { 0 };
        product([elements, averages + u64::from(self.selects())])
    }

    /// Elements in addition to the trainable ones: a gradient of each, a sum of gradients, and the optimizer's state.
    fn learning(&self, learned: u64) -> u64 {
        let sums = u64::from(self.spec.accumulate > 1);
        product([learned, 1 + sums + self.spec.optimizer.moments() as u64])
    }

    /// Peak memory of a step or of validation, in bytes.
    fn step(&self) -> u64 {
        self.network.stepping(self.batch()).max(self.network.evaluation(self.validation_images()))
    }
}
