use proptest::prelude::*;

use super::*;
use crate::{Description, Head, StageSpec};
use dataset::Summary;
use identity::{Fingerprint, Numerics, Precision};
use nn::Normalize;

const BACKBONE: &str = "resnet18 = { stem = 'small', width = 4 }";
const SIZE: usize = 28;
const TRAIN: u64 = 40;
const VAL: u64 = 10;
const TEST: u64 = 20;

fn summary(counts: [usize; 3]) -> Summary {
    Summary {
        classes: vec!["well".into(), "sick".into()],
        counts: counts.map(|count| vec![count / 2, count - count / 2]),
        digest: String::new(),
        warnings: Vec::new(),
        caveats: Vec::new(),
        multi_label: None,
        train_groups: None,
    }
}

fn known_dataset(summary: &Summary) -> KnownDataset<'_> {
    KnownDataset {
        name: "cells",
        fingerprint: Fingerprint::of_parts(["d"]),
        size: SIZE,
        cache_size: None,
        pixels: None,
        summary,
    }
}

fn backbone() -> BackboneSpec {
    toml::from_str(BACKBONE).unwrap()
}

fn network() -> Network {
    Networks::new(Numerics::Cpu).for_dataset(&backbone(), &known_dataset(&summary([0; 3])))
}

/// The work of a stage with models of `backbone` as inputs, on a data set with these image counts.
fn work_of(text: &str, backbone: BackboneSpec, counts: [usize; 3]) -> Work {
    let spec: StageSpec = toml::from_str(text).unwrap();
    let stage = spec;
    let summary = summary(counts);
    let head = Some(Head {
        dataset: Some(Fingerprint::of_parts(["d"])),
        classes: summary.classes.clone(),
        labeling: Default::default(),
    });
    let model = Description::Model(ModelInfo {
        backbone,
        normalize: Normalize::default(),
        head,
        preprocessing: Default::default(),
    });
    let inputs = stage.inputs();
    let known = Known {
        inputs: vec![&model; inputs.len()],
        input_fingerprints: inputs
            .iter()
            .map(|input| Fingerprint::of_parts([input.stage.as_str()]))
            .collect(),
        began_at: vec![None; inputs.len()],
        datasets: stage.datasets().iter().map(|_| known_dataset(&summary)).collect(),
    };
    stage.work(&known, &mut Networks::new(Numerics::Cpu))
}

fn work(text: &str) -> Work {
    work_of(text, backbone(), [TRAIN, VAL, TEST].map(|count| count as usize))
}

fn finetune(options: &str) -> Work {
    work(&format!("finetune = {{ from = 'a', dataset = 'cells', {options} }}"))
}

#[test]
fn training_runs_forward_and_backward_and_validation_forward() {
    let forward = network().forward();
    assert_eq!(finetune("train.epochs = 3").operations, forward * 3 * (3 * TRAIN + VAL));
    let pretrain =
        work(&format!("pretrain = {{ backbone.{BACKBONE}, dataset = 'cells', train.epochs = 3 }}"));
    assert_eq!(pretrain.operations, finetune("train.epochs = 3").operations);
    let unselected = finetune("train = { epochs = 3, select = 'none' }");
    assert_eq!(unselected.operations, forward * 3 * 3 * TRAIN, "no validation");
}

#[test]
fn a_frozen_backbone_computes_each_cached_variant_once() {
    let (features, head) = (network().features(), network().head.multiply_adds);
    let probe = |options: &str| {
        finetune(&format!("trainable = 'head', train = {{ epochs = 2, {options} }}")).operations
            - head * 2 * (3 * TRAIN + VAL)
    };
    assert_eq!(probe("augment = []"), features * (TRAIN + VAL));
    assert_eq!(
        probe("augment = [{ horizontal_flip = {} }]"),
        features * (TRAIN * 3 / 2 + VAL),
        "half of the variants repeat"
    );
    assert_eq!(
        probe("augment = [{ crop = { padding = 2 } }]"),
        features * (2 * TRAIN + VAL),
        "no variant repeats"
    );
}

#[test]
fn learning_merge_weights_costs_as_much_as_training_and_stores_little() {
    let learned = work("learn_merge_weights = { sources = ['a', 'b'], dataset = 'cells' }");
    assert_eq!(learned.operations, finetune("train = {}").operations);
    assert!(learned.disk_bytes < network().bytes() / 10, "{learned:?}");
    let with_base = work("learn_merge_weights = { sources = ['a', 'b'], base = 'c', dataset = 'cells' }");
    assert_eq!(with_base.memory_bytes - learned.memory_bytes, 2 * network().bytes(), "as read, and stacked");
}

