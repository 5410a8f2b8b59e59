//! The learner of `learn_merge_weights`: one network of merged kernels.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use super::{Constraint, Granularity, LayerWeights, LearnMergeWeightsSpec, Norms, StartingHead, norms};
use crate::Checkpoint;
use crate::learner::{decay, make_variables, prepared, restore, val_images};
use backbone::{Backbone, KernelGroup};
use merge_method::learned::{merged_kernels, stacked};
use model::batch_norm::follow_step;
use model::head::{reorder_head, replace_head};
use nn::{Mode, Net, Normalize, StateDict, Value, Values, leaves};
use train::batch::Batch;
use train::epoch::Task;
use train::learner::{Forward, Learner, copied};

/// Learns merge weights, the head if the loss uses labels, and norms on request; the sources are frozen.
///
/// Computes one network with merged kernels: convolution is linear in its kernel, so weighting kernels equals weighting
/// the sources' feature maps, at the cost of one network instead of one per source.
pub(super) struct MergeLearner<'a> {
    pub(super) spec: &'a LearnMergeWeightsSpec,
    pub(super) backbone: Box<dyn Backbone>,
    /// The merged layers.
    pub(super) layers: Vec<LayerWeights>,
    pub(super) normalize: Normalize,
    pub(super) classes: usize,
    /// The sources' kernels, `[sources, kernels, ..]`, by name; with a base, their differences from it, and its own.
    pub(super) sources: StateDict,
    /// Learned merge weights, `[learned sources, slices, kernels or 1]`, by [`MergeLearner::key`].
    pub(super) weights: StateDict,
    /// Initial merge weights of the learned sources, `[learned sources, 1]`.
    start: Tensor,
    /// All tensors that are not merged: the head, running statistics and batch counts.
    pub(super) rest: StateDict,
    pub(super) weight_variables: Vec<(String, Var)>,
    /// Trained tensors that are not merged.
    pub(super) plain_variables: Vec<(String, Var)>,
    pub(super) task: &'a Task<'a>,
}

impl<'a> MergeLearner<'a> {
    pub(super) fn new(
        spec: &'a LearnMergeWeightsSpec,
        sources: &[&Checkpoint],
        base: Option<&Checkpoint>,
        task: &'a Task<'a>,
    ) -> candle_core::Result<Self> {
        let start = sources[spec.anchor_index().unwrap_or(0)];
        let backbone = start.info.backbone.build();
        let layers = spec.layers(&start.info.backbone);
        let groups: Vec<KernelGroup> = layers.iter().map(|layer| layer.group.clone()).collect();
        let classes = task.dataset.classes.len();
        let mut rest = Self::starting_rest(spec, sources, start, task)?;
        groups.iter().flat_map(|group| &group.tensors).for_each(|name| drop(rest.remove(name)));
        let plain = Self::trained(spec, &*backbone, task);
        let plain_variables = make_variables(&mut rest, plain)?;
        let mut weights = Self::starting_weights(spec, &layers, task)?;
        let names: Vec<String> = weights.keys().cloned().collect();
        let weight_variables = make_variables(&mut weights, names)?;
        let column: Vec<f32> = spec.learned_sources().into_iter().map(|source| spec.start(source)).collect();
        let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
        Ok(Self {
            spec,
            sources: stacked(&state_dicts, base.map(|base| &base.tensors), &groups)?,
            normalize: start.info.normalize,
            backbone,
            layers,
            classes,
            weights,
            start: Tensor::from_vec(column, (spec.learned_sources().len(), 1), task.device)?,
            rest,
            weight_variables,
            plain_variables,
            task,
        })
    }

    /// The tensors of the model to start from, with the initial head.
    fn starting_rest(
        spec: &LearnMergeWeightsSpec,
        sources: &[&Checkpoint],
        start: &Checkpoint,
        task: &Task<'_>,
    ) -> candle_core::Result<StateDict> {
        let (mut rest, classes) = (start.tensors.clone(), &task.dataset.classes);
        if spec.has_new_head() {
            replace_head(&mut rest, &start.info.backbone, classes.len(), task.spec.seed, task.device)?;
        } else if spec.head == StartingHead::Mean {
            rest.extend(mean_head(sources, classes)?);
        } else {
            reorder_head(&mut rest, &start.info, classes)?;
        }
        Ok(rest)
    }

