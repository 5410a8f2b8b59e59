//! Training options: mixed batches, sampling, learning rates of layers, moving averages, accumulated gradients, and what
//! selects the best epoch. References: tests/reference/make_training_options.py.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use medmerge::backbone::BackboneSpec;
use medmerge::identity::Fingerprint;
use medmerge::metric::METRICS;
use medmerge::nn::init::Parameter;
use medmerge::stage::{Artifact, StageSpec};
use medmerge::store::Store;
use medmerge::train::Targets;
use medmerge::train::loss::{CrossEntropy, Loss, binary_cross_entropy};
use medmerge::train::resume::Forgetful;
use medmerge::train::{Progress, TrainSpec, layer_rates};
use predicates::prelude::PredicateBooleanExt as _;
use predicates::str::contains;
use serde_json::{Value, json};

use crate::builder::{EXPERIMENT, Workplace};
use crate::reference;
use crate::resume::{content, holds, pretrain, run, run_in_pieces, spec, with};

/// Fine-tuning of the whole network.
fn finetune(train: &Value) -> StageSpec {
    spec("finetune", json!({ "from": "source" }), train)
}

fn made(spec: &StageSpec, source: &Arc<Artifact>) -> Artifact {
    run(spec, std::slice::from_ref(source), &Forgetful, &|_| Ok(())).unwrap()
}

/// Each new option, and all of them together.
fn options() -> Vec<Value> {
    let crop = json!({ "crop": { "padding": 1 } });
    vec![
        json!({ "augment": [crop, { "mixup": { "alpha": 0.4 } }] }),
        json!({ "augment": [crop, { "cutmix": { "probability": 0.7 } }] }),
        json!({ "sampling": "balanced" }),
        json!({ "epoch_images": 50 }),
        json!({ "epoch_images": 7, "batch_size": 4 }),
        json!({ "lr_backbone": 1e-3 }),
        json!({ "layer_decay": 0.75 }),
        json!({ "ema": 0.8 }),
        json!({ "ema": 0.8, "select": "none" }),
        json!({ "batch_size": 8, "accumulate": 2 }),
        json!({ "select": "quadratic_kappa", "patience": 1, "epochs": 5 }),
        json!({
            "augment": [{ "horizontal_flip": {} }, { "mixup": {} }, { "cutmix": {} }], "sampling": "balanced",
            "layer_decay": 0.5, "ema": 0.9, "batch_size": 8, "accumulate": 4, "select": "ece_15", "epoch_images": 40,
        }),
    ]
}

#[test]
fn an_interrupted_training_goes_on_bit_by_bit_with_each_option() {
    let (_, source) = pretrain(1);
    for options in options() {
        println!("{options}");
        holds(&finetune(&with(&options)), std::slice::from_ref(&source));
    }
    let near = json!({ "from": "source", "decay_to_start": 20.0 });
    holds(&spec("finetune", near, &with(&json!({}))), std::slice::from_ref(&source));
}

/// An epoch of all images twice has the steps of two epochs at one learning rate, and is validated once.
#[test]
fn an_epoch_has_the_images_that_it_is_told() {
    let (_, source) = pretrain(1);
    let losses = |options: Value| {
        let seen = std::sync::Mutex::new(Vec::new());
        let report = |progress: Progress| {
            if let Progress::Step { epoch, images, of, .. } = progress {
                seen.lock().unwrap().push((epoch, images, of));
            }
            Ok(())
        };
        let spec = finetune(&with(&options));
        let made = run(&spec, std::slice::from_ref(&source), &Forgetful, &report).unwrap();
        (seen.into_inner().unwrap(), made)
    };
    let (steps, _) = losses(json!({ "epochs": 1, "batch_size": 4, "epoch_images": 10 }));
    assert_eq!(steps, [(0, 4, 10), (0, 8, 10), (0, 10, 10)]);
    let n = losses(json!({ "epochs": 1 })).0.last().unwrap().2;
    let (steps, _) = losses(json!({ "epochs": 1, "epoch_images": 2 * n + 3, "batch_size": n }));
    assert_eq!(steps.iter().map(|&(_, images, _)| images).collect::<Vec<_>>(), [n, 2 * n, 2 * n + 3]);
    let same = [json!({}), json!({ "epoch_images": n })].map(|options| content(&losses(options).1));
    assert_eq!(same[0], same[1], "the images of a data set are its epoch");
}

