//! Training: the loop, losses, optimizers, schedules and augmentation.
//!
//! | file | what |
//! |---|---|
//! | [`epoch`] | the training loop |
//! | [`learner`] | what is trained |
//! | `replays` | steps that are captured once and replayed on a GPU |
//! | [`eval_batch`] | batch sizes for inference |
//! | `accumulated` | gradients of several batches for one step |
//! | `average` | moving averages of the weights |
//! | `best` | the best epoch, early stopping |
//! | [`resume`] | saving and restoring the state of a training |
//! | [`objective`] | what training minimizes |
//! | [`loss`] | cross entropy, binary cross entropy, entropy, distillation |
//! | [`optimizer`] | SGD, Adam, AdamW with serializable state; gradient clipping |
//! | [`layer_rates`] | learning rates of the layers of a backbone |
//! | [`schedule`] | learning rate per epoch |
//! | [`select`] | the validation score that selects the epoch to keep |
//! | [`progress`] | progress reports |
//! | [`sampling`] | which images form the batches of an epoch |
//! | [`targets`] | what a loss compares logits with |
//! | [`batch`] | their targets and images, prepared ahead of the step |
//! | [`pixels`] | pixels of images as tensors |
//! | `losses` | losses of batches, which a GPU computes while others are prepared |
//! | [`augmentation`] | random transforms of u8 images, and of batches |

mod accumulated;
pub mod augmentation;
mod average;
pub mod batch;
mod best;
pub mod epoch;
pub mod eval_batch;
#[cfg(test)]
mod gpu_tests;
pub mod layer_rates;
pub mod learner;
pub mod loss;
mod losses;
pub mod objective;
pub mod optimizer;
pub mod pixels;
pub mod progress;
mod replays;
pub mod resume;
pub mod sampling;
pub mod schedule;
pub mod select;
pub mod targets;

use dataset::Labeling;
use identity::options::replaced;
use identity::{Identity, Spec};
use kind::{Kind, Problems};
use metric::{METRICS, Metric};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use augmentation::Augment;
pub use loss::{ClassCounts, ClassWeights, Loss, LossSpec, Softening};
pub use objective::{NamedLoss, Objective};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSpec};
pub use progress::{EpochRecord, Interrupted, Progress, TrainError};
pub use sampling::Sampling;
pub use schedule::ScheduleSpec;
pub use select::Select;
pub use targets::Targets;

/// Hyperparameters of training: the keys of `[train]`, any of which a training stage may override.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSpec {
    /// Number of passes over the training images, or over `epoch_images` of them.
    pub epochs: usize,
    /// Number of images per epoch, whatever the size of the data set: all training images come before any comes again.
    /// Each once if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_images: Option<usize>,
    /// Number of images per batch. A last batch of a single image is dropped.
    pub batch_size: usize,
    /// Number of batches per optimizer step, whose gradients are averaged over all their images. The last step of an
    /// epoch takes what is left.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1))]
    pub accumulate: usize,
    /// How the images of an epoch are drawn.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "shuffled"))]
    pub sampling: Sampling,
    /// Optimizer; default `adamw`.
    pub optimizer: OptimizerSpec,
    /// Learning rate of everything but the head, at most the optimizer's `lr`; the same if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_backbone: Option<f64>,
    /// Layer-wise decay γ of the learning rate: depth d of D has the learning rate lr · γ^(D − d), the head lr.
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(extend("default" = 1.0))]
    pub layer_decay: f64,
    /// Decay d of moving averages of the weights and running statistics, ē ← d ē + (1 − d) w after each step, which are
    /// validated and kept in place of the weights; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = 0.0))]
    pub ema: f64,
    /// Learning rate schedule; default `cosine`.
    pub schedule: ScheduleSpec,
    /// Training loss; default `cross_entropy`.
    pub loss: LossSpec,
    /// Random transforms of the training images, and then of batches, applied in this order; default none.
    pub augment: Augment,
    /// Maximum L2 norm of the gradient over all parameters, above which it is scaled down; unlimited if absent.
    pub clip_norm: Option<f64>,
    /// Metric of the validation images that selects the best epoch, any of the [metrics](#metrics), or `entropy`, which
    /// uses no labels; `none` keeps the last epoch.
    pub select: Select,
    /// Number of epochs without a better validation score after which training stops; unlimited if absent.
    pub patience: Option<usize>,
    /// Minimum improvement of the validation score that counts as better for `patience`.
    pub min_delta: f64,
    /// Seed of all randomness in the stage.
    pub seed: u64,
}