#[test]
fn distillation_adds_a_pass_of_each_teacher_to_fine_tuning() {
    let distill = |teachers: &str| {
        work(&format!(
            "distill = {{ from = 'a', teachers = {teachers}, dataset = 'cells', train.epochs = 3 }}"
        ))
    };
    let (plain, two) = (finetune("train.epochs = 3"), distill("['b', 'c']"));
    assert_eq!(two.operations - plain.operations, 2 * 3 * TRAIN * network().forward());
    assert_eq!(two.memory_bytes - plain.memory_bytes, 2 * network().bytes() + network().evaluation(TRAIN));
    assert_eq!(two.disk_bytes, plain.disk_bytes);
    assert_eq!(distill("['b']").operations - plain.operations, 3 * TRAIN * network().forward());
    for of in [TRAIN / 2, 4 * TRAIN] {
        let train = format!("train = {{ epochs = 3, epoch_images = {of} }}");
        let taught = format!("distill = {{ from = 'a', teachers = ['b'], dataset = 'cells', {train} }}");
        let more = work(&taught).operations - finetune(&train).operations;
        assert_eq!(more, 3 * of * network().forward(), "of each image of an epoch");
    }
}

#[test]
fn fewer_large_images_are_evaluated_at_once_on_a_cpu_than_on_a_gpu() {
    let of = |numerics| Network::new(&backbone(), 2, 224, numerics);
    let (cpu, gpu) = (of(Numerics::Cpu), of(Numerics::Cuda(Precision::F32)));
    assert_eq!([cpu, gpu].map(|network| network.evaluation(1000)), [10, 128].map(|n| cpu.inference(n)));
    assert_eq!(cpu.evaluation(3), cpu.inference(3), "at most the available images");
    let merge = "merge = { sources = ['a', 'b'], method.average = {}, dataset = 'cells' }";
    let memory = |images| work_of(merge, backbone(), [images, 0, 0]).memory_bytes;
    let decoded = 3 * (SIZE * SIZE) as u64;
    assert_eq!(memory(129) - memory(128), decoded, "batch norm's statistics are of 128 images");
}

#[test]
fn a_merge_reads_its_sources_and_runs_inference_for_batch_norm_alone() {
    let plain = work("merge = { sources = ['a', 'b'], method.average = {}, batch_norm = 'merged' }");
    let headless = Network::new(&backbone(), 0, SIZE, Numerics::Cpu);
    assert_eq!((plain.operations, plain.bytes_read), (0, 2 * headless.bytes()));
    let ties = work("merge = { sources = ['a', 'b'], method.ties.base = 'c', batch_norm = 'merged' }");
    assert_eq!(ties.bytes_read, 3 * headless.bytes(), "the base is read, too");
    assert_eq!(ties.memory_bytes - plain.memory_bytes, headless.bytes());
    let merge = "merge = { sources = ['a', 'b'], method.average = {}, dataset = 'cells' }";
    assert_eq!(work(merge).operations, network().features() * TRAIN);
    let vit: BackboneSpec = toml::from_str("vit_tiny.image_size = 28\nvit_tiny.patch_size = 7").unwrap();
    assert_eq!(work_of(merge, vit, [40, 10, 20]).operations, 0, "no batch norm");
}

#[test]
fn a_merge_that_measures_counts_its_measurements() {
    let operations = |method: &str, keys: &str| {
        work(&format!("merge = {{ sources = ['a', 'b', 'c'], method.{method}, dataset = 'cells', {keys} }}"))
            .operations
    };
    let (forward, reestimate) = (network().forward(), network().features() * TRAIN);
    let merged = "batch_norm = 'merged'";
    assert_eq!(operations("greedy_soup = {}", merged), 5 * forward * VAL);
    assert_eq!(operations("greedy_soup = {}", ""), 5 * (forward * VAL + reestimate) + reestimate);
    assert_eq!(operations("fisher.images = 7", merged), 3 * 3 * 7 * 2 * forward);
    assert_eq!(
        operations("fisher = {}", ""),
        3 * 3 * TRAIN * 2 * forward + reestimate,
        "at most the available images"
    );
    assert!(operations("regmean = {}", merged) > 3 * TRAIN * forward);
    assert!(operations("zipit = {}", merged) > 3 * TRAIN * network().features());
    assert!(
        operations("pleas = {}", merged) > 2 * 3 * TRAIN * forward,
        "the layers of each source are run again"
    );
    assert!(operations("pleas.matching = 'activations'", merged) > 3 * 3 * TRAIN * network().features());
    let memory = |keys: &str| work(&format!("merge = {{ sources = ['a', 'b'], {keys} }}")).memory_bytes;
    let plain = memory("method.average = {}, batch_norm = 'merged'");
    for method in ["greedy_soup", "fisher", "regmean", "zipit", "pleas"] {
        assert!(memory(&format!("method.{method} = {{}}, dataset = 'cells', {merged}")) > plain, "{method}");
    }
}

