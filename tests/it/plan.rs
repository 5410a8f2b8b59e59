//! What enters a fingerprint, over all kinds of stages; plans of whole experiments.

use std::sync::Arc;

use indexmap::IndexMap;
use medmerge::dataset::{DatasetSpec, LabelBudget, Summary};
use medmerge::experiment::{Coordinates, DatasetInstance, Experiment, Source, StageInstance};
use medmerge::identity::{Field, Fingerprint, Numerics, Precision, Role};
use medmerge::plan::{Plan, PlanError, Status, Why, dataset_fingerprint, stage_fields};
use medmerge::stage::{DataInput, Input, StageSpec};
use medmerge::store::Store;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One section of each kind, as a TOML experiment would say it.
const SECTIONS: [&str; 6] = [
    "import = { path = 'resnet18.pth', backbone.resnet18 = {}, head.keep = ['well', 'sick'] }",
    "pretrain = { backbone.resnet18 = { stem = 'small' }, dataset = 'cells', train.clip_norm = 1.5 }",
    "finetune = { from = 'source', dataset = 'fundus', trainable = 'head', train.schedule.one_cycle = {} }",
    "learn_merge_weights = { sources = ['a', 'b'], anchor = 'a', dataset = 'fundus' }",
    "merge = { sources = ['a', 'b'], method.average = { weights = [0.25, 0.75] }, dataset = 'fundus' }",
    "evaluate = { models = { A = 'a', B = 'b' }, datasets = ['fundus'] }",
];

fn section(text: &str) -> StageSpec {
    toml::from_str(text).unwrap()
}

fn fingerprint(spec: &StageSpec) -> Fingerprint {
    Fingerprint::of(&stage_fields(spec, &[], &[], &[], Numerics::Cpu))
}

/// Of options alone.
fn of_options(options: &Value) -> Fingerprint {
    let mut fields = Field::of_options(options.clone());
    fields.sort();
    Fingerprint::of(&fields)
}

/// JSON pointers of everything below a value that is no object.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value.as_object() {
        Some(object) if !object.is_empty() => {
            for (key, value) in object {
                leaves(value, &format!("{pointer}/{key}"), found);
            }
        }
        _ => found.push(pointer.to_string()),
    }
}

fn with_keys_reversed(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            object.iter().rev().map(|(key, value)| (key.clone(), with_keys_reversed(value))).collect()
        }
        other => other.clone(),
    }
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e3..1e3).prop_map(Value::from),
        "[a-z_]{1,8}".prop_map(Value::from),
        proptest::collection::vec(0..9, 0..3).prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn any_change_of_any_option_changes_the_fingerprint(
        which in 0..SECTIONS.len(), leaf in any::<prop::sample::Index>(), value in any_leaf(),
    ) {
        let before = section(SECTIONS[which]).tagged_options();
        let mut pointers = Vec::new();
        leaves(&before, "", &mut pointers);
        let mut after = before.clone();
        *after.pointer_mut(leaf.get::<String>(&pointers)).unwrap() = value;
        prop_assert_eq!(before == after, of_options(&before) == of_options(&after));
    }

    #[test]
    fn a_value_cannot_pass_for_another_by_moving_a_border(text in "[a-z.=]{2,12}", at in 1..11usize, to in 1..11usize) {
        let split = |at: usize| {
            let (path, value) = text.split_at(at.min(text.len() - 1));
            Fingerprint::of(&[Field { path: path.into(), value: value.into() }])
        };
        let same_border = at.min(text.len() - 1) == to.min(text.len() - 1);
        prop_assert_eq!(same_border, split(at) == split(to));
    }
}

#[test]
fn the_order_of_keys_is_not_in_it() {
    for text in SECTIONS {
        let spec = section(text);
        let reversed = with_keys_reversed(&serde_json::to_value(&spec).unwrap());
        assert_eq!(fingerprint(&spec), fingerprint(&serde_json::from_value(reversed).unwrap()), "{text}");
        assert_eq!(
            of_options(&spec.tagged_options()),
            of_options(&with_keys_reversed(&spec.tagged_options()))
        );
    }
}

