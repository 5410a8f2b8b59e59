//! Metrics against scikit-learn, and what must leave them unchanged.

use indexmap::IndexMap;
use medmerge::metric::{Labels, MultiLabels, NAMES, Predictions, State, by_name, per_class_f1};
use proptest::prelude::*;
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

/// The cases of a kind, each with its probabilities.
fn cases(kind: &str) -> Vec<(Value, Vec<Vec<f64>>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/metrics.json");
    let whole = std::fs::read_to_string(path).unwrap();
    let text = &whole[whole.find(&format!("\"{kind}\": [")).unwrap()..];
    let reference: Value = serde_json::from_str(&whole).unwrap();
    let cases = reference[kind].as_array().unwrap().clone();
    cases.into_iter().zip(text.split("\"prob\": [[").skip(1).map(exact_rows)).collect()
}

/// Rows up to `]]`, to the last bit, on which ties depend: serde_json's own floats may be off by one.
fn exact_rows(text: &str) -> Vec<Vec<f64>> {
    let (rows, _) = text.split_once("]]").unwrap();
    let row = |row: &str| row.split(", ").map(|number| number.parse().unwrap()).collect();
    rows.split("], [").map(row).collect()
}

fn from<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn assert_close(found: Option<f64>, expected: Option<f64>, what: &str) {
    let close = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= TOLERANCE,
        (found, expected) => found == expected,
    };
    assert!(close, "{what}: {found:?}, scikit-learn {expected:?}");
}

#[test]
fn every_multi_class_score_equals_scikit_learns() {
    let cases = cases("multiclass");
    assert_eq!(cases.len(), 24);
    for (i, (case, rows)) in cases.iter().enumerate() {
        let labels: Vec<u32> = from(&case["y_true"]);
        let predictions = Predictions::new(&labels, rows, from(&case["num_classes"])).unwrap();
        let mut compared = vec!["num_classes", "y_true", "prob", "per_class_f1", "confusion"];
        for name in NAMES {
            let expected: Option<f64> = from(case.get(name).unwrap_or_else(|| panic!("no {name}")));
            assert_close(by_name(name).unwrap().score(&predictions), expected, &format!("case {i}, {name}"));
            compared.push(name);
        }
        let per_class: Vec<f64> = from(&case["per_class_f1"]);
        for (class, (found, expected)) in per_class_f1(&predictions).into_iter().zip(per_class).enumerate() {
            assert_close(Some(found), Some(expected), &format!("case {i}, F1 of class {class}"));
        }
        let confusion: Vec<Vec<usize>> = from(&case["confusion"]);
        assert_eq!(predictions.confusion().unwrap().rows().collect::<Vec<_>>(), confusion, "case {i}");
        let left: Vec<_> =
            case.as_object().unwrap().keys().filter(|k| !compared.contains(&k.as_str())).collect();
        assert!(left.is_empty(), "not compared: {left:?}");
    }
}

#[test]
fn every_multi_label_score_equals_scikit_learns() {
    let compared = [
        ("macro_f1", "macro_f1"),
        ("micro_f1", "micro_f1"),
        ("accuracy", "subset_accuracy"),
        ("auroc", "auroc_macro"),
        ("average_precision", "average_precision_macro"),
    ];
    let cases = cases("multilabel");
    assert_eq!(cases.len(), 6);
    for (i, (case, rows)) in cases.iter().enumerate() {
        let labels: Vec<Vec<u8>> = from(&case["y_true"]);
        let scores = metric::scores(&multi_label(&labels, rows));
        assert_eq!(compared.len() + 3, case.as_object().unwrap().len(), "case {i}");
        for (name, written) in compared {
            assert_close(scores[name], from(&case[written]), &format!("case {i}, {name}"));
        }
    }
}

/// Predictions of images with labels 0, 1 or, if unknown, 2.
fn multi_label(labels: &[Vec<u8>], rows: &[Vec<f64>]) -> Predictions {
    let mut states = MultiLabels::new(labels[0].len());
    let state = |label: &u8| [State::Absent, State::Present, State::Unknown][usize::from(*label)];
    labels.iter().for_each(|row| states.push(&row.iter().map(state).collect::<Vec<_>>()));
    Predictions::of(&Labels::Multi(states), rows, labels[0].len()).unwrap()
}

