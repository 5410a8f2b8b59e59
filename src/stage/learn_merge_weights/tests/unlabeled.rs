//! Merge weights learned by entropy, and of task vectors.

use super::*;
use train::loss::EntropySpec;
use train::{ClassCounts, LossSpec, Targets};

fn by_entropy(spec: LearnMergeWeightsSpec) -> LearnMergeWeightsSpec {
    let train = TrainSpec { loss: LossSpec::Entropy(EntropySpec {}), ..spec.train };
    LearnMergeWeightsSpec { train, ..spec }
}

fn with_base(spec: LearnMergeWeightsSpec) -> LearnMergeWeightsSpec {
    LearnMergeWeightsSpec { base: Some("start".into()), ..spec }
}

fn mean_entropy(logits: &Tensor) -> Result<(f64, Tensor)> {
    let counts = ClassCounts::single_label(&[1; CLASSES]);
    let labels = Tensor::zeros(logits.dim(0)?, DType::U32, &Device::Cpu)?;
    let loss = LossSpec::Entropy(EntropySpec {}).build(&counts, &Device::Cpu)?;
    let (loss, gradient) = loss.with_gradient(logits, &Targets::Classes(labels))?;
    Ok((loss.to_dtype(DType::F64)?.to_scalar()?, gradient))
}

#[test]
fn gradients_of_the_entropy_agree_with_finite_differences() -> Result<()> {
    for granularity in [Granularity::Kernel, Granularity::Layer, Granularity::Model] {
        for plain in [spec(3, Some(1)), with_base(spec(3, Some(1))), with_base(spec(2, None))] {
            let spec = by_entropy(LearnMergeWeightsSpec { granularity, head: StartingHead::Mean, ..plain });
            with_learner(&spec, |learner| agrees_with_finite_differences(learner, mean_entropy))?;
        }
    }
    Ok(())
}

#[test]
fn without_labels_only_merge_weights_are_variables() {
    for (spec, head) in [(spec(2, Some(0)), true), (by_entropy(spec(2, Some(0))), false)] {
        with_learner(&spec, |learner| {
            let names: Vec<String> = learner.variables().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names.iter().any(|name| name.starts_with("fc.")), head, "{names:?}");
            assert!(names.iter().any(|name| name == "conv1.merge_weights"));
            assert!(learner.tensors().contains_key("fc.weight"));
        });
    }
}

#[test]
fn merge_weights_start_where_the_options_say() {
    let start = |spec: &LearnMergeWeightsSpec| {
        with_learner(spec, |learner| learner.learned().unwrap()["conv1.merge_weights"].clone())
    };
    let given = |start: f64, spec| LearnMergeWeightsSpec { start: Some(start), ..spec };
    let fixed = LearnMergeWeightsSpec { anchor_weight: AnchorWeight::Fixed, ..spec(2, Some(1)) };
    for (spec, expected) in [
        (spec(2, None), [0.5, 0.5]),
        (spec(2, Some(1)), [0.0, 1.0]),
        (with_base(spec(2, None)), [0.3, 0.3]),
        (with_base(spec(2, Some(1))), [0.0, 1.0]),
        (given(0.25, with_base(spec(2, Some(1)))), [0.25, 0.25]),
        (given(0.0, spec(2, None)), [0.0, 0.0]),
        (given(0.25, fixed), [0.25, 1.0]),
    ] {
        let rows = start(&spec).to_vec2::<f32>().unwrap();
        assert_eq!(rows.len(), 2, "the base has no merge weights");
        for (row, expected) in rows.iter().zip(expected) {
            assert!(row.iter().all(|w| *w == expected), "{spec:?}: {row:?}");
        }
    }
}