#[test]
fn names_and_paths_are_not_in_it() {
    let renamed = |text: &str| {
        let names =
            [("'a'", "'x'"), ("'b'", "'y'"), ("'source'", "'x'"), ("A =", "X ="), ("resnet18.pth", "x.pth")];
        let datasets = [("'fundus'", "'x'"), ("'cells'", "'x'")];
        names.iter().chain(&datasets).fold(text.to_string(), |text, (old, new)| text.replace(old, new))
    };
    for text in SECTIONS {
        let (spec, other) = (section(text), section(&renamed(text)));
        assert_ne!(spec, other, "{text} has a name");
        assert_eq!(fingerprint(&spec), fingerprint(&other), "{text}");
    }
}

/// The fingerprint of a merge with these inputs and data sets.
fn merge(
    inputs: &[(&str, &Fingerprint)],
    datasets: &[(&str, &Fingerprint)],
    numerics: Numerics,
) -> Fingerprint {
    let spec = section(SECTIONS[4]);
    let by_role = |pairs: &[(&str, &Fingerprint)]| -> Vec<(Role, Fingerprint)> {
        pairs.iter().map(|(role, fingerprint)| (Role::from(*role), **fingerprint)).collect()
    };
    let (inputs, datasets) = (&by_role(inputs)[..], &by_role(datasets)[..]);
    Fingerprint::of(&stage_fields(&spec, inputs, datasets, &[], numerics))
}

#[test]
fn swapping_two_sources_is_other_work_and_listing_them_in_another_order_is_not() {
    let [a, b] = ["aa", "bb"].map(|digits| digits.repeat(32).parse::<Fingerprint>().unwrap());
    let merge = |inputs: &[(&str, &Fingerprint)]| merge(inputs, &[], Numerics::Cpu);
    let base = merge(&[("source.0", &a), ("source.1", &b)]);
    assert_ne!(base, merge(&[("source.0", &b), ("source.1", &a)]));
    assert_eq!(base, merge(&[("source.1", &b), ("source.0", &a)]));
    assert_ne!(base, merge(&[("source.0", &a), ("source.1", &a)]));
    assert_eq!(merge(&[("model", &a), ("model", &b)]), merge(&[("model", &b), ("model", &a), ("model", &a)]));
}