    /// Names of the trained tensors that are not merged.
    fn trained(
        spec: &LearnMergeWeightsSpec,
        backbone: &dyn Backbone,
        task: &Task<'_>,
    ) -> impl Iterator<Item = String> {
        // Without labels the head is frozen: it could make every image the same class.
        let head = backbone.head(task.dataset.classes.len()).parameters().into_iter();
        let head = head.map(|parameter| parameter.name).filter(|_| task.spec.loss.uses_labels());
        let norms = norms(&backbone.parameters()).into_iter().filter(|_| spec.norms == Norms::Trained);
        head.chain(norms)
    }

    fn starting_weights(
        spec: &LearnMergeWeightsSpec,
        layers: &[LayerWeights],
        task: &Task<'_>,
    ) -> candle_core::Result<StateDict> {
        let learned = spec.learned_sources();
        let has_one_each = matches!(spec.granularity, Granularity::Slice | Granularity::Kernel);
        let size = |number: usize| if has_one_each { number } else { 1 };
        let named = layers.iter().flat_map(LayerWeights::named);
        let sizes: BTreeMap<String, usize> =
            named.map(|(name, number)| (Self::key(spec, name), size(*number))).collect();
        let start = |(key, size): (String, usize)| {
            let rows = learned.iter().flat_map(|&source| std::iter::repeat_n(spec.start(source), size));
            let values: Vec<f32> = rows.collect();
            Ok((key, Tensor::from_vec(values, (learned.len(), size), task.device)?))
        };
        sizes.into_iter().map(start).collect()
    }

    /// Name of the variable that holds the merge weights of a name.
    fn key(spec: &LearnMergeWeightsSpec, name: &str) -> String {
        match spec.granularity {
            Granularity::Slice | Granularity::Kernel | Granularity::Layer => name.into(),
            Granularity::Model => "merge_weights".into(),
        }
    }

    /// The merge weights of a name, of all sources, `[sources, number]`, as a function of `weights`; with a base, a last
    /// row of ones for it.
    pub(super) fn all_weights(
        &self,
        weights: &Values,
        (name, number): &(String, usize),
    ) -> candle_core::Result<Value> {
        let learned = self.spec.learned_sources();
        let sources = self.spec.sources.len() + usize::from(self.spec.base.is_some());
        let row = |numbers: &Tensor, source: usize| match learned.iter().position(|&i| i == source) {
            Some(i) => numbers.narrow(0, i, 1),
            None => numbers.narrow(0, 0, 1)?.ones_like(),
        };
        let variable = &weights[&Self::key(self.spec, name)];
        if learned.len() == sources && variable.dims()[1] == *number {
            return Ok(variable.clone());
        }
        Value::composed(&[variable], |t| {
            let rows =
                (0..sources).map(|source| row(&t[0], source)).collect::<candle_core::Result<Vec<_>>>()?;
            Tensor::cat(&rows, 0)?.broadcast_as((sources, *number))?.contiguous()
        })
    }

    /// A layer's tensors and the merge weights of each, as a function of `weights`; tensors that share them share a value.
    fn with_weights<'l>(
        &self,
        weights: &Values,
        layer: &'l LayerWeights,
    ) -> candle_core::Result<(&'l KernelGroup, Vec<Value>)> {
        let value = |named: &(String, usize)| Ok((named.0.clone(), self.all_weights(weights, named)?));
        let values: BTreeMap<String, Value> = layer.named().map(value).collect::<candle_core::Result<_>>()?;
        Ok((&layer.group, layer.of_tensors().map(|(name, _)| values[name].clone()).collect()))
    }

    /// The merged network's tensors that depend on merge weights, and other trained ones.
    pub(super) fn values(&self, weights: &Values, plain: Values) -> candle_core::Result<Values> {
        let groups = self.layers.iter().map(|layer| self.with_weights(weights, layer));
        let mut values = merged_kernels(&self.sources, groups)?;
        values.extend(plain);
        Ok(values)
    }

    /// The stage's result: every group's merge weights, and all tensors that are not merged.
    pub(super) fn learned(&self) -> candle_core::Result<StateDict> {
        let mut learned = copied(&self.rest)?;
        let weights = constants(&self.weights);
        for named in self.layers.iter().flat_map(LayerWeights::named) {
            let numbers = self.all_weights(&weights, named)?;
            let of_sources = numbers.tensor().narrow(0, 0, self.spec.sources.len())?;
            learned.insert(named.0.clone(), of_sources.force_contiguous()?);
        }
        Ok(learned)
    }
}

