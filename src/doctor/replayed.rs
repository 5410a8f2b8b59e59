//! Workloads whose calls are captured once and then replayed: whether they give the same bits, and how fast they are.

use candle_core::{DType, Device, Error, Result, Tensor, Var, bail};

use super::{Workload, examined, in_seconds};
use crate::nn::cuda::{self, Graph};
use crate::nn::{StateDict, gradients};
use crate::train::Targets;

/// Calls before a capture, which make what it needs.
const WARM_UP: usize = 2;

/// A workload whose training steps and evaluations are graphs.
pub struct Replayed {
    workload: Workload,
    train: Graph,
    evaluate: Graph,
    varying: Var,
    loss: Tensor,
    logits: Tensor,
}

impl Replayed {
    /// Takes two steps of the workload, and captures the next.
    ///
    /// # Errors
    /// A step failed, or cannot be captured.
    pub fn new(mut workload: Workload) -> Result<Self> {
        (0..WARM_UP).try_for_each(|_| workload.train())?;
        let logits = workload.evaluate()?;
        let varying = workload.optimizer.varying().map_err(told)?;
        let loss = Tensor::zeros((), DType::F32, logits.device())?;
        // no step before has launched it
        cuda::copy(&loss.zeros_like()?, &loss)?;
        let older = |more: [&Tensor; 2]| {
            let mut older = more.map(Tensor::clone).to_vec();
            older.extend(workload.tensors.values().cloned().chain(workload.optimizer.tensors()));
            older.extend(workload.inputs());
            older
        };
        let (of_training, of_evaluation) = (older([&loss, &varying]), older([&logits, &loss]));
        let train = Graph::capture(logits.device(), of_training, || launch(&workload, &varying, &loss))?;
        let evaluate =
            Graph::capture(logits.device(), of_evaluation, || cuda::copy(&workload.evaluate()?, &logits))?;
        Ok(Self { workload, train, evaluate, varying, loss, logits })
    }

    /// A complete training step.
    ///
    /// # Errors
    /// The replay failed.
    pub fn train(&mut self) -> Result<()> {
        self.workload.optimizer.advance(1.0, &self.varying).map_err(told)?;
        self.train.replay()?;
        // as the loss of a step that is not replayed
        self.loss.to_scalar::<f32>().map(drop)
    }

    /// Logits in evaluation mode; the next evaluation overwrites them.
    ///
    /// # Errors
    /// The replay failed.
    pub fn evaluate(&self) -> Result<Tensor> {
        self.evaluate.replay()?;
        Ok(self.logits.clone())
    }

    /// As [`Workload::seconds`].
    ///
    /// # Errors
    /// A call failed.
    pub fn seconds(&mut self, steps: usize, call: impl FnMut(&mut Self) -> Result<()>) -> Result<f64> {
        let device = self.logits.device().clone();
        in_seconds(self, &device, steps, call)
    }
}

/// Launches a training step.
fn launch(workload: &Workload, varying: &Tensor, loss: &Tensor) -> Result<()> {
    let (Some(entropy), Targets::Classes(classes)) = (workload.loss.capturable(), &workload.labels) else {
        bail!("the loss of this workload is computed on the host")
    };
    let (logits, leaves) = workload.forward()?;
    let (of_batch, gradient) = entropy.launch(&cuda::cast(logits.tensor(), DType::F32)?, classes)?;
    cuda::copy(&of_batch, loss)?;
    let gradients = gradients(&logits, cuda::cast(&gradient, logits.tensor().dtype())?, &leaves)?;
    workload.optimizer.launch(&gradients, varying).map_err(told)
}

fn told(error: impl std::fmt::Display) -> Error {
    Error::Msg(error.to_string())
}

/// Whether replayed training steps and evaluations of each network give the bits of those that are not.
///
/// # Errors
/// A step failed, or cannot be captured.
pub fn examine_replays(device: &Device) -> Result<Vec<(String, bool)>> {
    const BATCH: usize = 16;
    const STEPS: usize = 4;
    let same = |(spec, size): (_, usize)| {
        let mut eager = Workload::new(&spec, size, BATCH, DType::F32, device)?;
        let mut replayed = Replayed::new(Workload::new(&spec, size, BATCH, DType::F32, device)?)?;
        (0..WARM_UP + STEPS).try_for_each(|_| eager.train())?;
        (0..STEPS).try_for_each(|_| replayed.train())?;
        let expected = bits(&eager, eager.evaluate()?)?;
        Ok((format!("{spec} at {size} px"), expected == bits(&replayed.workload, replayed.evaluate()?)?))
    };
    examined().into_iter().map(same).collect()
}

/// Every element of logits, parameters and moments.
fn bits(workload: &Workload, logits: Tensor) -> Result<Vec<u64>> {
    let mut all: StateDict = workload.optimizer.state().map_err(told)?;
    all.extend(workload.tensors.clone());
    all.insert("logits".into(), logits);
    let of = |tensor: &Tensor| super::wide(tensor)?.flatten_all()?.to_vec1::<f64>();
    let all = all.values().map(of).collect::<Result<Vec<_>>>()?;
    Ok(all.concat().into_iter().map(f64::to_bits).collect())
}