/// Labels and f32 distributions of a few classes, with many ties.
fn images() -> impl Strategy<Value = (usize, Vec<(u32, Vec<f32>)>)> {
    (2usize..5).prop_flat_map(|classes| {
        let row = prop::collection::vec(1u8..6, classes).prop_map(|parts| {
            let sum: f32 = parts.iter().copied().map(f32::from).sum();
            parts.into_iter().map(|part| f32::from(part) / sum).collect()
        });
        let image = (0..classes as u32, row);
        (Just(classes), prop::collection::vec(image, 1..60))
    })
}

fn score(classes: usize, images: &[(u32, Vec<f32>)]) -> IndexMap<&'static str, Option<f64>> {
    let (labels, rows): (Vec<u32>, Vec<Vec<f32>>) = images.iter().cloned().unzip();
    metric::score_all(&labels, &rows, classes).unwrap()
}

fn assert_same(
    a: &IndexMap<&'static str, Option<f64>>,
    b: &IndexMap<&'static str, Option<f64>>,
    but: &[&str],
) -> Result<(), TestCaseError> {
    for (name, a) in a.iter().filter(|(name, _)| !but.contains(name)) {
        let same = match (a, b[name]) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12,
            (a, b) => *a == b,
        };
        prop_assert!(same, "{name}: {a:?} and {:?}", b[name]);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_order_of_the_images_changes_no_metric(
        ((classes, images), shuffled) in images().prop_flat_map(|(classes, images)| {
            let shuffled = Just(images.clone()).prop_shuffle();
            (Just((classes, images)), shuffled)
        })
    ) {
        assert_same(&score(classes, &images), &score(classes, &shuffled), &[])?;
    }

    /// What every metric promises to intervals: an image that counts three times is that image three times.
    #[test]
    fn an_image_counts_as_often_as_it_is_said_to(
        ((classes, images), counts) in images().prop_flat_map(|(classes, images)| {
            let counts = prop::collection::vec(0_u32..4, images.len());
            (Just((classes, images)), counts)
        })
    ) {
        prop_assume!(counts.iter().any(|&count| count > 0));
        let (labels, rows): (Vec<u32>, Vec<Vec<f32>>) = images.iter().cloned().unzip();
        let counted = Predictions::new(&labels, &rows, classes).unwrap().resampled(counts.clone().into());
        let repeated = images.iter().zip(&counts).flat_map(|(image, &n)| vec![image.clone(); n as usize]);
        let repeated: Vec<_> = repeated.collect();
        prop_assert_eq!(counted.total(), repeated.len());
        assert_same(&metric::scores(&counted), &score(classes, &repeated), &[])?;
    }

    #[test]
    fn every_image_twice_changes_no_metric((classes, images) in images()) {
        assert_same(&score(classes, &images), &score(classes, &[images.clone(), images.clone()].concat()), &[])?;
    }

    /// Ties go to the first class, so rows with a tie for the best are left out.
    #[test]
    fn renaming_the_classes_changes_only_the_metrics_that_know_their_order((classes, images) in images()) {
        let unique_best = |row: &[f32]| {
            let best = row.iter().copied().fold(0.0, f32::max);
            row.iter().filter(|&&p| p == best).count() == 1
        };
        let images: Vec<_> = images.into_iter().filter(|(_, row)| unique_best(row)).collect();
        prop_assume!(!images.is_empty());
        let rename = |(label, row): &(u32, Vec<f32>)| {
            let mut row = row.clone();
            row.rotate_right(1);
            ((label + 1) % classes as u32, row)
        };
        let renamed: Vec<_> = images.iter().map(rename).collect();
        let ordered: &[&str] = if classes == 2 { &["average_precision", "auroc"] } else { &["quadratic_kappa"] };
        assert_same(&score(classes, &images), &score(classes, &renamed), ordered)?;
    }

    #[test]
    fn every_metric_is_finite_and_bounded((classes, images) in images()) {
        for (name, value) in score(classes, &images) {
            let within = match name {
                "log_loss" => 0.0..=f64::MAX,
                "cohen_kappa" | "quadratic_kappa" | "mcc" => -1.0..=1.0 + 1e-12,
                _ => 0.0..=1.0 + 1e-12,
            };
            prop_assert!(value.is_none_or(|value| within.contains(&value)), "{name} = {value:?}");
        }
    }
}
