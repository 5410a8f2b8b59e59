//! What distillation refuses, and what teachers see.

use super::*;
use candle_core::Device;

/// The messages about a section, and its keys.
fn problems(keys: &str) -> Vec<(String, String)> {
    let text = format!("from = 'a'\ndataset = 'd'\n{keys}");
    let spec: DistillSpec = toml::from_str(&text).unwrap();
    let mut problems = Problems::default();
    spec.validate(&mut problems);
    if problems.is_empty() {
        spec.validate_together(&mut problems);
    }
    problems.into_list().into_iter().map(|problem| (problem.path, problem.message)).collect()
}

#[test]
fn invalid_options_are_refused() {
    for (keys, path, message) in [
        ("teachers = []", "teachers", "`teachers` is empty"),
        ("teachers = ['b', 'b']", "teachers.1", "duplicate teacher `b`"),
        ("teachers = ['b']\ntemperature = 0.0", "temperature", "above 0 and up to 100, not 0"),
        ("teachers = ['b']\ntemperature = inf", "temperature", "above 0 and up to 100"),
        ("teachers = ['b']\nlabel_weight = 1.0", "label_weight", "at least 0 and below 1, not 1"),
        ("teachers = ['b']\ntrain.loss.entropy = {}", "train.loss", "uses no labels"),
    ] {
        let found = problems(keys);
        assert!(found.len() == 1 && found[0].0 == path && found[0].1.contains(message), "{keys}: {found:?}");
    }
    let defaults = "teachers = ['b', 'a']\nof = 'logits'\ntemperature = 4.0\nlabel_weight = 0.1";
    assert_eq!(problems(defaults), []);
}

#[test]
fn teachers_see_the_same_pixels_in_their_own_normalization() {
    let own = Normalize { mean: [0.5, 0.25, 0.0], std: [0.5, 0.25, 1.0] };
    let other = Normalize { mean: [0.0, 0.5, 0.25], std: [0.25, 0.5, 2.0] };
    let pixels: Vec<f32> = (0..24).map(|i| i as f32 / 24.0).collect();
    let normalized = |by: &Normalize| {
        let of = |(i, pixel): (usize, &f32)| (pixel - by.mean[i % 3]) / by.std[i % 3];
        let values = pixels.iter().enumerate().map(of).collect();
        Tensor::from_vec(values, (2, 2, 2, 3), &Device::Cpu).unwrap()
    };
    let elements = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let made = elements(renormalized(&normalized(&own), &own, &other).unwrap());
    for (made, expected) in made.iter().zip(elements(normalized(&other))) {
        assert!((made - expected).abs() < 1e-5, "{made}, not {expected}");
    }
    let same = elements(renormalized(&normalized(&own), &own, &own).unwrap());
    assert_eq!(same, elements(normalized(&own)));
}
