//! What is known about a stage before it runs: its inputs and its result.

use identity::Fingerprint;
use serde::{Deserialize, Serialize};

use backbone::BackboneSpec;
use dataset::Summary;
use nn::Normalize;

/// What is known about a stage's inputs before anything runs.
pub struct Known<'a> {
    /// The result of each input, in the stage's order.
    pub inputs: Vec<&'a Description>,
    /// Fingerprints of the inputs, in the same order.
    pub input_fingerprints: Vec<Fingerprint>,
    /// For each input, the stage where its training started, if known, in the same order.
    pub began_at: Vec<Option<Fingerprint>>,
    /// The data sets, in the stage's order.
    pub datasets: Vec<KnownDataset<'a>>,
}

impl Known<'_> {
    /// The model made by input `i`.
    ///
    /// # Errors
    /// Input `i` does not make a model.
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

    /// The model made by input `i` of a stage that has been described.
    ///
    /// # Panics
    /// Input `i` does not make a model; describing the stage rejects that.
    pub fn described_model(&self, i: usize) -> &ModelInfo {
        self.model(i).expect("`describe` rejects an input that is not a model")
    }

    /// The models made by the first `n` inputs, which may differ only in their heads.
    ///
    /// # Errors
    /// An input is not a model, or the models cannot be merged.
    pub fn sources(&self, n: usize) -> Result<Vec<&ModelInfo>, Vec<String>> {
        let sources = (0..n).map(|i| self.model(i)).collect::<Result<Vec<_>, _>>()?;
        for (i, source) in sources.iter().enumerate().skip(1) {
            if source.backbone != sources[0].backbone {
                return Err(vec![format!(
                    "sources have different backbones, {} and {} (source 1 and source {}); merge models with the same \
                     backbone and options",
                    sources[0].backbone,
                    source.backbone,
                    i + 1
                )]);
            }
            if source.normalize != sources[0].normalize {
                return Err(vec![format!(
                    "sources differ in `normalize` (source 1 and source {}); \
                     merge models with the same input normalization",
                    i + 1
                )]);
            }
        }
        Ok(sources)
    }
}

/// What is known about a data set before anything runs.
#[derive(Clone, Copy)]
pub struct KnownDataset<'a> {
    /// Name in the experiment file; for messages only.
    pub name: &'a str,
    /// Fingerprint of its options and content.
    pub fingerprint: Fingerprint,
    /// Side length of its images in pixels.
    pub size: usize,
    /// Classes and image counts.
    pub summary: &'a Summary,
}

/// The result of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Description {
    /// A model.
    Model(ModelInfo),
    /// Learned merge weights.
    MergeWeights {
        /// The merged model.
        info: ModelInfo,
        /// Fingerprints of the models to merge, in order.
        sources: Vec<Fingerprint>,
    },
    /// Predictions and scores.
    Scores,
}

/// Everything about a model except its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Architecture.
    pub backbone: BackboneSpec,
    /// Normalization of input pixels.
    pub normalize: Normalize,
    /// The classifier; `None` for a model without one.
    pub head: Option<Head>,
}

/// The data set and the classes of a classifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Fingerprint of the data set it was trained on; `None`, serialized as an empty string, for an imported model.
    #[serde(with = "or_empty")]
    pub dataset: Option<Fingerprint>,
    /// Class names, one per logit.
    pub classes: Vec<String>,
}

impl KnownDataset<'_> {
    /// Checks that a network accepts images of this size.
    ///
    /// # Errors
    /// A message that says what to change.
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
            "{backbone} takes images of {least} pixels{more}, but data set `{}` has images of {}; set {or}",
            self.name, self.size
        )])
    }

    /// The head of a model trained on this data set.
    pub fn head(&self) -> Head {
        Head { dataset: Some(self.fingerprint), classes: self.summary.classes.clone() }
    }
}

/// An optional fingerprint, serialized as an empty string if absent.
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
