//! `merge`: several models into one plain checkpoint.

use serde::{Deserialize, Serialize};

use super::artifact::StateDict;
use super::model::{reestimate_statistics, remove_head};
use super::repair::{Source, repair};
use super::*;
use crate::merge_method::git_rebasin::{GitRebasin, GitRebasinSpec, Permutations};
use crate::merge_method::{MergeMethodSpec, NamedTensors, learned, merge_in_memory};
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
    /// Data set whose training images statistics are measured on.
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
    /// Measured anew; and a network without batch norm gets scales and shifts instead, so that each of its channels
    /// has the mean and the deviation that the sources' have (REPAIR, arXiv 2211.08403).
    Repair,
}

impl BatchNormStatistics {
    /// Whether images are needed.
    fn is_measured(self) -> bool {
        self != Self::Merged
    }
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
        let dataset = self.dataset.iter().filter(|_| self.batch_norm.is_measured());
        dataset.map(|name| DataInput::new("dataset", name, &[SplitName::Train])).collect()
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let n = self.sources.len();
        let sources = known.sources(n)?;
        match (self.batch_norm, &self.dataset) {
            (BatchNormStatistics::Reestimate, None) => {
                return Err(vec!["`batch_norm = \"reestimate\"` needs a `dataset` to measure on".into()]);
            }
            (BatchNormStatistics::Repair, None) => {
                return Err(vec!["`batch_norm = \"repair\"` needs a `dataset` to measure on".into()]);
            }
            (BatchNormStatistics::Merged, Some(_)) => {
                return Err(vec![
                    "`dataset` is not used with `batch_norm = \"merged\"`; leave it out".into(),
                ]);
            }
            (BatchNormStatistics::Repair, Some(_)) => {
                self.repairable()?;
                known.datasets[0].suits(&sources[0].backbone)?;
            }
            (BatchNormStatistics::Reestimate, Some(_)) | (BatchNormStatistics::Merged, None) => {}
        }
        let head = match &self.method {
            MergeMethodSpec::Average(_) | MergeMethodSpec::GitRebasin(_) => shared_head(&sources),
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

    /// A learned merge stacks its sources, Git Re-Basin has one of them permuted; the head, if there is one, weighs
    /// little.
    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let dataset = known.datasets.first();
        let size = dataset.map_or(0, |dataset| dataset.size);
        let network = networks.get(&known.described_model(0).backbone, 0, size);
        let (bytes, sources) = (network.bytes(), self.sources.len() as u64);
        let (copies, operations) = match self.method {
            MergeMethodSpec::Average(_) => (sources, 0),
            MergeMethodSpec::Learned(_) => (product([sources, 2]), 0),
            MergeMethodSpec::GitRebasin(_) => {
                (sum([sources, 1]), product([sources - 1, network.operations_to_align()]))
            }
        };
        let memory_bytes = product([bytes, sum([copies, 1])]);
        let plain =
            Work { operations, bytes_read: product([bytes, sources]), memory_bytes, disk_bytes: bytes };
        let passes = match self.batch_norm {
            BatchNormStatistics::Merged => 0,
            _ if network.has_batch_norm() => 1,
            BatchNormStatistics::Reestimate => 0,
            BatchNormStatistics::Repair => sources + 1,
        };
        let Some(dataset) = dataset.filter(|_| passes > 0) else { return plain };
        let images = dataset.images(SplitName::Train);
        Work {
            operations: sum([operations, product([network.features(), images, passes])]),
            memory_bytes: sum([memory_bytes, network.passing(images), dataset.decoded_bytes()]),
            ..plain
        }
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let n = self.sources.len();
        let sources = (0..n).map(|i| context.model(i)).collect::<Result<Vec<_>, _>>()?;
        let infos: Vec<&ModelInfo> = sources.iter().map(|source| &source.info).collect();
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        let mut permutations = vec![Permutations::default(); n];
        let (mut tensors, head) = match &self.method {
            MergeMethodSpec::Average(spec) => {
                (merge_in_memory(&spec.of(n), &state_dicts, None)?, shared_head(&infos))
            }
            MergeMethodSpec::GitRebasin(spec) => {
                let head = shared_head(&infos);
                let method = rebasin(spec, &infos[0].backbone, &state_dicts, head.is_some())?;
                let merged = merge_in_memory(&method, &state_dicts, None)?;
                permutations = method.into_permutations();
                (merged, head)
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
        match self.batch_norm {
            BatchNormStatistics::Merged => {}
            BatchNormStatistics::Reestimate => {
                reestimate_statistics(&mut checkpoint, &context.datasets[0], context)?;
            }
            BatchNormStatistics::Repair => {
                let shares = self.repairable().map_err(|messages| StageError::Failed(messages.join("; ")))?;
                let source = |((tensors, permutations), share)| Source { tensors, permutations, share };
                let sources = state_dicts.into_iter().zip(&permutations).zip(shares).map(source);
                let sources: Vec<_> = sources.collect();
                repair(&mut checkpoint, &sources, &context.datasets[0], context)?;
            }
        }
        Ok(Artifact::Model(checkpoint))
    }
}

impl MergeSpec {
    /// The shares in which statistics of the sources are mixed to repair the merged network.
    fn repairable(&self) -> Result<Vec<f64>, Vec<String>> {
        let Some(shares) = self.method.shares(self.sources.len()) else {
            return Err(vec![
                "`batch_norm = \"repair\"` mixes the sources' statistics in the shares of an average, and this method \
                 has none; use it with `average` or `git_rebasin`"
                    .into(),
            ]);
        };
        match shares.iter().any(|&share| share < 0.0) {
            true => Err(vec![
                "`batch_norm = \"repair\"` needs weights from 0, as a deviation cannot be negative".into(),
            ]),
            false => Ok(shares),
        }
    }
}

/// Git Re-Basin of these sources. Heads of different data sets have nothing to tell about which units are alike.
fn rebasin(
    spec: &GitRebasinSpec,
    backbone: &BackboneSpec,
    sources: &[&StateDict],
    with_heads: bool,
) -> candle_core::Result<GitRebasin> {
    let mut bodies: Vec<StateDict> = sources.iter().map(|source| (*source).clone()).collect();
    if !with_heads {
        bodies.iter_mut().for_each(|body| remove_head(body, backbone));
    }
    let bodies: Vec<&dyn NamedTensors> = bodies.iter().map(|body| body as &dyn NamedTensors).collect();
    spec.of(&bodies, &backbone.build().symmetries())
}

/// The head that all sources have for the same data set: it can be merged like any layer. Heads of
/// different data sets cannot.
fn shared_head(sources: &[&ModelInfo]) -> Option<Head> {
    let head = sources[0].head.clone();
    head.filter(|head| sources.iter().all(|source| source.head.as_ref() == Some(head)))
}
