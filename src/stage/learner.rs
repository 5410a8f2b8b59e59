//! Learners shared by several stages: a whole network, or the head on a frozen backbone.

use std::collections::{BTreeSet, HashMap};

use candle_core::{Result, Tensor, Var, bail};

use super::*;
use backbone::Backbone;
use model::batch_norm::follow_step_in_place;
use nn::init::Parameter;
use nn::{Mode, Net, Normalize, StateDict, Value, leaves};
use train::batch::Batch;
use train::epoch::{Task, fit, fit_to};
use train::eval_batch::eval_batch;
use train::learner::{Forward, Learner};
use train::pixels::{self, Variant};
use train::{NamedLoss, Objective};

/// Train every parameter.
///
/// # Errors
/// Training failed.
pub(super) fn train_whole(
    info: ModelInfo,
    tensors: StateDict,
    task: &Task<'_>,
) -> std::result::Result<Artifact, StageError> {
    train_whole_to(&NamedLoss::of(task)?, info, tensors, task)
}

/// Train every parameter, to minimize something else than the loss that the options name.
///
/// # Errors
/// Training failed.
pub(super) fn train_whole_to(
    objective: &dyn Objective,
    info: ModelInfo,
    tensors: StateDict,
    task: &Task<'_>,
) -> std::result::Result<Artifact, StageError> {
    train_near_to(objective, 0.0, info, tensors, task)
}

/// Train every parameter; each step also takes the backbone nearer to its start, w − lr · decay · (w − start) (L2-SP, Li
/// et al. 2018, arXiv 1802.01483).
///
/// # Errors
/// Training failed.
pub(super) fn train_near_to(
    objective: &dyn Objective,
    decay_to_start: f64,
    info: ModelInfo,
    tensors: StateDict,
    task: &Task<'_>,
) -> std::result::Result<Artifact, StageError> {
    let mut learner = WholeNetwork::new(&info, tensors, decay_to_start, task)?;
    let history = fit_to(objective, &mut learner, task)?;
    let tensors = learner.state()?;
    Ok(Artifact::Model(Checkpoint { info, tensors, history }))
}

/// Train the classifier alone, on a frozen backbone.
///
/// # Errors
/// Training failed.
pub(super) fn train_head(
    info: ModelInfo,
    tensors: StateDict,
    task: &Task<'_>,
) -> std::result::Result<Artifact, StageError> {
    let mut learner = HeadOnly::new(&info, tensors, task)?;
    let history = fit(&mut learner, task)?;
    let head = learner.state()?;
    let mut tensors = learner.frozen;
    tensors.extend(head);
    Ok(Artifact::Model(Checkpoint { info, tensors, history }))
}

/// Set variables, and replace other tensors, from a copy.
pub(super) fn restore(tensors: &mut StateDict, variables: &[(String, Var)], state: &StateDict) -> Result<()> {
    let learned: BTreeSet<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
    for (name, var) in variables {
        var.set(&state[name])?;
    }
    for (name, tensor) in tensors.iter_mut().filter(|(name, _)| !learned.contains(name.as_str())) {
        *tensor = state[name].clone();
    }
    Ok(())
}

/// Copy the elements of a tensor into another of the same shape and type.
fn overwrite(tensor: &Tensor, by: &Tensor) -> Result<()> {
    tensor.flatten_all()?.slice_set(&by.flatten_all()?.contiguous()?, 0, 0)
}

/// Turn the named tensors into variables; the state dict then holds the variables' own tensors, so that the next
/// forward pass uses the result of an optimizer step.
pub(super) fn make_variables(
    tensors: &mut StateDict,
    names: impl IntoIterator<Item = String>,
) -> Result<Vec<(String, Var)>> {
    let mut variables = Vec::new();
    for name in names {
        if let Some(tensor) = tensors.get_mut(&name) {
            // Copied, because other stages may share the input checkpoint.
            let var = Var::from_tensor(&tensor.detach().force_contiguous()?)?;
            *tensor = var.as_tensor().clone();
            variables.push((name, var));
        }
    }
    Ok(variables)
}

/// Requires a `decay_to_start` below 1 / lr: from there on, a decay step would overshoot the start.
pub(super) fn check_decay(decay_to_start: f64, train: &TrainSpec, problems: &mut Problems) {
    let most = 1.0 / train.optimizer.lr();
    let expected = format!("below 1 / lr, here {most}");
    problems.check("decay_to_start", decay_to_start, decay_to_start < most, &expected);
}

/// `w − share · (w − start)`. The share is at most 1: a schedule may raise the learning rate above the one that options
/// were checked against.
pub(super) fn decay(var: &Var, start: &Tensor, share: f64) -> Result<()> {
    let share = share.min(1.0);
    var.set(&(var.as_tensor().detach() * (1.0 - share))?.broadcast_add(&(start * share)?)?)
}

