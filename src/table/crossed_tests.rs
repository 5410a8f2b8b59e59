//! Tables over several axes, and random effects.

use super::example::{predicted_score, spec};
use super::note::note;
use super::spec::{CompareSpec, Correction, IntervalKind, Test};
use super::{Pivot, Predicted, Score, TableSpec, compare_csv};
use statistics::random_effects::RandomEffects;
use std::sync::Arc;

/// A score of a source network and a seed; of no source where its text is empty.
fn crossed(model: &str, seed: u64, source: &str, right: f64) -> Score {
    let name = format!("{model} {source}");
    let mut score = Score { model: model.into(), ..predicted_score(&name, "t", seed, right) };
    score.axes.insert("source_seed".into(), source.into());
    score
}

/// Two models, 3 seeds, 2 source networks.
fn scores() -> Vec<Score> {
    let places = (0..3).flat_map(|seed| ["0", "1"].map(|source| (seed, source)));
    places
        .flat_map(|(seed, source)| {
            [("A", 0.6), ("B", 0.9)].map(|(model, right)| crossed(model, seed, source, right))
        })
        .collect()
}

fn over_both(interval: Option<IntervalKind>, test: Option<Test>) -> TableSpec {
    let compare = |test| CompareSpec {
        to: "A".into(),
        among: Vec::new(),
        rows: Vec::new(),
        test,
        correction: Correction::Holm,
        alpha: 0.05,
    };
    TableSpec {
        over: ["seed", "source_seed"].into(),
        columns: vec!["metric".into()],
        metrics: vec!["macro_f1".into()],
        interval,
        compare: test.map(compare),
        resamples: 200,
        ..spec()
    }
}

fn random() -> TableSpec {
    over_both(Some(IntervalKind::RandomEffects), Some(Test::RandomEffects))
}

fn pivot(spec: &TableSpec, scores: &[Score]) -> Pivot {
    Pivot::new("main", spec, &["target".into(), "source_seed".into()], scores).unwrap()
}

fn sentences(spec: &TableSpec, scores: &[Score]) -> Vec<String> {
    note(&pivot(spec, scores)).unwrap()
}

fn in_groups(scores: &mut [Score], groups: impl Fn(usize) -> Option<String>) {
    let groups: Vec<Option<String>> = (0..60).map(groups).collect();
    for score in scores {
        let predicted = score.predicted.take().and_then(|predicted| Arc::try_unwrap(predicted).ok());
        score.predicted = predicted.map(|predicted: Predicted| Arc::new(predicted.in_groups(&groups)));
    }
}

#[test]
fn the_mean_is_over_all_scores_and_the_spread_that_of_one_score() {
    let mut scores = scores();
    scores.retain(|score| score.model == "A");
    for (score, value) in scores.iter_mut().zip([0.1, 0.2, 0.3, 0.4, 0.8, 0.6]) {
        score.value = Some(value);
    }
    let cell = pivot(&over_both(None, None), &scores).lines[0].cells[0];
    // seed and source differ: (0, 0) and (1, 1), (0, 0) and (2, 1), (1, 0) and (0, 1), …
    let squares = [0.3, 0.5, 0.1, 0.3, 0.6, 0.4].map(|difference: f64| difference.powi(2) / 2.0);
    assert!((cell.mean.unwrap() - 0.4).abs() < 1e-12);
    assert!((cell.std.unwrap() - (squares.iter().sum::<f64>() / 6.0).sqrt()).abs() < 1e-12, "{cell:?}");
    assert_eq!(
        sentences(&over_both(None, None), &scores),
        ["Mean ± standard deviation of one score over seed (3) × source_seed (2), n = 6."]
    );
}

#[test]
fn the_note_says_what_is_random() {
    assert_eq!(
        sentences(&random(), &scores()),
        [
            "Mean over seed (0, 1, 2) × source_seed (0, 1), n = 6, in brackets its 95 % interval by Student's t with \
             random effects of images, seed, and source_seed (200 resamples of images).",
            "Images: t (60).",
            "† better, ‡ worse than A with p < 0.05: paired t test with random effects of images, seed, and source_seed \
             (200 resamples of images), two-sided, Holm's correction for 1 comparison.",
        ]
    );
    let csv = compare_csv(&pivot(&random(), &scores()));
    assert!(csv.contains(",p_adjusted,error,df,test\nmacro_f1,B,A,6,"), "{csv}");
    let bootstrap = over_both(Some(IntervalKind::Bootstrap), None);
    let said = &sentences(&bootstrap, &scores())[0];
    assert!(
        said.ends_with("bootstrap interval over images, seed, and source_seed (200 resamples, percentiles)."),
        "{said}"
    );
}

