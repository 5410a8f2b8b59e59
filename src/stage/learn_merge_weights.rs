//! `learn_merge_weights`: one number per kernel and source, learnt on the target's training images.

use serde::{Deserialize, Serialize};

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::artifact::StateDict;
use super::model::{copied, follow_step, make_variables, replace_head, restore, train_images, val_images};
use super::work::Training;
use super::*;
use crate::backbone::{Backbone, KernelGroup};
use crate::merge_method::learned::{merged_kernels, stacked, weights_name};
use crate::nn::{Mode, Net, Value, Values, leaves};
use crate::train::epoch::{Forward, Learner, Task, fit};

/// Sources, a data set and how to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnMergeWeightsSpec {
    /// Stages whose models to merge: two or more of one backbone.
    #[serde(skip_serializing)]
    pub sources: Vec<String>,
    /// The source to start at, with its head; equal shares and a new head if absent.
    #[serde(default, skip_serializing)]
    pub anchor: Option<String>,
    /// Whether the anchor's own numbers are learnt too.
    #[serde(default)]
    pub anchor_weight: AnchorWeight,
    /// What values the numbers may take.
    #[serde(default)]
    pub constraint: Constraint,
    /// What shares a number.
    #[serde(default)]
    pub granularity: Granularity,
    /// Target data set.
    #[serde(skip_serializing)]
    pub dataset: String,
    /// The keys of `[train]`, written directly in the stage.
    #[serde(default)]
    pub train: TrainSpec,
}

/// Whether the anchor's own numbers are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnchorWeight {
    /// All numbers are learnt.
    #[default]
    Learned,
    /// The anchor's stay at 1.
    Fixed,
}

/// What values merge weights may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Any real number.
    #[default]
    None,
    /// Not negative, with sum 1 over the sources. Kept by projection after each step, so that the anchor
    /// can start at exactly 1 (a softmax could not).
    Convex,
    /// Each in 0..=1.
    Box,
}

/// What shares a merge weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// Each kernel has its own.
    #[default]
    Kernel,
    /// The kernels of a layer share one.
    Layer,
    /// All kernels share one.
    Model,
}

impl Stage for LearnMergeWeightsSpec {
    fn revision(&self) -> u32 {
        1
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Input::sources(&self.sources);
        inputs.extend(self.anchor.iter().map(|anchor| Input::new("anchor", anchor)));
        inputs
    }

    fn datasets(&self) -> Vec<DataInput> {
        vec![DataInput::training(&self.dataset, &self.train)]
    }

    fn train(&self) -> Option<&TrainSpec> {
        Some(&self.train)
    }

    fn describe(&self, known: &Known<'_>) -> Result<Description, Vec<String>> {
        let sources = known.sources(self.sources.len())?;
        known.datasets[0].suits(&sources[0].backbone)?;
        let head = known.datasets[0].head();
        if self.anchor_weight == AnchorWeight::Fixed {
            if self.anchor.is_none() {
                return Err(vec!["`anchor_weight = \"fixed\"` needs an `anchor`".into()]);
            }
            if self.constraint == Constraint::Convex {
                return Err(vec![
                    "`constraint = \"convex\"` leaves nothing to learn beside a fixed anchor of weight 1; use \
                     `anchor_weight = \"learned\"`, or another constraint"
                        .into(),
                ]);
            }
        }
        let headless = |info: &ModelInfo| info.head.as_ref().is_none_or(|had| had.classes != head.classes);
        if let Some(i) = self.anchor_index().filter(|&i| headless(sources[i])) {
            return Err(vec![format!(
                "the anchor `{}` has no head for the classes of data set `{}`; probe it first: a `finetune` stage \
                 with `trainable = \"head\"`",
                self.sources[i], self.dataset
            )]);
        }
        Ok(Description::MergeWeights {
            info: ModelInfo { head: Some(head), ..sources[0].clone() },
            sources: known.input_fingerprints[..self.sources.len()].iter().map(|f| f.to_string()).collect(),
        })
    }

    fn work(&self, known: &Known<'_>, networks: &mut Networks) -> Work {
        let training = Training::new(&known.described_model(0).backbone, known, &self.train, networks);
        training.merge_weights(self.sources.len())
    }

    fn run(&self, context: &Context<'_>) -> Result<Artifact, StageError> {
        let n = self.sources.len();
        let sources = (0..n).map(|i| context.model(i)).collect::<Result<Vec<_>, _>>()?;
        let task = context.task(&self.train);
        let mut learner = MergeLearner::new(self, &sources, &task)?;
        let history = fit(&mut learner, &task)?;
        Ok(Artifact::MergeWeights(MergeWeights {
            info: ModelInfo { head: Some(context.head()), ..sources[0].info.clone() },
            tensors: learner.learnt()?,
            history,
        }))
    }
}

