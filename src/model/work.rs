//! The work of a stage, counted before it runs: from its options, its data's counts and its networks' shapes.

use std::collections::HashMap;

use super::{Known, KnownDataset, ModelInfo};
use backbone::BackboneSpec;
use dataset::SplitName;
use nn::cost::{Cost, product, sum};
use nn::init::Parameter;
use train::epoch::EVAL_BATCH;
use train::{Select, TrainSpec};

/// Bytes of a number.
pub const F32: u64 = 4;
/// Results that a pass without a way back holds at once: what a layer takes, what it makes, a residual.
const HELD: u64 = 3;
/// Gradients of results that are held at once on the way back, beside the results.
const GRADIENTS: u64 = 2;

/// What a stage has to do. Counts stop at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Multiply-adds of its networks.
    pub operations: u64,
    /// Bytes of the models that it reads through beside: an import, a merge.
    pub bytes_read: u64,
    /// Bytes of memory at its fullest.
    pub memory_bytes: u64,
    /// Bytes of its entry in the store.
    pub disk_bytes: u64,
}

/// The networks of a plan that were counted: each once, as a plan has few of them, however many stages.
#[derive(Debug, Default)]
pub struct Networks(HashMap<(BackboneSpec, usize, usize), Network>);

impl Networks {
    /// With a head for so many classes (0 for none), and for images of a side.
    pub fn get(&mut self, spec: &BackboneSpec, classes: usize, image_size: usize) -> Network {
        let key = (spec.clone(), classes, image_size);
        *self.0.entry(key).or_insert_with(|| Network::new(spec, classes, image_size))
    }

    /// For the classes and images of a data set.
    pub fn on(&mut self, spec: &BackboneSpec, dataset: &KnownDataset<'_>) -> Network {
        self.get(spec, dataset.summary.classes.len(), dataset.size)
    }

    /// Bytes of a model's checkpoint.
    pub fn bytes(&mut self, info: &ModelInfo) -> u64 {
        let classes = info.head.as_ref().map_or(0, |head| head.classes.len());
        self.get(&info.backbone, classes, 0).bytes()
    }
}

/// A network's size, and what it costs an image.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Up to the features.
    features: Cost,
    /// The head.
    pub head: Cost,
    /// Numbers of an image, and of its features.
    image: u64,
    feature_size: u64,
    /// Numbers of all tensors, of those that are learnt, and of the head's.
    numbers: u64,
    /// Trainable elements.
    pub learnt: u64,
    head_numbers: u64,
    /// What can have a merge weight.
    kernels: u64,
}

impl Network {
    /// Counts a network with a head for so many classes, for images of a side.
    pub fn new(spec: &BackboneSpec, classes: usize, image_size: usize) -> Self {
        let backbone = spec.build();
        let head = backbone.head(classes);
        let parameters = [backbone.parameters(), head.parameters()].concat();
        let learnt = parameters.iter().filter(|parameter| parameter.is_trainable());
        Self {
            features: backbone.cost(image_size),
            head: head.cost(1),
            image: product([3, image_size as u64, image_size as u64]),
            feature_size: backbone.feature_size() as u64,
            numbers: sum(parameters.iter().map(Parameter::elements)),
            learnt: sum(learnt.map(Parameter::elements)),
            head_numbers: sum(head.parameters().iter().map(Parameter::elements)),
            kernels: sum(backbone.kernel_groups().iter().map(|group| group.kernels as u64)),
        }
    }

    /// Multiply-adds of an image up to its features.
    pub fn features(&self) -> u64 {
        self.features.multiply_adds
    }

    /// Multiply-adds of an image.
    pub fn forward(&self) -> u64 {
        (self.features + self.head).multiply_adds
    }

    /// Bytes of its checkpoint.
    pub fn bytes(&self) -> u64 {
        product([F32, self.numbers])
    }

    /// Whether it has running statistics, which are not learnt.
    pub fn has_batch_norm(&self) -> bool {
        self.numbers > self.learnt
    }

    /// Bytes of inference on up to so many images.
    pub fn inference(&self, images: u64) -> u64 {
        let held = sum([self.image, product([HELD, self.features.largest])]);
        product([F32, images.min(EVAL_BATCH as u64), held])
    }

    /// Bytes of a step of so many images.
    pub fn stepping(&self, images: u64) -> u64 {
        let gradients = product([GRADIENTS, self.features.largest]);
        product([F32, images, sum([self.image, self.features.activations, gradients])])
    }
}