/// The random effects of six values in the order of [`scores`], and of their resamples.
fn effects(of: &[(f64, Vec<f64>)]) -> RandomEffects {
    let places = [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]];
    let (values, resamples): (Vec<f64>, Vec<Vec<f64>>) = of.iter().cloned().unzip();
    RandomEffects::new(&values, &places, &resamples, 60).unwrap()
}

/// A score with its resamples.
type Resampled = (f64, Vec<f64>);

/// The scores of a model with their resamples, straight from the predictions.
fn resampled(model: &str) -> Vec<Resampled> {
    let macro_f1 = metric::by_name("macro_f1").unwrap();
    let of_score = |score: Score| {
        let predicted = score.predicted.unwrap();
        let counts = |resample| predicted.counts(predicted.units(true), resample);
        let value = |resample| macro_f1.score(&predicted.predictions.resampled(counts(resample))).unwrap();
        (score.value.unwrap(), (0..200).map(value).collect())
    };
    scores().into_iter().filter(|score| score.model == model).map(of_score).collect()
}

#[test]
fn random_effects_are_those_of_the_scores_at_their_seeds_and_sources() {
    let found = pivot(&random(), &scores());
    let (a, b) = (resampled("A"), resampled("B"));
    for (line, scores) in found.lines.iter().zip([&a, &b]) {
        assert_eq!(line.cells[0].interval, Some(effects(scores).interval(0.95)), "{}", line.label);
    }
    let minus = |((b, of_b), (a, of_a)): (&Resampled, &Resampled)| {
        (b - a, of_b.iter().zip(of_a).map(|(b, a)| b - a).collect())
    };
    let expected = effects(&b.iter().zip(&a).map(minus).collect::<Vec<_>>());
    let found = &found.comparisons[0];
    assert_eq!((found.interval, found.p), (Some(expected.interval(0.95)), Some(expected.p())));
    assert_eq!(found.error, Some((expected.error(), expected.freedom())));
    assert!(found.difference > 0.2 && expected.p() < 0.05, "{found:?}");
}

#[test]
fn one_value_of_a_second_axis_changes_no_number_of_the_bootstrap() {
    let mut scores = scores();
    scores.retain(|score| score.axes["source_seed"] == "0");
    let both = over_both(Some(IntervalKind::Bootstrap), Some(Test::PairedBootstrap));
    let one = TableSpec { over: "seed".into(), ..both.clone() };
    let (both, one) = (pivot(&both, &scores), pivot(&one, &scores));
    assert_eq!(both.comparisons, one.comparisons);
    for (both, one) in both.lines.iter().zip(&one.lines) {
        let (both, one) = (&both.cells[0], &one.cells[0]);
        assert_eq!((both.mean, both.interval, both.n), (one.mean, one.interval, one.n));
        // From pairs of scores, and from deviations from their mean.
        assert!((both.std.unwrap() - one.std.unwrap()).abs() < 1e-12, "{both:?} {one:?}");
    }
    let said = sentences(&random(), &scores);
    assert!(said.contains(&"One value of source_seed says nothing about others.".to_owned()), "{said:?}");
    assert!(said[0].contains("random effects of images and seed (200"), "{said:?}");
}

#[test]
fn missing_scores_are_counted_and_too_many_leave_no_interval() {
    let mut scores = scores();
    scores.retain(|score| {
        (score.model.as_str(), score.seed.as_str(), &*score.axes["source_seed"]) != ("B", "1", "0")
    });
    let missing = pivot(&random(), &scores);
    assert_eq!((missing.lines[1].cells[0].n, missing.comparisons[0].n), (5, 5));
    assert!(missing.lines[1].cells[0].interval.is_some() && missing.comparisons[0].p.is_some());
    let said = sentences(&random(), &scores);
    assert!(said[0].contains("n = 6 unless the cell says otherwise"), "{said:?}");
    // B has three scores of four
    scores.retain(|score| score.seed != "2");
    let said = sentences(&random(), &scores);
    let why = "too many scores are missing";
    assert!(said.contains(&format!("Without interval: 1 cell ({why}).")), "{said:?}");
    assert!(said.contains(&format!("Not tested: 1 comparison ({why}).")), "{said:?}");
}

