//! Which images budgets keep, and that summaries know.

use proptest::prelude::*;

use super::draw::members;
use super::*;
use crate::phantom::{Family, PhantomSpec};
use crate::{DatasetKind, Labels, Pixels, State};

fn budget(label_fraction: f64, label_seed: u64) -> LabelBudget {
    LabelBudget { label_fraction, label_seed, ..LabelBudget::default() }
}

fn draw(fraction: f64, seed: u64) -> Draw {
    Draw { fraction, seed, split: SplitName::Train }
}

fn phantom() -> Dataset {
    let spec = PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 };
    spec.load(None).unwrap()
}

#[test]
fn images_keep_their_pixels_labels_names_and_order_and_other_splits_are_whole() {
    let whole = phantom();
    let some = budget(0.3, 5).dataset(whole.clone());
    let positions: Vec<usize> = some
        .train
        .names
        .iter()
        .map(|name| whole.train.names.iter().position(|other| other == name).unwrap())
        .collect();
    assert!(positions.is_sorted() && (10..=14).contains(&positions.len()), "{positions:?}");
    for (i, &position) in positions.iter().enumerate() {
        assert_eq!(some.train.labels.present(i), whole.train.labels.present(position));
        assert_eq!(some.train.pixels[192 * i..][..192], whole.train.pixels[192 * position..][..192]);
    }
    for split in [SplitName::Val, SplitName::Test] {
        assert_eq!(some.split(split).names, whole.split(split).names);
        assert_eq!(some.split(split).pixels[..], whole.split(split).pixels[..]);
    }
}

#[test]
fn the_summary_describes_what_is_kept() {
    let spec = PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 };
    let whole = spec.summary().unwrap();
    for fraction in [0.01, 0.25, 0.5, 1.0] {
        let budget = budget(fraction, 0);
        let dataset = budget.dataset(phantom());
        let summary = budget.summary(whole.clone()).unwrap();
        let counted: Vec<usize> = (0..summary.classes.len() as u32)
            .map(|class| {
                dataset.train.labels.single().unwrap().iter().filter(|&&label| label == class).count()
            })
            .collect();
        assert_eq!(summary.counts[0], counted);
        assert_eq!(summary.counts[1..], whole.counts[1..]);
        assert_eq!(summary.digest, whole.digest, "the content of the files is the same");
    }
}

#[test]
fn a_count_is_the_fraction_that_it_is_and_validation_images_have_their_own() {
    let counts = |label_count, val_count| LabelBudget { label_count, val_count, ..budget(1.0, 2) };
    let (spec, whole) =
        (PhantomSpec { family: Family::Xray, size: 8, train: 40, val: 9, test: 7, seed: 1 }, phantom());
    let summary = spec.summary().unwrap();
    let names = |split: &Split| split.names.clone();
    let by_count = counts(Some(10), None).dataset(whole.clone());
    assert_eq!(names(&by_count.train), names(&budget(0.25, 2).dataset(whole.clone()).train));
    assert_eq!(names(&by_count.val), names(&whole.val));
    let both = counts(Some(10), Some(4)).dataset(whole.clone());
    assert_eq!(names(&both.train), names(&by_count.train));
    assert!((3..=5).contains(&both.val.len()), "{}", both.val.len());
    let smaller = counts(None, Some(2)).dataset(whole.clone());
    assert!(smaller.val.names.iter().all(|name| both.val.names.contains(name)), "nested");
    assert_eq!(smaller.train.len(), 40);
    let kept = counts(Some(10), Some(4)).summary(summary.clone()).unwrap();
    assert_eq!(
        (kept.images(SplitName::Train), kept.images(SplitName::Val)),
        (both.train.len(), both.val.len())
    );
    // As many as there are, or more, is no budget.
    let all = counts(Some(40), Some(100));
    assert_eq!(all.dataset(whole.clone()).train.len(), 40);
    assert_eq!(all.effective(&summary), LabelBudget { label_seed: 2, ..LabelBudget::default() });
    assert!(all.effective(&summary).is_whole() && !counts(Some(39), None).effective(&summary).is_whole());
}

