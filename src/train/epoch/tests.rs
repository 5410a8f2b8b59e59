use super::*;
use crate::resume::Forgetful;
use crate::{ScheduleSpec, Select};
use candle_core::Var;
use dataset::Pixels;
use nn::{Normalize, StateDict, Value, leaves};

/// A learner whose validation logits follow a script: its confidence in the true class, one entry per epoch.
struct Scripted {
    weight: Var,
    confidence: Vec<f32>,
    epoch: usize,
    /// The learning rate of each step.
    rates: Vec<f64>,
}

impl Learner for Scripted {
    fn variables(&self) -> Vec<(String, Var)> {
        vec![("weight".into(), self.weight.clone())]
    }

    fn normalize(&self) -> Option<Normalize> {
        None
    }

    fn train_logits(&mut self, batch: &Batch) -> candle_core::Result<Forward> {
        self.epoch = batch.epoch;
        let tensors = StateDict::from([("weight".into(), self.weight.as_detached_tensor())]);
        let leaves = leaves(&tensors, tensors.keys());
        let shape = (batch.draws.len(), self.weight.dim(1)?);
        let logits = Value::composed(&[&leaves["weight"]], |t| t[0].broadcast_as(shape)?.contiguous())?;
        Ok(Forward { logits, leaves })
    }

    fn after_step(&mut self, lr: f64) -> candle_core::Result<()> {
        self.rates.push(lr);
        Ok(())
    }

    fn val_logits(&mut self, positions: &[usize]) -> candle_core::Result<Tensor> {
        let confidence = self.confidence[self.epoch];
        let row = |&i: &usize| if i % 2 == 0 { vec![confidence, 0.0] } else { vec![0.0, confidence] };
        Tensor::new(positions.iter().map(row).collect::<Vec<_>>(), &Device::Cpu)
    }

    fn tensors(&self) -> StateDict {
        let epoch = Tensor::new(self.epoch as i64, &Device::Cpu).unwrap();
        StateDict::from([("epoch".into(), epoch)])
    }

    fn restore(&mut self, state: &StateDict) -> candle_core::Result<()> {
        self.epoch = state["epoch"].to_scalar::<i64>()? as usize;
        Ok(())
    }
}

/// Gray images of two classes in turn.
pub(crate) fn split(n: usize) -> Split {
    Split {
        pixels: Pixels::Owned(vec![0u8; n * 3].into()),
        labels: (0..n as u32).map(|i| i % 2).collect::<Vec<_>>().into(),
        names: (0..n).map(|i| i.to_string()).collect(),
        groups: None,
    }
}

