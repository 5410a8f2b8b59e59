//! Replacing, removing and sharing classifiers.

use std::collections::BTreeMap;

use backbone::BackboneSpec;
use candle_core::{Device, Result};
use nn::StateDict;
use nn::init::initial_values;

use crate::{Head, ModelInfo};

/// Class names for a message: `2 classes (benign, malignant)`.
pub fn list(classes: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = classes.iter().take(SHOWN).map(String::as_str).collect();
    let rest = if classes.len() > SHOWN { ", …" } else { "" };
    let noun = if classes.len() == 1 { "class" } else { "classes" };
    format!("{} {noun} ({}{rest})", classes.len(), shown.join(", "))
}

/// Replace the classifier by a new one, initialized from `seed`.
///
/// # Errors
/// candle cannot make a tensor.
pub fn replace_head(
    tensors: &mut StateDict,
    backbone: &BackboneSpec,
    classes: usize,
    seed: u64,
    device: &Device,
) -> Result<()> {
    remove_head(tensors, backbone);
    tensors.extend(initial_values(&backbone.build().head(classes).parameters(), seed, device)?);
    Ok(())
}

/// Remove the classifier from a model's tensors, or from what is known of them.
pub fn remove_head<T>(tensors: &mut BTreeMap<String, T>, backbone: &BackboneSpec) {
    let prefix = format!("{}.", backbone.build().head_name());
    tensors.retain(|name, _| !name.starts_with(&prefix));
}

/// The head that all models share, if all of them have one for the same data set. It is then merged like any other
/// layer; heads for different data sets cannot be merged.
pub fn shared_head(models: &[&ModelInfo]) -> Option<Head> {
    let head = models[0].head.clone();
    head.filter(|head| models.iter().all(|model| model.head.as_ref() == Some(head)))
}
