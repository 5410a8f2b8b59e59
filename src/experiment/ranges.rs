//! Values that have the right type and make no sense.

pub(super) mod merge_method;

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::suggest;
use backbone::BackboneSpec;
use dataset::{DatasetSpec, LabelBudget};
use nn::Normalize;
use stage::StageSpec;
use stage::evaluate::EvaluateSpec;
use stage::import::ImportSpec;
use stage::learn_merge_weights::LearnMergeWeightsSpec;
use table::TableSpec;
use train::optimizer::{AdamSpec, AdamwSpec, OptimizerSpec, SgdSpec};
use train::schedule::ScheduleSpec;
use train::{LossSpec, Select, TrainSpec};

/// A value that makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// Where it stands in its section: `train.optimizer.adamw.lr`.
    pub(super) path: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// A spec whose values can be looked at one by one and together.
pub(super) trait Validate {
    /// Values that are wrong whatever the others are.
    fn values(&self, findings: &mut Findings);

    /// Values that do not go together; asked only if each is right.
    fn together(&self, _findings: &mut Findings) {}
}

/// Findings, and the part of the section that is being looked at.
#[derive(Debug, Default)]
pub(super) struct Findings {
    prefix: String,
    list: Vec<Finding>,
}

impl Findings {
    /// What was found.
    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Note a finding at a path.
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>, help: Option<String>) {
        let path = format!("{}{key}", self.prefix);
        self.list.push(Finding { path, message: message.into(), help });
    }

    /// Look at what lies under `key`.
    fn under(&mut self, key: &str, look: impl FnOnce(&mut Self)) {
        let outer = self.prefix.clone();
        self.prefix.push_str(key);
        self.prefix.push('.');
        look(self);
        self.prefix = outer;
    }

    fn check(&mut self, key: &str, value: impl Display, right: bool, must: &str) {
        if !right {
            let named = |step: &&str| step.parse::<usize>().is_err();
            let name = key.rsplit('.').find(named).unwrap_or(key);
            self.add(key, format!("`{name}` must be {must}, not {value}"), None);
        }
    }

    fn up_to(&mut self, key: &str, value: usize, most: usize) {
        self.check(key, value, (1..=most).contains(&value), &format!("1 to {most}"));
    }

    fn at_least(&mut self, key: &str, value: usize, least: usize) {
        self.check(key, value, value >= least, &format!("{least} or more"));
    }

    fn positive(&mut self, key: &str, value: f64) {
        self.check(key, value, value > 0.0 && value.is_finite(), "a finite number above 0");
    }

    fn not_negative(&mut self, key: &str, value: f64) {
        self.check(key, value, value >= 0.0 && value.is_finite(), "a finite number from 0");
    }

    fn share_or_all(&mut self, key: &str, value: f64) {
        self.check(key, value, (0.0..=1.0).contains(&value), "from 0 to 1");
    }

    fn share(&mut self, key: &str, value: f64) {
        self.check(key, value, (0.0..1.0).contains(&value), "from 0 to below 1");
    }

    fn inner_share(&mut self, key: &str, value: f64) {
        self.check(key, value, value > 0.0 && value < 1.0, "between 0 and 1");
    }
}

impl Validate for TrainSpec {
    fn values(&self, f: &mut Findings) {
        f.at_least("epochs", self.epochs, 1);
        f.at_least("batch_size", self.batch_size, 2);
        f.under("optimizer", |f| optimizer(&self.optimizer, f));
        f.under("schedule", |f| schedule(&self.schedule, f));
        if let LossSpec::CrossEntropy(loss) = &self.loss {
            f.share("loss.cross_entropy.label_smoothing", loss.label_smoothing);
        }
        self.clip_norm.iter().for_each(|&norm| f.positive("clip_norm", norm));
        self.patience.iter().for_each(|&patience| f.at_least("patience", patience, 1));
        f.not_negative("min_delta", self.min_delta);
    }

    fn together(&self, f: &mut Findings) {
        let (kind, warmup) = match &self.schedule {
            ScheduleSpec::Constant(spec) => ("constant", spec.warmup_epochs),
            ScheduleSpec::Cosine(spec) => ("cosine", spec.warmup_epochs),
            ScheduleSpec::MultiStep(spec) => ("multi_step", spec.warmup_epochs),
            ScheduleSpec::OneCycle(_) => ("one_cycle", 0),
        };
        if warmup > 0 && warmup >= self.epochs {
            let message = format!("`warmup_epochs` ({warmup}) must be below `epochs` ({})", self.epochs);
            f.add(&format!("schedule.{kind}.warmup_epochs"), message, None);
        }
        if self.patience.is_some() && self.select == Select::None {
            let help = "leave `patience` out, or name a score in `select`".to_owned();
            f.add("patience", "`patience` needs a validation score, but `select` is \"none\"", Some(help));
        }
    }
}

