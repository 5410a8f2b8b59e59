//! Training steps that are captured once and then replayed on a GPU: the same launches, with one call for all of them.
//!
//! The steps before, of the same shape, are taken one launch at a time, since they make what a capture needs; and so is
//! every batch of another size.

use candle_core::{DType, Error, Result, Tensor, Var};
use nn::cuda::{self, Graph};
use nn::gradients;

use super::batch::Batch;
use super::epoch::Task;
use super::learner::{Forward, Learner};
use super::loss::CrossEntropy;
use super::{Objective, Optimizer, OptimizerError, Targets};

/// Steps of a shape before it is captured.
const WARM_UP: usize = 2;

/// The steps of a training that are replayed.
pub(super) struct Replays {
    /// Number of images of a batch that is replayed; `None` if none is.
    size: Option<usize>,
    /// Steps of that size so far.
    warm: usize,
    step: Option<Captured>,
}

impl Replays {
    /// Replays steps with full batches if the task asks for it and they can be captured. Says why if they cannot.
    pub(super) fn new(task: &Task<'_>, learner: &dyn Learner, objective: &dyn Objective) -> Self {
        let size = task.graphs.then_some(task.spec.batch_size);
        match size.and_then(|_| obstacle(task, learner, objective)) {
            Some(obstacle) => {
                tracing::warn!("steps are not replayed as graphs: {obstacle}");
                Self { size: None, warm: 0, step: None }
            }
            None => Self { size, warm: 0, step: None },
        }
    }

    /// Takes a step on a batch, if it is one that is replayed, and returns its loss, a scalar until the next step.
    ///
    /// # Errors
    /// A replay failed.
    pub(super) fn step(
        &mut self,
        learner: &mut dyn Learner,
        optimizer: &mut Optimizer,
        objective: &dyn Objective,
        batch: &Batch,
        lr_factor: f64,
    ) -> std::result::Result<Option<Tensor>, OptimizerError> {
        if self.size != Some(batch.draws.len()) {
            return Ok(None);
        }
        if self.warm < WARM_UP {
            self.warm += 1;
            return Ok(None);
        }
        let step = match self.step.take() {
            Some(step) => step,
            None => Captured::new(learner, optimizer, objective, batch)?,
        };
        self.step.insert(step).replay(optimizer, batch, lr_factor).map(Some)
    }
}

