//! Checks before anything runs.

use std::collections::{BTreeMap, HashMap};

use super::assemble::Identity;
use super::data::Data;
use dataset::{DataError, SplitName, Summary};
use experiment::figure_spec::layers::LayersSpec;
use experiment::{Errors, Experiment, FigureSpec, Span, StageInstance};
use stage::learn_merge_weights::LayerWeights;
use stage::{Description, Known, StageSpec};

/// Describes a stage's result, or returns all its errors.
pub(super) type Describe = fn(&StageSpec, &Known<'_>) -> Result<Description, Vec<String>>;

/// Check that every split that a stage reads has images, and `train` at least one of every class.
pub(super) fn splits(experiment: &Experiment, data: &Data) -> Vec<DataError> {
    let mut readers: BTreeMap<(usize, SplitName), &StageInstance> = BTreeMap::new();
    for stage in &experiment.stages {
        for (input, &dataset) in stage.spec.datasets().iter().zip(&stage.datasets) {
            for &split in &input.splits {
                readers.entry((dataset, split)).or_insert(stage);
            }
        }
    }
    let error = |((index, split), reader): ((usize, SplitName), &StageInstance)| {
        let dataset = data.datasets.get(&index)?;
        let message = lack(&dataset.summary, split, &reader.name)?;
        let place = Some(format!("data set `{}`", experiment.datasets[index].id()));
        Some(DataError { path: experiment.source.path.clone(), place, message })
    };
    readers.into_iter().filter_map(error).collect()
}

/// Check that every data set that a stage trains on or evaluates on has several classes, unless it is multi-label.
pub(super) fn one_class(experiment: &Experiment, data: &Data) -> Vec<DataError> {
    let scored =
        |stage: &&StageInstance| stage.spec.train().is_some() || matches!(stage.spec, StageSpec::Evaluate(_));
    let mut readers: BTreeMap<usize, &StageInstance> = BTreeMap::new();
    for stage in experiment.stages.iter().filter(scored) {
        stage.datasets.iter().for_each(|&dataset| _ = readers.entry(dataset).or_insert(stage));
    }
    let error = |(index, reader): (usize, &StageInstance)| {
        let summary = &data.datasets.get(&index)?.summary;
        let [class] = &summary.classes[..] else { return None };
        // Of one finding, an image may be positive or negative.
        summary.labeling().is_single_label().then_some(())?;
        let message = format!(
            "it has one class, `{class}`, so every score of stage `{}` would be perfect and mean nothing; add images of \
             another class",
            reader.name
        );
        let place = Some(format!("data set `{}`", experiment.datasets[index].id()));
        Some(DataError { path: experiment.source.path.clone(), place, message })
    };
    readers.into_iter().filter_map(error).collect()
}
/// The maximum number of classes in a message.
const CLASSES_SHOWN: usize = 24;

/// What a split lacks for a stage that reads it.
fn lack(summary: &Summary, split: SplitName, reader: &str) -> Option<String> {
    let counts = &summary.counts[split as usize];
    let split_name = split.as_str();
    if summary.images(split) == 0 {
        return Some(format!("split `{split_name}` has no images, but stage `{reader}` needs some"));
    }
    let absent = summary.classes.iter().zip(counts).filter(|(_, count)| **count == 0);
    let absent: Vec<_> = absent.map(|(class, _)| format!("`{class}`")).collect();
    if split != SplitName::Train || absent.is_empty() {
        return None;
    }
    let more = if absent.len() > CLASSES_SHOWN { ", …" } else { "" };
    let absent = absent[..absent.len().min(CLASSES_SHOWN)].join(", ") + more;
    Some(format!(
        "split `{split_name}` has no image of class {absent}, but stage `{reader}` trains on it; \
         add some, or remove the class"
    ))
}

/// The description of each stage, in the order of [`Experiment::stages`].
///
/// # Errors
/// All errors of the stages, at their sections. Stages with invalid inputs are skipped.
pub(super) fn describe(
    experiment: &Experiment,
    data: &Data,
    identities: &[Identity],
    describe: Describe,
) -> Result<Vec<Description>, Errors> {
    let mut descriptions: Vec<Option<Description>> = Vec::new();
    let mut problems: Vec<(Span, String)> = Vec::new();
    for stage in &experiment.stages {
        let description =
            known(stage, &descriptions, identities, data).map(|known| describe(&stage.spec, &known));
        let (description, sentences) = match description {
            None => (None, Vec::new()),
            Some(Ok(description)) => (Some(description), Vec::new()),
            Some(Err(sentences)) => (None, sentences),
        };
        descriptions.push(description);
        problems.extend(sentences.into_iter().map(|sentence| (stage.span.clone(), sentence)));
    }
    let all: Option<Vec<_>> = descriptions.into_iter().collect();
    all.ok_or_else(|| Errors::new(experiment.source.clone(), problems))
}

/// Check that the stages whose merge weights each figure pools have the same sources and layers.
///
/// # Errors
/// The first two stages of each figure that differ, at the figure.
pub(super) fn figures(experiment: &Experiment, descriptions: &[Description]) -> Result<(), Errors> {
    let difference = |(name, figure): (&String, &FigureSpec)| {
        let FigureSpec::Layers(figure) = figure else { return None };
        let mut pools: HashMap<(&str, Vec<_>), (&StageInstance, Pooled<'_>)> = HashMap::new();
        let described = experiment.stages.iter().zip(descriptions);
        for (stage, description) in described.filter(|(stage, _)| figure.from.contains(&stage.name)) {
            let at = stage.at.iter().filter(|(axis, _)| **axis != figure.over);
            let at = at.map(|(axis, value)| (axis, value.to_string())).collect();
            let pooled = pooled(stage, description)?;
            let (first, of_first) = pools.entry((&stage.name, at)).or_insert_with(|| (stage, pooled.clone()));
            if let Some(what) = of_first.difference(&pooled) {
                return Some((
                    experiment.spans[name].clone(),
                    cannot_pool(name, figure, (first, stage), what),
                ));
            }
        }
        None
    };
    let found: Vec<_> = experiment.figures.iter().filter_map(difference).collect();
    if found.is_empty() { Ok(()) } else { Err(Errors::new(experiment.source.clone(), found)) }
}

/// What stages have in common if a figure pools their merge weights.
#[derive(Clone)]
struct Pooled<'a> {
    sources: Vec<&'a str>,
    layers: Vec<LayerWeights>,
}

impl Pooled<'_> {
    fn difference(&self, other: &Self) -> Option<&'static str> {
        match () {
            () if self.sources != other.sources => Some("sources"),
            () if self.layers != other.layers => Some("layers"),
            () => None,
        }
    }
}