#[test]
fn a_head_and_merge_weights_go_on_bit_by_bit_with_all_options() {
    let sources = [pretrain(1).1, pretrain(2).1];
    let all = with(options().last().unwrap());
    holds(&spec("finetune", json!({ "from": "a", "trainable": "head" }), &all), &sources[..1]);
    let balanced = with(&json!({ "sampling": "balanced", "augment": [{ "horizontal_flip": {} }] }));
    holds(&spec("finetune", json!({ "from": "a", "trainable": "head" }), &balanced), &sources[..1]);
    holds(
        &spec("learn_merge_weights", json!({ "sources": ["a", "b"], "constraint": "convex" }), &all),
        &sources,
    );
}

#[test]
fn a_training_goes_on_from_the_files_of_a_store_with_all_options() {
    let (_, source) = pretrain(1);
    let (folder, spec) = (tempfile::tempdir().unwrap(), finetune(&with(options().last().unwrap())));
    let store = Store::open(folder.path()).unwrap();
    let partial = store.partial(&Fingerprint::of_parts(["training"])).unwrap();
    let (pieces, attempts) = run_in_pieces(&spec, std::slice::from_ref(&source), 2, &partial);
    assert!(attempts > 1);
    assert!(content(&pieces) == content(&made(&spec, &source)));
}

#[test]
fn the_number_of_threads_changes_no_bit_of_any_option() {
    let (_, source) = pretrain(1);
    for options in options() {
        let spec = finetune(&with(&options));
        let with_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            content(&pool.install(|| made(&spec, &source)))
        };
        let (one, four) = (with_threads(1), with_threads(4));
        assert!(one == four, "{options}");
    }
}