/// B + Σ w (S − B), by plain sums; and what the stage learned is what the merge makes of it, bit by bit.
#[test]
fn merge_weights_of_task_vectors_are_added_to_the_base() -> Result<()> {
    let sources: Vec<Checkpoint> = (0..2).map(model).collect();
    let state_dicts: Vec<&StateDict> = sources.iter().map(|source| &source.tensors).collect();
    let (base, groups) = (model(100).tensors, resnet().build().kernel_groups());
    for granularity in [Granularity::Kernel, Granularity::Layer, Granularity::Model] {
        let spec = with_base(LearnMergeWeightsSpec { granularity, ..spec(2, None) });
        let (learned, computed) = with_learner(&spec, |learner| {
            scatter(learner);
            let values = learner.values(&constants(&learner.weights), Values::new()).unwrap();
            (learner.learned().unwrap(), values)
        });
        let merged = learned::merge(&state_dicts, Some(&base), &groups, &learned)?;
        for group in &groups {
            let w = &learned[&learned::weights_name(group)];
            for name in &group.tensors {
                let mut shape = vec![group.kernels];
                shape.resize(base[name].rank(), 1);
                let mut expected = base[name].clone();
                for (i, source) in state_dicts.iter().enumerate() {
                    let task_vector = (&source[name] - &base[name])?;
                    expected =
                        (expected + task_vector.broadcast_mul(&w.get(i)?.reshape(shape.as_slice())?)?)?;
                }
                assert!(largest_difference(&merged[name], &expected) < 1e-6, "{name}");
                assert_eq!(largest_difference(&merged[name], computed[name].tensor()), 0.0, "{name}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_mean_head_is_that_of_all_sources_in_the_data_sets_order() {
    let spec = LearnMergeWeightsSpec { head: StartingHead::Mean, ..spec(3, None) };
    let mut expected = model(0).tensors["fc.bias"].zeros_like().unwrap();
    for seed in 0..3 {
        expected = (expected + &model(seed).tensors["fc.bias"]).unwrap();
    }
    let mean = with_learner(&spec, |learner| learner.learned().unwrap()["fc.bias"].clone());
    assert!(largest_difference(&mean, &(expected / 3.0).unwrap()) < 1e-6);
}

/// The messages about an experiment's section, and its keys.
fn problems(keys: &str) -> Vec<(String, String)> {
    let text = format!("sources = ['a', 'b']\ndataset = 'd'\n{keys}");
    let spec: LearnMergeWeightsSpec = toml::from_str(&text).unwrap();
    let mut problems = Problems::default();
    spec.validate(&mut problems);
    if problems.is_empty() {
        spec.validate_together(&mut problems);
    }
    problems.into_list().into_iter().map(|problem| (problem.path, problem.message)).collect()
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (keys, path, message) in [
        ("base = 'a'", "base", "is also a source"),
        ("base = 'c'\nconstraint = 'convex'", "base", "a base cancels out"),
        ("constraint = 'convex'\nstart = 0.5", "start", "start at 1 / sources"),
        ("constraint = 'box'\nstart = 1.5", "start", "`start` must be from 0 to 1, not 1.5"),
        ("start = -0.5", "start", "`start` must be a finite non-negative number"),
        ("start = nan", "start", "`start` must be a finite non-negative number"),
        ("train.loss.entropy = {}", "head", "trains no head, so a new one would stay random"),
        ("train.loss.entropy = {}\nanchor = 'a'\nhead = 'new'", "head", "trains no head"),
        (
            "train.loss.entropy = {}\nhead = 'mean'\ntrain.sampling = 'balanced'",
            "train.sampling",
            "draws by label",
        ),
        (
            "train.loss.entropy = {}\nhead = 'mean'\ntrain.augment = [{ cutmix = {} }]",
            "train.augment",
            "mixed images show two classes",
        ),
    ] {
        let found = problems(keys);
        assert!(found.len() == 1 && found[0].0 == path && found[0].1.contains(message), "{keys}: {found:?}");
    }
    for keys in [
        "train.loss.entropy = {}\nanchor = 'a'\nbase = 'c'\nstart = 0.3\nconstraint = 'box'",
        "train.loss.entropy = {}\nhead = 'mean'\ntrain.select = 'entropy'",
        "base = 'c'\nstart = 2.0\ngranularity = 'layer'",
    ] {
        assert_eq!(problems(keys), [], "{keys}");
    }
}
