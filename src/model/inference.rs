//! Inference: logits of whole splits.

use candle_core::{Device, Result, Tensor};
use dataset::Split;
use nn::{Mode, Net, Value};
use train::batch;
use train::epoch::EVAL_BATCH;

use crate::Checkpoint;

/// Logits of every image of a split, one tensor `[batch, classes]` per batch.
///
/// # Errors
/// A tensor operation failed.
pub fn batch_logits(model: &Checkpoint, split: &Split, size: usize, device: &Device) -> Result<Vec<Tensor>> {
    let backbone = model.info.backbone.build();
    let classes = model.info.head.as_ref().map_or(0, |head| head.classes.len());
    let positions: Vec<usize> = (0..split.len()).collect();
    let logits = |positions: &[usize]| {
        let x = batch::images(split, size, positions, &model.info.normalize, None, device)?;
        let net = Net::new(&model.tensors, Mode::Eval);
        Ok(backbone.logits(&net, &Value::constant(x), classes)?.tensor().clone())
    };
    positions.chunks(EVAL_BATCH).map(logits).collect()
}
