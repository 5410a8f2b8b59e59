//! Seconds that a table takes with bootstrap intervals and comparisons: ten models on four targets with five seeds.
//!
//!     cargo bench --bench table -- [IMAGES [RESAMPLES]]
//!
//! One line a set of metrics; the median of three.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use medmerge::metric::Predictions;
use medmerge::table::spec::{CompareSpec, Correction, IntervalKind, Test};
use medmerge::table::{Pivot, Predicted, Score, TableSpec};
use rand::{Rng, SeedableRng};

const CLASSES: u32 = 8;

/// Random predictions, better with each model.
fn scores(images: u32) -> Vec<Score> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut scores = Vec::new();
    for (model, target, seed) in
        (0..10).flat_map(|m| (0..4).flat_map(move |t| (0..5).map(move |s| (m, t, s))))
    {
        let labels: Vec<u32> = (0..images).map(|image| image % CLASSES).collect();
        let names: Vec<String> = labels.iter().enumerate().map(|(i, _)| format!("{target}/{i}")).collect();
        let mut row = |label: u32| -> Vec<f32> {
            let skill = |class| if class == label { 0.5 + 0.05 * model as f32 } else { 0.0 };
            let raw: Vec<f32> =
                (0..CLASSES).map(|class| random.random_range(0.0..1.0) + skill(class)).collect();
            raw.iter().map(|p| p / raw.iter().sum::<f32>()).collect()
        };
        let rows: Vec<Vec<f32>> = labels.iter().map(|&label| row(label)).collect();
        let predictions = Predictions::new(&labels, &rows, CLASSES as usize).expect("distributions");
        let values = metric::scores(&predictions);
        let predicted = Some(Arc::new(Predicted::new(&names, &labels.into(), predictions)));
        scores.extend(values.into_iter().map(|(metric, value)| Score {
            experiment: "bench".into(),
            stage: "scores".into(),
            model: format!("model {model}"),
            dataset: format!("target {target}"),
            split: "test".into(),
            seed: format!("{seed}"),
            axes: IndexMap::from([("target".into(), format!("{target}"))]),
            metric: metric.into(),
            value,
            n: images as usize,
            predicted: predicted.clone(),
            caveats: Arc::default(),
            steps: None,
            model_fingerprint: None,
        }));
    }
    scores
}

fn median_of_three(mut run: impl FnMut()) -> Duration {
    let mut times = [(); 3].map(|()| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.sort();
    times[1]
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let images = numbers.first().copied().unwrap_or(2000);
    let resamples = numbers.get(1).copied().unwrap_or(2000);
    let scores = scores(images as u32);
    for metrics in [&["macro_f1", "accuracy"][..], &["auroc"], &["log_loss"]] {
        let compare = CompareSpec {
            among: Vec::new(),
            rows: Vec::new(),
            to: "model 0".into(),
            test: Test::PairedBootstrap,
            correction: Correction::Holm,
            alpha: 0.05,
        };
        let spec = TableSpec {
            from: vec!["scores".into()],
            columns: vec!["target".into(), "metric".into()],
            metrics: metrics.iter().map(ToString::to_string).collect(),
            interval: Some(IntervalKind::Bootstrap),
            resamples,
            compare: Some(compare),
            ..TableSpec::default()
        };
        let table = || drop(Pivot::new("bench", &spec, &["target".into()], &scores).expect("a table"));
        println!(
            "{images} images, {resamples} resamples, {}: {:.2?}",
            metrics.join(", "),
            median_of_three(table)
        );
    }
}