impl LearnMergeWeightsSpec {
    fn anchor_index(&self) -> Option<usize> {
        let anchor = self.anchor.as_ref()?;
        self.sources.iter().position(|source| source == anchor)
    }

    /// Where the numbers start: the anchor's at 1 and the others' at 0, or equal shares.
    fn start(&self, source: usize) -> f32 {
        match self.anchor_index() {
            Some(anchor) if anchor == source => 1.0,
            Some(_) => 0.0,
            None => 1.0 / self.sources.len() as f32,
        }
    }

    /// The sources whose numbers are learnt.
    fn learnt_sources(&self) -> Vec<usize> {
        let fixed = self.anchor_index().filter(|_| self.anchor_weight == AnchorWeight::Fixed);
        (0..self.sources.len()).filter(|source| Some(*source) != fixed).collect()
    }
}

/// Learns merge weights and the head; the sources stay frozen.
///
/// One network is computed, of merged kernels: convolution is linear in its kernel, so weighting kernels
/// equals weighting the sources' feature maps, at the cost of one network instead of one a source.
struct MergeLearner<'a> {
    spec: &'a LearnMergeWeightsSpec,
    backbone: Box<dyn Backbone>,
    groups: Vec<KernelGroup>,
    normalize: Normalize,
    classes: usize,
    /// The sources' kernels, `[sources, kernels, ..]` by name.
    sources: StateDict,
    /// Numbers of the learnt sources, `[learnt sources, kernels or 1]`, by [`MergeLearner::key`].
    weights: StateDict,
    /// Everything that is not merged: the head, running statistics and counts.
    rest: StateDict,
    weight_variables: Vec<(String, Var)>,
    head_variables: Vec<(String, Var)>,
    task: &'a Task<'a>,
}

impl<'a> MergeLearner<'a> {
    fn new(
        spec: &'a LearnMergeWeightsSpec,
        sources: &[&Checkpoint],
        task: &'a Task<'a>,
    ) -> candle_core::Result<Self> {
        let start = sources[spec.anchor_index().unwrap_or(0)];
        let backbone = start.info.backbone.build();
        let groups = backbone.kernel_groups();
        let classes = task.dataset.classes.len();
        let mut rest = start.tensors.clone();
        if spec.anchor.is_none() {
            replace_head(&mut rest, &start.info.backbone, classes, task.spec.seed, task.device)?;
        }
        groups.iter().flat_map(|group| &group.tensors).for_each(|name| drop(rest.remove(name)));
        let head = backbone.head(classes).parameters().into_iter().map(|parameter| parameter.name);
        let head_variables = make_variables(&mut rest, head)?;
        let mut weights = Self::starting_weights(spec, &groups, task)?;
        let names: Vec<String> = weights.keys().cloned().collect();
        let weight_variables = make_variables(&mut weights, names)?;
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        Ok(Self {
            spec,
            sources: stacked(&state_dicts, &groups)?,
            normalize: start.info.normalize,
            backbone,
            groups,
            classes,
            weights,
            rest,
            weight_variables,
            head_variables,
            task,
        })
    }

    fn starting_weights(
        spec: &LearnMergeWeightsSpec,
        groups: &[KernelGroup],
        task: &Task<'_>,
    ) -> candle_core::Result<StateDict> {
        let learnt = spec.learnt_sources();
        let mut sizes = BTreeMap::new();
        for group in groups {
            let size = if spec.granularity == Granularity::Kernel { group.kernels } else { 1 };
            sizes.insert(Self::key(spec, group), size);
        }
        let start = |(key, size): (String, usize)| {
            let rows = learnt.iter().flat_map(|&source| std::iter::repeat_n(spec.start(source), size));
            let values: Vec<f32> = rows.collect();
            Ok((key, Tensor::from_vec(values, (learnt.len(), size), task.device)?))
        };
        sizes.into_iter().map(start).collect()
    }

    /// Name of the variable that holds a group's numbers.
    fn key(spec: &LearnMergeWeightsSpec, group: &KernelGroup) -> String {
        match spec.granularity {
            Granularity::Kernel | Granularity::Layer => weights_name(group),
            Granularity::Model => "merge_weights".into(),
        }
    }

