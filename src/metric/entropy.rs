//! The mean entropy of predictions: a score without labels.

use super::{Metric, Predictions};

/// `entropy`. It is not among [`METRICS`](super::METRICS), because it says nothing of whether predictions are right.
pub static ENTROPY: Metric = Metric {
    name: "entropy",
    title: "Entropy",
    summary: "Mean entropy of the predictions, in nats, without labels; multi-label: also the mean over classes.",
    higher_is_better: false,
    is_fraction: false,
    is_multi_label: true,
    compute: entropy,
};

fn entropy(predictions: &Predictions) -> Option<f64> {
    let sum: f64 = match predictions.images() {
        Some(images) => {
            let of = |probabilities: &[f64]| probabilities.iter().map(|&p| of_probability(p)).sum::<f64>();
            images.map(|image| image.count as f64 * of(image.probabilities)).sum()
        }
        None => {
            let of = |probabilities: &[f64]| {
                let classes = probabilities.iter().map(|&p| of_probability(p) + of_probability(1.0 - p));
                classes.sum::<f64>() / probabilities.len() as f64
            };
            let images = predictions.multi_label_images()?;
            images.map(|image| image.count as f64 * of(image.probabilities)).sum()
        }
    };
    Some(sum / predictions.total() as f64)
}

/// −p log p, and 0 at 0.
fn of_probability(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Labels, MultiLabels, State};

    /// Reference by SciPy: `scipy.stats.entropy(p, axis=1).mean()`.
    #[test]
    fn it_is_the_mean_of_scipys_entropies_whatever_the_labels() {
        let rows = [vec![0.7, 0.2, 0.1], vec![0.25, 0.25, 0.5], vec![0.0, 1.0, 0.0]];
        for labels in [[0, 1, 2], [2, 2, 0]] {
            let predictions = Predictions::new(&labels, &rows, 3).unwrap();
            assert!((ENTROPY.score(&predictions).unwrap() - 0.6138464411).abs() < 1e-9);
        }
    }

    #[test]
    fn classes_of_a_multi_label_data_set_are_independent() {
        let mut labels = MultiLabels::new(2);
        labels.push(&[State::Present, State::Unknown]);
        let predictions = Predictions::of(&Labels::Multi(labels), &[vec![0.5, 1.0]], 2).unwrap();
        assert!((ENTROPY.score(&predictions).unwrap() - 2f64.ln() / 2.0).abs() < 1e-12);
    }
}
