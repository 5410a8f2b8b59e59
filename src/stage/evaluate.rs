//! `evaluate`: predictions of several models on several data sets.

use serde::{Deserialize, Serialize};

use super::model::{list, predict};
use super::work::Network;
use super::*;
use crate::nn::cost::{product, sum};

/// Bytes of a probability in `predictions.csv`, with its share of the image's name.
const PROBABILITY_BYTES: u64 = 20;

/// Models, data sets and the split to report on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Row label → stage.
    #[serde(skip_serializing)]
    pub models: IndexMap<String, String>,
    /// Data sets; each model's head must be for its classes.
    #[serde(skip_serializing)]
    pub datasets: Vec<String>,
    /// Images to report on.
    #[serde(default)]
    pub split: SplitName,
}

impl Stage for EvaluateSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let labelled = |(label, stage): (&String, &String)| Input {
            role: "model".into(),
            label: Some(label.clone()),
            stage: stage.clone(),
        };
        self.models.iter().map(labelled).collect()
    }

    fn datasets(&self) -> Vec<DataInput> {
        self.datasets.iter().map(|name| DataInput::new("dataset", name, &[self.split])).collect()
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let mut problems = Vec::new();
        for (i, (label, stage)) in self.models.iter().enumerate() {
            let model = known.model(i)?;
            let unsuited = known.datasets.iter().filter_map(|dataset| dataset.suits(&model.backbone).err());
            problems.extend(unsuited.flatten().map(|problem| format!("model \"{label}\": {problem}")));
            let Some(head) = &model.head else {
                problems.push(format!(
                    "model \"{label}\" (stage `{stage}`) has no head; fine-tune or probe it first"
                ));
                continue;
            };
            for dataset in known.datasets.iter().filter(|dataset| dataset.summary.classes != head.classes) {
                problems.push(format!(
                    "model \"{label}\" (stage `{stage}`) has a head for {}, but data set `{}` has the classes {}",
                    list(&head.classes),
                    dataset.name,
                    list(&dataset.summary.classes)
                ));
            }
        }
        if problems.is_empty() { Ok(Description::Scores) } else { Err(problems) }
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let mut seen = std::collections::BTreeSet::new();
        let models = known.input_fingerprints.iter().enumerate();
        let pairs =
            models.flat_map(|(i, model)| known.datasets.iter().map(move |dataset| (i, model, dataset)));
        let distinct = pairs.filter(|(_, model, dataset)| seen.insert((*model, dataset.fingerprint)));
        let each = distinct.map(|(i, _, dataset)| {
            self.prediction(networks.on(&known.described_model(i).backbone, dataset), dataset)
        });
        let each: Vec<Work> = each.collect();
        let passing = each.iter().map(|work| work.memory_bytes).max();
        let read = (0..known.inputs.len()).map(|i| networks.bytes(known.described_model(i)));
        let datasets = known.datasets.iter().map(KnownDataset::decoded_bytes);
        Work {
            operations: sum(each.iter().map(|work| work.operations)),
            memory_bytes: sum(read.chain(datasets).chain(passing)),
            disk_bytes: sum(each.iter().map(|work| work.disk_bytes)),
            ..Work::default()
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let mut evaluation = Evaluation::default();
        let mut seen = std::collections::BTreeSet::new();
        for (i, model) in context.input_fingerprints.iter().enumerate() {
            for (dataset, fingerprint) in context.datasets.iter().zip(&context.dataset_fingerprints) {
                if !seen.insert((model, fingerprint)) {
                    continue;
                }
                let split = dataset.split(self.split);
                evaluation.predictions.push(Prediction {
                    model: model.clone(),
                    dataset: fingerprint.clone(),
                    images: split.names.clone(),
                    labels: split.labels.clone(),
                    probabilities: predict(context.model(i)?, split, dataset.size, &context.device)?,
                });
            }
            let (done, of) = (i + 1, context.input_fingerprints.len());
            (context.report)(Progress::Count { done, of, what: "models".into() })?;
        }
        Ok(Artifact::Evaluation(evaluation))
    }
}

impl EvaluateSpec {
    /// What it takes to predict the images of a data set by a network, beside both.
    fn prediction(&self, network: Network, dataset: &KnownDataset<'_>) -> Work {
        let images = dataset.images(self.split);
        let probabilities = product([images, dataset.summary.classes.len() as u64]);
        Work {
            operations: product([network.forward(), images]),
            memory_bytes: network.passing(images),
            disk_bytes: product([PROBABILITY_BYTES, probabilities]),
            ..Work::default()
        }
    }
}
