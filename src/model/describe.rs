//! What can be known of a stage before it runs: what it gets, and what it makes.

use identity::Fingerprint;
use serde::{Deserialize, Serialize};

use backbone::BackboneSpec;
use dataset::Summary;
use nn::Normalize;

/// What is known of a stage's inputs before anything runs.
pub struct Known<'a> {
    /// What each input makes, in the order of the stage.
    pub inputs: Vec<&'a Description>,
    /// Fingerprint of each input, in the same order.
    pub input_fingerprints: Vec<Fingerprint>,
    /// The stage at which the training of each input began, if that is known, in the same order.
    pub began_at: Vec<Option<Fingerprint>>,
    /// Name, fingerprint, image size and summary of each data set, in the order of the stage.
    pub datasets: Vec<KnownDataset<'a>>,
}

impl Known<'_> {
    /// The model that input `i` makes.
    ///
    /// # Errors
    /// It makes something else.
    pub fn model(&self, i: usize) -> Result<&ModelInfo, Vec<String>> {
        match self.inputs[i] {
            Description::Model(info) => Ok(info),
            Description::MergeWeights { .. } => Err(vec![
                "expected a stage that makes a model, got merge weights; name a `merge` stage".into(),
            ]),
            Description::Scores => Err(vec![
                "expected a stage that makes a model, got an `evaluate` stage, which makes scores".into(),
            ]),
        }
    }

    /// The model that input `i` of a stage makes that was described.
    ///
    /// # Panics
    /// It makes something else, which describing a stage refuses.
    pub fn described_model(&self, i: usize) -> &ModelInfo {
        self.model(i).expect("`describe` refuses an input that makes no model")
    }

    /// The models that the first `n` inputs make, which must agree in all but their heads.
    ///
    /// # Errors
    /// An input makes something else, or the models cannot be merged.
    pub fn sources(&self, n: usize) -> Result<Vec<&ModelInfo>, Vec<String>> {
        let sources = (0..n).map(|i| self.model(i)).collect::<Result<Vec<_>, _>>()?;
        for (i, source) in sources.iter().enumerate().skip(1) {
            if source.backbone != sources[0].backbone {
                return Err(vec![format!(
                    "sources have different backbones, {} and {} (the first and number {}); merge models of one \
                     backbone, with the same options",
                    sources[0].backbone,
                    source.backbone,
                    i + 1
                )]);
            }
            if source.normalize != sources[0].normalize {
                return Err(vec![format!(
                    "sources scale their input pixels differently (`normalize` of the first and of number {}); \
                     merge models that agree",
                    i + 1
                )]);
            }
        }
        Ok(sources)
    }
}

/// What is known of a data set before anything runs.
#[derive(Clone, Copy)]
pub struct KnownDataset<'a> {
    /// As written in the experiment file; for messages only.
    pub name: &'a str,
    /// Of its options and content.
    pub fingerprint: Fingerprint,
    /// Side of its images in pixels.
    pub size: usize,
    /// Classes and counts.
    pub summary: &'a Summary,
}

/// What a stage makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Description {
    /// A model.
    Model(ModelInfo),
    /// Numbers to merge models with.
    MergeWeights {
        /// The merged model.
        info: ModelInfo,
        /// Fingerprints of the models that the numbers are for, in their order.
        sources: Vec<Fingerprint>,
    },
    /// Predictions and scores.
    Scores,
}

/// What identifies a model apart from its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Architecture.
    pub backbone: BackboneSpec,
    /// How its input pixels are scaled.
    pub normalize: Normalize,
    /// The classifier, unless there is none (yet).
    pub head: Option<Head>,
}

/// What a classifier was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The data set that it was trained on; `None`, written as an empty string, for an imported one.
    #[serde(with = "or_empty")]
    pub dataset: Option<Fingerprint>,
    /// Class names, one for each logit.
    pub classes: Vec<String>,
}

impl KnownDataset<'_> {
    /// Whether a network can take its images.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn suits(&self, backbone: &BackboneSpec) -> Result<(), Vec<String>> {
        let sizes = backbone.build().image_sizes();
        if sizes.contains(&self.size) {
            return Ok(());
        }
        let least = sizes.start();
        let (more, or) = match sizes.end() == least {
            true => ("", format!("`size = {least}` in the data set, or `image_size` in the backbone")),
            false => (" or more", "a larger `size` in the data set, or choose another backbone".to_string()),
        };
        Err(vec![format!(
            "{backbone} takes images of {least} pixels{more}, but those of data set `{}` have {}; set {or}",
            self.name, self.size
        )])
    }

    /// The classifier of a model that is trained on this data set.
    pub fn head(&self) -> Head {
        Head { dataset: Some(self.fingerprint), classes: self.summary.classes.clone() }
    }
}

/// A fingerprint, or an empty string where there is none.
mod or_empty {
    use std::borrow::Cow;

    use identity::Fingerprint;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        fingerprint: &Option<Fingerprint>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match fingerprint {
            Some(fingerprint) => fingerprint.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Fingerprint>, D::Error> {
        match &*Cow::<str>::deserialize(deserializer)? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(D::Error::custom),
        }
    }
}
