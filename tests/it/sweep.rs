//! By which axes a stage is multiplied: those that it mentions itself or through an input or a data set.

use std::path::PathBuf;

use medmerge::experiment::{Coordinates, Experiment, Source};
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Axes, and a key of a data set and of a stage that takes their values.
const AXES: [(&str, &str, &str); 3] =
    [("x", "train", "epochs"), ("y", "val", "batch_size"), ("z", "test", "patience")];

/// Which of [`AXES`] something mentions.
type Mentions = [bool; 3];

/// A stage that is trained from the one before it, or from scratch, on one of two data sets.
#[derive(Clone, Debug)]
struct Stage {
    own: Mentions,
    from_scratch: bool,
    dataset: usize,
}

#[derive(Clone, Debug)]
struct Case {
    sizes: [usize; 3],
    datasets: [Mentions; 2],
    stages: Vec<Stage>,
}

impl Case {
    fn text(&self) -> String {
        let mut text = "[experiment]\nname = \"swept\"\n\n[sweep]\n".to_owned();
        for ((axis, ..), size) in AXES.iter().zip(self.sizes) {
            let values: Vec<String> = (8..8 + size).map(|value| value.to_string()).collect();
            text += &format!("{axis} = [{}]\n", values.join(", "));
        }
        for (i, mentions) in self.datasets.iter().enumerate() {
            text +=
                &format!("\n[dataset.d{i}.phantom]\nfamily = \"cells\"\n{}", keys(mentions, |axis| axis.1));
        }
        for (i, stage) in self.stages.iter().enumerate() {
            text += &match i.checked_sub(1).filter(|_| !stage.from_scratch) {
                Some(before) => format!("\n[stage.s{i}.finetune]\nfrom = \"s{before}\"\n"),
                None => format!("\n[stage.s{i}.pretrain]\nbackbone = \"resnet18\"\n"),
            };
            text += &format!("dataset = \"d{}\"\n{}", stage.dataset, keys(&stage.own, |axis| axis.2));
        }
        // no axis may be mentioned nowhere
        text + &format!(
            "\n[stage.all.pretrain]\nbackbone = \"resnet18\"\ndataset = \"d0\"\n{}",
            keys(&[true; 3], |axis| axis.2)
        )
    }

    /// What each stage mentions, itself or through others.
    fn mentions(&self) -> Vec<Mentions> {
        let mut mentions: Vec<Mentions> = Vec::new();
        for stage in &self.stages {
            let before = mentions.last().filter(|_| !stage.from_scratch).copied().unwrap_or_default();
            let read = self.datasets[stage.dataset];
            mentions.push(std::array::from_fn(|axis| stage.own[axis] || before[axis] || read[axis]));
        }
        mentions
    }
}

fn keys(
    mentions: &Mentions,
    key: impl Fn(&(&'static str, &'static str, &'static str)) -> &'static str,
) -> String {
    let mentioned = AXES.iter().zip(mentions).filter(|(_, mentioned)| **mentioned);
    mentioned.map(|(axis, _)| format!("{} = \"${{{}}}\"\n", key(axis), axis.0)).collect()
}

fn agree(inner: &Coordinates, outer: &Coordinates) -> bool {
    inner.iter().all(|(axis, value)| outer.get(axis) == Some(value))
}

fn any_case() -> impl Strategy<Value = Case> {
    let stage = (any::<Mentions>(), prop::bool::weighted(0.3), 0..2_usize)
        .prop_map(|(own, from_scratch, dataset)| Stage { own, from_scratch, dataset });
    let sizes = prop::array::uniform3(1..4_usize);
    (sizes, any::<[Mentions; 2]>(), prop::collection::vec(stage, 1..6))
        .prop_map(|(sizes, datasets, stages)| Case { sizes, datasets, stages })
}

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_stage_stands_once_at_each_point_of_its_axes_and_takes_from_the_same_point(case in any_case()) {
        let source = Source { path: PathBuf::from("swept.toml"), text: case.text() };
        let experiment = Experiment::parse(source);
        prop_assert!(experiment.is_ok(), "{}", experiment.unwrap_err());
        let experiment = experiment.unwrap();
        for (i, mentions) in case.mentions().iter().enumerate() {
            let axes = AXES.iter().zip(mentions).filter(|(_, mentioned)| **mentioned).map(|(axis, _)| axis.0);
            let axes: Vec<&str> = axes.collect();
            let name = format!("s{i}");
            let instances: Vec<_> = experiment.stages.iter().filter(|stage| stage.name == name).collect();
            let sizes = case.sizes.iter().zip(mentions).filter(|(_, mentioned)| **mentioned);
            prop_assert_eq!(instances.len(), sizes.map(|(size, _)| size).product::<usize>());
            for (position, instance) in instances.iter().enumerate() {
                prop_assert!(instance.at.keys().eq(&axes), "{} at {:?}", instance.id(), axes);
                prop_assert!(instances[..position].iter().all(|other| other.at != instance.at));
                let inputs = instance.inputs.iter().map(|&input| &experiment.stages[input].at);
                let datasets = instance.datasets.iter().map(|&dataset| &experiment.datasets[dataset].at);
                prop_assert!(inputs.chain(datasets).all(|at| agree(at, &instance.at)), "{}", instance.id());
            }
        }
    }
}
