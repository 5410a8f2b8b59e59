//! Inference: logits of images and of whole splits.

use candle_core::{Device, Result, Tensor, bail};
use dataset::{Dataset, SplitName};
use metric::{Metric, Predictions};
use nn::{Mode, Net, Value};
use train::epoch::probability_rows;
use train::eval_batch::eval_batch;
use train::pixels;

use crate::head::in_order;
use crate::{Checkpoint, Context, StageError};

/// Logits of every image of a split, one tensor `[batch, classes]` per batch, in the data set's order of the classes.
///
/// # Errors
/// The model has no head for these classes, or a tensor operation failed.
pub fn batch_logits(
    model: &Checkpoint,
    dataset: &Dataset,
    split: SplitName,
    device: &Device,
) -> Result<Vec<Tensor>> {
    let (split, size) = (dataset.split(split), dataset.size);
    let Some(head) = &model.info.head else { bail!("the model has no head") };
    let positions: Vec<usize> = (0..split.len()).collect();
    let of_batch = |positions: &[usize]| {
        let images = pixels::images(split, size, positions, &model.info.normalize, None, device)?;
        in_order(&logits(model, images)?, 1, head, &dataset.classes)
    };
    positions.chunks(eval_batch(size, device)).map(of_batch).collect()
}

/// Logits `[n, classes]` of normalized images `[n, size, size, 3]` on the device of the model.
///
/// # Errors
/// A tensor operation failed.
pub fn logits(model: &Checkpoint, images: Tensor) -> Result<Tensor> {
    let classes = model.info.classes().len();
    let net = Net::new(&model.tensors, Mode::Eval);
    Ok(model.info.backbone.build().logits(&net, &Value::constant(images), classes)?.tensor().clone())
}

/// The score of a model on the validation images of data set 0.
///
/// # Errors
/// The score is undefined on these images, or a tensor operation failed.
pub fn validation_score(
    metric: &Metric,
    model: &Checkpoint,
    context: &Context<'_>,
) -> std::result::Result<f64, StageError> {
    let failed = |problem: String| {
        StageError::Failed(format!("failed to score a model on the validation images: {problem}"))
    };
    let dataset = &context.datasets[0];
    let logits = batch_logits(model, dataset, SplitName::Val, &context.device)?;
    let rows = probability_rows(model.info.labeling(), &logits)?;
    let predictions = Predictions::of(&dataset.val.labels, &rows, dataset.classes.len())
        .map_err(|error| failed(error.to_string()))?;
    let undefined =
        || format!("{} is undefined, because a class has none; choose another `metric`", metric.name);
    metric.score(&predictions).ok_or_else(|| failed(undefined()))
}