#[test]
fn an_axis_that_does_not_apply_to_one_row_is_the_others_alone() {
    let both = [crossed("A", 0, "", 0.6), crossed("A", 1, "", 0.6), crossed("A", 2, "", 0.6)];
    let copies = both.iter().flat_map(|score| {
        ["0", "1"].map(|source| {
            let mut score = score.clone();
            score.axes.insert("source_seed".into(), source.into());
            score
        })
    });
    let others: Vec<Score> = scores().into_iter().filter(|score| score.model == "B").collect();
    for test in [Test::RandomEffects, Test::PairedBootstrap] {
        let compared = |scores: Vec<Score>| {
            let all: Vec<Score> = scores.into_iter().chain(others.clone()).collect();
            pivot(&over_both(None, Some(test)), &all).comparisons
        };
        let found = compared(both.to_vec());
        assert_eq!(found[0].n, 6);
        assert_eq!(found, compared(copies.clone().collect()), "{test:?}");
    }
    let unrelated = [crossed("A", 7, "", 0.6)].into_iter().chain(others).collect::<Vec<_>>();
    assert!(pivot(&random(), &unrelated).comparisons.is_empty(), "no common seed");
}

#[test]
fn images_of_a_group_are_drawn_together_unless_the_table_says_otherwise() {
    let (alone, mut grouped) = (scores(), scores());
    in_groups(&mut grouped, |image| (image < 58).then(|| format!("p{}", image / 3)));
    let said = sentences(&random(), &grouped);
    assert!(said[0].contains("random effects of groups of images, seed, and source_seed"), "{said:?}");
    assert_eq!(said[1], "Images: t (60 in 22 groups).");
    let one_by_one = TableSpec { by_group: false, ..random() };
    let of = |spec: &TableSpec, scores: &[Score]| {
        let found = pivot(spec, scores);
        (found.lines, found.comparisons)
    };
    assert_eq!(of(&one_by_one, &grouped), of(&random(), &alone));
    assert_ne!(of(&random(), &grouped), of(&random(), &alone));
    for kind in [IntervalKind::Bootstrap, IntervalKind::RandomEffects] {
        let mut single = grouped.iter().filter(|score| score.seed == "0" && score.axes["source_seed"] == "0");
        let single = single.next().cloned().into_iter().collect::<Vec<_>>();
        let cell =
            pivot(&TableSpec { compare: None, interval: Some(kind), ..random() }, &single).lines[0].cells[0];
        assert!(cell.interval.is_some_and(|interval| interval.low < interval.high), "{kind:?}: {cell:?}");
    }
}

#[test]
fn a_single_group_of_images_has_neither_interval_nor_test() {
    let mut one = scores();
    in_groups(&mut one, |_| Some("p".to_owned()));
    let why = "fewer than two images, or groups of images";
    for (kind, test) in
        [(IntervalKind::Bootstrap, Test::PairedBootstrap), (IntervalKind::RandomEffects, Test::RandomEffects)]
    {
        let spec = over_both(Some(kind), Some(test));
        let found = pivot(&spec, &one);
        assert_eq!((found.lines[0].cells[0].interval, found.comparisons[0].p), (None, None), "{kind:?}");
        let said = note(&found).unwrap();
        assert!(said.contains(&"Images: t (60 in 1 group).".to_owned()), "{said:?}");
        assert!(said.contains(&format!("Without interval: 2 cells ({why}).")), "{said:?}");
        assert!(said.contains(&format!("Not tested: 1 comparison ({why}).")), "{said:?}");
        let by_image = pivot(&TableSpec { by_group: false, ..spec }, &one);
        assert!(by_image.lines[0].cells[0].interval.is_some() && by_image.comparisons[0].p.is_some());
    }
}

#[test]
fn equal_scores_have_no_interval_and_the_note_says_why() {
    let perfect = (0..3).flat_map(|seed| ["0", "1"].map(|source| crossed("A", seed, source, 1.0)));
    let spec = over_both(Some(IntervalKind::RandomEffects), None);
    let said = sentences(&spec, &perfect.collect::<Vec<_>>());
    assert!(said.contains(&"Without interval: 1 cell (all scores the same).".to_owned()), "{said:?}");
}