#[test]
fn data_sets_files_numerics_and_inputs_do_not_pass_for_each_other() {
    let digest = "ab".repeat(32).parse::<Fingerprint>().unwrap();
    let spec = section(SECTIONS[0]);
    let file = [digest.to_string()];
    let import = stage_fields(&spec, &[], &[], &file, Numerics::Cpu);
    let all = [
        merge(&[], &[], Numerics::Cpu),
        merge(&[], &[], Numerics::Cuda(Precision::F32)),
        merge(&[], &[], Numerics::Cuda(Precision::Tf32)),
        merge(&[], &[], Numerics::Cuda(Precision::Bf16)),
        merge(&[("dataset", &digest)], &[], Numerics::Cpu),
        merge(&[], &[("dataset", &digest)], Numerics::Cpu),
        Fingerprint::of(&import),
        fingerprint(&spec),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn fields_read_like_the_experiment_file() {
    let spec = section(SECTIONS[2]);
    let source = "ab".repeat(32).parse::<Fingerprint>().unwrap();
    let fields = stage_fields(&spec, &[(Role::From, source)], &[], &[], Numerics::Cuda(Precision::F32));
    let value = |path: &str| fields.iter().find(|field| field.path == path).map(|field| field.value.as_str());
    assert_eq!(value("train.optimizer.adamw.lr"), Some("0.001"));
    assert_eq!(value("train.optimizer.adamw.betas"), Some("[0.9,0.999]"));
    assert_eq!(value("trainable"), Some("\"head\""));
    assert_eq!(value("train.clip_norm"), Some("null"));
    assert_eq!(value("input.from"), Some(source.to_string().as_str()));
    assert_eq!((value("kind"), value("numerics")), (Some("finetune"), Some("cuda-f32 2")));
    assert_eq!((value("from"), value("dataset")), (None, None), "references enter by fingerprint alone");
    assert!(fields.is_sorted());
}

#[test]
fn a_key_that_looks_like_a_path_does_not_pass_for_one() {
    let of = |value| of_options(&value);
    assert_ne!(of(json!({"a.b": 1})), of(json!({"a": {"b": 1}})));
    assert_ne!(of(json!({"a": {}})), of(json!({})));
}

/// The stand-in for content in the golden fingerprints.
fn summary() -> Summary {
    let classes = vec!["well".into(), "sick".into()];
    let counts = [vec![3, 4], vec![1, 1], vec![2, 2]];
    Summary {
        classes,
        counts,
        digest: "cd".repeat(32),
        warnings: Vec::new(),
        caveats: Vec::new(),
        multi_label: None,
        train_groups: None,
    }
}

fn golden_dataset() -> DatasetSpec {
    toml::from_str("phantom = { family = 'fundus', train = 20 }").unwrap()
}

#[test]
fn the_path_of_a_data_set_is_not_in_its_fingerprint_but_its_content_and_options_are() {
    let medmnist = |text: &str| toml::from_str::<DatasetSpec>(text).unwrap();
    let of =
        |spec: &DatasetSpec, summary: Summary| dataset_fingerprint(spec, LabelBudget::default(), &summary);
    let base = of(&medmnist("medmnist = { path = 'a/blood.npz' }"), summary());
    assert_eq!(base, of(&medmnist("medmnist = { path = 'b/blood.npz' }"), summary()));
    let resized = medmnist("medmnist = { path = 'a/blood.npz', size = 64 }");
    assert_ne!(base, of(&resized, summary()));
    let changed = Summary { digest: "ef".repeat(32), ..summary() };
    assert_ne!(base, of(&medmnist("medmnist = { path = 'a/blood.npz' }"), changed));
    assert_ne!(base, of(&golden_dataset(), summary()));
}

#[test]
fn a_label_budget_is_in_the_fingerprint_unless_it_is_the_whole_data_set() {
    let of = |label_fraction, label_seed| {
        dataset_fingerprint(
            &golden_dataset(),
            LabelBudget { label_fraction, label_seed, ..LabelBudget::default() },
            &summary(),
        )
    };
    let whole = dataset_fingerprint(&golden_dataset(), LabelBudget::default(), &summary());
    assert_eq!((of(1.0, 0), of(1.0, 3)), (whole, whole));
    let budgets = [whole, of(0.5, 0), of(0.5, 1), of(0.25, 0)];
    assert_eq!(budgets.iter().collect::<std::collections::BTreeSet<_>>().len(), budgets.len());
    assert_eq!(of(0.5, 0).short(), "67c19713b58a");
}

/// Golden numbers. If they change, everything that anyone has in a store is made again. So:
/// - the numbers that a stage makes changed: raise its `revision`, and put the new fingerprints here;
/// - an option with a default was added: the results are the same, yet all are made again. Leave the
///   option out while it has its default (`skip_serializing_if`), and nothing changes here.
#[test]
fn fingerprints_are_what_they_were() {
    let dataset = dataset_fingerprint(&golden_dataset(), LabelBudget::default(), &summary());
    let fingerprints = SECTIONS.map(|text| {
        let spec = section(text);
        let stage = &spec;
        let input = "ab".repeat(32).parse::<Fingerprint>().unwrap();
        let inputs: Vec<Input> = stage.inputs();
        let inputs: Vec<_> = inputs.iter().map(|Input { role, .. }| (role.clone(), input)).collect();
        let datasets: Vec<DataInput> = stage.datasets();
        let datasets: Vec<_> =
            datasets.iter().map(|DataInput { role, .. }| (role.clone(), dataset)).collect();
        let files: Vec<_> = stage.files().iter().map(|_| "ef".repeat(32)).collect();
        let fields = stage_fields(stage, &inputs, &datasets, &files, Numerics::Cpu);
        format!("{} {}", spec.kind(), Fingerprint::of(&fields).short())
    });
    let all = [vec![format!("phantom {}", dataset.short())], fingerprints.to_vec()].concat();
    let golden = [
        "phantom 9aed9e1119a3",
        "import 380c9a43396f",
        "pretrain ed6160f9ac4c",
        "finetune 3ca67f679abc",
        "learn_merge_weights 107fbaa561f0",
        "merge fcb5222ff8e3",
        "evaluate d7527bb6042b",
    ];
    assert_eq!(all, golden);
}

/// An experiment file, line by line what the stages below are built from.
const TEXT: &str = "[dataset.cells]\n[dataset.xray]\n[stage.source]\n[stage.tuned]\n[stage.scores]\n";

fn dataset(name: &str, text: &str) -> DatasetInstance {
    let span = TEXT.find(name).map(|start| start..start + name.len()).unwrap();
    let (at, labels) = (Coordinates::new(), LabelBudget::default());
    DatasetInstance { name: name.into(), at, spec: toml::from_str(text).unwrap(), labels, span }
}

fn stage(name: &str, text: &str, inputs: &[usize], datasets: &[usize]) -> StageInstance {
    let span = TEXT.find(name).map(|start| start..start + name.len()).unwrap();
    let (inputs, datasets) = (inputs.to_vec(), datasets.to_vec());
    StageInstance { name: name.into(), at: Coordinates::new(), spec: section(text), inputs, datasets, span }
}

fn experiment() -> Experiment {
    Experiment {
        name: "hospital".into(),
        description: String::new(),
        notes: String::new(),
        source: Arc::new(Source::new("hospital.toml", TEXT)),
        axes: IndexMap::new(),
        train: Vec::new(),
        datasets: vec![
            dataset("cells", "phantom = { family = 'cells' }"),
            dataset("xray", "phantom = { family = 'xray' }"),
        ],
        stages: vec![
            stage("source", "pretrain = { backbone.resnet18 = {}, dataset = 'cells' }", &[], &[0]),
            stage("tuned", "finetune = { from = 'source', dataset = 'xray' }", &[0], &[1]),
            stage("scores", "evaluate = { models = { T = 'tuned' }, datasets = ['xray'] }", &[1], &[1]),
        ],
        tables: IndexMap::new(),
        figures: IndexMap::new(),
        spans: IndexMap::new(),
    }
}

fn plan(experiment: Experiment) -> Result<Plan, PlanError> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    Plan::new(Arc::new(experiment), &store, Numerics::Cpu)
}

#[test]
fn a_new_experiment_needs_every_stage() {
    let plan = plan(experiment()).unwrap();
    assert!(plan.stages().all(|stage| stage.status == Status::Stale(vec![Why::NeverMade])));
    assert_eq!(plan.needed().len(), plan.stage_ids().len());
}

#[test]
fn a_data_set_that_is_missing_or_lacks_images_is_an_error_of_the_data() {
    let mut missing = experiment();
    missing.datasets[0].spec = toml::from_str("medmnist = { path = 'no/such/file.npz' }").unwrap();
    let Err(PlanError::Data(errors)) = plan(missing) else { panic!("no file") };
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("no/such/file.npz"), "{}", errors[0]);

    let mut empty = experiment();
    empty.datasets[1].spec = toml::from_str("phantom = { family = 'xray', val = 0, test = 0 }").unwrap();
    let Err(PlanError::Data(errors)) = plan(empty) else { panic!("no images") };
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let lack = |split, stage| {
        format!(
            "hospital.toml, data set `xray`: split `{split}` has no images, but stage `{stage}` needs some"
        )
    };
    assert_eq!(errors, [lack("val", "tuned"), lack("test", "scores")]);
}

#[test]
fn what_a_stage_says_of_itself_points_at_its_section() {
    let mut experiment = experiment();
    experiment.stages[2].inputs = vec![0];
    let error = plan(experiment).unwrap_err();
    assert!(matches!(error, PlanError::Experiment(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("hospital.toml:5") && text.contains("data set `xray` has 3 classes"), "{text}");
}