fn pooled<'a>(stage: &'a StageInstance, description: &Description) -> Option<Pooled<'a>> {
    let (StageSpec::LearnMergeWeights(spec), Description::MergeWeights { info, .. }) =
        (&stage.spec, description)
    else {
        return None;
    };
    Some(Pooled {
        sources: spec.sources.iter().map(String::as_str).collect(),
        layers: spec.layers(&info.backbone),
    })
}

fn cannot_pool(
    name: &str,
    figure: &LayersSpec,
    (first, second): (&StageInstance, &StageInstance),
    what: &str,
) -> String {
    format!(
        "figure `{name}`: `{}` and `{}` have different {what}, so their weights cannot be pooled over `{}`; set `over` \
         to another axis",
        first.id(),
        second.id(),
        figure.over
    )
}

/// What is known about a stage's inputs; `None` if one of them is invalid.
fn known<'a>(
    stage: &StageInstance,
    descriptions: &'a [Option<Description>],
    identities: &'a [Identity],
    data: &'a Data,
) -> Option<Known<'a>> {
    let inputs = stage.inputs.iter().map(|&index| descriptions[index].as_ref());
    Some(Known {
        inputs: inputs.collect::<Option<_>>()?,
        input_fingerprints: stage.inputs.iter().map(|&i| identities[i].fingerprint).collect(),
        began_at: stage.inputs.iter().map(|&i| identities[i].began_at).collect(),
        datasets: stage.datasets.iter().map(|index| data.datasets[index].known()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::assemble::assemble;
    use super::super::testing::{Lab, data_with, describe_all, experiment, summary};
    use super::*;
    use identity::Numerics;

    #[test]
    fn a_split_that_a_stage_reads_must_have_images() {
        let experiment = experiment();
        let errors = splits(&experiment, &data_with(&experiment, summary([[1, 1], [0, 0], [1, 1]])));
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        let lacking = |dataset: &str, stage: &str| {
            format!(
                "lab.toml, data set `{dataset}`: split `val` has no images, but stage `{stage}` needs some"
            )
        };
        assert_eq!(errors, [lacking("cells", "source"), lacking("fundus", "tuned")]);
    }

    #[test]
    fn a_stage_trains_only_if_every_class_has_a_training_image() {
        let experiment = experiment();
        let errors = splits(&experiment, &data_with(&experiment, summary([[5, 0], [5, 0], [5, 0]])));
        assert_eq!(errors.len(), 2, "validation and test images may lack a class");
        assert!(errors[0].message.contains("`train` has no image of class `sick`"), "{}", errors[0]);
    }

    #[test]
    fn f02_one_class_is_an_error_where_it_is_scored() {
        let mut experiment = experiment();
        let one = Summary {
            classes: vec!["sick".into()],
            counts: [vec![9], vec![9], vec![9]],
            ..summary([[1, 1]; 3])
        };
        let messages = |experiment: &Experiment| -> Vec<String> {
            one_class(experiment, &data_with(experiment, one.clone()))
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        let errors = messages(&experiment);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(
            errors[0].starts_with("lab.toml, data set `cells`: it has one class, `sick`, "),
            "{errors:?}"
        );
        experiment.stages.clear();
        assert_eq!(messages(&experiment), [""; 0]);
    }

    #[test]
    fn an_invalid_stage_is_reported_once_and_its_users_are_skipped() {
        let mut experiment = experiment();
        let twin = experiment.stages[0].clone();
        experiment.stages.push(twin);
        let data = data_with(&experiment, summary([[1, 1]; 3]));
        let wrong: Describe = |spec, known| match spec {
            StageSpec::Pretrain(_) => Err(vec!["the backbone is too small".into()]),
            _ => describe_all(spec, known),
        };
        let lab = Lab::new();
        let errors = assemble(Arc::new(experiment), &data, &lab.store, Numerics::Cpu, wrong).unwrap_err();
        assert_eq!(errors.to_string().matches("the backbone is too small").count(), 1, "{errors}");
    }
}
