//! `evaluate`: predictions of several models, and of ensembles of models, on several data sets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::ensemble::{self, EnsembleSpec};
use super::*;
use candle_core::Tensor;
use model::inference::batch_logits;
use nn::cost::{product, sum};
use nn::finite::is_finite;
use train::Progress;
use train::epoch::probability_rows;

/// Bytes per probability in `predictions.csv`, including its share of the image's name.
const PROBABILITY_BYTES: u64 = 20;
/// Bytes of a logit in memory.
const LOGIT_BYTES: u64 = 4;

/// Computes predictions of models and ensembles on data sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateSpec {
    /// Models to evaluate: row label → stage.
    pub models: IndexMap<String, String>,
    /// Ensembles to evaluate: row label → members. Their rows follow those of the models.
    #[serde(default)]
    pub ensembles: IndexMap<String, EnsembleSpec>,
    /// Data sets to evaluate on; each model needs a head for their classes, in any order.
    pub datasets: Vec<String>,
    /// Split to evaluate on.
    #[serde(default)]
    pub split: SplitName,
}

impl Identity for EvaluateSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["models", "ensembles", "datasets"]
    }
}

impl Kind for EvaluateSpec {
    fn validate(&self, problems: &mut Problems) {
        if self.models.is_empty() && self.ensembles.is_empty() {
            let help = "write `models = { \"label\" = \"stage\" }`".to_owned();
            problems.add("models", "`models` is empty", Some(help));
        }
        if self.datasets.is_empty() {
            problems.add("datasets", "`datasets` is empty", None);
        }
        problems.no_duplicates("datasets", "data set", &self.datasets);
        let models = self.models.keys().map(|label| ("models", label));
        let labels = models.chain(self.ensembles.keys().map(|label| ("ensembles", label)));
        for (key, _) in labels.filter(|(_, label)| label.trim().is_empty()) {
            problems.add(key, "a row label is empty", Some("give the row a name".into()));
        }
        for (label, ensemble) in &self.ensembles {
            problems.under("ensembles", |problems| {
                problems.under(label, |problems| ensemble.validate(problems));
                if self.models.contains_key(label) {
                    let message = format!("a model and an ensemble have the row label \"{label}\"");
                    problems.add(label, message, None);
                }
            });
        }
    }
}

impl Stage for EvaluateSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let labeled = |(label, stage): (&String, &String)| Input {
            role: Role::Model,
            label: Some(label.clone()),
            stage: stage.clone(),
        };
        let members = self.ensembles.values().enumerate().flat_map(|(i, ensemble)| ensemble.inputs(i));
        self.models.iter().map(labeled).chain(members).collect()
    }

    fn datasets(&self) -> Vec<DataInput> {
        self.datasets.iter().map(|name| DataInput::new(Role::Dataset, name, &[self.split])).collect()
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let mut problems = Vec::new();
        for (i, who) in self.speakers().enumerate() {
            problems.extend(unfit(known.model(i)?, &who, &known.datasets));
        }
        if problems.is_empty() { Ok(Description::Scores) } else { Err(problems) }
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let mut seen = BTreeSet::new();
        let models = known.input_fingerprints.iter().enumerate();
        let distinct: Vec<usize> = models.filter(|(_, model)| seen.insert(**model)).map(|(i, _)| i).collect();
        let datasets: BTreeMap<Fingerprint, &KnownDataset<'_>> =
            known.datasets.iter().map(|dataset| (dataset.fingerprint, dataset)).collect();
        let mut passing = Vec::new();
        for (&i, dataset) in distinct.iter().flat_map(|i| datasets.values().map(move |dataset| (i, dataset)))
        {
            let network = networks.for_dataset(&known.described_model(i).backbone, dataset);
            passing.push(self.passing(network, dataset));
        }
        let probabilities = |dataset: &&KnownDataset<'_>| {
            product([dataset.images(self.split), dataset.summary.classes.len() as u64])
        };
        let probabilities = sum(datasets.values().map(probabilities));
        let rows: BTreeSet<Fingerprint> =
            known.input_fingerprints[..self.models.len()].iter().copied().collect();
        let rows = (rows.len() + self.ensembles.len()) as u64;
        let read = distinct.iter().map(|&i| networks.bytes(known.described_model(i)));
        let kept = product([LOGIT_BYTES, probabilities, distinct.len() as u64]);
        Work {
            operations: sum(passing.iter().map(|work| work.operations)),
            memory_bytes: sum(read
                .chain(datasets.values().map(|dataset| dataset.decoded_bytes()))
                .chain(passing.iter().map(|work| work.memory_bytes).max())
                .chain([kept])),
            disk_bytes: product([PROBABILITY_BYTES, probabilities, rows]),
            ..Work::default()
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let mut answers = Answers::default();
        for (i, model) in context.input_fingerprints.iter().enumerate() {
            for (dataset, fingerprint) in context.datasets.iter().zip(&context.dataset_fingerprints) {
                if let Entry::Vacant(answer) = answers.entry((*model, *fingerprint)) {
                    let model = context.model(i)?;
                    answer.insert(batch_logits(model, dataset, self.split, &context.device)?);
                }
            }
            let (done, of) = (i + 1, context.input_fingerprints.len());
            (context.report)(Progress::Count { done, of, what: "models".into() })?;
        }
        self.check_finite(&answers, context)?;
        let mut predictions = self.of_models(&answers, context)?;
        predictions.extend(self.of_ensembles(&answers, context)?);
        Ok(Artifact::Evaluation(Evaluation { predictions }))
    }
}

