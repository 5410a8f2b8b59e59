//! Batch norm's running statistics: updated during training, re-estimated after a merge.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use dataset::Dataset;
use nn::cuda::update::Followed;
use nn::{BatchStatistics, Mode, Net, StateDict, Value, cuda};
use rng::Purpose;
use train::epoch::too_few;
use train::eval_batch::EVAL_BATCH;
use train::{Progress, batch, pixels};

use crate::{Checkpoint, Context, StageError};

/// Weight of the newest batch in the running statistics; PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// Whether a model has running statistics.
pub fn has_batch_norm(tensors: &StateDict) -> bool {
    tensors.keys().any(|name| name.ends_with("running_mean"))
}

/// Replace batch norm's running statistics by the mean of the statistics of all training batches, in a fixed shuffled
/// order (as PyTorch with `momentum = None`).
///
/// # Errors
/// A tensor operation failed, or the user interrupted.
pub fn reestimate_statistics(
    model: &mut Checkpoint,
    dataset: &Dataset,
    context: &Context<'_>,
) -> std::result::Result<(), StageError> {
    if !has_batch_norm(&model.tensors) {
        return Ok(());
    }
    let backbone = model.info.backbone.build();
    let split = &dataset.train;
    let batches = batch::shuffled(split.len(), EVAL_BATCH, 0, Purpose::Reestimate, 0);
    if batches.is_empty() {
        return Err(too_few(split).into());
    }
    for count in model.tensors.iter_mut().filter(|(name, _)| name.ends_with("num_batches_tracked")) {
        *count.1 = count.1.zeros_like()?;
    }
    for (done, positions) in batches.iter().enumerate() {
        let x = pixels::images(split, dataset.size, positions, &model.info.normalize, None, &context.device)?;
        let net = Net::new(&model.tensors, Mode::Train);
        backbone.features(&net, &Value::constant(x))?;
        let observed = net.into_observed();
        follow(&mut model.tensors, observed, 1.0 / (done + 1) as f64, Followed::Anew)?;
        (context.report)(Progress::Count { done: done + 1, of: batches.len(), what: "batches".into() })?;
    }
    Ok(())
}

/// `running ← (1 − share) · running + share · observed`, and count the batch.
fn follow(
    tensors: &mut StateDict,
    observed: BTreeMap<String, BatchStatistics>,
    share: f64,
    on_gpu: Followed,
) -> Result<()> {
    if observed.values().any(|statistics| cuda::serves(&statistics.mean)) {
        return follow_on_gpu(tensors, &observed, share, on_gpu);
    }
    for (layer, statistics) in observed {
        for (what, new) in [("running_mean", statistics.mean), ("running_var", statistics.variance)] {
            if let Some(running) = tensors.get_mut(&format!("{layer}.{what}")) {
                // No `0 · old` term: the old value may be infinite.
                *running = if share == 1.0 { new } else { ((&*running * (1.0 - share))? + (new * share)?)? };
            }
        }
        if let Some(count) = tensors.get_mut(&format!("{layer}.num_batches_tracked")) {
            *count = (&*count + count.ones_like()?)?;
        }
    }
    Ok(())
}

/// The same for all layers at once.
fn follow_on_gpu(
    tensors: &mut StateDict,
    observed: &BTreeMap<String, BatchStatistics>,
    share: f64,
    into: Followed,
) -> Result<()> {
    let statistics = observed.iter().flat_map(|(layer, new)| {
        [(format!("{layer}.running_mean"), &new.mean), (format!("{layer}.running_var"), &new.variance)]
    });
    let statistics: Vec<(String, &Tensor)> =
        statistics.filter(|(name, _)| tensors.contains_key(name)).collect();
    let counters = observed.keys().map(|layer| format!("{layer}.num_batches_tracked"));
    let counters: Vec<String> = counters.filter(|name| tensors.contains_key(name)).collect();
    let news = {
        let running: Vec<_> = statistics.iter().map(|(name, new)| (&tensors[name], *new)).collect();
        let counts: Vec<_> = counters.iter().map(|name| &tensors[name]).collect();
        cuda::update::follow(&running, &counts, share, into)?
    };
    let names = statistics.into_iter().map(|(name, _)| name).chain(counters);
    tensors.extend(names.zip(news));
    Ok(())
}

/// Move running statistics by 0.1 towards what was observed in a training step.
///
/// # Errors
/// candle cannot make a tensor.
pub fn follow_step(tensors: &mut StateDict, observed: BTreeMap<String, BatchStatistics>) -> Result<()> {
    follow(tensors, observed, MOMENTUM, Followed::Anew)
}

/// The same for tensors that nothing else shares: on a GPU they are changed in place.
///
/// # Errors
/// candle cannot make a tensor.
pub fn follow_step_in_place(
    tensors: &mut StateDict,
    observed: BTreeMap<String, BatchStatistics>,
) -> Result<()> {
    follow(tensors, observed, MOMENTUM, Followed::InPlace)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use nn::testing::{as_on_a_gpu, assert_close, launches, random_tensor};

    use super::*;

    #[test]
    fn statistics_of_all_layers_follow_in_one_launch_on_a_gpu() -> Result<()> {
        let sizes = [3, 2100, 1];
        let (mut tensors, mut observed) = (StateDict::new(), BTreeMap::new());
        for (i, size) in sizes.into_iter().enumerate() {
            for what in ["running_mean", "running_var"] {
                tensors.insert(format!("{i}.{what}"), random_tensor(i as u64, &[size]));
            }
            tensors.insert(format!("{i}.num_batches_tracked"), Tensor::new(7i64, &Device::Cpu)?);
            let [mean, variance] = [10, 20].map(|seed| random_tensor(seed, &[size]));
            observed.insert(i.to_string(), BatchStatistics { mean, variance });
        }
        // A share of 1 takes the new value alone, even where the old one is infinite.
        for share in [0.1, 1.0] {
            if share == 1.0 {
                tensors.insert("0.running_var".into(), Tensor::new(&[f64::INFINITY; 3], &Device::Cpu)?);
            }
            let mut expected = tensors.clone();
            follow(&mut expected, observed.clone(), share, Followed::Anew)?;
            let same = |actual: &StateDict| -> Result<()> {
                for (name, expected) in &expected {
                    assert_eq!(expected.dtype(), actual[name].dtype());
                    assert_close(name, &actual[name].to_dtype(DType::F64)?, &expected.to_dtype(DType::F64)?);
                }
                Ok(())
            };
            for into in [Followed::Anew, Followed::InPlace] {
                let before = train::learner::copied(&tensors)?;
                let (mut actual, count) = (before.clone(), launches());
                as_on_a_gpu(|| follow(&mut actual, observed.clone(), share, into))?;
                assert_eq!(launches() - count, 1);
                same(&actual)?;
                if into == Followed::InPlace {
                    same(&before)?;
                }
            }
        }
        Ok(())
    }
}