#[test]
fn an_evaluation_runs_each_model_once_on_the_split() {
    let evaluate = work("evaluate = { models = { A = 'a', B = 'b', C = 'a' }, datasets = ['cells'] }");
    assert_eq!(evaluate.operations, network().forward() * 2 * TEST, "`a` is evaluated once");
    assert_eq!(evaluate.disk_bytes, 2 * TEST * 2 * 20);
}

#[test]
fn an_ensemble_costs_inference_of_members_that_are_not_rows() {
    let evaluate = work(
        "evaluate = { models = { A = 'a' }, datasets = ['cells'], \
         ensembles = { x = { models = ['a', 'b'] }, y = { models = ['c', 'b'], of = 'logits' } } }",
    );
    assert_eq!(evaluate.operations, network().forward() * 3 * TEST);
    assert_eq!(evaluate.disk_bytes, 3 * TEST * 2 * 20, "a model and two ensembles");
}

#[test]
fn an_import_reads_and_keeps_the_model() {
    let import = work(&format!("import = {{ path = 'a.pth', backbone.{BACKBONE} }}"));
    let bytes = Network::new(&backbone(), 0, SIZE, Numerics::Cpu).bytes();
    assert_eq!((import.operations, import.bytes_read, import.disk_bytes), (0, bytes, bytes));
}

#[test]
fn memory_counts_the_optimizer_state_and_the_best_epoch() {
    let memory = |options: &str| finetune(options).memory_bytes;
    let [plain, momentum, adam] = ["sgd.momentum = 0.0", "sgd.momentum = 0.9", "adam.lr = 0.001"]
        .map(|optimizer| memory(&format!("train.optimizer.{optimizer}")));
    let learned = model::work::F32 * network().learned;
    assert_eq!([momentum - plain, adam - plain], [learned, 2 * learned]);
    let unselected = memory("train = { optimizer.sgd.momentum = 0.0, select = 'none' }");
    assert_eq!(plain - unselected, network().bytes(), "the best epoch");
    let averaged = memory("train = { optimizer.sgd.momentum = 0.0, ema = 0.9 }");
    assert_eq!(averaged - plain, 2 * network().bytes(), "moving averages, and what they replace");
    let accumulated = memory("train = { optimizer.sgd.momentum = 0.0, accumulate = 2 }");
    assert_eq!(accumulated - plain, learned, "the sum of the gradients");
    let [few, half, all, more] =
        [10, 20, 40, 64].map(|images| memory(&format!("train.batch_size = {images}")));
    assert_eq!(half - few, network().stepping(10), "ten more images");
    assert_eq!((all, all - half), (more, network().stepping(20)), "at most the available images");
}

proptest! {
    #[test]
    fn any_number_of_images_and_epochs_can_be_counted(
        counts in any::<[usize; 3]>(), epochs in 1..=i64::MAX, batch in 2..=i64::MAX, flip in any::<bool>(),
    ) {
        let augment = if flip { "[{ vertical_flip = {} }]" } else { "[]" };
        let train = format!("train = {{ epochs = {epochs}, batch_size = {batch}, augment = {augment} }}");
        for text in [
            format!("finetune = {{ from = 'a', dataset = 'cells', {train} }}"),
            format!("finetune = {{ from = 'a', dataset = 'cells', trainable = 'head', {train} }}"),
            format!("learn_merge_weights = {{ sources = ['a', 'b'], dataset = 'cells', {train} }}"),
            format!("distill = {{ from = 'a', teachers = ['b'], dataset = 'cells', {train} }}"),
            "merge = { sources = ['a', 'b'], method.average = {}, dataset = 'cells' }".into(),
            "merge = { sources = ['a', 'b'], method.greedy_soup = {}, dataset = 'cells' }".into(),
            "merge = { sources = ['a', 'b'], method.fisher = {}, dataset = 'cells' }".into(),
            "merge = { sources = ['a', 'b'], method.regmean = {}, dataset = 'cells' }".into(),
            "merge = { sources = ['a', 'b'], method.zipit = {}, dataset = 'cells' }".into(),
            "merge = { sources = ['a', 'b'], method.pleas.matching = 'activations', dataset = 'cells' }".into(),
            "evaluate = { models = { A = 'a' }, datasets = ['cells'] }".into(),
        ] {
            let work = work_of(&text, backbone(), counts);
            prop_assert!(work.memory_bytes > 0, "{text}");
        }
    }
}
