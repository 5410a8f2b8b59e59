//! `distill`: train a student to predict what its teachers predict (Hinton et al. 2015, arXiv 1503.02531). A control for
//! merging: all sources in one network, at the cost of inference of each of them in training.

use std::collections::BTreeMap;

use candle_core::{DType, Result as TensorResult, Tensor, bail};

use super::evaluate::unfit;
use super::finetune::{HeadInit, starting_tensors, tuned};
use super::learner::{prepared, train_whole_to};
use super::*;
use identity::Averaged;
use model::head::in_order;
use model::inference::logits;
use nn::Normalize;
use nn::finite::first_non_finite;
use train::batch::Batch;
use train::epoch::Task;
use train::eval_batch::eval_batch;
use train::{NamedLoss, Objective, Softening};

/// Trains a model to predict what other models predict on the training images (arXiv 1503.02531).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DistillSpec {
    /// Stage of the model that the student starts from.
    pub from: String,
    /// Stages of the teachers, of any backbones, with heads for the classes of the data set.
    pub teachers: Vec<String>,
    /// Data set to train on.
    pub dataset: String,
    /// Initial classifier of the student.
    #[serde(default)]
    pub head: HeadInit,
    /// Quantity to average over the teachers.
    #[serde(default)]
    pub of: Averaged,
    /// Temperature T, above 0 and up to 100: the logits of student and teachers are divided by it.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Weight w of the loss of the labels, from 0 (no labels) to below 1: (1 − w) · T² · KL + w · `loss`.
    #[serde(default)]
    pub label_weight: f64,
    /// Training options: the keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

fn one() -> f64 {
    1.0
}

/// The differences between softened probabilities shrink with 1 / T, and T² enlarges what rounding in f32 makes of them:
/// gradients have a relative error of about 1e-7 · T².
const LARGEST_TEMPERATURE: f64 = 100.0;

impl Identity for DistillSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["from", "teachers", "dataset"]
    }

    fn options(&self) -> serde_json::Value {
        let options = identity::options::without(self.to_json(), self.left_out());
        replaced(options, "train", self.train.options())
    }
}

impl Kind for DistillSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.under("train", |problems| self.train.validate(problems));
        if self.teachers.is_empty() {
            let help = "write `teachers = [\"stage\"]`".to_owned();
            problems.add("teachers", "`teachers` is empty", Some(help));
        }
        problems.no_duplicates("teachers", "teacher", &self.teachers);
        problems.positive_up_to("temperature", self.temperature, LARGEST_TEMPERATURE);
        problems.fraction_below_1("label_weight", self.label_weight);
    }

    fn validate_together(&self, problems: &mut Problems) {
        problems.under("train", |problems| {
            self.train.validate_together(problems);
            self.train.validate_labeled(problems);
        });
    }
}

impl Stage for DistillSpec {
    fn revision(&self) -> u32 {
        1
    }

    /// The order of teachers does not matter.
    fn inputs(&self) -> Vec<Input> {
        let teacher = |stage: &String| Input {
            role: Role::Named("teacher".into()),
            label: Some(stage.clone()),
            stage: stage.clone(),
        };
        [Input::new(Role::From, &self.from)].into_iter().chain(self.teachers.iter().map(teacher)).collect()
    }

    fn began_at(&self, _: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        inputs[0]
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::training(&self.dataset, &self.train)]
    }

    fn train(&self) -> Option<&TrainSpec> {
        Some(&self.train)
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let (from, dataset) = (known.model(0)?, &known.datasets[0]);
        dataset.suits(&from.backbone)?;
        dataset.trains(&self.train)?;
        let mut problems = Vec::new();
        for (i, teacher) in self.teachers.iter().enumerate() {
            let who = format!("teacher `{teacher}`");
            problems.extend(unfit(known.model(1 + i)?, &who, &known.datasets));
        }
        let head = dataset.head();
        problems.extend(self.head.misfit((&self.from, from.head.as_ref()), (&self.dataset, &head)));
        if problems.is_empty() {
            Ok(Description::Model(tuned(from, head, dataset.preprocessing())))
        } else {
            Err(problems)
        }
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let teachers: BTreeMap<Fingerprint, Network> = (1..known.inputs.len())
            .map(|i| {
                let network = networks.for_dataset(&known.described_model(i).backbone, &known.datasets[0]);
                (known.input_fingerprints[i], network)
            })
            .collect();
        let training = TrainingWork::new(&known.described_model(0).backbone, known, &self.train, networks);
        training.taught(training.whole(2), &teachers.into_values().collect::<Vec<_>>())
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let (from, head) = (context.model(0)?, context.head());
        let tensors = starting_tensors(from, self.head, &head, self.train.seed, &context.device)?;
        let info = tuned(&from.info, head, context.preprocessing());
        let task = context.task(&self.train);
        let teaching = Teaching::new(self, context, info.normalize, &task)?;
        train_whole_to(&teaching, info, tensors, &task)
    }
}

