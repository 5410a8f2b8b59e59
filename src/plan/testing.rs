//! A small experiment and a store for the tests of this crate: `source` (pretrain on `cells`), `tuned` (finetune it on
//! `fundus`), `scores` (evaluate that on `fundus`).

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use candle_core::{Device, Tensor};
use indexmap::IndexMap;
use tempfile::TempDir;

use super::assemble::assemble;
use super::data::{Data, read};
use identity::{Fingerprint, Numerics};

use super::{Plan, PlannedStage};
use dataset::phantom::{Family, PhantomSpec};
use dataset::{DatasetSpec, LabelBudget, SplitName, Summary};
use experiment::{Coordinates, DatasetInstance, Experiment, Source, StageInstance};
use nn::Normalize;
use nn::StateDict;
use stage::evaluate::EvaluateSpec;
use stage::finetune::{FinetuneSpec, HeadInit, Trainable};
use stage::import::{ImportHead, ImportSpec};
use stage::pretrain::PretrainSpec;
use stage::{Artifact, Checkpoint, Description, Evaluation, Known, ModelInfo, StageSpec};
use store::{Digests, EntryHeader, Store};
use train::TrainSpec;

/// An experiment with a store.
pub(super) struct Lab {
    pub(super) experiment: Experiment,
    pub(super) store: Store,
    _folder: TempDir,
}

impl Lab {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { experiment: experiment(), store, _folder: folder }
    }

    pub(super) fn plan(&self) -> Plan {
        let data = data_with(&self.experiment, summary([[2, 2]; 3]));
        assemble(Arc::new(self.experiment.clone()), &data, &self.store, Numerics::Cpu, describe_all).unwrap()
    }

    /// Put an entry into the store for each of these stages.
    pub(super) fn make(&self, ids: &[&str]) {
        let plan = self.plan();
        let made = plan.graph.stages().filter(|stage| ids.contains(&stage.id.as_str()));
        let made: Vec<_> = made.map(|stage| (stage.id.clone(), self.put(stage))).collect();
        self.store.remember(&plan.experiment.name, &made).unwrap();
    }

    fn put(&self, stage: &PlannedStage) -> Fingerprint {
        let artifact = match &stage.description {
            Description::Model(info) => Artifact::Model(Checkpoint {
                info: info.clone(),
                tensors: StateDict::from([("fc.bias".into(), Tensor::new(&[1f32], &Device::Cpu).unwrap())]),
                history: Vec::new(),
            }),
            _ => Artifact::Evaluation(Evaluation::default()),
        };
        let header = EntryHeader {
            fingerprint: stage.fingerprint,
            kind: stage.spec.kind().into(),
            revision: 1,
            fields: stage.fields.clone(),
            inputs: Vec::new(),
            datasets: Vec::new(),
            dataset_names: Vec::new(),
            ancestry: IndexMap::new(),
            stage_ids: vec![stage.id.clone()],
            description: stage.description.clone(),
            started: SystemTime::UNIX_EPOCH,
            seconds: 0.0,
            peak_memory: None,
        };
        self.store.put(header, &artifact, "").unwrap();
        stage.fingerprint
    }
}

pub(super) fn experiment() -> Experiment {
    Experiment {
        name: "lab".into(),
        description: String::new(),
        notes: String::new(),
        source: Arc::new(Source::new("lab.toml", " ".repeat(100))),
        axes: IndexMap::new(),
        train: Vec::new(),
        datasets: vec![phantom("cells", Family::Cells), phantom("fundus", Family::Fundus)],
        stages: vec![pretrain("source", 0), finetune("tuned", 0, 1), evaluate("scores", &[1], 1)],
        tables: IndexMap::new(),
        figures: IndexMap::new(),
        spans: IndexMap::new(),
    }
}

pub(super) fn phantom(name: &str, family: Family) -> DatasetInstance {
    let spec = PhantomSpec { family, size: 28, train: 8, val: 8, test: 8, seed: 0 };
    DatasetInstance {
        name: name.into(),
        at: Coordinates::new(),
        spec: DatasetSpec::Phantom(spec),
        labels: LabelBudget::default(),
        span: 0..1,
    }
}

pub(super) fn pretrain(name: &str, dataset: usize) -> StageInstance {
    let spec = PretrainSpec {
        backbone: backbone(),
        dataset: "cells".into(),
        normalize: Normalize::default(),
        train: TrainSpec::default(),
    };
    stage(name, StageSpec::Pretrain(spec), vec![], vec![dataset])
}

pub(super) fn finetune(name: &str, from: usize, dataset: usize) -> StageInstance {
    let spec = FinetuneSpec {
        from: "source".into(),
        dataset: "fundus".into(),
        trainable: Trainable::All,
        head: HeadInit::Auto,
        decay_to_start: 0.0,
        train: TrainSpec::default(),
    };
    stage(name, StageSpec::Finetune(spec), vec![from], vec![dataset])
}

pub(super) fn evaluate(name: &str, models: &[usize], dataset: usize) -> StageInstance {
    let names = ["source", "tuned"];
    let spec = EvaluateSpec {
        models: models.iter().map(|&model| (names[model].to_string(), names[model].to_string())).collect(),
        ensembles: IndexMap::new(),
        datasets: vec!["fundus".into()],
        split: SplitName::Test,
    };
    stage(name, StageSpec::Evaluate(spec), models.to_vec(), vec![dataset])
}

pub(super) fn import(name: &str, path: impl AsRef<Path>) -> StageInstance {
    let spec = ImportSpec {
        path: path.as_ref().into(),
        backbone: backbone(),
        key: None,
        prefix: None,
        head: ImportHead::Drop,
        sha256: None,
        normalize: Normalize::default(),
        size: None,
        pixels: None,
        allow_non_finite: false,
    };
    stage(name, StageSpec::Import(spec), vec![], vec![])
}

fn stage(name: &str, spec: StageSpec, inputs: Vec<usize>, datasets: Vec<usize>) -> StageInstance {
    StageInstance { name: name.into(), at: Coordinates::new(), spec, inputs, datasets, span: 10..16 }
}

/// A summary of two classes with these image counts in each split.
pub(super) fn summary(counts: [[usize; 2]; 3]) -> Summary {
    Summary {
        classes: vec!["well".into(), "sick".into()],
        counts: counts.map(Vec::from),
        digest: "00".repeat(32),
        warnings: Vec::new(),
        caveats: Vec::new(),
        multi_label: None,
        train_groups: None,
    }
}

pub(super) fn data_with(experiment: &Experiment, summary: Summary) -> Data {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    read(experiment, &Digests::new(&store), |_| Ok((28, summary.clone()))).unwrap()
}

/// Describes every stage as a model, except `evaluate`.
pub(super) fn describe_all(spec: &StageSpec, _: &Known<'_>) -> Result<Description, Vec<String>> {
    if let StageSpec::Evaluate(_) = spec {
        return Ok(Description::Scores);
    }
    Ok(Description::Model(ModelInfo {
        backbone: backbone(),
        normalize: Normalize::default(),
        head: None,
        preprocessing: Default::default(),
    }))
}

fn backbone() -> backbone::BackboneSpec {
    serde_json::from_value(serde_json::json!({ "resnet18": {} })).unwrap()
}
