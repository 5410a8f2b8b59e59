//! REPAIR (Jordan et al. 2023, arXiv 2211.08403): rescale the channels of a merged network to the means and standard
//! deviations of the sources' channels.
//!
//! Averaging channels that are not aligned reduces their variance, increasingly with depth. REPAIR gives each channel
//! of each convolution and linear layer, except the classifier, the weighted mean of the sources' means and of their
//! standard deviations, by a scale and a shift folded into the layer's weight and bias.
//!
//! All layers are measured in one pass over the training images, as if each were followed by a batch norm: its outputs
//! are normalized to the target mean and deviation before they enter the next layer, so that later layers see repaired
//! inputs. The measured statistics are the mean over the batches.
//!
//! In a network with batch norm, re-estimating the running statistics is equivalent: a norm with the merged network's
//! own statistics gives channels the mean β and the deviation |γ|, and both were merged with the sources' weights. So
//! only that is done there.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

use super::*;
use merge_method::git_rebasin::Permutations;
use model::batch_norm::{has_batch_norm, reestimate_statistics};
use nn::batch_norm::Moments;
use nn::{Mode, Net, StateDict, Value};
use rng::Purpose;
use train::epoch::too_few;
use train::eval_batch::EVAL_BATCH;
use train::{Progress, batch, pixels};

/// Channels whose deviation, relative to the target, is below this are not rescaled: they carry no signal.
const LEAST: f64 = 1e-6;

/// A source of a merge: its tensors, its permutation and its weight.
pub(super) struct Source<'a> {
    pub(super) tensors: &'a StateDict,
    pub(super) permutations: &'a Permutations,
    pub(super) share: f64,
}

/// Mean and standard deviation of each channel of a layer's output, each `[c]`.
struct Spread {
    mean: Tensor,
    deviation: Tensor,
}

type Spreads = BTreeMap<String, Spread>;

/// Give the channels of a merged model the sources' statistics on the training images.
///
/// # Errors
/// A tensor operation failed, there are too few images, or the user interrupted.
pub(super) fn repair(
    model: &mut Checkpoint,
    sources: &[Source<'_>],
    dataset: &Dataset,
    context: &Context<'_>,
) -> std::result::Result<(), StageError> {
    if has_batch_norm(&model.tensors) {
        return reestimate_statistics(model, dataset, context);
    }
    let passes = sources.len() + 1;
    let pass = |number| Pass { info: &model.info, dataset, context, number, of: passes };
    let mut goals = Spreads::new();
    for (i, source) in sources.iter().enumerate() {
        let tensors = source.permutations.apply_to_all(source.tensors)?;
        add(&mut goals, pass(i).spreads(&tensors, None)?, source.share)?;
    }
    let own = pass(passes - 1).spreads(&model.tensors, Some(&goals))?;
    for (layer, own) in own {
        fold(&mut model.tensors, &layer, &own, &goals[&layer])?;
    }
    Ok(())
}

/// Add `share` times a source's spreads.
fn add(goals: &mut Spreads, of_source: Spreads, share: f64) -> Result<()> {
    for (layer, spread) in of_source {
        let part = Spread { mean: (spread.mean * share)?, deviation: (spread.deviation * share)? };
        let sum = match goals.remove(&layer) {
            None => part,
            Some(sum) => {
                Spread { mean: (sum.mean + part.mean)?, deviation: (sum.deviation + part.deviation)? }
            }
        };
        goals.insert(layer, sum);
    }
    Ok(())
}

/// Fold a scale and a shift into a layer, so that its channels have the spread `goal` instead of `own`.
fn fold(tensors: &mut StateDict, layer: &str, own: &Spread, goal: &Spread) -> Result<()> {
    let names = ["weight", "bias"].map(|what| format!("{layer}.{what}"));
    let [Some(weight), Some(bias)] = names.each_ref().map(|name| tensors.get(name).cloned()) else {
        bail!("layer `{layer}` has no weight and bias to rescale its outputs");
    };
    let scale = own.scale_to(goal)?;
    let mut by_row = vec![1; weight.rank()];
    by_row[0] = scale.elem_count();
    let bias = ((bias - &own.mean)? * &scale)? + &goal.mean;
    let weight = weight.broadcast_mul(&scale.reshape(by_row)?);
    tensors.extend(names.into_iter().zip([weight?, bias?]));
    Ok(())
}

impl Spread {
    /// The factor from this deviation to that of the goal.
    fn scale_to(&self, goal: &Self) -> Result<Tensor> {
        let varies = self.deviation.gt(&(&goal.deviation * LEAST)?)?;
        varies.where_cond(&(&goal.deviation / &self.deviation)?, &self.deviation.ones_like()?)
    }

    /// Values `[.., c]` with this spread, transformed to another spread.
    fn moved_to(&self, goal: &Self, y: &Tensor) -> Result<Tensor> {
        let scale = self.scale_to(goal)?;
        let shift = (&goal.mean - (&self.mean * &scale)?)?;
        y.broadcast_mul(&scale)?.broadcast_add(&shift)
    }
}

/// One of several passes over the training images.
struct Pass<'a> {
    info: &'a ModelInfo,
    dataset: &'a Dataset,
    context: &'a Context<'a>,
    number: usize,
    of: usize,
}

