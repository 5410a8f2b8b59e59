//! `merge`: several models into one plain checkpoint.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::artifact::StateDict;
use super::model::{reestimate_statistics, remove_head};
use super::repair::{Source, repair};
use super::*;
use merge_method::git_rebasin::{GitRebasin, GitRebasinSpec, Permutations};
use merge_method::regmean::Regmean;
use merge_method::{MergeMethodSpec, MergeTensors, NamedTensors, learned, merge_in_memory};
use nn::cost::{product, sum};

/// Sources and how to merge them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeSpec {
    /// Stages whose models to merge, of one backbone: two or more, but for methods that say otherwise.
    #[serde(skip_serializing)]
    pub sources: Vec<String>,
    /// How.
    pub method: MergeMethodSpec,
    /// What becomes of batch norm's running statistics.
    #[serde(default)]
    pub batch_norm: BatchNormStatistics,
    /// Data set whose training images statistics are measured on, and which the method measures on.
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
            inputs.push(Input::new(Role::Weights, &learned.weights));
        }
        inputs.extend(self.method.base().map(|base| Input::new(Role::Base, base)));
        inputs
    }

    /// What all sources go back to; of sources that differ, the merged model is a start of its own.
    fn began_at(&self, own: Fingerprint, inputs: &[Option<Fingerprint>]) -> Option<Fingerprint> {
        let starts: Option<BTreeSet<Fingerprint>> = inputs[..self.sources.len()].iter().copied().collect();
        let starts = starts?;
        if starts.len() == 1 { starts.into_iter().next() } else { Some(own) }
    }

    fn datasets(&self) -> Vec<DataInput> {
        let mut splits = measure::splits(&self.method).to_vec();
        if self.batch_norm.is_measured() && !splits.contains(&SplitName::Train) {
            splits.insert(0, SplitName::Train);
        }
        let dataset = self.dataset.iter().filter(|_| !splits.is_empty());
        dataset.map(|name| DataInput::new(Role::Dataset, name, &splits)).collect()
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
            (BatchNormStatistics::Merged, Some(_)) if measure::splits(&self.method).is_empty() => {
                return Err(vec![
                    "`dataset` is not used with `batch_norm = \"merged\"`; leave it out".into(),
                ]);
            }
            (BatchNormStatistics::Repair, Some(_)) => {
                self.repairable()?;
                known.datasets[0].suits(&sources[0].backbone)?;
            }
            (BatchNormStatistics::Reestimate, Some(_)) | (BatchNormStatistics::Merged, _) => {}
        }
        let problems = measure::problems(&self.method, &sources, &self.sources, known.datasets.first());
        if !problems.is_empty() {
            return Err(problems);
        }
        let head = match &self.method {
            MergeMethodSpec::Learned(learned) => {
                let Description::MergeWeights { info, sources: learnt } = known.inputs[n] else {
                    return Err(vec![format!(
                        "`weights = \"{}\"` is no `learn_merge_weights` stage",
                        learned.weights
                    )]);
                };
                if *learnt != known.input_fingerprints[..n] {
                    return Err(vec![format!(
                        "the numbers of `{}` were learnt for other sources, or in another order; give both stages \
                         the same `sources`",
                        learned.weights
                    )]);
                }
                info.head.clone()
            }
            method => {
                let base = method.base().map(|name| base(name, known.model(n)?, sources[0])).transpose()?;
                let head = shared_head(&[&sources[..], base.as_slice()].concat());
                if matches!(method, MergeMethodSpec::UniformSoup(_)) && head.is_none() {
                    return Err(vec![NO_SOUP.into()]);
                }
                self.of_one_start(known)?;
                head
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
        let (bytes, models) = (network.bytes(), self.sources.len() + self.method.base().iter().count());
        let models = models as u64;
        let (copies, operations) = match self.method {
            MergeMethodSpec::Learned(_) => (product([models, 2]), 0),
            MergeMethodSpec::GitRebasin(_) => {
                (sum([models, 1]), product([models - 1, network.operations_to_align()]))
            }
            _ => (models, 0),
        };
        let memory_bytes = product([bytes, sum([copies, 1])]);
        let plain =
            Work { operations, bytes_read: product([bytes, models]), memory_bytes, disk_bytes: bytes };
        let Some(dataset) = dataset else { return plain };
        let passes = match self.batch_norm {
            BatchNormStatistics::Merged => 0,
            _ if network.has_batch_norm() => 1,
            BatchNormStatistics::Reestimate => 0,
            BatchNormStatistics::Repair => models + 1,
        };
        let images = if passes > 0 { dataset.images(SplitName::Train) } else { 0 };
        let measured = product([network.features(), images, passes]);
        let sources: Vec<&ModelInfo> = (0..self.sources.len()).map(|i| known.described_model(i)).collect();
        let measuring = measure::work(&self.method, &sources, dataset, measured, networks);
        if passes == 0 && measuring == Work::default() {
            return plain;
        }
        let passing = network.passing(images).max(measuring.memory_bytes);
        Work {
            operations: sum([operations, measured, measuring.operations]),
            memory_bytes: sum([memory_bytes, passing, dataset.decoded_bytes()]),
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
            MergeMethodSpec::GitRebasin(spec) => {
                let head = shared_head(&infos);
                let method = rebasin(spec, &infos[0].backbone, &state_dicts, head.is_some())?;
                let merged = by_formula(&method, &sources, None)?;
                permutations = method.into_permutations();
                merged
            }
            MergeMethodSpec::Learned(_) => {
                let Artifact::MergeWeights(weights) = &*context.inputs[n] else {
                    return Err(StageError::Failed("the `weights` input holds no merge weights".into()));
                };
                let groups = infos[0].backbone.build().kernel_groups();
                (learned::merge(&state_dicts, &groups, &weights.tensors)?, weights.info.head.clone())
            }
            method => {
                let base = method.base().map(|_| context.model(n)).transpose()?;
                by_formula(&*self.measured(&sources, context)?, &sources, base)?
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
    /// A method that merges the tensors of one name at a time, with all that it measures on the sources.
    fn measured(
        &self,
        sources: &[&Checkpoint],
        context: &Context<'_>,
    ) -> Result<Box<dyn MergeTensors>, StageError> {
        let reestimates = self.batch_norm == BatchNormStatistics::Reestimate;
        Ok(match &self.method {
            MergeMethodSpec::GreedySoup(spec) => {
                Box::new(measure::chosen(spec, sources, &self.sources, reestimates, context)?)
            }
            MergeMethodSpec::Fisher(spec) => Box::new(spec.of(measure::information(spec, sources, context)?)),
            MergeMethodSpec::Regmean(spec) => {
                Box::new(Regmean { solved: measure::solved_weights(spec, sources, context)? })
            }
            method => method.formula(sources.len()).ok_or_else(|| {
                StageError::Failed(format!("`{}` is no method that merges tensor by tensor", method.name()))
            })?,
        })
    }

    /// Whether the models began at one stage, as far as that is known, if the method takes it for granted.
    fn of_one_start(&self, known: &Known<'_>) -> Result<(), Vec<String>> {
        let base = self.method.base();
        if base.is_none() && !matches!(self.method, MergeMethodSpec::UniformSoup(_)) {
            return Ok(());
        }
        let sources = self.sources.iter().map(|name| format!("source `{name}`"));
        let base = base.map(|name| format!("`base = \"{name}\"`"));
        // The base is the input behind the sources.
        let names: Vec<String> = sources.chain(base.clone()).collect();
        let mut starts =
            names.iter().zip(&known.began_at).filter_map(|(name, start)| Some((name, (*start)?)));
        let reference = if base.is_some() { starts.next_back() } else { starts.next() };
        let Some((reference, start)) = reference else { return Ok(()) };
        let Some((other, _)) = starts.find(|(_, other)| *other != start) else { return Ok(()) };
        let method = self.method.name();
        Err(vec![format!(
            "{other} began at another `pretrain` stage, or at a merge, than {reference}, but `{method}` is for models \
             that were trained from one start; name their common start, or merge them by `learned`, `git_rebasin` or \
             `average`"
        )])
    }

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

/// Why heads of different data sets make no soup.
const NO_SOUP: &str = "`uniform_soup` averages models that were fine-tuned from a common start on one data set, but \
                       not all of these have a head for the same data set; for others, `method = \"average\"`";

/// What the base is, which must be a model like the sources.
fn base<'a>(name: &str, base: &'a ModelInfo, source: &ModelInfo) -> Result<&'a ModelInfo, Vec<String>> {
    if base.backbone != source.backbone {
        return Err(vec![format!(
            "`base = \"{name}\"` has another backbone, {}, than the sources, {}; name the model that the sources \
             were trained from",
            base.backbone, source.backbone
        )]);
    }
    if base.normalize != source.normalize {
        return Err(vec![format!(
            "`base = \"{name}\"` scales its input pixels otherwise (`normalize`) than the sources; name the model \
             that the sources were trained from"
        )]);
    }
    Ok(base)
}

/// The merged tensors, and the head if all models share it. Heads that they do not share are not merged.
fn by_formula(
    method: &dyn MergeTensors,
    sources: &[&Checkpoint],
    base: Option<&Checkpoint>,
) -> Result<(StateDict, Option<Head>), StageError> {
    let models = sources.iter().copied().chain(base);
    let head = shared_head(&models.clone().map(|model| &model.info).collect::<Vec<_>>());
    let merged = |model: &Checkpoint| {
        let mut tensors = model.tensors.clone();
        if head.is_none() {
            remove_head(&mut tensors, &model.info.backbone);
        }
        tensors
    };
    let models: Vec<StateDict> = models.map(merged).collect();
    let (of_sources, of_base) = models.split_at(sources.len());
    let merged = merge_in_memory(method, &of_sources.iter().collect::<Vec<_>>(), of_base.first())?;
    Ok((merged, head))
}

/// The head that all models have for the same data set: it can be merged like any layer. Heads of
/// different data sets cannot.
fn shared_head(models: &[&ModelInfo]) -> Option<Head> {
    let head = models[0].head.clone();
    head.filter(|head| models.iter().all(|model| model.head.as_ref() == Some(head)))
}