fn tensors(artifact: &Artifact) -> &BTreeMap<String, Tensor> {
    match artifact {
        Artifact::Model(model) => &model.tensors,
        _ => panic!("not a model"),
    }
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn is_trainable(name: &str) -> bool {
    !name.contains("running") && !name.ends_with("num_batches_tracked")
}

/// A tensor without gradient would be an error of the optimizer, and one with a gradient of 0 would stay.
#[test]
fn one_step_moves_every_trainable_tensor_with_each_option() {
    let (_, source) = pretrain(1);
    let one = json!({ "epochs": 1, "select": "none", "patience": null });
    for options in options() {
        let mut train = with(&options);
        train.as_object_mut().unwrap().extend(one.as_object().unwrap().clone());
        // all images in one step
        train["batch_size"] = json!(44 / train["accumulate"].as_u64().unwrap_or(1));
        // no weight decay, which would move tensors without gradient, too
        train["optimizer"] = json!({ "sgd": { "lr": 0.1 } });
        let after = made(&finetune(&train), &source);
        for (name, tensor) in tensors(&after).iter().filter(|(name, _)| is_trainable(name)) {
            assert_ne!(numbers(tensor), numbers(&tensors(&source)[name]), "{name} with {options}");
        }
    }
}

/// Trains a transformer, which has no batch norm, for an epoch.
fn transformer(options: &Value) -> Artifact {
    let mut train = with(options);
    train["epochs"] = json!(1);
    train["clip_norm"] = json!(0.5);
    let backbone = json!({ "vit_tiny": { "image_size": 12, "patch_size": 6 } });
    let spec = spec("pretrain", json!({ "backbone": backbone }), &train);
    run(&spec, &[], &Forgetful, &|_| Ok(())).unwrap()
}

#[test]
fn accumulated_batches_are_one_larger_batch_and_the_last_group_may_be_smaller() {
    let sgd = json!({ "sgd": { "lr": 0.1, "momentum": 0.9 } });
    for augment in [json!([{ "crop": { "padding": 1 } }]), json!([])] {
        // 44 images: steps of 32 and 12 images
        let small = json!({ "batch_size": 8, "accumulate": 4, "optimizer": sgd, "augment": augment });
        let large = json!({ "batch_size": 32, "optimizer": sgd, "augment": augment });
        let (small, large) = (transformer(&small), transformer(&large));
        for (name, tensor) in tensors(&small) {
            reference::assert_close(name, tensor, &tensors(&large)[name], 1e-4);
        }
        let [small, large] = [content(&small).1, content(&large).1];
        assert!((small[0].train_loss - large[0].train_loss).abs() < 1e-5);
    }
}

/// How far each tensor moves in one step of plain gradient descent, which is large, so that rounding does not matter.
fn moves(options: &Value) -> BTreeMap<String, f64> {
    let (_, source) = pretrain(1);
    let one = json!({
        "epochs": 1, "batch_size": 44, "select": "none", "clip_norm": null,
        "optimizer": { "sgd": { "lr": 100.0, "momentum": 0.0 } },
    });
    let mut train = with(&one);
    train.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let after = made(&finetune(&train), &source);
    let moved = |(name, before): (&String, &Tensor)| {
        let after = numbers(&tensors(&after)[name]);
        let squares = numbers(before).into_iter().zip(after).map(|(before, after)| (before - after).powi(2));
        (name.clone(), squares.sum::<f64>().sqrt())
    };
    tensors(&source).iter().filter(|(name, _)| is_trainable(name)).map(moved).collect()
}

#[test]
fn the_backbone_steps_with_its_own_learning_rate_and_with_the_decay_of_its_depth() {
    let (plain, apart, decayed) =
        (moves(&json!({})), moves(&json!({ "lr_backbone": 20.0 })), moves(&json!({ "layer_decay": 0.5 })));
    for (name, plain) in &plain {
        // first layer, eight blocks, head
        let depth = match name.strip_prefix("layer") {
            Some(rest) => {
                let [stage, block] = [0, 2].map(|i| rest[i..=i].parse::<i32>().unwrap());
                2 * (stage - 1) + block + 1
            }
            None if name.starts_with("fc.") => 9,
            None => 0,
        };
        let expected = [if depth == 9 { 1.0 } else { 0.2 }, 0.5_f64.powi(9 - depth)];
        for (moved, expected) in [apart[name], decayed[name]].into_iter().zip(expected) {
            let factor = moved / plain;
            assert!((factor / expected - 1.0).abs() < 1e-3, "{name}: {factor}, not {expected}");
        }
    }
}

/// Each of 9 steps takes the backbone half of the way to its start, but not the head.
#[test]
fn a_decay_keeps_the_backbone_near_its_start() {
    let (_, source) = pretrain(1);
    let train = with(&json!({ "optimizer": { "adamw": { "lr": 1e-2 } }, "schedule": { "constant": {} } }));
    let distance = |decay: f64| {
        let body = json!({ "from": "source", "decay_to_start": decay });
        let after = made(&spec("finetune", body, &train), &source);
        let mut of = BTreeMap::from([(true, 0.0), (false, 0.0)]);
        for (name, before) in tensors(&source).iter().filter(|(name, _)| is_trainable(name)) {
            let pairs = numbers(before).into_iter().zip(numbers(&tensors(&after)[name]));
            *of.get_mut(&name.starts_with("fc.")).unwrap() +=
                pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        }
        of
    };
    let (free, near) = (distance(0.0), distance(50.0));
    assert!(near[&false] < 0.1 * free[&false], "backbone: {free:?}, with a decay {near:?}");
    assert!(near[&true] > 0.3 * free[&true], "head: {free:?}, with a decay {near:?}");
}

#[test]
fn layer_decay_groups_and_scales_are_timms() {
    let reference = reference::json("layer_decay.json");
    let train = TrainSpec { layer_decay: reference["decay"].as_f64().unwrap(), ..TrainSpec::default() };
    for (kind, expected) in reference["models"].as_object().unwrap() {
        let options = if kind.starts_with("resnet") { json!({}) } else { json!({ "image_size": 32 }) };
        let backbone: BackboneSpec = serde_json::from_value(json!({ kind.as_str(): options })).unwrap();
        let backbone = backbone.build();
        let names = |depth: Vec<Parameter>| {
            depth
                .into_iter()
                .filter(|parameter| parameter.is_trainable())
                .map(|parameter| parameter.name)
                .collect()
        };
        let depths: Vec<Vec<String>> = backbone.depths().into_iter().map(names).collect();
        let factors = layer_rates::factors(&train, &depths);
        let parameters = backbone.all_parameters(Some(7));
        let ours = parameters.iter().filter(|parameter| parameter.is_trainable());
        assert_eq!(ours.clone().count(), expected.as_object().unwrap().len(), "{kind}");
        for name in ours.map(|parameter| &parameter.name) {
            let factor = factors.get(name).copied().unwrap_or(1.0);
            let expected = expected[name].as_f64().unwrap();
            assert!((factor - expected).abs() < 1e-12, "{name} of {kind}: {factor}, not {expected}");
        }
    }
}

#[test]
fn dense_blocks_are_depths_with_their_transitions() {
    let backbone: BackboneSpec = serde_json::from_value(json!({ "densenet121": {} })).unwrap();
    let depths = backbone.build().depths();
    assert_eq!(depths.len(), 5);
    let depth_of = |name: &str| depths.iter().position(|depth| depth.iter().any(|p| p.name == name));
    for (name, depth) in [
        ("features.norm0.bias", 0),
        ("features.denseblock1.denselayer6.conv2.weight", 1),
        ("features.transition1.conv.weight", 1),
        ("features.denseblock2.denselayer1.norm1.weight", 2),
        ("features.norm5.weight", 4),
    ] {
        assert_eq!(depth_of(name), Some(depth), "{name}");
    }
}

#[test]
fn the_kept_model_is_the_moving_average() {
    let (_, source) = pretrain(1);
    let one = json!({ "epochs": 1, "batch_size": 44, "select": "none" });
    let plain = Arc::new(made(&finetune(&with(&one)), &source));
    for select in ["none", "log_loss"] {
        let averaged = with(&json!({ "epochs": 1, "batch_size": 44, "select": select, "ema": 0.75 }));
        let averaged = made(&finetune(&averaged), &source);
        for (name, average) in tensors(&averaged) {
            let [before, after] = [&source, &plain].map(|made| numbers(&tensors(made)[name]));
            let is_counter = name.ends_with("num_batches_tracked");
            for ((average, before), after) in numbers(average).iter().zip(before).zip(after) {
                let expected = if is_counter { after } else { 0.75 * before + 0.25 * after };
                assert!((average - expected).abs() < 1e-5, "{name}: {average}, not {expected}");
            }
        }
    }
}

#[test]
fn a_balanced_epoch_keeps_its_number_of_images() {
    let (_, source) = pretrain(1);
    let seen = std::sync::Mutex::new(Vec::new());
    let report = |progress| {
        if let Progress::Step { images, of, .. } = progress {
            seen.lock().unwrap().push((images, of));
        }
        Ok(())
    };
    let spec = finetune(&with(&json!({ "sampling": "balanced", "epochs": 1 })));
    run(&spec, &[source], &Forgetful, &report).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(16, 44), (32, 44), (44, 44)]);
}