#[test]
fn what_contradicts_itself_or_cannot_be_counted_is_refused() {
    let problems = |budget: LabelBudget| {
        let mut problems = kind::Problems::default();
        kind::Kind::validate(&budget, &mut problems);
        problems.into_list().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let both = LabelBudget { label_count: Some(10), ..budget(0.5, 0) };
    assert!(problems(both)[0].contains("both say how many"));
    assert_eq!(problems(LabelBudget { val_count: Some(0), ..budget(1.0, 0) }).len(), 1);
    let budget = LabelBudget { val_count: Some(1), ..budget(1.0, 0) };
    let mut several = multi_label(false).0;
    several.multi_label.as_mut().unwrap().images[1] = 2;
    assert!(budget.summary(several).unwrap_err().contains("multi-label"));
}

#[test]
fn groups_are_kept_whole_and_the_summary_knows() {
    // Groups of 1 to 3 images; some have two labels.
    let groups: Vec<u32> = (0..60).flat_map(|group| vec![group; group as usize % 3 + 1]).collect();
    let labels: Vec<u32> =
        groups.iter().enumerate().map(|(i, group)| if i % 7 == 0 { 2 } else { group % 3 }).collect();
    let of_groups = members(&groups);
    let by_group = of_groups.iter().map(|group| group.iter().map(|&i| (i as u32, labels[i])).collect());
    let counts = |kept: &[usize]| {
        let of = |class| kept.iter().filter(|&&position| labels[position] == class).count();
        (0..3).map(of).collect::<Vec<_>>()
    };
    let all: Vec<usize> = (0..labels.len()).collect();
    let whole = Summary {
        classes: ["a", "b", "c"].map(Into::into).into(),
        counts: [counts(&all), vec![1; 3], vec![1; 3]],
        multi_label: None,
        digest: String::new(),
        warnings: Vec::new(),
        caveats: Vec::new(),
        train_groups: Some(by_group.collect()),
    };
    let mut before = Vec::new();
    for fraction in [0.05, 0.3, 0.6, 0.95] {
        let budget = budget(fraction, 3);
        let kept = draw(fraction, 3).positions_of_groups(&groups, &labels, 3);
        let is_whole = |group: &Vec<usize>| {
            let count = group.iter().filter(|position| kept.contains(position)).count();
            count == 0 || count == group.len()
        };
        assert!(of_groups.iter().all(is_whole) && kept.is_sorted());
        assert!((kept.len() as f64 - fraction * labels.len() as f64).abs() <= 6.0, "{} kept", kept.len());
        assert!(before.iter().all(|position| kept.contains(position)), "budgets are nested");
        assert_eq!(budget.summary(whole.clone()).unwrap().counts[0], counts(&kept));
        before = kept;
    }
}

/// 40 images with three labels each, in groups of two if asked for.
fn multi_label(is_grouped: bool) -> (Summary, Dataset) {
    let mut labels = crate::MultiLabels::new(3);
    let states = [State::Absent, State::Present, State::Unknown];
    (0..40).for_each(|i| labels.push(&[states[i % 2], states[i % 3], states[1]]));
    let labels = [labels.clone(), labels.at(&[0]), labels.at(&[1])].map(Labels::Multi);
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let names = labels.each_ref().map(|labels| (0..labels.len()).map(|i| i.to_string()).collect());
    let pixels = labels.each_ref().map(|labels| Pixels::Owned(vec![0; 3 * labels.len()].into()));
    let mut dataset = Dataset::new(classes.clone(), 1, labels.clone(), names, pixels);
    let mut summary = Summary::new(classes, labels, blake3::hash(b""));
    if is_grouped {
        dataset.train.groups = Some((0..40).map(|i| i / 2).collect());
        summary.train_groups = Some((0..20).map(|i| vec![(2 * i, 0), (2 * i + 1, 0)]).collect());
    }
    (summary, dataset)
}

#[test]
fn multi_label_images_are_drawn_as_of_one_class_and_the_summary_knows() {
    for is_grouped in [false, true] {
        let (summary, dataset) = multi_label(is_grouped);
        let budget = budget(0.25, 3);
        let (kept, some) = (budget.summary(summary.clone()).unwrap(), budget.dataset(dataset));
        let Labels::Multi(labels) = &some.train.labels else { panic!("several labels") };
        assert_eq!(labels.len(), 10);
        let multi = kept.multi_label.as_ref().unwrap();
        assert_eq!((&multi.train, multi.images), (labels, [10, 1, 1]));
        assert_eq!(kept.counts[0], labels.count(State::Present));
        assert_eq!(multi.unknown[0], labels.count(State::Unknown));
        assert_eq!(kept.counts[1..], summary.counts[1..]);
        let positions: Vec<usize> = some.train.names.iter().map(|name| name.parse().unwrap()).collect();
        let is_whole = |position: &usize| positions.contains(&(position ^ 1));
        assert!(positions.is_sorted() && (!is_grouped || positions.iter().all(is_whole)));
    }
}

#[test]
fn another_seed_keeps_other_images() {
    let labels = vec![0; 100];
    assert_ne!(draw(0.2, 0).positions(&labels, 1), draw(0.2, 1).positions(&labels, 1));
}

#[test]
fn classes_do_not_share_an_order() {
    let labels: Vec<u32> = (0..200).map(|i| i % 2).collect();
    let (even, odd): (Vec<_>, Vec<_>) =
        draw(0.2, 0).positions(&labels, 2).into_iter().partition(|position| position % 2 == 0);
    let halved = |positions: Vec<usize>| positions.into_iter().map(|p| p / 2).collect::<Vec<_>>();
    assert_ne!(halved(even), halved(odd));
}

/// Golden values: stored results depend on which images are kept.
#[test]
fn the_same_seed_keeps_the_same_images_on_every_machine() {
    let labels: Vec<u32> = (0..24).map(|i| i % 3).collect();
    assert_eq!(draw(0.4, 7).positions(&labels, 3), [3, 4, 5, 6, 7, 8, 9, 22, 23]);
}

proptest! {
    #[test]
    fn what_is_kept_is_stratified_to_the_nearest_image(
        labels in prop::collection::vec(0..4_u32, 1..120), fraction in 0.001..1.0_f64, seed: u64,
    ) {
        let kept = draw(fraction, seed).positions(&labels, 4);
        for class in 0..4 {
            let all = labels.iter().filter(|&&label| label == class).count();
            let some = kept.iter().filter(|&&position| labels[position] == class).count();
            let wanted = fraction * all as f64;
            prop_assert!((some as f64 - wanted).abs() <= 0.5 || some == 1 && wanted < 1.0, "{some} of {all}");
            prop_assert!(some <= all && (some > 0 || all == 0));
        }
    }

    #[test]
    fn a_smaller_budget_is_a_subset_of_a_larger_one(
        labels in prop::collection::vec(0..4_u32, 1..120), a in 0.001..=1.0_f64, b in 0.001..=1.0_f64, seed: u64,
    ) {
        let [small, large] = [a.min(b), a.max(b)].map(|f| draw(f, seed).positions(&labels, 4));
        prop_assert!(small.iter().all(|position| large.contains(position)));
        prop_assert_eq!(draw(1.0, seed).positions(&labels, 4).len(), labels.len());
    }

    /// The choice of images in a class depends on that class alone.
    #[test]
    fn other_classes_change_nothing(labels in prop::collection::vec(0..4_u32, 1..120), seed: u64) {
        let merged: Vec<u32> = labels.iter().map(|&label| if label == 0 { 0 } else { 1 }).collect();
        let of_first = |labels: &[u32]| {
            let kept = draw(0.3, seed).positions(labels, 4).into_iter();
            kept.filter(|&position| labels[position] == 0).collect::<Vec<_>>()
        };
        prop_assert_eq!(of_first(&labels), of_first(&merged));
    }
}