/// The selected epoch, and the history.
fn fitted(confidence: &[f32], spec: TrainSpec) -> Result<(usize, Vec<EpochRecord>), TrainError> {
    let dataset = Dataset {
        classes: vec!["a".into(), "b".into()],
        size: 1,
        pixels: None,
        train: split(8),
        val: split(4),
        test: split(4),
    };
    let spec = TrainSpec { epochs: confidence.len(), batch_size: 4, ..spec };
    let task = Task {
        dataset: &dataset,
        spec: &spec,
        device: &Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    let weight = Var::zeros((1, 2), candle_core::DType::F32, &Device::Cpu)?;
    let mut learner = Scripted { weight, confidence: confidence.to_vec(), epoch: 0, rates: Vec::new() };
    let history = fit(&mut learner, &task)?;
    let two_steps_an_epoch: Vec<f64> = history.iter().flat_map(|record| [record.lr; 2]).collect();
    assert_eq!(learner.rates, two_steps_an_epoch);
    Ok((learner.epoch, history))
}

fn by(word: &str) -> Select {
    Select::by(word).unwrap()
}

fn by_log_loss() -> TrainSpec {
    TrainSpec { select: by("log_loss"), ..TrainSpec::default() }
}

#[test]
fn the_best_epoch_is_kept_and_the_first_of_equals() {
    let (epoch, history) = fitted(&[0.1, 2.0, 0.5, 2.0], by_log_loss()).unwrap();
    assert_eq!(epoch, 1);
    assert_eq!(history.iter().map(|record| record.best).collect::<Vec<_>>(), [true, true, false, false]);
    assert!(history[1].val["log_loss"] < history[0].val["log_loss"]);
}

#[test]
fn without_a_selecting_score_the_last_epoch_is_kept() {
    let spec = TrainSpec { select: Select::NONE, ..TrainSpec::default() };
    let (epoch, history) = fitted(&[2.0, 0.1, 0.2], spec).unwrap();
    assert_eq!(epoch, 2);
    assert!(history.iter().all(|record| record.val.is_empty() && !record.best));
}

#[test]
fn patience_counts_epochs_without_progress_of_min_delta() {
    let spec = TrainSpec { patience: Some(2), min_delta: 0.05, ..by_log_loss() };
    let (epoch, history) = fitted(&[0.5, 0.51, 0.52, 3.0, 3.0], spec.clone()).unwrap();
    assert_eq!((epoch, history.len()), (2, 3), "small improvements are kept, but do not count as progress");
    let (epoch, history) = fitted(&[0.5, 0.51, 1.5, 1.5, 1.5, 9.0], spec).unwrap();
    assert_eq!((epoch, history.len()), (2, 5));
}

#[test]
fn the_history_holds_the_learning_rate_of_each_epoch() {
    let spec = TrainSpec { schedule: ScheduleSpec::Cosine(Default::default()), ..by_log_loss() };
    let (_, history) = fitted(&[1.0, 1.0], spec).unwrap();
    let rates: Vec<f64> = history.iter().map(|record| record.lr).collect();
    assert!((rates[0] - 1e-3).abs() < 1e-12 && (rates[1] - 5e-4).abs() < 1e-12, "{rates:?}");
}

#[test]
fn a_single_training_image_is_an_error() {
    let dataset = Dataset {
        classes: vec!["a".into()],
        size: 1,
        pixels: None,
        train: split(1),
        val: split(4),
        test: split(4),
    };
    let spec = by_log_loss();
    let task = Task {
        dataset: &dataset,
        spec: &spec,
        device: &Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    let weight = Var::zeros((1, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mut learner = Scripted { weight, confidence: vec![1.0; 10], epoch: 0, rates: Vec::new() };
    let error = fit(&mut learner, &task).unwrap_err().to_string();
    assert!(error.contains("has 1 image(s), but a batch needs two"), "{error}");
}

#[test]
fn an_undefined_selecting_score_is_an_error() {
    let dataset = Dataset {
        classes: vec!["a".into(), "b".into(), "c".into()],
        size: 1,
        pixels: None,
        train: split(8),
        val: split(4),
        test: split(4),
    };
    let spec = TrainSpec { select: by("auroc"), epochs: 1, batch_size: 4, ..TrainSpec::default() };
    let task = Task {
        dataset: &dataset,
        spec: &spec,
        device: &Device::Cpu,
        report: &|_| Ok(()),
        resume: &Forgetful,
        graphs: false,
    };
    struct Three(Scripted);
    impl Learner for Three {
        fn variables(&self) -> Vec<(String, Var)> {
            self.0.variables()
        }
        fn normalize(&self) -> Option<Normalize> {
            self.0.normalize()
        }
        fn train_logits(&mut self, batch: &Batch) -> candle_core::Result<Forward> {
            self.0.train_logits(batch)
        }
        fn val_logits(&mut self, positions: &[usize]) -> candle_core::Result<Tensor> {
            Tensor::zeros((positions.len(), 3), candle_core::DType::F32, &Device::Cpu)
        }
        fn tensors(&self) -> StateDict {
            StateDict::new()
        }
        fn restore(&mut self, _: &StateDict) -> candle_core::Result<()> {
            Ok(())
        }
    }
    let weight = Var::zeros((1, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mut learner = Three(Scripted { weight, confidence: vec![], epoch: 0, rates: Vec::new() });
    let error = fit(&mut learner, &task).unwrap_err().to_string();
    assert!(error.contains("auroc is undefined on the validation images"), "{error}");
}