#[test]
fn losses_of_probabilities_and_their_gradients_are_pytorchs() {
    let all = reference::tensors("training_options.safetensors");
    let (targets, weights) = (&all["soft.t"], &all["soft.w"]);
    let class_weights = numbers(weights);
    let ones = vec![1.0; class_weights.len()];
    let cases = [
        ("plain", Some((&ones, 0.0))),
        ("weighted", Some((&class_weights, 0.0))),
        ("smooth", Some((&ones, 0.1))),
        ("both", Some((&class_weights, 0.1))),
        ("bce", None),
    ];
    for (case, cross_entropy) in cases {
        let logits = Var::from_tensor(&all["soft.z"]).unwrap();
        let loss = match cross_entropy {
            Some((weights, smoothing)) => {
                let loss = CrossEntropy::new(weights, smoothing, &Device::Cpu).unwrap();
                loss.forward(&logits, &Targets::Probabilities(targets.clone())).unwrap()
            }
            None => binary_cross_entropy(&logits, targets, weights).unwrap(),
        };
        reference::assert_close(case, &loss, &all[&format!("soft.{case}.loss")], 1e-5);
        let gradients = loss.backward().unwrap();
        let gradient = gradients.get(&logits).unwrap();
        reference::assert_close(case, gradient, &all[&format!("soft.{case}.gz")], 1e-5);
    }
}

#[test]
fn any_metric_selects_the_best_epoch_in_its_direction() {
    let (_, source) = pretrain(1);
    for metric in METRICS {
        let train = with(&json!({ "select": metric.name, "epochs": 4 }));
        let (_, history) = content(&made(&finetune(&train), &source));
        let mut best = f64::NEG_INFINITY;
        for record in history {
            let score = record.val[metric.name];
            let score = if metric.higher_is_better { score } else { -score };
            assert_eq!(record.best, score > best, "{} in epoch {}", metric.name, record.epoch);
            best = best.max(score);
        }
    }
}

#[test]
fn an_unknown_metric_is_told_with_the_one_that_was_meant() {
    let text = EXPERIMENT.replace("[train]\n", "[train]\nselect = \"quadratic_kapa\"\n");
    let told = contains("unknown value `quadratic_kapa`").and(contains("did you mean `quadratic_kappa`?"));
    Workplace::new(&text).medmerge(&["check", "experiment.toml"]).assert().code(2).stderr(told);
}

#[test]
fn contradictions_are_told_before_anything_runs() {
    for (options, message) in [
        ("lr_backbone = 1e-4\nlayer_decay = 0.75", "both set the learning rates of the backbone"),
        ("lr_backbone = 1.0", "`lr_backbone` (1) is above `lr` (0.001)"),
        ("augment = [\"mixup\", \"horizontal_flip\"]", "move `horizontal_flip` before `mixup`"),
    ] {
        let text = EXPERIMENT.replace("augment = [{ crop = { padding = 1 } }, \"horizontal_flip\"]", options);
        Workplace::new(&text)
            .medmerge(&["check", "experiment.toml"])
            .assert()
            .code(2)
            .stderr(contains(message));
    }
}