/// The draws of an epoch are in memory at once.
const MOST_EPOCH_IMAGES: usize = 1_000_000_000;

impl Default for TrainSpec {
    fn default() -> Self {
        Self {
            epochs: 10,
            epoch_images: None,
            batch_size: 64,
            accumulate: 1,
            sampling: Sampling::default(),
            optimizer: OptimizerSpec::default(),
            lr_backbone: None,
            layer_decay: 1.0,
            ema: 0.0,
            schedule: ScheduleSpec::default(),
            loss: LossSpec::default(),
            augment: Augment::default(),
            clip_norm: None,
            select: Select::default(),
            patience: None,
            min_delta: 0.0,
            seed: 0,
        }
    }
}

/// For keys that came later: at their default they are not in the fingerprint.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_one<T: From<u8> + PartialEq>(value: &T) -> bool {
    *value == T::from(1)
}

impl TrainSpec {
    /// Checks that the options fit images with this side in pixels, of which those for training may be kept larger.
    ///
    /// # Errors
    /// Messages that say what to change.
    pub fn fits(&self, size: usize, cache_size: Option<usize>) -> Result<(), Vec<String>> {
        self.augment.fits(size, cache_size)
    }

    /// Number of images in an epoch on a data set with this number of training images.
    pub fn images_per_epoch(&self, training_images: usize) -> usize {
        self.epoch_images.unwrap_or(training_images)
    }

    /// Number of optimizer steps in an epoch, and of images in their batches, on a data set with this number of training
    /// images.
    pub fn steps_per_epoch(&self, training_images: usize) -> (usize, usize) {
        let drawn = self.images_per_epoch(training_images);
        let alone = usize::from(drawn % self.batch_size == 1);
        let images = drawn - alone;
        (images.div_ceil(self.batch_size).div_ceil(self.accumulate), images)
    }

    /// Checks that the options are for images that are labeled like this. `who` is the data set, for messages.
    ///
    /// # Errors
    /// Messages that say what to change.
    pub fn suits(&self, labeling: Labeling, who: &str) -> Result<(), Vec<String>> {
        let mut misfits = Vec::new();
        if !self.loss.suits(labeling) {
            misfits.push(format!(
                "`loss = \"{}\"` is for one class per image, but {who} is {}; set `loss = \"binary_cross_entropy\"`",
                self.loss.kind(),
                labeling.as_str()
            ));
        }
        if !self.sampling.suits(labeling) {
            misfits.push(format!(
                "`sampling = \"balanced\"` draws one class per image, but {who} is {}; leave it out, or set \
                 `loss.binary_cross_entropy.class_weights = \"balanced\"`",
                labeling.as_str()
            ));
        }
        misfits.extend(self.select.metric().and_then(|metric| undefined("select", metric, labeling, who)));
        if misfits.is_empty() { Ok(()) } else { Err(misfits) }
    }
}

/// Why the metric of a key is not for images that are labeled like this. `who` is the data set.
pub fn undefined(key: &str, metric: &Metric, labeling: Labeling, who: &str) -> Option<String> {
    let others = METRICS.iter().filter(|other| other.suits(labeling)).map(|other| other.name);
    let others: Vec<&str> = others.collect();
    (!metric.suits(labeling)).then(|| {
        format!(
            "`{key} = \"{}\"` is defined for one class per image, but {who} is {}; choose one of {}",
            metric.name,
            labeling.as_str(),
            kind::suggest::list(&others)
        )
    })
}

impl Identity for TrainSpec {
    fn options(&self) -> Value {
        replaced(self.to_json(), "augment", self.augment.options())
    }
}