/// Trains every parameter of a network.
struct WholeNetwork<'a> {
    backbone: Box<dyn Backbone>,
    info: &'a ModelInfo,
    classes: usize,
    /// Its own: nothing else shares them.
    tensors: StateDict,
    variables: Vec<(String, Var)>,
    decay_to_start: f64,
    /// The variables that decay, with what they start with; none without a decay.
    decaying: Vec<(Var, Tensor)>,
    task: &'a Task<'a>,
}

impl<'a> WholeNetwork<'a> {
    fn new(
        info: &'a ModelInfo,
        mut tensors: StateDict,
        decay_to_start: f64,
        task: &'a Task<'a>,
    ) -> Result<Self> {
        let backbone = info.backbone.build();
        let classes = task.dataset.classes.len();
        let parameters = backbone.all_parameters(Some(classes)).into_iter();
        let trainable = parameters.filter(|parameter| parameter.is_trainable());
        let variables = make_variables(&mut tensors, trainable.map(|parameter| parameter.name))?;
        for tensor in tensors.values_mut().filter(|tensor| !tensor.is_variable()) {
            *tensor = tensor.force_contiguous()?;
        }
        let head = format!("{}.", backbone.head_name());
        let decays = |(name, _): &&(String, Var)| decay_to_start > 0.0 && !name.starts_with(&head);
        let with_start =
            |(_, var): &(String, Var)| Ok((var.clone(), var.as_detached_tensor().force_contiguous()?));
        let decaying = variables.iter().filter(decays).map(with_start).collect::<Result<_>>()?;
        Ok(Self { backbone, info, classes, tensors, variables, decay_to_start, decaying, task })
    }
}

impl Learner for WholeNetwork<'_> {
    fn variables(&self) -> Vec<(String, Var)> {
        self.variables.clone()
    }

    fn depths(&self) -> Vec<Vec<String>> {
        let is_variable = |name: &String| self.variables.iter().any(|(variable, _)| variable == name);
        let names = |depth: Vec<Parameter>| depth.into_iter().map(|parameter| parameter.name);
        self.backbone.depths().into_iter().map(|depth| names(depth).filter(is_variable).collect()).collect()
    }

    fn normalize(&self) -> Option<Normalize> {
        Some(self.info.normalize)
    }

    fn train_logits(&mut self, batch: &Batch) -> Result<Forward> {
        let x = Value::constant(prepared(batch)?);
        let leaves = leaves(&self.tensors, self.variables.iter().map(|(name, _)| name));
        let net = Net::with_values(&self.tensors, leaves.clone(), Mode::Train);
        let logits = self.backbone.logits(&net, &x, self.classes)?;
        let observed = net.into_observed();
        follow_step_in_place(&mut self.tensors, observed)?;
        Ok(Forward { logits, leaves })
    }

    fn can_be_captured(&self) -> bool {
        self.decaying.is_empty()
    }

    fn after_step(&mut self, lr: f64) -> Result<()> {
        self.decaying.iter().try_for_each(|(var, start)| decay(var, start, lr * self.decay_to_start))
    }

    fn val_logits(&mut self, positions: &[usize]) -> Result<Tensor> {
        let x = Value::constant(val_images(self.task, &self.info.normalize, positions)?);
        let net = Net::new(&self.tensors, Mode::Eval);
        Ok(self.backbone.logits(&net, &x, self.classes)?.tensor().clone())
    }

    fn tensors(&self) -> StateDict {
        self.tensors.clone()
    }

    fn restore(&mut self, state: &StateDict) -> Result<()> {
        self.tensors.iter().try_for_each(|(name, tensor)| overwrite(tensor, &state[name]))
    }
}

/// The images that a batch brings along.
pub(super) fn prepared(batch: &Batch) -> Result<Tensor> {
    match &batch.images {
        Some(images) => Ok(images.clone()),
        None => bail!("the batch was prepared without images"),
    }
}

/// Validation images.
pub(super) fn val_images(task: &Task<'_>, normalize: &Normalize, positions: &[usize]) -> Result<Tensor> {
    pixels::images(&task.dataset.val, task.dataset.size, positions, normalize, None, task.device)
}

/// Trains a classifier on a frozen backbone in evaluation mode. Features that do not change, those of validation images
/// and of the few flipped variants of training images, are computed once.
struct HeadOnly<'a> {
    backbone: Box<dyn Backbone>,
    info: &'a ModelInfo,
    frozen: StateDict,
    head: StateDict,
    variables: Vec<(String, Var)>,
    /// Cached features `[1, feature_size]` of each variant of a training image.
    train_features: HashMap<(usize, Vec<u32>), Tensor>,
    val_features: Tensor,
    task: &'a Task<'a>,
}

