//! `select`: of the models along a sweep axis, the one with the best score on validation images.

use super::*;
use metric::Metric;
use model::inference::validation_score;
use nn::cost::{product, sum};
use train::Progress;

/// Selects a model along a sweep axis by its score on the validation images of a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectSpec {
    /// Stage whose models are the candidates, one for each value of `axis`.
    pub from: String,
    /// Sweep axis to select along; it multiplies the candidates, but neither this stage nor those that use its result.
    pub axis: String,
    /// Data set whose validation images are scored.
    pub dataset: String,
    /// Metric of the validation score.
    #[serde(default = "macro_f1")]
    pub metric: String,
    /// The values of `axis` in ascending order, known once the sweep is expanded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(skip)]
    pub candidates: Vec<String>,
}

fn macro_f1() -> String {
    "macro_f1".into()
}

impl Identity for SelectSpec {
    fn left_out(&self) -> &'static [&'static str] {
        &["from", "axis", "dataset", "candidates"]
    }
}

impl Kind for SelectSpec {
    fn validate(&self, problems: &mut Problems) {
        if metric::by_name(&self.metric).is_none() {
            let help = kind::suggest::help(&self.metric, metric::NAMES);
            problems.add("metric", format!("unknown metric `{}`", self.metric), help);
        }
    }
}

impl Stage for SelectSpec {
    fn revision(&self) -> u32 {
        1
    }

    /// One per candidate; before the sweep is expanded, one for all.
    fn inputs(&self) -> Vec<Input> {
        let input = |(i, label): (usize, Option<String>)| Input {
            role: Role::Candidate(i),
            label,
            stage: self.from.clone(),
        };
        let labels = self.candidates.iter().map(|value| Some(self.title(value)));
        let alone = self.candidates.is_empty().then_some(None);
        labels.chain(alone).enumerate().map(input).collect()
    }

    fn gathers(&self) -> Option<&str> {
        Some(&self.axis)
    }

    fn gather(&mut self, values: Vec<String>) {
        self.candidates = values;
    }

    fn began_at(&self, own: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        let first = inputs.first().copied().flatten()?;
        inputs.iter().all(Option::is_some).then(|| match inputs.iter().all(|start| *start == Some(first)) {
            true => first,
            false => own,
        })
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::new(Role::Dataset, &self.dataset, &[SplitName::Val])]
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let first = known.model(0)?;
        for i in 1..known.inputs.len() {
            if known.model(i)? != first {
                return Err(vec![format!(
                    "the models along `{}` differ in backbone, normalization or head, so that what is selected is \
                     not known before it is made; select along another axis",
                    self.axis
                )]);
            }
        }
        let who = format!("the model of `{}`", self.from);
        let mut problems = evaluate::unfit(first, &who, &known.datasets);
        let metric = metric::by_name(&self.metric);
        problems.extend(metric.and_then(|metric| known.datasets[0].unselectable("metric", metric)));
        if problems.is_empty() { Ok(Description::Model(first.clone())) } else { Err(problems) }
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let (info, dataset) = (known.described_model(0), &known.datasets[0]);
        let (network, images) =
            (networks.for_dataset(&info.backbone, dataset), dataset.images(SplitName::Val));
        let (candidates, bytes) = (known.inputs.len() as u64, networks.bytes(info));
        let read = product([candidates, bytes]);
        Work {
            operations: product([candidates, network.forward(), images]),
            bytes_read: 0,
            memory_bytes: sum([read, dataset.decoded_bytes(), network.evaluation(images)]),
            disk_bytes: bytes,
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let metric = metric::by_name(&self.metric);
        let unknown = || StageError::Failed(format!("there is no metric `{}`", self.metric));
        let best = self.best(metric.ok_or_else(unknown)?, context)?;
        Ok(Artifact::Model(context.model(best)?.clone()))
    }
}

impl SelectSpec {
    fn title(&self, value: &str) -> String {
        format!("{}={value}", self.axis)
    }