impl Kind for TrainSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.at_least("epochs", self.epochs, 1);
        if let Some(images) = self.epoch_images {
            let is_possible = (2..=MOST_EPOCH_IMAGES).contains(&images);
            let must = format!("from 2 to {MOST_EPOCH_IMAGES}");
            problems.check("epoch_images", images, is_possible, &must);
        }
        problems.at_least("batch_size", self.batch_size, 2);
        problems.at_least("accumulate", self.accumulate, 1);
        let optimizer = &self.optimizer;
        problems.under(&format!("optimizer.{}", optimizer.kind()), |problems| optimizer.validate(problems));
        self.lr_backbone.iter().for_each(|&lr| problems.positive("lr_backbone", lr));
        problems.fraction_above_0("layer_decay", self.layer_decay);
        problems.fraction_below_1("ema", self.ema);
        let schedule = &self.schedule;
        problems.under(&format!("schedule.{}", schedule.kind()), |problems| schedule.validate(problems));
        problems.under(&format!("loss.{}", self.loss.kind()), |problems| self.loss.validate(problems));
        problems.under("augment", |problems| self.augment.validate(problems));
        self.clip_norm.iter().for_each(|&norm| problems.positive("clip_norm", norm));
        self.patience.iter().for_each(|&patience| problems.at_least("patience", patience, 1));
        problems.not_negative("min_delta", self.min_delta);
    }

    fn validate_together(&self, problems: &mut Problems) {
        let (warmup, epochs) = (self.schedule.warmup_epochs(), self.epochs);
        if warmup > 0 && warmup >= epochs {
            let key = format!("schedule.{}.warmup_epochs", self.schedule.kind());
            problems.add(&key, format!("`warmup_epochs` ({warmup}) must be below `epochs` ({epochs})"), None);
        }
        self.validate_layers(problems);
        self.validate_unlabeled(problems);
        problems.under("augment", |problems| self.augment.validate_together(problems));
        if self.patience.is_some() && self.select == Select::NONE {
            let help = "leave `patience` out, or name a score in `select`".to_owned();
            let message = "`patience` needs a validation score, but `select` is \"none\"";
            problems.add("patience", message, Some(help));
        }
    }
}

impl TrainSpec {
    /// Reports a loss without labels, for stages whose parameters could make every image the same class.
    pub fn validate_labeled(&self, problems: &mut Problems) {
        if !self.loss.uses_labels() {
            let kind = self.loss.kind();
            let message = format!(
                "`loss = \"{kind}\"` uses no labels, so all images could become one class; only \
                 `learn_merge_weights` takes it"
            );
            let help = "name a loss of labels: `cross_entropy`, or `binary_cross_entropy`".to_owned();
            problems.add("loss", message, Some(help));
        }
    }

    /// Checks that nothing else uses labels if the loss does not.
    fn validate_unlabeled(&self, problems: &mut Problems) {
        if self.loss.uses_labels() {
            return;
        }
        let kind = self.loss.kind();
        if self.sampling == Sampling::Balanced {
            let message =
                format!("`sampling = \"balanced\"` draws by label, but `loss = \"{kind}\"` uses no labels");
            problems.add("sampling", message, Some("set `sampling = \"shuffled\"`".to_owned()));
        }
        if self.augment.mixes_batches() {
            let message =
                format!("mixed images show two classes, on which `loss = \"{kind}\"` would be wrong");
            let help = "leave `mixup` and `cutmix` out of the stage's `augment`".to_owned();
            problems.add("augment", message, Some(help));
        }
    }