impl KnownDataset<'_> {
    /// Images of a split.
    pub fn images(&self, split: SplitName) -> u64 {
        sum(self.summary.counts[split as usize].iter().map(|&count| count as u64))
    }

    /// Bytes of all its images, decoded.
    pub fn decoded_bytes(&self) -> u64 {
        let images = sum(SplitName::ALL.map(|split| self.images(split)));
        product([images, 3, self.size as u64, self.size as u64])
    }
}

/// How a network is trained on a data set.
pub struct TrainingWork<'a> {
    network: Network,
    dataset: KnownDataset<'a>,
    spec: &'a TrainSpec,
}

impl<'a> TrainingWork<'a> {
    /// Of a backbone on the first data set of a stage.
    pub fn new(
        backbone: &BackboneSpec,
        known: &Known<'a>,
        spec: &'a TrainSpec,
        networks: &mut Networks,
    ) -> Self {
        let dataset = known.datasets[0];
        Self { network: networks.on(backbone, &dataset), dataset, spec }
    }

    /// Of all that can be learnt, in a network that is one of so many `models` in memory.
    pub fn whole(&self, models: u64) -> Work {
        let network = &self.network;
        let numbers =
            [product([network.numbers, models]), self.best(network.numbers), self.learning(network.learnt)];
        Work {
            operations: self.operations(),
            memory_bytes: sum([product([F32, sum(numbers)]), self.step(), self.dataset.decoded_bytes()]),
            disk_bytes: network.bytes(),
            ..Work::default()
        }
    }

    /// Of the head alone. Features of variants of an image that come again are remembered.
    pub fn head(&self) -> Work {
        let (network, epochs) = (&self.network, self.spec.epochs as u64);
        let (images, validation) = (self.dataset.images(SplitName::Train), self.validation_images());
        let variants = self.spec.augment.distinct_variants(epochs);
        let computed = (images as f64 * variants.unwrap_or(epochs as f64)).round() as u64;
        let remembered = sum([validation, variants.map_or(0, |_| computed)]);
        let features = product([remembered, network.feature_size]);
        let head = network.head_numbers;
        let numbers = [network.numbers, features, self.best(head), self.learning(head)];
        let backbone = product([network.features(), sum([computed, validation])]);
        let batch = self.batch().max(validation);
        Work {
            operations: sum([backbone, product([network.head.multiply_adds, self.passes()])]),
            memory_bytes: sum([
                product([F32, sum(numbers)]),
                network.inference(batch),
                self.dataset.decoded_bytes(),
            ]),
            disk_bytes: network.bytes(),
            ..Work::default()
        }
    }

    /// Of merge weights for so many sources: a step computes one network, of merged kernels. In memory are the sources
    /// as they were read and once more stacked, the merged kernels and their gradients.
    pub fn merge_weights(&self, sources: usize) -> Work {
        let (network, sources) = (&self.network, sources as u64);
        let weights = product([sources, network.kernels]);
        let unmerged = sum([network.numbers - network.learnt, network.head_numbers]);
        let models = product([network.numbers, sum([product([2, sources]), 2])]);
        let numbers = [models, self.learning(sum([weights, network.head_numbers]))];
        Work {
            operations: self.operations(),
            memory_bytes: sum([product([F32, sum(numbers)]), self.step(), self.dataset.decoded_bytes()]),
            disk_bytes: product([F32, sum([weights, unmerged])]),
            ..Work::default()
        }
    }

    fn operations(&self) -> u64 {
        product([self.network.forward(), self.passes()])
    }

    /// Passes of images: three for each to be learnt, as the way back costs two, and one for each to choose by.
    fn passes(&self) -> u64 {
        let learnt = product([3, self.dataset.images(SplitName::Train)]);
        product([self.spec.epochs as u64, sum([learnt, self.validation_images()])])
    }

    fn validation_images(&self) -> u64 {
        if self.selects() { self.dataset.images(SplitName::Val) } else { 0 }
    }

    fn selects(&self) -> bool {
        self.spec.select != Select::None
    }

    fn batch(&self) -> u64 {
        self.dataset.images(SplitName::Train).min(self.spec.batch_size as u64)
    }

    /// Numbers of the best epoch's copy.
    fn best(&self, numbers: u64) -> u64 {
        if self.selects() { numbers } else { 0 }
    }

    /// Numbers beside those that are learnt: a gradient of each, and what the optimiser remembers.
    fn learning(&self, learnt: u64) -> u64 {
        product([learnt, 1 + self.spec.optimizer.moments() as u64])
    }

    /// Bytes of a step, or of validation if that takes more.
    fn step(&self) -> u64 {
        self.network.stepping(self.batch()).max(self.network.inference(self.validation_images()))
    }
}