fn optimizer(spec: &OptimizerSpec, f: &mut Findings) {
    match spec {
        OptimizerSpec::Sgd(spec) => f.under("sgd", |f| sgd(spec, f)),
        OptimizerSpec::Adam(AdamSpec { lr, betas, eps, weight_decay }) => {
            f.under("adam", |f| adam(*lr, *betas, *eps, *weight_decay, f));
        }
        OptimizerSpec::Adamw(AdamwSpec { lr, betas, eps, weight_decay }) => {
            f.under("adamw", |f| adam(*lr, *betas, *eps, *weight_decay, f));
        }
    }
}

fn sgd(spec: &SgdSpec, f: &mut Findings) {
    f.positive("lr", spec.lr);
    f.share("momentum", spec.momentum);
    f.not_negative("weight_decay", spec.weight_decay);
    if spec.nesterov && spec.momentum == 0.0 {
        f.add("nesterov", "`nesterov` needs a `momentum` above 0", None);
    }
}

fn adam(lr: f64, betas: [f64; 2], eps: f64, weight_decay: f64, f: &mut Findings) {
    f.positive("lr", lr);
    f.share("betas.0", betas[0]);
    f.share("betas.1", betas[1]);
    f.positive("eps", eps);
    f.not_negative("weight_decay", weight_decay);
}

fn schedule(spec: &ScheduleSpec, f: &mut Findings) {
    match spec {
        ScheduleSpec::Constant(_) => {}
        ScheduleSpec::Cosine(spec) => {
            f.share_or_all("cosine.min_factor", spec.min_factor);
        }
        ScheduleSpec::MultiStep(spec) => {
            f.positive("multi_step.gamma", spec.gamma);
            if !spec.milestones.is_sorted_by(|a, b| a < b) {
                f.add("multi_step.milestones", "`milestones` must increase", None);
            }
        }
        ScheduleSpec::OneCycle(spec) => f.under("one_cycle", |f| {
            f.inner_share("rise", spec.rise);
            f.positive("start_divisor", spec.start_divisor);
            f.positive("end_divisor", spec.end_divisor);
        }),
    }
}

impl Validate for DatasetSpec {
    fn values(&self, f: &mut Findings) {
        let size = |f: &mut Findings, size: &Option<usize>| {
            size.iter().for_each(|&size| f.at_least("size", size, 8));
        };
        match self {
            Self::Phantom(spec) => {
                f.at_least("size", spec.size, 8);
                f.at_least("train", spec.train, 1);
                f.at_least("val", spec.val, 1);
                f.at_least("test", spec.test, 1);
            }
            Self::Medmnist(spec) => size(f, &spec.size),
            Self::Manifest(spec) => f.at_least("size", spec.size, 8),
            Self::Idx(spec) => {
                size(f, &spec.size);
                f.inner_share("val_fraction", spec.val_fraction);
            }
            Self::Cifar(spec) => {
                size(f, &spec.size);
                f.inner_share("val_fraction", spec.val_fraction);
            }
        }
    }
}

impl Validate for LabelBudget {
    fn values(&self, f: &mut Findings) {
        let fraction = self.label_fraction;
        f.check("label_fraction", fraction, fraction > 0.0 && fraction <= 1.0, "above 0 and up to 1");
    }
}

impl Validate for StageSpec {
    fn values(&self, f: &mut Findings) {
        if let Some(train) = self.stage().train() {
            f.under("train", |f| train.values(f));
        }
        match self {
            Self::Import(spec) => import(spec, f),
            Self::Pretrain(spec) => {
                backbone(&spec.backbone, f);
                normalize(&spec.normalize, f);
            }
            Self::Finetune(_) => {}
            Self::LearnMergeWeights(spec) => {
                sources("a merge", &spec.sources, &(2..=usize::MAX), f);
                spec.anchor.iter().for_each(|name| anchor(name, &spec.sources, f));
                f.not_negative("decay_to_start", spec.decay_to_start);
            }
            Self::Merge(spec) => {
                sources(&format!("`{}`", spec.method.name()), &spec.sources, &spec.method.takes(), f);
                merge_method::values(&spec.method, spec.sources.len(), f);
                merge_method::base(&spec.method, &spec.sources, f);
            }
            Self::Evaluate(spec) => {
                if spec.models.is_empty() && spec.ensembles.is_empty() {
                    f.add(
                        "models",
                        "`models` names no model",
                        Some("write `models = { \"label\" = \"stage\" }`".into()),
                    );
                }
                if spec.datasets.is_empty() {
                    f.add("datasets", "`datasets` names no data set", None);
                }
                no_repeats("datasets", "data set", &spec.datasets, f);
                f.under("ensembles", |f| ensembles(spec, f));
            }
        }
    }

