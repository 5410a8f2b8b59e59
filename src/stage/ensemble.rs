//! Ensembles: averaged predictions of several models. A control for merging, at the cost of one forward pass per
//! member.

use candle_core::Result;
use dataset::Labeling;
use indexmap::IndexMap;
use kind::Problems;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use identity::{Averaged, Fingerprint, Role};

use super::Input;

/// Models whose predictions are averaged.
///
/// It enters the fingerprint of its stage by the roles of its members, so that their order and names do not matter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnsembleSpec {
    /// Stages of its members: two or more models.
    pub models: Vec<String>,
    /// Quantity to average.
    #[serde(default)]
    pub of: Averaged,
}

impl EnsembleSpec {
    /// Report invalid members.
    pub(super) fn validate(&self, problems: &mut Problems) {
        if self.models.len() < 2 {
            let message = format!("an ensemble needs at least 2 models, not {}", self.models.len());
            problems.add("models", message, None);
        }
        problems.no_duplicates("models", "model", &self.models);
    }

    /// The inputs of the ensemble at this position in its stage.
    pub(super) fn inputs(&self, position: usize) -> impl Iterator<Item = Input> {
        let role = Role::Member { ensemble: position, averaged: self.of };
        self.models.iter().map(move |stage| Input {
            role: role.clone(),
            label: Some(stage.clone()),
            stage: stage.clone(),
        })
    }
}

/// An ensemble with resolved members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensemble {
    /// Quantity to average.
    pub of: Averaged,
    /// Fingerprints of the members, sorted and without duplicates: stages that make the same model are one member.
    pub members: Vec<Fingerprint>,
    /// A hash of both fields, which identifies its predictions.
    pub fingerprint: Fingerprint,
}

/// The ensembles of a stage, in order, from the (role, fingerprint) pairs of its inputs.
pub fn among<'a>(inputs: impl IntoIterator<Item = (&'a Role, Fingerprint)>) -> Vec<Ensemble> {
    let mut members: IndexMap<(usize, Averaged), Vec<Fingerprint>> = IndexMap::new();
    for (role, fingerprint) in inputs {
        if let &Role::Member { ensemble, averaged } = role {
            members.entry((ensemble, averaged)).or_default().push(fingerprint);
        }
    }
    members.into_iter().map(|((_, averaged), members)| Ensemble::new(averaged, members)).collect()
}

impl Ensemble {
    fn new(of: Averaged, mut members: Vec<Fingerprint>) -> Self {
        members.sort_unstable();
        members.dedup();
        let names: Vec<String> = members.iter().map(Fingerprint::to_string).collect();
        let parts = ["ensemble", of.as_str()].into_iter().chain(names.iter().map(String::as_str));
        let fingerprint = Fingerprint::of_parts(parts);
        Self { of, members, fingerprint }
    }