impl Learner for MergeLearner<'_> {
    fn variables(&self) -> Vec<(String, Var)> {
        self.weight_variables.iter().chain(&self.plain_variables).cloned().collect()
    }

    fn normalize(&self) -> Option<Normalize> {
        Some(self.normalize)
    }

    fn train_logits(&mut self, batch: &Batch) -> candle_core::Result<Forward> {
        let x = Value::constant(prepared(batch)?);
        let names = |variables: &[(String, Var)]| variables.iter().map(|(name, _)| name.clone()).collect();
        let (weights, plain): (Vec<String>, Vec<String>) =
            (names(&self.weight_variables), names(&self.plain_variables));
        let variables: StateDict = self
            .weights
            .iter()
            .chain(&self.rest)
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect();
        let leaves = leaves(&variables, weights.iter().chain(&plain));
        let plain = plain.iter().map(|name| (name.clone(), leaves[name].clone())).collect();
        let net = Net::with_values(&self.rest, self.values(&leaves, plain)?, Mode::Train);
        let logits = self.backbone.logits(&net, &x, self.classes)?;
        let observed = net.into_observed();
        follow_step(&mut self.rest, observed)?;
        Ok(Forward { logits, leaves })
    }

    fn after_step(&mut self, lr: f64) -> candle_core::Result<()> {
        for (_, var) in &self.weight_variables {
            if self.spec.decay_to_start > 0.0 {
                decay(var, &self.start, lr * self.spec.decay_to_start)?;
            }
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

    fn tensors(&self) -> StateDict {
        let all = self.rest.iter().chain(&self.weights);
        all.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }

    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()> {
        restore(&mut self.weights, &self.weight_variables, state)?;
        restore(&mut self.rest, &self.plain_variables, state)
    }
}

/// The mean of the models' heads, for classes with the same names.
fn mean_head(models: &[&Checkpoint], classes: &[String]) -> candle_core::Result<StateDict> {
    let head = |model: &&Checkpoint| {
        let mut tensors = model.tensors.clone();
        reorder_head(&mut tensors, &model.info, classes)?;
        let prefix = format!("{}.", model.info.backbone.build().head_name());
        tensors.retain(|name, _| name.starts_with(&prefix));
        Ok(tensors)
    };
    let heads = models.iter().map(head).collect::<candle_core::Result<Vec<StateDict>>>()?;
    let mean = |name: &String| {
        let tensors = heads.iter().map(|head| head[name].detach()).collect::<Vec<_>>();
        Ok((name.clone(), Tensor::stack(&tensors, 0)?.mean(0)?))
    };
    heads[0].keys().map(mean).collect()
}

/// Tensors without gradients.
pub(super) fn constants(tensors: &StateDict) -> Values {
    let constant = |(name, tensor): (&String, &Tensor)| (name.clone(), Value::constant(tensor.detach()));
    tensors.iter().map(constant).collect()
}

/// Clamp to [0, 1]. By comparisons, because `clamp` turns NaN into a number on some devices.
fn into_box(weights: &Tensor) -> candle_core::Result<Tensor> {
    let positive = weights.lt(0f32)?.where_cond(&weights.zeros_like()?, weights)?;
    positive.gt(1f32)?.where_cond(&positive.ones_like()?, &positive)
}

/// Project each column of `[sources, n]` onto the probability simplex (Duchi et al. 2008, "Efficient projections onto
/// the l1-ball", figure 1).
pub(super) fn onto_simplex(weights: &Tensor) -> candle_core::Result<Tensor> {
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
        // A comparison instead of `max`, to preserve NaN.
        for value in column {
            *value = if *value < shift { 0.0 } else { *value - shift };
        }
    }
    Tensor::new(columns, weights.device())?.t()?.contiguous()
}
