//! `finetune`: continue training another stage's model; all parameters, or the head alone (a linear probe).

use super::learner::{check_decay, train_head, train_near_to};
use super::*;
use candle_core::Device;
use model::head::{list, reorder_head, replace_head};
use nn::StateDict;
use train::NamedLoss;

/// Trains another stage's model on a data set: all parameters, or the classifier alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinetuneSpec {
    /// Stage of the model to start from.
    pub from: String,
    /// Data set to train on.
    pub dataset: String,
    /// Parameters to train.
    #[serde(default)]
    pub trainable: Trainable,
    /// Initial classifier.
    #[serde(default)]
    pub head: HeadInit,
    /// Decay of the backbone to its start, from 0 to below 1 / lr: each step also subtracts
    /// lr · decay_to_start · (w − start), as AdamW's weight decay does to 0 (L2-SP, Li et al. 2018, arXiv 1802.01483).
    #[serde(default, skip_serializing_if = "is_default")]
    pub decay_to_start: f64,
    /// Training options: the keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

/// The trained parameters of a `finetune` stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trainable {
    /// All parameters.
    #[default]
    All,
    /// The classifier alone; the backbone is frozen, with batch norm in evaluation mode (a linear probe).
    Head,
}

/// The initial classifier of a `finetune` stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadInit {
    /// The model's classifier if it was made for this data set, otherwise a new one.
    #[default]
    Auto,
    /// The model's classifier, which must have the data set's classes, in any order.
    Keep,
    /// A new classifier with random weights.
    New,
}

impl Identity for FinetuneSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["from", "dataset"]
    }

    fn options(&self) -> serde_json::Value {
        let options = identity::options::without(self.to_json(), self.left_out());
        replaced(options, "train", self.train.options())
    }
}

impl Kind for FinetuneSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.under("train", |problems| self.train.validate(problems));
        problems.not_negative("decay_to_start", self.decay_to_start);
    }

    fn validate_together(&self, problems: &mut Problems) {
        problems.under("train", |problems| {
            self.train.validate_together(problems);
            self.train.validate_labeled(problems);
        });
        if self.decay_to_start > 0.0 && self.trainable == Trainable::Head {
            let message = "`trainable = \"head\"` leaves the backbone at its start";
            problems.add("decay_to_start", message, Some("leave `decay_to_start` out".into()));
        }
        check_decay(self.decay_to_start, &self.train, problems);
    }
}

impl Stage for FinetuneSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input::new(Role::From, &self.from)]
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
        let from = known.model(0)?;
        known.datasets[0].suits(&from.backbone)?;
        known.datasets[0].trains(&self.train)?;
        let head = known.datasets[0].head();
        if let Some(misfit) = self.head.misfit((&self.from, from.head.as_ref()), (&self.dataset, &head)) {
            return Err(vec![misfit]);
        }
        Ok(Description::Model(tuned(from, head, known.datasets[0].preprocessing())))
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let training = TrainingWork::new(&known.described_model(0).backbone, known, &self.train, networks);
        match self.trainable {
            Trainable::All => training.whole(if self.decay_to_start > 0.0 { 3 } else { 2 }),
            Trainable::Head => training.head(),
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let from = context.model(0)?;
        let head = context.head();
        let tensors = starting_tensors(from, self.head, &head, self.train.seed, &context.device)?;
        let info = tuned(&from.info, head, context.preprocessing());
        match self.trainable {
            Trainable::All => {
                let task = context.task(&self.train);
                train_near_to(&NamedLoss::of(&task)?, self.decay_to_start, info, tensors, &task)
            }
            Trainable::Head => train_head(info, tensors, &context.task(&self.train)),
        }
    }
}

/// A model with another head, after training on other images.
pub(super) fn tuned(from: &ModelInfo, head: Head, next: Preprocessing) -> ModelInfo {
    ModelInfo { head: Some(head), preprocessing: from.preprocessing.then(next), ..from.clone() }
}

/// The tensors of a model to train further, with its classifier or a new one, initialized from `seed`.
///
/// # Errors
/// The model has no head for these classes, or candle cannot make a tensor.
pub(super) fn starting_tensors(
    from: &Checkpoint,
    init: HeadInit,
    head: &Head,
    seed: u64,
    device: &Device,
) -> candle_core::Result<StateDict> {
    let mut tensors = from.tensors.clone();
    if init.keeps(from.info.head.as_ref(), head) {
        reorder_head(&mut tensors, &from.info, &head.classes)?;
    } else {
        replace_head(&mut tensors, &from.info.backbone, head.classes.len(), seed, device)?;
    }
    Ok(tensors)
}

impl HeadInit {
    /// Why the head of a model, given with its stage, cannot be kept for a data set, given with its name.
    pub(super) fn misfit(
        self,
        (from, kept): (&str, Option<&Head>),
        (dataset, wanted): (&str, &Head),
    ) -> Option<String> {
        if self != Self::Keep || kept.is_some_and(|kept| kept.is_like(wanted)) {
            return None;
        }
        let several = |head: &Head| if head.labeling.is_single_label() { "" } else { "multi-label " };
        let kept = kept
            .map_or("no head".into(), |kept| format!("a {}head for {}", several(kept), list(&kept.classes)));
        Some(format!(
            "`head = \"keep\"`, but the model of `{from}` has {kept}, and {}data set `{dataset}` has {}; omit `head` to \
             start with a new one",
            several(wanted),
            list(&wanted.classes)
        ))
    }

    fn keeps(self, had: Option<&Head>, wanted: &Head) -> bool {
        match self {
            Self::Auto => had == Some(wanted),
            Self::Keep => true,
            Self::New => false,
        }
    }
}
