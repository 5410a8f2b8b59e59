//! What is known about a stage before it runs: its inputs and its result.

use identity::Fingerprint;
use serde::{Deserialize, Serialize};

use backbone::BackboneSpec;
use dataset::{Labeling, PixelSpec, SplitName, Summary};
use metric::Metric;
use nn::Normalize;
use train::TrainSpec;

use crate::Preprocessing;
use crate::head::{list, positions};

/// Metrics that need an image of each class; the first one also needs one without it.
const RANKED: [&str; 2] = ["auroc", "average_precision"];

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
        let read: Vec<&ModelInfo> =
            sources.iter().copied().filter(|source| source.preprocessing.pixels.is_some()).collect();
        for source in read.iter().skip(1) {
            if let Some((a, b)) = read[0].preprocessing.differs(source.preprocessing.pixels.as_ref()) {
                return Err(vec![format!(
                    "sources were trained on images with `pixels = {a}` and `pixels = {b}`; merge models whose data \
                     sets have the same `pixels`"
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
    /// Side in pixels at which its training images are kept, if larger.
    pub cache_size: Option<usize>,
    /// How image files become pixels, if it reads any.
    pub pixels: Option<&'a PixelSpec>,
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
        /// Fingerprint of their common start, if merge weights multiply differences from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<Fingerprint>,
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
    /// How images became its input.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub preprocessing: Preprocessing,
}

impl ModelInfo {
    /// Class names of its classifier; none without one.
    pub fn classes(&self) -> &[String] {
        self.head.as_ref().map_or(&[], |head| &head.classes)
    }

    /// Whether an image has one of its classes or any number of them.
    pub fn labeling(&self) -> Labeling {
        self.head.as_ref().map_or_else(Labeling::default, |head| head.labeling)
    }
}

fn is_unknown(preprocessing: &Preprocessing) -> bool {
    *preprocessing == Preprocessing::default()
}

/// The data set and the classes of a classifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Fingerprint of the data set it was trained on; `None`, serialized as an empty string, for an imported model.
    #[serde(with = "or_empty")]
    pub dataset: Option<Fingerprint>,
    /// Class names, one per logit.
    pub classes: Vec<String>,
    /// Whether an image has one of the classes or any number of them.
    #[serde(default, skip_serializing_if = "Labeling::is_single_label")]
    pub labeling: Labeling,
}

impl Head {
    /// Whether it is for the same classes, in any order, and as many of them per image.
    pub fn is_like(&self, other: &Self) -> bool {
        positions(self, &other.classes).is_some() && self.labeling == other.labeling
    }

    /// Why its predictions cannot be compared with the labels of a data set, as the end of a sentence about who has it.
    pub fn misfit(&self, dataset: &KnownDataset<'_>) -> Option<String> {
        let (name, summary) = (dataset.name, dataset.summary);
        if positions(self, &summary.classes).is_none() {
            let (own, other) = (list(&self.classes), list(&summary.classes));
            return Some(format!("a head for {own}, but data set `{name}` has {other}"));
        }
        let (own, other) = (self.labeling.as_str(), summary.labeling().as_str());
        (own != other).then(|| format!("a {own} head, but data set `{name}` is {other}"))
    }
}

impl KnownDataset<'_> {
    /// Checks that a model can be trained on it with these options.
    ///
    /// # Errors
    /// Messages that say what to change.
    pub fn trains(&self, spec: &TrainSpec) -> Result<(), Vec<String>> {
        spec.fits(self.size, self.cache_size)?;
        spec.suits(self.summary.labeling(), &format!("data set `{}`", self.name))?;
        let metric = spec.select.metric();
        let problem = metric.and_then(|metric| self.unselectable("select", metric));
        problem.map_or(Ok(()), |problem| Err(vec![problem]))
    }

    /// Why the metric of a key cannot select a model by the validation images.
    pub fn unselectable(&self, key: &str, metric: &Metric) -> Option<String> {
        let (summary, who) = (self.summary, format!("data set `{}`", self.name));
        train::undefined(key, metric, summary.labeling(), &who).or_else(|| {
            let (verb, class) = self.unranked(metric)?;
            Some(format!(
                "`{key} = \"{}\"` is undefined, since no validation image of {who} is known to {verb} class `{class}`; \
                 leave out the class, add images, or choose another metric",
                metric.name
            ))
        })
    }

    /// A class of a multi-label data set that no validation image has, or no one lacks, if the metric needs both.
    fn unranked(&self, metric: &Metric) -> Option<(&'static str, &str)> {
        let (val, multi) = (SplitName::Val as usize, self.summary.multi_label.as_ref()?);
        let (needs_present, needs_absent) = (RANKED.contains(&metric.name), metric.name == RANKED[0]);
        let counts = self.summary.counts[val].iter().zip(&multi.unknown[val]);
        self.summary.classes.iter().zip(counts).find_map(|(class, (present, unknown))| {
            let absent = multi.images[val] - present - unknown;
            match (needs_present && *present == 0, needs_absent && absent == 0) {
                (true, _) => Some(("have", class.as_str())),
                (_, true) => Some(("lack", class.as_str())),
                _ => None,
            }
        })
    }

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

    /// Checks that images become pixels as a model expects it.
    ///
    /// # Errors
    /// A message that names both choices and says what to change.
    pub fn reads_as(&self, model: &ModelInfo) -> Result<(), Vec<String>> {
        let Some((own, other)) = model.preprocessing.differs(self.pixels) else { return Ok(()) };
        Err(vec![format!(
            "the model takes images with `pixels = {own}`, but data set `{}` has `pixels = {other}`; write `pixels = \
             {own}` in this data set, or `pixels = {other}` where the model is trained or imported",
            self.name
        )])
    }

    /// How its images become the input of a model.
    pub fn preprocessing(&self) -> Preprocessing {
        Preprocessing::new(self.size, self.pixels)
    }

    /// The head of a model trained on this data set.
    pub fn head(&self) -> Head {
        Head {
            dataset: Some(self.fingerprint),
            classes: self.summary.classes.clone(),
            labeling: self.summary.labeling(),
        }
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