    /// A group's numbers of all sources, `[sources, kernels]`, as a function of `weights`.
    fn group_weights(&self, weights: &Values, group: &KernelGroup) -> candle_core::Result<Value> {
        let learnt = self.spec.learnt_sources();
        let sources = self.spec.sources.len();
        let row = |numbers: &Tensor, source: usize| match learnt.iter().position(|&i| i == source) {
            Some(i) => numbers.narrow(0, i, 1),
            None => numbers.narrow(0, 0, 1)?.ones_like(),
        };
        let variable = &weights[&Self::key(self.spec, group)];
        if learnt.len() == sources && variable.dims()[1] == group.kernels {
            return Ok(variable.clone());
        }
        Value::composed(&[variable], |t| {
            let rows =
                (0..sources).map(|source| row(&t[0], source)).collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&rows, 0)?.broadcast_as((sources, group.kernels))?.contiguous()
        })
    }

    /// The merged network's tensors that depend on merge weights, and the head.
    fn values(&self, weights: &Values, head: Values) -> candle_core::Result<Values> {
        let mut values =
            merged_kernels(&self.sources, &self.groups, |group| self.group_weights(weights, group))?;
        values.extend(head);
        Ok(values)
    }

    /// The stage's result: every group's numbers, and all that is not merged.
    fn learnt(&self) -> candle_core::Result<StateDict> {
        let mut learnt = copied(&self.rest)?;
        let weights = constants(&self.weights);
        for group in &self.groups {
            let numbers = self.group_weights(&weights, group)?;
            learnt.insert(weights_name(group), numbers.tensor().force_contiguous()?);
        }
        Ok(learnt)
    }
}

impl Learner for MergeLearner<'_> {
    fn variables(&self) -> Vec<(String, Var)> {
        self.weight_variables.iter().chain(&self.head_variables).cloned().collect()
    }

    fn train_logits(&mut self, epoch: usize, positions: &[usize]) -> candle_core::Result<Forward> {
        let x = Value::constant(train_images(self.task, &self.normalize, epoch, positions)?);
        let names = |variables: &[(String, Var)]| variables.iter().map(|(name, _)| name.clone()).collect();
        let (weights, head): (Vec<String>, Vec<String>) =
            (names(&self.weight_variables), names(&self.head_variables));
        let variables: StateDict = self
            .weights
            .iter()
            .chain(&self.rest)
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        let leaves = leaves(&variables, weights.iter().chain(&head));
        let head = head.iter().map(|name| (name.clone(), leaves[name].clone())).collect();
        let net = Net::with_values(&self.rest, self.values(&leaves, head)?, Mode::Train);
        let logits = self.backbone.logits(&net, &x, self.classes)?;
        let observed = net.into_observed();
        follow_step(&mut self.rest, observed)?;
        Ok(Forward { logits, leaves })
    }

    fn after_step(&mut self) -> candle_core::Result<()> {
        for (_, var) in &self.weight_variables {
            match self.spec.constraint {
                Constraint::None => {}
                Constraint::Box => var.set(&into_box(&var.as_tensor().detach())?)?,
                Constraint::Convex => var.set(&onto_simplex(&var.as_tensor().detach())?)?,
            }
        }
        Ok(())
    }

    fn val_logits(&mut self, positions: &[usize]) -> candle_core::Result<Tensor> {
        let x = Value::constant(val_images(self.task, &self.normalize, positions)?);
        let values = self.values(&constants(&self.weights), Values::new())?;
        let net = Net::with_values(&self.rest, values, Mode::Eval);
        Ok(self.backbone.logits(&net, &x, self.classes)?.tensor().clone())
    }

    fn state(&self) -> candle_core::Result<StateDict> {
        let mut state = copied(&self.rest)?;
        state.extend(copied(&self.weights)?);
        Ok(state)
    }

    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()> {
        restore(&mut self.weights, &self.weight_variables, state)?;
        restore(&mut self.rest, &self.head_variables, state)
    }
}

/// Tensors that no gradient is wanted of.
fn constants(tensors: &StateDict) -> Values {
    let constant = |(name, tensor): (&String, &Tensor)| (name.clone(), Value::constant(tensor.detach()));
    tensors.iter().map(constant).collect()
}

/// The nearest numbers in 0..=1. Comparisons and not `clamp`, which takes a NaN for a number on some devices.
fn into_box(weights: &Tensor) -> candle_core::Result<Tensor> {
    let positive = weights.lt(0f32)?.where_cond(&weights.zeros_like()?, weights)?;
    positive.gt(1f32)?.where_cond(&positive.ones_like()?, &positive)
}

/// The nearest point whose columns are not negative and add up to 1, column by column of `[sources, n]`
/// (Duchi et al. 2008, "Efficient projections onto the l1-ball", figure 1).
fn onto_simplex(weights: &Tensor) -> candle_core::Result<Tensor> {
    let mut columns = weights.t()?.to_vec2::<f32>()?;
    for column in &mut columns {
        let mut sorted = column.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let (mut sum, mut shift) = (0.0, 0.0);
        for (i, value) in sorted.iter().enumerate() {
            sum += value;
            let candidate = (sum - 1.0) / (i + 1) as f32;
            if *value > candidate {
                shift = candidate;
            }
        }
        // A comparison and not `max`, so that a NaN stays one.
        for value in column {
            *value = if *value < shift { 0.0 } else { *value - shift };
        }
    }
    Tensor::new(columns, weights.device())?.t()?.contiguous()
}

#[cfg(test)]
mod tests;
