//! `merge`: several models into one plain checkpoint.

use serde::{Deserialize, Serialize};

use super::artifact::StateDict;
use super::model::{reestimate_statistics, remove_head};
use super::*;
use crate::merge_method::regmean::Regmean;
use crate::merge_method::{MergeMethodSpec, learned, merge_in_memory};
use crate::nn::cost::{product, sum};

/// Sources and how to merge them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// Stages whose models to merge: two or more of one backbone.
    #[serde(skip_serializing)]
    pub sources: Vec<String>,
    /// How.
    pub method: MergeMethodSpec,
    /// What becomes of batch norm's running statistics.
    #[serde(default)]
    pub batch_norm: BatchNormStatistics,
    /// Data set whose training images the statistics are re-estimated on, and which the method measures on.
    #[serde(default, skip_serializing)]
    pub dataset: Option<String>,
}

/// What becomes of batch norm's running statistics in a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchNormStatistics {
    /// Measured anew on the data set's training images (no labels needed).
    #[default]
    Reestimate,
    /// As the method merged them.
    Merged,
}

impl Stage for MergeSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Input::sources(&self.sources);
        if let MergeMethodSpec::Learned(learned) = &self.method {
            inputs.push(Input::new("weights", &learned.weights));
        }
        inputs
    }

    fn datasets(&self) -> Vec<DataInput> {
        let mut splits = measure::splits(&self.method).to_vec();
        if self.batch_norm == BatchNormStatistics::Reestimate && !splits.contains(&SplitName::Train) {
            splits.insert(0, SplitName::Train);
        }
        let dataset = self.dataset.iter().filter(|_| !splits.is_empty());
        dataset.map(|name| DataInput::new("dataset", name, &splits)).collect()
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let n = self.sources.len();
        let sources = known.sources(n)?;
        match (self.batch_norm, &self.dataset) {
            (BatchNormStatistics::Reestimate, None) => {
                return Err(vec!["`batch_norm = \"reestimate\"` needs a `dataset` to measure on".into()]);
            }
            (BatchNormStatistics::Merged, Some(_)) if measure::splits(&self.method).is_empty() => {
                return Err(vec![
                    "`dataset` is used by `batch_norm = \"reestimate\"` alone; leave it out".into(),
                ]);
            }
            _ => {}
        }
        let problems = measure::problems(&self.method, &sources, &self.sources, known.datasets.first());
        if !problems.is_empty() {
            return Err(problems);
        }
        let head = match &self.method {
            MergeMethodSpec::Average(_)
            | MergeMethodSpec::GreedySoup(_)
            | MergeMethodSpec::Fisher(_)
            | MergeMethodSpec::Regmean(_) => shared_head(&sources),
            MergeMethodSpec::Learned(learned) => {
                let Description::MergeWeights { info, sources: learnt } = known.inputs[n] else {
                    return Err(vec![format!(
                        "`weights = \"{}\"` is no `learn_merge_weights` stage",
                        learned.weights
                    )]);
                };
                if learnt.iter().map(String::as_str).ne(known.input_fingerprints[..n].iter().copied()) {
                    return Err(vec![format!(
                        "the numbers of `{}` were learnt for other sources, or in another order; give both stages \
                         the same `sources`",
                        learned.weights
                    )]);
                }
                info.head.clone()
            }
        };
        Ok(Description::Model(ModelInfo { head, ..sources[0].clone() }))
    }

    /// A learned merge stacks its sources; the head, if there is one, weighs little.
    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let dataset = known.datasets.first();
        let size = dataset.map_or(0, |dataset| dataset.size);
        let network = networks.get(&known.described_model(0).backbone, 0, size);
        let (bytes, sources) = (network.bytes(), self.sources.len() as u64);
        let copies = if matches!(self.method, MergeMethodSpec::Learned(_)) { 2 } else { 1 };
        let memory_bytes = product([bytes, sum([product([sources, copies]), 1])]);
        let plain =
            Work { operations: 0, bytes_read: product([bytes, sources]), memory_bytes, disk_bytes: bytes };
        let Some(dataset) = dataset else { return plain };
        let reestimates = self.batch_norm == BatchNormStatistics::Reestimate && network.has_batch_norm();
        let images = if reestimates { dataset.images(SplitName::Train) } else { 0 };
        let reestimate = product([network.features(), images]);
        let sources: Vec<&ModelInfo> = (0..self.sources.len()).map(|i| known.described_model(i)).collect();
        let measuring = measure::work(&self.method, &sources, dataset, reestimate, networks);
        if !reestimates && measuring == Work::default() {
            return plain;
        }
        let passing = network.passing(images).max(measuring.memory_bytes);
        Work {
            operations: sum([reestimate, measuring.operations]),
            memory_bytes: sum([memory_bytes, passing, dataset.decoded_bytes()]),
            ..plain
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let n = self.sources.len();
        let sources = (0..n).map(|i| context.model(i)).collect::<Result<Vec<_>, _>>()?;
        let infos: Vec<&ModelInfo> = sources.iter().map(|source| &source.info).collect();
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        let reestimates = self.batch_norm == BatchNormStatistics::Reestimate;
        let (mut tensors, head) = match &self.method {
            MergeMethodSpec::GreedySoup(spec) => {
                let soup = measure::chosen(spec, &sources, &self.sources, reestimates, context)?;
                (merge_in_memory(&soup, &state_dicts, None)?, shared_head(&infos))
            }
            MergeMethodSpec::Fisher(spec) => {
                let fisher = spec.of(measure::information(spec, &sources, context)?);
                (merge_in_memory(&fisher, &state_dicts, None)?, shared_head(&infos))
            }
            MergeMethodSpec::Regmean(spec) => {
                let regmean = Regmean { solved: measure::solved_weights(spec, &sources, context)? };
                (merge_in_memory(&regmean, &state_dicts, None)?, shared_head(&infos))
            }
            MergeMethodSpec::Average(spec) => {
                (merge_in_memory(&spec.of(n), &state_dicts, None)?, shared_head(&infos))
            }
            MergeMethodSpec::Learned(_) => {
                let Artifact::MergeWeights(weights) = &*context.inputs[n] else {
                    return Err(StageError::Failed("the `weights` input holds no merge weights".into()));
                };
                let groups = infos[0].backbone.build().kernel_groups();
                (learned::merge(&state_dicts, &groups, &weights.tensors)?, weights.info.head.clone())
            }
        };
        let info = ModelInfo { head, ..infos[0].clone() };
        if info.head.is_none() {
            remove_head(&mut tensors, &info.backbone);
        }
        let mut checkpoint = Checkpoint { info, tensors, history: Vec::new() };
        if reestimates {
            reestimate_statistics(&mut checkpoint, &context.datasets[0], context)?;
        }
        Ok(Artifact::Model(checkpoint))
    }
}

/// The head that all sources have for the same data set: it can be merged like any layer. Heads of
/// different data sets cannot.
fn shared_head(sources: &[&ModelInfo]) -> Option<Head> {
    let head = sources[0].head.clone();
    head.filter(|head| sources.iter().all(|source| source.head.as_ref() == Some(head)))
}
