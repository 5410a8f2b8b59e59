//! Intervals and paired tests against SciPy, scikit-learn and numpy.

use std::sync::Arc;

use medmerge::metric::{Predictions, by_name};
use medmerge::statistics::friedman::Friedman;
use medmerge::statistics::paired_t::PairedT;
use medmerge::statistics::random_effects::RandomEffects;
use medmerge::statistics::{Interval, bootstrap, holm, wilcoxon};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::reference;

const TOLERANCE: f64 = 1e-9;

fn from<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a reference value")
}

fn assert_close(what: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, reference {expected}");
}

fn cases(file: &str, key: &str) -> Vec<Value> {
    from(&reference::json(file)[key])
}

#[test]
fn paired_tests_equal_scipys() {
    let cases = cases("paired_tests.json", "pairs");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (a, b): (Vec<f64>, Vec<f64>) = (from(&case["a"]), from(&case["b"]));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let test = PairedT::new(&differences).unwrap();
        let [t, p]: [f64; 2] = from(&case["ttest_rel"]);
        assert_close("t", test.t(), t);
        assert_close("p of t", test.p(), p);
        assert_close("p of the signed ranks", wilcoxon::p(&differences), from(&case["wilcoxon_exact"][1]));
    }
}

#[test]
fn friedmans_test_equals_scipys() {
    let cases = cases("friedman.json", "friedman");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let test = Friedman::new(&from::<Vec<Vec<f64>>>(&case["scores"])).unwrap();
        let ranks: Vec<f64> = from(&case["mean_ranks"]);
        test.mean_ranks.iter().zip(ranks).for_each(|(found, rank)| assert_close("rank", *found, rank));
        assert_close("p of the ranks", test.p(), from(&case["p"]));
        let difference: f64 = from(&case["difference"]);
        assert!((test.critical_difference().unwrap() - difference).abs() < 1e-4, "{difference}");
    }
}

#[test]
fn t_tests_and_their_intervals_equal_scipys_down_to_tiny_p() {
    let cases = cases("statistics.json", "t_tests");
    assert_eq!(cases.len(), 18);
    let mut smallest = 1.0_f64;
    for case in cases {
        let test = PairedT::new(&from::<Vec<f64>>(&case["differences"])).unwrap();
        let p: f64 = from(&case["p"]);
        smallest = smallest.min(p);
        assert!((test.p() / p - 1.0).abs() < TOLERANCE, "{} and {p}", test.p());
        assert_close("t", test.t() / 1e2, from::<f64>(&case["t"]) / 1e2);
        let Interval { low, high } = test.interval(0.9);
        assert_close("low", low, from(&case["low"]));
        assert_close("high", high, from(&case["high"]));
    }
    assert!(smallest < 1e-50, "{smallest}");
}

#[test]
fn signed_rank_tests_equal_scipys_with_ties_and_zeros_too() {
    let cases = cases("statistics.json", "signed_ranks");
    assert_eq!(cases.len(), 13);
    for case in cases {
        let differences: Vec<f64> = from(&case["differences"]);
        let approximate: f64 = from(&case["approximate"]);
        assert_close("approximate", wilcoxon::approximate_p(&differences), approximate);
        let exact: Option<f64> = from(&case["exact"]);
        assert_close("exact", wilcoxon::p(&differences), exact.unwrap_or(approximate));
    }
}

#[test]
fn holms_correction_equals_its_definition() {
    for case in cases("statistics.json", "holm") {
        let (p, expected): (Vec<f64>, Vec<f64>) = (from(&case["p"]), from(&case["adjusted"]));
        for (found, expected) in holm::adjusted(&p).into_iter().zip(expected) {
            assert_close("adjusted p", found, expected);
        }
    }
}

/// The means of a model over the seeds drawn, in each resample.
fn means(case: &Value, model: &Value, metric: &str) -> Vec<f64> {
    let labels: Vec<u32> = from(&case["labels"]);
    let image_draws: Vec<Vec<usize>> = from(&case["image_draws"]);
    let counts = |drawn: &Vec<usize>| Arc::from(bootstrap::counts(labels.len(), drawn));
    let of_seed = |rows: Vec<Vec<f64>>| -> Vec<f64> {
        let predictions = Predictions::new(&labels, &rows, 3).unwrap();
        let metric = by_name(metric).unwrap();
        let score = |drawn| metric.score(&predictions.resampled(counts(drawn))).unwrap_or(f64::NAN);
        image_draws.iter().map(score).collect()
    };
    let seeds: Vec<Vec<f64>> = from::<Vec<Vec<Vec<f64>>>>(model).into_iter().map(of_seed).collect();
    bootstrap::means(&seeds, &from::<Vec<Vec<usize>>>(&case["seed_draws"]))
}

#[test]
fn bootstrap_intervals_and_p_equal_those_of_numpy_for_the_same_draws() {
    let case = &reference::json("statistics.json")["bootstrap"];
    let confidence: f64 = from(&case["confidence"]);
    for (metric, expected) in case["expected"].as_object().unwrap() {
        let [worse, better] = [0, 1].map(|model| means(case, &case["rows"][model], metric));
        let differences: Vec<f64> = better.iter().zip(&worse).map(|(better, worse)| better - worse).collect();
        let quantiles = [&worse, &better, &differences];
        let references = [&expected["intervals"][0], &expected["intervals"][1], &expected["difference"]];
        for (values, reference) in quantiles.into_iter().zip(references) {
            let Interval { low, high } = bootstrap::percentile_interval(values, confidence).unwrap();
            assert_close(metric, low, from(&reference[0]));
            assert_close(metric, high, from(&reference[1]));
        }
        assert_close(metric, bootstrap::two_sided_p(&differences).unwrap(), from(&expected["p"]));
        let defined = differences.iter().filter(|difference| !difference.is_nan()).count();
        assert_eq!(defined, from::<usize>(&expected["resamples"]), "{metric}");
    }
}

#[test]
fn random_effects_equal_those_of_numpy_with_scores_missing_too() {
    let cases = cases("random_effects.json", "cases");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let name: String = from(&case["name"]);
        let (scores, resampled): (Vec<f64>, Vec<Vec<f64>>) =
            (from(&case["scores"]), from(&case["resampled"]));
        let places: Vec<[usize; 2]> = from(&case["places"]);
        let found = RandomEffects::new(&scores, &places, &resampled, from(&case["units"])).unwrap();
        assert_close(&name, found.error(), from(&case["error"]));
        assert!((found.freedom() / from::<f64>(&case["freedom"]) - 1.0).abs() < TOLERANCE, "{name}");
        assert_close(&name, found.p(), from(&case["p"]));
        let Interval { low, high } = found.interval(0.9);
        let [least, most]: [f64; 2] = from(&case["interval"]);
        assert_close(&name, low, least);
        assert_close(&name, high, most);
    }
}