    /// Checks the learning rates of layers.
    fn validate_layers(&self, problems: &mut Problems) {
        let Some(lr_backbone) = self.lr_backbone else { return };
        let lr = self.optimizer.lr();
        if lr_backbone > lr {
            let message =
                format!("`lr_backbone` ({lr_backbone}) is above `lr` ({lr}), the head's learning rate");
            let help = format!("raise `optimizer.{}.lr`, or lower `lr_backbone`", self.optimizer.kind());
            problems.add("lr_backbone", message, Some(help));
        }
        if self.layer_decay != 1.0 {
            let message = "`lr_backbone` and `layer_decay` both set the learning rates of the backbone";
            problems.add("lr_backbone", message, Some("leave one of them out".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of all problems.
    fn problems(spec: &str) -> Vec<String> {
        let spec: TrainSpec = serde_json::from_str(spec).unwrap();
        let mut problems = Problems::default();
        spec.validate(&mut problems);
        spec.validate_together(&mut problems);
        problems.into_list().into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        for (spec, message) in [
            (r#"{"lr_backbone": 1e-4, "layer_decay": 0.75}"#, "both set the learning rates of the backbone"),
            (r#"{"lr_backbone": 0.01}"#, "`lr_backbone` (0.01) is above `lr` (0.001)"),
            (r#"{"lr_backbone": 0.0}"#, "`lr_backbone` must be a finite number above 0"),
            (r#"{"layer_decay": 1.5}"#, "`layer_decay` must be above 0 and up to 1, not 1.5"),
            (r#"{"ema": 1.0}"#, "`ema` must be at least 0 and below 1, not 1"),
            (r#"{"epoch_images": 1}"#, "`epoch_images` must be from 2 to 1000000000, not 1"),
            (r#"{"epoch_images": 1000000001}"#, "must be from 2 to 1000000000, not 1000000001"),
            (r#"{"accumulate": 0}"#, "`accumulate` must be 1 or more, not 0"),
            (r#"{"augment": [{"mixup": {"alpha": 0.0}}]}"#, "`alpha` must be from 0.01 to 100, not 0"),
            (r#"{"augment": [{"cutmix": {"probability": 2.0}}]}"#, "`probability` must be from 0 to 1"),
            (
                r#"{"augment": [{"mixup": {}}, {"crop": {}}]}"#,
                "`crop` changes images, but stands after `mixup`",
            ),
            (r#"{"select": "none", "patience": 3}"#, "`patience` needs a validation score"),
            (
                r#"{"loss": {"entropy": {}}, "sampling": "balanced"}"#,
                "`sampling = \"balanced\"` draws by label",
            ),
            (r#"{"loss": {"entropy": {}}, "augment": [{"mixup": {}}]}"#, "mixed images show two classes"),
        ] {
            let found = problems(spec);
            assert!(found.len() == 1 && found[0].contains(message), "{spec}: {found:?}");
        }
        for spec in [
            r#"{"lr_backbone": 1e-3, "ema": 0.0, "accumulate": 1, "layer_decay": 1.0}"#,
            r#"{"augment": [{"crop": {}}, {"mixup": {}}, {"cutmix": {"probability": 0.5}}]}"#,
            r#"{"select": "log_loss", "patience": 8, "min_delta": 1e-3}"#,
        ] {
            assert_eq!(problems(spec), [""; 0], "{spec}");
        }
    }

    #[test]
    fn steps_are_those_that_training_takes() {
        for (images, batch_size, accumulate) in
            [(640, 64, 1), (641, 64, 1), (650, 64, 4), (7, 8, 2), (9, 2, 3)]
        {
            let spec = TrainSpec { batch_size, accumulate, ..TrainSpec::default() };
            let order: Vec<usize> = (0..images).collect();
            let batches = batch::in_batches(&order, batch_size);
            let of_steps = batches.chunks(accumulate).count();
            let drawn = batches.iter().map(Vec::len).sum();
            assert_eq!(spec.steps_per_epoch(images), (of_steps, drawn), "{images} {batch_size} {accumulate}");
        }
        let spec = TrainSpec { epoch_images: Some(1280), ..TrainSpec::default() };
        assert_eq!(spec.steps_per_epoch(50), (20, 1280));
    }

    #[test]
    fn keys_that_came_later_are_not_in_the_fingerprint_at_their_default() {
        let written = TrainSpec::default().options();
        for key in ["epoch_images", "accumulate", "sampling", "lr_backbone", "layer_decay", "ema"] {
            assert!(written.get(key).is_none(), "{key}");
        }
        assert_eq!(written["select"], "macro_f1");
    }
}