impl Pass<'_> {
    /// The spread of every layer, averaged over the batches. If there are goals, each layer's outputs are transformed
    /// to its goal before they enter the next layer.
    fn spreads(
        &self,
        tensors: &StateDict,
        goals: Option<&Spreads>,
    ) -> std::result::Result<Spreads, StageError> {
        let backbone = self.info.backbone.build();
        let split = &self.dataset.train;
        // The same order as in the re-estimation of batch norm's statistics.
        let batches = batch::shuffled(split.len(), EVAL_BATCH, 0, Purpose::Reestimate, 0);
        if batches.is_empty() {
            return Err(too_few(split).into());
        }
        let sums = RefCell::new(BTreeMap::<String, (Tensor, Tensor)>::new());
        let see = |layer: &str, y: Value| observe(&mut sums.borrow_mut(), goals, layer, y);
        for (done, positions) in batches.iter().enumerate() {
            let device = &self.context.device;
            let x = pixels::images(split, self.dataset.size, positions, &self.info.normalize, None, device)?;
            let net = Net::new(tensors, Mode::Eval).at_outputs(&see);
            backbone.features(&net, &Value::constant(x))?;
            let (done, of) = (self.number * batches.len() + done + 1, self.of * batches.len());
            (self.context.report)(Progress::Count { done, of, what: "batches".into() })?;
        }
        let share = 1.0 / batches.len() as f64;
        let mean = |(layer, (mean, variance)): (String, (Tensor, Tensor))| {
            let deviation = (variance * share)?.sqrt()?;
            Ok((layer, Spread { mean: (mean * share)?, deviation }))
        };
        Ok(sums.into_inner().into_iter().map(mean).collect::<Result<_>>()?)
    }
}

/// Add a batch's mean and variance at a layer to the running sums, and transform the batch to the layer's goal.
fn observe(
    sums: &mut BTreeMap<String, (Tensor, Tensor)>,
    goals: Option<&Spreads>,
    layer: &str,
    y: Value,
) -> Result<Value> {
    let batch = Moments::compute(&y)?.statistics()?;
    let sum = match sums.remove(layer) {
        None => (batch.mean.clone(), batch.variance.clone()),
        Some((mean, variance)) => ((mean + &batch.mean)?, (variance + &batch.variance)?),
    };
    sums.insert(layer.to_owned(), sum);
    let Some(goals) = goals else { return Ok(y) };
    let own = Spread { mean: batch.mean, deviation: batch.variance.sqrt()? };
    Ok(Value::constant(own.moved_to(&goals[layer], y.tensor())?))
}

#[cfg(test)]
mod tests;