/// Logits of each batch of images, in the data set's order of the classes, by the fingerprints of model and data set.
type Answers = BTreeMap<(Fingerprint, Fingerprint), Vec<Tensor>>;

impl EvaluateSpec {
    /// A description of each input, for messages.
    fn speakers(&self) -> impl Iterator<Item = String> {
        let model = |(label, stage): (&String, &String)| format!("model \"{label}\" (stage `{stage}`)");
        let member = |label: &String, stage: &String| format!("stage `{stage}` of the ensemble \"{label}\"");
        let members = self
            .ensembles
            .iter()
            .flat_map(move |(label, ensemble)| ensemble.models.iter().map(move |stage| member(label, stage)));
        self.models.iter().map(model).chain(members)
    }

    /// # Errors
    /// Every model with outputs that are not finite.
    fn check_finite(&self, answers: &Answers, context: &Context<'_>) -> Result<(), StageError> {
        let mut failed = Vec::new();
        for (who, model) in self.speakers().zip(&context.input_fingerprints) {
            for (dataset, name) in context.dataset_fingerprints.iter().zip(&self.datasets) {
                if !are_finite(&answers[&(*model, *dataset)])? {
                    failed.push(format!("{who} on data set `{name}`"));
                }
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        Err(StageError::Failed(format!(
            "NaN or infinite outputs of {}; most often training diverged: lower the learning rate or set `clip_norm`, \
             or remove the model from this stage",
            failed.join(", ")
        )))
    }

    /// The work of inference on a data set, excluding the memory of the model and the data.
    fn passing(&self, network: Network, dataset: &KnownDataset<'_>) -> Work {
        let images = dataset.images(self.split);
        Work {
            operations: product([network.forward(), images]),
            memory_bytes: network.evaluation(images),
            ..Work::default()
        }
    }

    /// Predictions of each model that is a row; a model in several rows is predicted once.
    fn of_models(&self, answers: &Answers, context: &Context<'_>) -> Result<Vec<Prediction>, StageError> {
        let mut seen = BTreeSet::new();
        let mut predictions = Vec::new();
        for &model in &context.input_fingerprints[..self.models.len()] {
            for i in 0..context.datasets.len() {
                let pair = (model, context.dataset_fingerprints[i]);
                if seen.insert(pair) {
                    let rows = probability_rows(context.datasets[i].labeling(), &answers[&pair])?;
                    predictions.push(self.prediction(model, i, rows, context));
                }
            }
        }
        Ok(predictions)
    }

    /// Predictions of each ensemble.
    fn of_ensembles(&self, answers: &Answers, context: &Context<'_>) -> Result<Vec<Prediction>, StageError> {
        let inputs = self.inputs();
        let roles = inputs.iter().map(|input| &input.role);
        let ensembles = ensemble::among(roles.zip(context.input_fingerprints.iter().copied()));
        let mut seen = BTreeSet::new();
        let mut predictions = Vec::new();
        for ensemble in &ensembles {
            for (i, &dataset) in context.dataset_fingerprints.iter().enumerate() {
                if !seen.insert((ensemble.fingerprint, dataset)) {
                    continue;
                }
                let answer = |&member: &Fingerprint| rows(&answers[&(member, dataset)]);
                let logits = ensemble.members.iter().map(answer).collect::<Result<Vec<_>, _>>()?;
                let logits: Vec<&[Vec<f32>]> = logits.iter().map(Vec::as_slice).collect();
                let rows = ensemble.probabilities(context.datasets[i].labeling(), &logits)?;
                predictions.push(self.prediction(ensemble.fingerprint, i, rows, context));
            }
        }
        Ok(predictions)
    }

    /// The prediction of a model or ensemble on the data set at this position.
    fn prediction(
        &self,
        model: Fingerprint,
        i: usize,
        probabilities: Vec<Vec<f32>>,
        context: &Context<'_>,
    ) -> Prediction {
        let split = context.datasets[i].split(self.split);
        Prediction {
            model,
            dataset: context.dataset_fingerprints[i],
            images: split.names.clone(),
            labels: split.labels.clone(),
            probabilities,
        }
    }
}

fn are_finite(batches: &[Tensor]) -> candle_core::Result<bool> {
    Ok(batches
        .iter()
        .map(is_finite)
        .collect::<candle_core::Result<Vec<_>>>()?
        .into_iter()
        .all(|finite| finite))
}

/// The rows of all batches.
fn rows(batches: &[Tensor]) -> candle_core::Result<Vec<Vec<f32>>> {
    Ok(batches.iter().map(Tensor::to_vec2).collect::<candle_core::Result<Vec<_>>>()?.concat())
}

/// Reasons why a model cannot be evaluated on some of the data sets.
pub(super) fn unfit(model: &ModelInfo, who: &str, datasets: &[KnownDataset<'_>]) -> Vec<String> {
    let unsuited = datasets.iter().filter_map(|dataset| dataset.suits(&model.backbone).err());
    let misread = datasets.iter().filter_map(|dataset| dataset.reads_as(model).err());
    let mut problems: Vec<String> =
        unsuited.chain(misread).flatten().map(|problem| format!("{who}: {problem}")).collect();
    let Some(head) = &model.head else {
        problems.push(format!("{who} has no head; fine-tune or probe it first"));
        return problems;
    };
    let misfits = datasets.iter().filter_map(|dataset| head.misfit(dataset));
    problems.extend(misfits.map(|misfit| format!("{who} has {misfit}")));
    problems
}