    fn together(&self, f: &mut Findings) {
        if let Some(train) = self.stage().train() {
            f.under("train", |f| train.together(f));
        }
        if let Self::LearnMergeWeights(spec) = self {
            decay_to_start(spec, f);
        }
    }
}

impl Validate for TableSpec {
    fn values(&self, f: &mut Findings) {
        f.inner_share("confidence", self.confidence);
        f.check("resamples", self.resamples, (100..=1_000_000).contains(&self.resamples), "100 to 1000000");
        self.compare.iter().for_each(|compare| f.inner_share("compare.alpha", compare.alpha));
    }
}

fn backbone(spec: &BackboneSpec, f: &mut Findings) {
    f.under(&format!("backbone.{}", spec.kind()), |f| match spec {
        BackboneSpec::Resnet18(resnet)
        | BackboneSpec::Resnet34(resnet)
        | BackboneSpec::Resnet50(resnet)
        | BackboneSpec::Resnet101(resnet) => f.up_to("width", resnet.width, 4096),
        BackboneSpec::Densenet121(densenet) => f.up_to("growth", densenet.growth, 1024),
        BackboneSpec::VitTiny(vit)
        | BackboneSpec::VitSmall(vit)
        | BackboneSpec::VitBase(vit)
        | BackboneSpec::DeitSmall(vit)
        | BackboneSpec::DeitBase(vit) => {
            f.up_to("patch_size", vit.patch_size, 1024);
            f.up_to("image_size", vit.image_size, 4096);
            let fits = vit.image_size.is_multiple_of(vit.patch_size.max(1));
            f.check("image_size", vit.image_size, fits, "a multiple of `patch_size`");
        }
    });
}

fn normalize(spec: &Normalize, f: &mut Findings) {
    for (i, (mean, std)) in spec.mean.into_iter().zip(spec.std).enumerate() {
        f.under("normalize", |f| {
            f.check(&format!("mean.{i}"), mean, mean.is_finite(), "a finite number");
            f.positive(&format!("std.{i}"), f64::from(std));
        });
    }
}

fn import(spec: &ImportSpec, f: &mut Findings) {
    backbone(&spec.backbone, f);
    normalize(&spec.normalize, f);
    let is_digest =
        |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    for digest in spec.sha256.iter().filter(|digest| !is_digest(digest)) {
        f.check("sha256", format_args!("\"{digest}\""), false, "1 to 64 hexadecimal digits");
    }
}

fn ensembles(spec: &EvaluateSpec, f: &mut Findings) {
    for (label, ensemble) in &spec.ensembles {
        f.under(label, |f| {
            if ensemble.models.len() < 2 {
                let message = format!("an ensemble needs 2 models or more, not {}", ensemble.models.len());
                f.add("models", message, None);
            }
            no_repeats("models", "model", &ensemble.models, f);
        });
        if spec.models.contains_key(label) {
            f.add(label, format!("a model and an ensemble have the row label \"{label}\""), None);
        }
    }
}

fn sources(what: &str, sources: &[String], takes: &RangeInclusive<usize>, f: &mut Findings) {
    if !takes.contains(&sources.len()) {
        let needs = merge_method::needs(takes);
        f.add("sources", format!("{what} needs {needs}, not {}", sources.len()), None);
    }
    no_repeats("sources", "source", sources, f);
}

/// From 1 / lr on, a step of decay would overshoot the start.
fn decay_to_start(spec: &LearnMergeWeightsSpec, f: &mut Findings) {
    let most = 1.0 / spec.train.optimizer.lr();
    let right = spec.decay_to_start < most;
    f.check("decay_to_start", spec.decay_to_start, right, &format!("below 1 / lr, here {most}"));
}

fn no_repeats(key: &str, what: &str, names: &[String], f: &mut Findings) {
    let mut before = HashSet::new();
    for (i, name) in names.iter().enumerate().filter(|(_, name)| !before.insert(*name)) {
        f.add(&format!("{key}.{i}"), format!("{what} `{name}` stands here twice"), None);
    }
}

fn anchor(anchor: &str, sources: &[String], f: &mut Findings) {
    if !sources.iter().any(|source| source == anchor) {
        let names: Vec<&str> = sources.iter().map(String::as_str).collect();
        f.add(
            "anchor",
            format!("the anchor `{anchor}` is not among the sources"),
            suggest::help(anchor, &names),
        );
    }
}

#[cfg(test)]
mod tests;