/// `(1 − w) · T² · KL(teachers ‖ student) + w · loss of the labels`, on the images that the student sees.
struct Teaching<'a> {
    /// In the order of their fingerprints, so that the sum over them does not depend on the order in the file.
    teachers: Vec<&'a Checkpoint>,
    softening: Softening,
    /// The normalization of the student's images.
    normalize: Normalize,
    classes: &'a [String],
    /// Images per forward pass of a teacher.
    batch: usize,
    labels: NamedLoss,
    label_weight: f64,
}

impl<'a> Teaching<'a> {
    fn new(
        spec: &DistillSpec,
        context: &'a Context<'_>,
        normalize: Normalize,
        task: &Task<'a>,
    ) -> Result<Self, StageError> {
        let mut teachers = BTreeMap::new();
        for (i, name) in spec.teachers.iter().enumerate() {
            let teacher = context.model(1 + i)?;
            check_finite(teacher, name)?;
            teachers.insert(context.input_fingerprints[1 + i], teacher);
        }
        let labeling = task.dataset.labeling();
        Ok(Self {
            teachers: teachers.into_values().collect(),
            softening: Softening { temperature: spec.temperature, of: spec.of, labeling },
            normalize,
            classes: &task.dataset.classes,
            batch: eval_batch(task.dataset.size, task.device),
            labels: NamedLoss::of(task)?,
            label_weight: spec.label_weight,
        })
    }

    /// Logits `[n, classes]` of a teacher in evaluation mode, for images `[n, size, size, 3]` normalized for the student.
    fn answer(&self, teacher: &Checkpoint, images: &Tensor) -> TensorResult<Tensor> {
        let Some(head) = &teacher.info.head else { bail!("a teacher has no head") };
        let n = images.dim(0)?;
        let of_some = |start: usize| {
            let some = images.narrow(0, start, self.batch.min(n - start))?;
            logits(teacher, renormalized(&some, &self.normalize, &teacher.info.normalize)?)
        };
        let all = (0..n).step_by(self.batch).map(of_some).collect::<TensorResult<Vec<_>>>()?;
        in_order(&Tensor::cat(&all, 0)?, 1, head, self.classes)
    }
}

impl Objective for Teaching<'_> {
    fn with_gradient(&self, logits: &Tensor, batch: &Batch) -> TensorResult<(Tensor, Tensor)> {
        let images = prepared(batch)?;
        let answers = self.teachers.iter().map(|teacher| self.answer(teacher, &images));
        let targets = self.softening.targets(&answers.collect::<TensorResult<Vec<_>>>()?)?;
        let taught = self.softening.with_gradient(logits, &targets)?;
        if self.label_weight == 0.0 {
            return Ok(taught);
        }
        let labeled = self.labels.with_gradient(logits, batch)?;
        let (w, rest) = (self.label_weight, 1.0 - self.label_weight);
        let mixed = |taught: Tensor, labeled: Tensor| (taught * rest)? + (labeled * w)?;
        let [of_teachers, of_labels] = [taught.0, labeled.0].map(|loss| loss.to_dtype(DType::F64));
        Ok((mixed(of_teachers?, of_labels?)?, mixed(taught.1, labeled.1)?))
    }
}

/// A single NaN spoils every prediction.
fn check_finite(teacher: &Checkpoint, name: &str) -> Result<(), StageError> {
    let Some(tensor) = first_non_finite(&teacher.tensors)? else { return Ok(()) };
    Err(StageError::Failed(format!(
        "teacher `{name}` has NaN or infinite elements in `{tensor}`; use another model"
    )))
}

/// Images `[n, size, size, 3]` normalized in one way, as if in another.
fn renormalized(images: &Tensor, from: &Normalize, to: &Normalize) -> TensorResult<Tensor> {
    if from == to {
        return images.contiguous();
    }
    let channels = [0, 1, 2];
    let scale = channels.map(|i| from.std[i] / to.std[i]);
    let shift = channels.map(|i| (from.mean[i] - to.mean[i]) / to.std[i]);
    let [scale, shift] = [scale, shift].map(|values| Tensor::new(&values, images.device()));
    images.broadcast_mul(&scale?)?.broadcast_add(&shift?)
}

#[cfg(test)]
mod tests;
