//! `pretrain`: train a backbone from random initialization.

use super::learner::train_whole;
use super::*;
use nn::Normalize;
use nn::init::initial_values;

/// Trains a backbone from random initialization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PretrainSpec {
    /// Architecture.
    pub backbone: BackboneSpec,
    /// Data set to train on.
    pub dataset: String,
    /// Normalization of input pixels, for this model and all models derived from it.
    #[serde(default)]
    pub normalize: Normalize,
    /// Training options: the keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

impl Identity for PretrainSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["dataset"]
    }

    fn options(&self) -> serde_json::Value {
        let options = identity::options::without(self.to_json(), self.left_out());
        replaced(options, "train", self.train.options())
    }
}

impl Kind for PretrainSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.under("train", |problems| self.train.validate(problems));
        let backbone = &self.backbone;
        problems.under(&format!("backbone.{}", backbone.kind()), |problems| backbone.validate(problems));
        problems.under("normalize", |problems| self.normalize.validate(problems));
    }

    fn validate_together(&self, problems: &mut Problems) {
        problems.under("train", |problems| {
            self.train.validate_together(problems);
            self.train.validate_labeled(problems);
        });
    }
}

impl Stage for PretrainSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }

    fn began_at(&self, own: Fingerprint, _: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        Some(own)
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::training(&self.dataset, &self.train)]
    }

    fn train(&self) -> Option<&TrainSpec> {
        Some(&self.train)
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        known.datasets[0].suits(&self.backbone)?;
        known.datasets[0].trains(&self.train)?;
        Ok(Description::Model(self.info(known.datasets[0].head(), known.datasets[0].preprocessing())))
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        TrainingWork::new(&self.backbone, known, &self.train, networks).whole(1)
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let backbone = self.backbone.build();
        let head = context.head();
        let parameters = backbone.all_parameters(Some(head.classes.len()));
        let tensors = initial_values(&parameters, self.train.seed, &context.device)?;
        train_whole(self.info(head, context.preprocessing()), tensors, &context.task(&self.train))
    }
}

impl PretrainSpec {
    fn info(&self, head: Head, preprocessing: Preprocessing) -> ModelInfo {
        let (backbone, normalize) = (self.backbone.clone(), self.normalize);
        ModelInfo { backbone, normalize, head: Some(head), preprocessing }
    }
}
