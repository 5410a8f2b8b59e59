//! `ema`: the exponential moving average of everything that training changes, weights and running statistics; timm's
//! `ModelEmaV2`.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::optimizer::in_place::{self, CHUNK};
use nn::StateDict;

/// ē ← d ē + (1 − d) w after each step, starting at the initial weights.
pub(super) struct Average {
    decay: f64,
    tensors: StateDict,
}

impl Average {
    /// Starts with `tensors`, of which nothing else may hold a reference.
    pub(super) fn new(decay: f64, tensors: StateDict) -> Self {
        Self { decay, tensors }
    }

    /// The averages.
    pub(super) fn tensors(&self) -> &StateDict {
        &self.tensors
    }

    /// Follows a step, given what training has changed.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub(super) fn follow(&mut self, current: &StateDict) -> Result<()> {
        let decay = self.decay;
        self.tensors.iter_mut().try_for_each(|(name, average)| follow(average, &current[name], decay))
    }
}

/// Counters are copied.
fn follow(average: &mut Tensor, current: &Tensor, decay: f64) -> Result<()> {
    if !average.dtype().is_float() {
        *average = current.copy()?;
    } else if in_place::applies_to(average) {
        let current = current.contiguous()?;
        in_place::change_by(average, &current, |average, current| blend(average, current, decay))?;
    } else {
        *average = ((&*average * decay)? + (current * (1.0 - decay))?)?.detach();
    }
    Ok(())
}

fn blend(average: &mut [f32], current: &[f32], decay: f64) {
    let (keep, take) = (decay as f32, (1.0 - decay) as f32);
    let chunks = average.par_chunks_mut(CHUNK).zip(current.par_chunks(CHUNK));
    chunks.for_each(|(average, current)| {
        average.iter_mut().zip(current).for_each(|(average, new)| *average = keep * *average + take * new);
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::{DType, Device};

    use super::*;

    const NAMES: [&str; 4] = ["0.weight", "0.bias", "1.running_mean", "1.running_var"];

    fn reference(what: &str, step: usize) -> StateDict {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/training_options.safetensors");
        let all = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        NAMES.iter().map(|name| ((*name).into(), all[&format!("ema.{what}.{step}.{name}")].clone())).collect()
    }

    fn in_dtype(tensors: StateDict, dtype: DType) -> StateDict {
        tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(dtype).unwrap())).collect()
    }

    /// What is not f32 on CPU is averaged by tensor operations, as on any other device.
    #[test]
    fn weights_and_running_statistics_are_averaged_as_by_timm() {
        for dtype in [DType::F32, DType::F64] {
            let mut average = Average::new(0.9, in_dtype(reference("own", 0), dtype));
            for step in 1..=5 {
                average.follow(&in_dtype(reference("own", step), dtype)).unwrap();
                for (name, expected) in reference("average", step) {
                    let found = average.tensors()[&name].to_dtype(DType::F32).unwrap();
                    let difference = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap();
                    let worst = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
                    assert!(worst < 1e-6, "{name} in {dtype:?}, step {step}: {worst}");
                }
            }
        }
    }

    #[test]
    fn counters_are_those_of_the_last_step() {
        let counter = |n: i64| StateDict::from([("n".into(), Tensor::new(n, &Device::Cpu).unwrap())]);
        let mut average = Average::new(0.9, counter(0));
        average.follow(&counter(7)).unwrap();
        assert_eq!(average.tensors()["n"].to_scalar::<i64>().unwrap(), 7);
    }
}