    /// The position of the candidate with the best score, the first of equal ones.
    fn best(&self, metric: &Metric, context: &Context<'_>) -> Result<usize, StageError> {
        let (mut best, of) = (None, context.inputs.len());
        for i in 0..of {
            let score = validation_score(metric, context.model(i)?, context)?;
            tracing::info!("{}: {} {score:.6}", self.title(&self.candidates[i]), metric.name);
            let rank = if metric.higher_is_better { score } else { -score };
            let rank = if rank.is_nan() { f64::NEG_INFINITY } else { rank };
            if best.is_none_or(|(_, most)| rank > most) {
                best = Some((i, rank));
            }
            (context.report)(Progress::Count { done: i + 1, of, what: "models".into() })?;
        }
        let (best, _) = best.ok_or_else(|| StageError::Failed("there is no model to select".into()))?;
        tracing::info!("selected {}", self.title(&self.candidates[best]));
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::Device;

    use super::*;
    use backbone::resnet::{ResnetSpec, Stem};
    use dataset::DatasetKind;
    use dataset::phantom::{Family, PhantomSpec};
    use nn::Normalize;
    use nn::init::initial_values;

    const CANDIDATES: u64 = 5;

    fn spec(metric: &str) -> SelectSpec {
        SelectSpec {
            from: "ft".into(),
            axis: "lr".into(),
            dataset: "d".into(),
            metric: metric.into(),
            candidates: (0..CANDIDATES).map(|value| value.to_string()).collect(),
        }
    }

    fn images() -> Dataset {
        PhantomSpec { family: Family::Cells, size: 12, train: 8, val: 40, test: 40, seed: 0 }
            .load(None)
            .unwrap()
    }

    fn models(classes: &[String]) -> Vec<Arc<Artifact>> {
        let backbone = BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width: 8 });
        let head = Some(Head { dataset: None, classes: classes.to_vec(), labeling: Default::default() });
        let info = ModelInfo {
            backbone: backbone.clone(),
            normalize: Normalize::default(),
            head,
            preprocessing: Default::default(),
        };
        let parameters = backbone.build().all_parameters(Some(classes.len()));
        let model = |seed| {
            let tensors = initial_values(&parameters, seed, &Device::Cpu).unwrap();
            Arc::new(Artifact::Model(Checkpoint { info: info.clone(), tensors, history: Vec::new() }))
        };
        (0..CANDIDATES).map(model).collect()
    }

    fn context(data: Dataset, inputs: Vec<Arc<Artifact>>) -> Context<'static> {
        Context {
            inputs,
            datasets: vec![Arc::new(data)],
            dataset_fingerprints: Vec::new(),
            input_fingerprints: Vec::new(),
            device: Device::Cpu,
            report: &|_| Ok(()),
            resume: &train::resume::Forgetful,
            graphs: false,
        }
    }

    fn best(metric: &str, data: Dataset) -> usize {
        let inputs = models(&data.classes);
        spec(metric).best(metric::by_name(metric).unwrap(), &context(data, inputs)).unwrap()
    }

    #[test]
    fn f12_the_best_model_on_validation_images_is_selected() {
        for (metric, sign) in [("log_loss", -1.0), ("accuracy", 1.0)] {
            let data = images();
            let context = context(data.clone(), models(&data.classes));
            let score = |i| {
                let model = context.model(i).unwrap();
                sign * validation_score(metric::by_name(metric).unwrap(), model, &context).unwrap()
            };
            let scores: Vec<f64> = (0..CANDIDATES as usize).map(score).collect();
            let chosen = best(metric, data);
            assert!(scores.iter().all(|score| scores[chosen] >= *score), "{metric}: {scores:?}");
        }
    }

    #[test]
    fn f12_test_images_do_not_matter_for_a_selection() {
        let data = images();
        let chosen = best("log_loss", data.clone());
        let mut other = data.clone();
        let labels = other.test.labels.single().unwrap().iter().rev().map(|label| (label + 1) % 4);
        other.test.labels = labels.collect::<Vec<_>>().into();
        assert_eq!(best("log_loss", other), chosen);
        let nothing = Dataset { test: data.train.clone(), ..data };
        assert_eq!(best("log_loss", nothing), chosen);
    }

    #[test]
    fn f12_of_equal_models_the_first_is_selected() {
        let data = images();
        let inputs = vec![models(&data.classes)[3].clone(); CANDIDATES as usize];
        let metric = metric::by_name("accuracy").unwrap();
        assert_eq!(spec("accuracy").best(metric, &context(data, inputs)).unwrap(), 0);
    }
}