impl<'a> HeadOnly<'a> {
    fn new(info: &'a ModelInfo, tensors: StateDict, task: &'a Task<'a>) -> Result<Self> {
        let backbone = info.backbone.build();
        let prefix = format!("{}.", backbone.head_name());
        let (mut head, frozen): (StateDict, StateDict) =
            tensors.into_iter().partition(|(name, _)| name.starts_with(&prefix));
        let names: Vec<String> = head.keys().cloned().collect();
        let variables = make_variables(&mut head, names)?;
        let val_features = match task.spec.select.metric() {
            None => Tensor::zeros((0, backbone.feature_size()), candle_core::DType::F32, task.device)?,
            Some(_) => {
                let positions: Vec<usize> = (0..task.dataset.val.len()).collect();
                let features = |positions: &[usize]| {
                    frozen_features(&*backbone, &frozen, val_images(task, &info.normalize, positions)?)
                };
                let batch = eval_batch(task.dataset.size, task.device);
                Tensor::cat(&positions.chunks(batch).map(features).collect::<Result<Vec<_>>>()?, 0)?
            }
        };
        let train_features = HashMap::new();
        Ok(Self { backbone, info, frozen, head, variables, train_features, val_features, task })
    }

    /// The backbone's features of training images, cached by image variant.
    fn remembered(&mut self, batch: &Batch) -> Result<Tensor> {
        let Task { dataset, spec, device, .. } = self.task;
        let variant = Variant { augment: &spec.augment, seed: spec.seed, epoch: batch.epoch };
        let key = |&draw: &usize| (draw % dataset.train.len(), variant.changes(draw).key());
        let keys: Vec<_> = batch.draws.iter().map(key).collect();
        let drawn = batch.draws.iter().zip(&keys);
        let (new, new_keys): (Vec<usize>, Vec<_>) =
            drawn.filter(|(_, key)| !self.train_features.contains_key(key)).unzip();
        if !new.is_empty() {
            let normalize = &self.info.normalize;
            let x = pixels::images(&dataset.train, dataset.size, &new, normalize, Some(variant), device)?;
            let features = frozen_features(&*self.backbone, &self.frozen, x)?;
            for (i, key) in new_keys.into_iter().enumerate() {
                self.train_features.insert(key.clone(), features.narrow(0, i, 1)?);
            }
        }
        Tensor::cat(&keys.iter().map(|key| &self.train_features[key]).collect::<Vec<_>>(), 0)
    }

    /// Whether features of training images are cached.
    fn remembers(&self) -> bool {
        self.task.spec.augment.has_few_variants()
    }

    fn classify(&self, net: &Net<'_>, features: Tensor) -> Result<Value> {
        let layer = self.backbone.head(self.task.dataset.classes.len());
        layer.forward(net, &Value::constant(features))
    }
}

impl Learner for HeadOnly<'_> {
    fn variables(&self) -> Vec<(String, Var)> {
        self.variables.clone()
    }

    fn normalize(&self) -> Option<Normalize> {
        (!self.remembers()).then_some(self.info.normalize)
    }

    fn train_logits(&mut self, batch: &Batch) -> Result<Forward> {
        let features = match self.remembers() {
            true => self.remembered(batch)?,
            false => frozen_features(&*self.backbone, &self.frozen, prepared(batch)?)?,
        };
        let leaves = leaves(&self.head, self.head.keys());
        let net = Net::with_values(&self.head, leaves.clone(), Mode::Train);
        Ok(Forward { logits: self.classify(&net, features)?, leaves })
    }

    fn val_logits(&mut self, positions: &[usize]) -> Result<Tensor> {
        let features = select_rows(&self.val_features, positions)?;
        Ok(self.classify(&Net::new(&self.head, Mode::Eval), features)?.tensor().clone())
    }

    fn tensors(&self) -> StateDict {
        self.head.clone()
    }

    fn restore(&mut self, state: &StateDict) -> Result<()> {
        restore(&mut self.head, &self.variables, state)
    }
}

/// Features of a frozen backbone.
fn frozen_features(backbone: &dyn Backbone, frozen: &StateDict, x: Tensor) -> Result<Tensor> {
    let features = backbone.features(&Net::new(frozen, Mode::Eval), &Value::constant(x))?;
    Ok(features.tensor().clone())
}

fn select_rows(rows: &Tensor, positions: &[usize]) -> Result<Tensor> {
    let positions: Vec<u32> = positions.iter().map(|&position| position as u32).collect();
    rows.index_select(&Tensor::new(positions, rows.device())?, 0)
}