    /// Class probabilities `[images][classes]` from each member's logits `[images][classes]`, in the order of the
    /// members.
    ///
    /// # Errors
    /// There is no member, or the shapes of their logits differ.
    pub fn probabilities(&self, labeling: Labeling, logits: &[&[Vec<f32>]]) -> Result<Vec<Vec<f32>>> {
        let Some(first) = logits.first() else { candle_core::bail!("an ensemble without members") };
        let sizes = |rows: &[Vec<f32>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        if logits.iter().any(|rows| sizes(rows) != sizes(first)) {
            candle_core::bail!("the members of an ensemble have logits for different images or classes");
        }
        let row = |image: usize| {
            let rows: Vec<&[f32]> = logits.iter().map(|rows| rows[image].as_slice()).collect();
            self.row(labeling, &rows).into_iter().map(|p| p as f32).collect()
        };
        Ok((0..first.len()).map(row).collect())
    }

    /// The probabilities of one image.
    fn row(&self, labeling: Labeling, logits: &[&[f32]]) -> Vec<f64> {
        let probabilities = match labeling {
            Labeling::SingleLabel => softmax,
            Labeling::MultiLabel => sigmoid,
        };
        let numbers = |row: &&[f32]| row.iter().map(|&logit| f64::from(logit)).collect::<Vec<_>>();
        match self.of {
            Averaged::Probabilities => mean(logits.iter().map(|row| probabilities(numbers(row)))),
            Averaged::Logits => probabilities(mean(logits.iter().map(numbers))),
        }
    }
}

fn mean(rows: impl ExactSizeIterator<Item = Vec<f64>>) -> Vec<f64> {
    let count = rows.len() as f64;
    let sum = rows.reduce(|mut sum, row| {
        sum.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
        sum
    });
    sum.unwrap_or_default().into_iter().map(|sum| sum / count).collect()
}

fn softmax(logits: Vec<f64>) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.into_iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

fn sigmoid(logits: Vec<f64>) -> Vec<f64> {
    logits.into_iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &[&[f32]] = &[&[2.0, 0.0, -1.0], &[0.0, 0.5, 0.25]];
    const B: &[&[f32]] = &[&[-1.0, 1.0, 3.0], &[4.0, 0.0, 0.0]];

    const PROBABILITIES: [[f32; 3]; 2] = [[0.574869, 0.615529, 0.610758], [0.741007, 0.561230, 0.531088]];
    const OF_LOGITS: [[f32; 3]; 2] = [[0.622459, 0.622459, 0.731059], [0.880797, 0.562177, 0.531209]];

    fn named(name: &str) -> Fingerprint {
        Fingerprint::of_parts([name])
    }

    fn rows(of: Averaged, members: &[&[&[f32]]]) -> Vec<Vec<f32>> {
        let owned: Vec<Vec<Vec<f32>>> =
            members.iter().map(|rows| rows.iter().map(|row| row.to_vec()).collect()).collect();
        let names = vec![named("m"); members.len()];
        let logits: Vec<&[Vec<f32>]> = owned.iter().map(Vec::as_slice).collect();
        Ensemble::new(of, names).probabilities(Labeling::SingleLabel, &logits).unwrap()
    }

    fn assert_near(actual: &[Vec<f32>], expected: [[f32; 3]; 2]) {
        for (actual, expected) in actual.iter().flatten().zip(expected.iter().flatten()) {
            assert!((actual - expected).abs() < 1e-6, "{actual} should be {expected}");
        }
    }

    /// Reference by SciPy: `np.mean([softmax(A, 1), softmax(B, 1)], 0)` and `softmax(np.mean([A, B], 0), 1)`.
    #[test]
    fn means_agree_with_scipy() {
        assert_near(
            &rows(Averaged::Probabilities, &[A, B]),
            [[0.429835, 0.115753, 0.454412], [0.609469, 0.218449, 0.172082]],
        );
        assert_near(
            &rows(Averaged::Logits, &[A, B]),
            [[0.274069, 0.274069, 0.451863], [0.753506, 0.130940, 0.115554]],
        );
    }

    /// Reference by SciPy: `np.mean([expit(A), expit(B)], 0)` and `expit(np.mean([A, B], 0))`.
    #[test]
    fn means_of_a_multi_label_data_set_agree_with_scipy() {
        let rows = |of| {
            let owned = [A, B].map(|rows| rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
            let logits: Vec<&[Vec<f32>]> = owned.iter().map(Vec::as_slice).collect();
            Ensemble::new(of, vec![named("a"), named("b")])
                .probabilities(Labeling::MultiLabel, &logits)
                .unwrap()
        };
        assert_near(&rows(Averaged::Probabilities), PROBABILITIES);
        assert_near(&rows(Averaged::Logits), OF_LOGITS);
    }

    #[test]
    fn logits_of_different_images_are_an_error() {
        let ensemble = Ensemble::new(Averaged::Logits, vec![named("a"), named("b")]);
        let (two, one) = (vec![vec![0.0; 3]; 2], vec![vec![0.0; 3]; 1]);
        assert!(ensemble.probabilities(Labeling::SingleLabel, &[&two, &one]).is_err());
        assert!(ensemble.probabilities(Labeling::SingleLabel, &[]).is_err());
    }

    #[test]
    fn an_ensemble_is_identified_by_its_members_and_what_it_averages() {
        let member = |ensemble| Role::Member { ensemble, averaged: Averaged::Logits };
        let inputs = [(Role::Model, "x"), (member(0), "b"), (member(0), "a"), (member(1), "b")];
        let inputs = inputs.iter().map(|(role, name)| (role, named(name)));
        let [both, one] = &among(inputs)[..] else { panic!("two ensembles") };
        let mut members = vec![named("a"), named("b")];
        members.sort();
        assert_eq!((both.of, &both.members, &one.members), (Averaged::Logits, &members, &vec![named("b")]));
        let of = |of, members: &[&str]| {
            Ensemble::new(of, members.iter().map(|name| named(name)).collect()).fingerprint
        };
        assert_eq!(both.fingerprint, of(Averaged::Logits, &["a", "b", "a"]));
        assert_ne!(both.fingerprint, of(Averaged::Probabilities, &["a", "b"]));
        assert_ne!(both.fingerprint, one.fingerprint);
    }

    proptest! {
        #[test]
        fn every_row_is_a_distribution(
            numbers in prop::collection::vec(-200.0..200.0_f32, 12), logits: bool,
        ) {
            let of = if logits { Averaged::Logits } else { Averaged::Probabilities };
            let members: Vec<&[f32]> = numbers.chunks(4).collect();
            let members: Vec<&[&[f32]]> = members.chunks(1).collect();
            let row = &rows(of, &members)[0];
            prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5 && row.iter().all(|p| *p >= 0.0));
        }

        #[test]
        fn an_ensemble_of_equal_models_predicts_like_one_of_them(numbers in prop::collection::vec(-9.0..9.0_f32, 3)) {
            for of in [Averaged::Probabilities, Averaged::Logits] {
                let (alone, twice) = (rows(of, &[&[&numbers]]), rows(of, &[&[&numbers], &[&numbers]]));
                prop_assert_eq!(alone, twice);
            }
        }
    }
}
