//! Replacing, removing and sharing classifiers.

use std::collections::BTreeMap;

use backbone::BackboneSpec;
use candle_core::{Device, Result, Tensor, bail};
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

/// The position of the logit of each of the `classes` in a head, if it has the same class names in any order.
///
/// An imported head whose classes are called by their positions, `0`, `1`, …, has no names, so that its order counts.
pub fn positions(head: &Head, classes: &[String]) -> Option<Vec<usize>> {
    if head.classes == classes {
        return Some((0..classes.len()).collect());
    }
    if head.classes.len() != classes.len() || is_unnamed(head) {
        return None;
    }
    classes.iter().map(|class| head.classes.iter().position(|other| other == class)).collect()
}

fn is_unnamed(head: &Head) -> bool {
    head.dataset.is_none() && head.classes.iter().enumerate().all(|(i, class)| *class == i.to_string())
}

/// The entries along an axis, one per class of a head, in the order of other `classes` with the same names.
///
/// # Errors
/// The names differ, or candle cannot make a tensor.
pub fn in_order(tensor: &Tensor, axis: usize, head: &Head, classes: &[String]) -> Result<Tensor> {
    if head.classes == classes {
        return Ok(tensor.clone());
    }
    let Some(positions) = positions(head, classes) else {
        bail!("a head for {} does not fit {}", list(&head.classes), list(classes))
    };
    let positions: Vec<u32> = positions.into_iter().map(|position| position as u32).collect();
    tensor.index_select(&Tensor::new(positions, tensor.device())?, axis)
}

/// Put the outputs of a model's classifier in the order of `classes` with the same names.
///
/// # Errors
/// The model has no head for these classes, or candle cannot make a tensor.
pub fn reorder_head(tensors: &mut StateDict, info: &ModelInfo, classes: &[String]) -> Result<()> {
    let Some(head) = &info.head else { bail!("the model has no head") };
    let prefix = format!("{}.", info.backbone.build().head_name());
    for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.starts_with(&prefix)) {
        *tensor = in_order(tensor, 0, head, classes)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use dataset::Labeling;
    use identity::Fingerprint;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    fn head(dataset: Option<&str>, classes: &[&str]) -> Head {
        Head {
            dataset: dataset.map(|name| Fingerprint::of_parts([name])),
            classes: names(classes),
            labeling: Labeling::SingleLabel,
        }
    }

    #[test]
    fn the_same_names_in_any_order_fit() {
        let trained = head(Some("d"), &["a", "b", "c"]);
        assert_eq!(positions(&trained, &names(&["a", "b", "c"])), Some(vec![0, 1, 2]));
        assert_eq!(positions(&trained, &names(&["c", "a", "b"])), Some(vec![2, 0, 1]));
        for others in [&["a", "b"][..], &["a", "b", "d"], &["a", "b", "c", "d"], &["A", "b", "c"]] {
            assert_eq!(positions(&trained, &names(others)), None, "{others:?}");
        }
        assert_eq!(positions(&head(None, &["a", "a", "b"]), &names(&["a", "b", "c"])), None);
    }

    #[test]
    fn positions_are_not_names_unless_a_data_set_has_them() {
        let others = names(&["1", "0"]);
        assert_eq!(positions(&head(None, &["0", "1"]), &others), None);
        assert_eq!(positions(&head(None, &["1", "0"]), &others), Some(vec![0, 1]));
        assert_eq!(positions(&head(Some("d"), &["0", "1"]), &others), Some(vec![1, 0]));
    }

    #[test]
    fn logits_follow_the_names() {
        let logits = Tensor::new(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        let trained = head(Some("d"), &["a", "b", "c"]);
        let ordered = |classes: &[&str]| in_order(&logits, 1, &trained, &names(classes));
        assert_eq!(
            ordered(&["c", "a", "b"]).unwrap().to_vec2::<f32>().unwrap(),
            [[3.0, 1.0, 2.0], [6.0, 4.0, 5.0]]
        );
        let message = ordered(&["c", "a", "x"]).unwrap_err().to_string();
        assert!(
            message.contains("a head for 3 classes (a, b, c) does not fit 3 classes (c, a, x)"),
            "{message}"
        );
    }
}