/// Why the steps of a training cannot be captured.
fn obstacle(task: &Task<'_>, learner: &dyn Learner, objective: &dyn Objective) -> Option<&'static str> {
    let spec = task.spec;
    let obstacles = [
        (!learner.variables().iter().all(|(_, var)| cuda::serves(var)), "the device is no GPU"),
        (!learner.can_be_captured(), "what this stage trains is not computed by launches alone"),
        (objective.capturable().is_none(), "only the loss `cross_entropy` is computed by launches alone"),
        (spec.augment.mixes_batches(), "the labels of mixed images take another loss"),
        (spec.accumulate > 1, "`accumulate` adds up the gradients of several batches"),
        (spec.clip_norm.is_some(), "`clip_norm` waits for the norm of the gradients"),
    ];
    obstacles.into_iter().find_map(|(is_one, obstacle)| is_one.then_some(obstacle))
}

/// A step, and the tensors through which it gets its inputs and returns its loss.
struct Captured {
    graph: Graph,
    images: Var,
    classes: Var,
    varying: Var,
    loss: Tensor,
}

impl Captured {
    /// Captures a step on batches like this one, without taking it.
    fn new(
        learner: &mut dyn Learner,
        optimizer: &Optimizer,
        objective: &dyn Objective,
        batch: &Batch,
    ) -> std::result::Result<Self, OptimizerError> {
        let (images, classes) = inputs(batch)?;
        let entropy = objective.capturable().ok_or_else(unsuitable)?;
        let (images, classes) = (Var::from_tensor(images)?, Var::from_tensor(classes)?);
        let (varying, loss) = (optimizer.varying()?, Tensor::zeros((), DType::F32, images.device())?);
        let mut older = [&*images, &*classes, &*varying, &loss].map(Tensor::clone).to_vec();
        older.extend(learner.tensors().into_values().chain(optimizer.tensors()).chain(entropy.tensors()));
        let fixed = Batch {
            images: Some(images.as_tensor().clone()),
            targets: Targets::Classes(classes.as_tensor().clone()),
            ..batch.clone()
        };
        // no step before has launched it
        cuda::copy(&loss.zeros_like()?, &loss)?;
        let captured = Graph::capture(images.device(), older, || {
            let of_batch = launch(learner, optimizer, entropy, &fixed, (&classes, &varying))?;
            cuda::copy(&of_batch, &loss)
        });
        let graph = captured.map_err(|error| Error::Msg(format!("{error}; run again without --graphs")))?;
        Ok(Self { graph, images, classes, varying, loss })
    }

    /// Takes the step on a batch; returns its loss, which the next step overwrites.
    fn replay(
        &self,
        optimizer: &mut Optimizer,
        batch: &Batch,
        lr_factor: f64,
    ) -> std::result::Result<Tensor, OptimizerError> {
        let (images, classes) = inputs(batch)?;
        self.images.set(images)?;
        self.classes.set(classes)?;
        optimizer.advance(lr_factor, &self.varying)?;
        self.graph.replay()?;
        Ok(self.loss.clone())
    }
}

/// Launches a step; returns its loss.
fn launch(
    learner: &mut dyn Learner,
    optimizer: &Optimizer,
    entropy: &CrossEntropy,
    batch: &Batch,
    (classes, varying): (&Tensor, &Tensor),
) -> Result<Tensor> {
    let Forward { logits, leaves } = learner.train_logits(batch)?;
    let (loss, gradient) = entropy.launch(logits.tensor(), classes)?;
    let launched = optimizer.launch(&gradients(&logits, gradient, &leaves)?, varying);
    launched.map_err(|error| Error::Msg(error.to_string()))?;
    Ok(loss)
}

/// Images and classes of a batch.
fn inputs(batch: &Batch) -> Result<(&Tensor, &Tensor)> {
    match (&batch.images, &batch.targets) {
        (Some(images), Targets::Classes(classes)) => Ok((images, classes)),
        _ => Err(unsuitable()),
    }
}

fn unsuitable() -> Error {
    Error::Msg("steps are captured with images and classes alone".into())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, bail};
    use dataset::Dataset;
    use nn::testing::as_on_a_gpu;
    use nn::{Normalize, StateDict};
    use serde_json::json;

    use super::*;
    use crate::epoch::tests::split;
    use crate::resume::Forgetful;
    use crate::{NamedLoss, TrainSpec};

    struct Untrained {
        weight: Var,
        can_be_captured: bool,
    }

    impl Learner for Untrained {
        fn variables(&self) -> Vec<(String, Var)> {
            vec![("weight".into(), self.weight.clone())]
        }

        fn normalize(&self) -> Option<Normalize> {
            None
        }

        fn train_logits(&mut self, _: &Batch) -> Result<Forward> {
            bail!("it is not trained")
        }

        fn can_be_captured(&self) -> bool {
            self.can_be_captured
        }

        fn val_logits(&mut self, _: &[usize]) -> Result<Tensor> {
            bail!("it is not validated")
        }

        fn tensors(&self) -> StateDict {
            StateDict::new()
        }

        fn restore(&mut self, _: &StateDict) -> Result<()> {
            Ok(())
        }
    }

    fn obstacle_to(options: serde_json::Value, can_be_captured: bool) -> Option<&'static str> {
        let spec: TrainSpec = serde_json::from_value(options).unwrap();
        let [train, val, test] = [2; 3].map(split);
        let classes = vec!["a".into(), "b".into()];
        let dataset = Dataset { classes, size: 1, pixels: None, train, val, test };
        let task = Task {
            dataset: &dataset,
            spec: &spec,
            device: &Device::Cpu,
            report: &|_| Ok(()),
            resume: &Forgetful,
            graphs: true,
        };
        let weight = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
        obstacle(&task, &Untrained { weight, can_be_captured }, &NamedLoss::of(&task).unwrap())
    }

    #[test]
    fn what_cannot_be_captured_has_a_reason() {
        assert_eq!(as_on_a_gpu(|| obstacle_to(json!({}), true)), None);
        assert_eq!(obstacle_to(json!({}), true), Some("the device is no GPU"));
        let reason = as_on_a_gpu(|| obstacle_to(json!({}), false)).unwrap();
        assert!(reason.starts_with("what this stage trains"), "{reason}");
        for (options, start) in [
            (json!({ "loss": { "binary_cross_entropy": {} } }), "only the loss"),
            (json!({ "augment": [{ "mixup": {} }] }), "the labels of mixed images"),
            (json!({ "accumulate": 2 }), "`accumulate`"),
            (json!({ "clip_norm": 1.0 }), "`clip_norm`"),
        ] {
            let reason = as_on_a_gpu(|| obstacle_to(options.clone(), true)).unwrap();
            assert!(reason.starts_with(start), "{options}: {reason}");
        }
    }
}
