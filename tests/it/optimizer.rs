//! Optimizers and schedules against PyTorch's: tests/reference/optimizers.json.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use medmerge::train::optimizer::{AdamSpec, AdamwSpec, SgdSpec};
use medmerge::train::schedule::{CosineSpec, MultiStepSpec, OneCycleSpec};
use medmerge::train::{Optimizer, OptimizerError, OptimizerSpec, ScheduleSpec};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    runs: Vec<Run>,
    schedules: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Run {
    optimizer: String,
    clip_norm: Option<f64>,
    w0: Vec<f64>,
    target: Vec<f64>,
    defaults: Defaults,
    trajectory: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Defaults {
    lr: f64,
    weight_decay: f64,
    momentum: Option<f64>,
    nesterov: Option<bool>,
    betas: Option<[f64; 2]>,
    eps: Option<f64>,
    #[serde(default)]
    decoupled_weight_decay: bool,
}

impl Defaults {
    fn spec(&self) -> OptimizerSpec {
        let &Self { lr, weight_decay, momentum, nesterov, betas, eps, decoupled_weight_decay } = self;
        match (momentum.zip(nesterov), betas.zip(eps)) {
            (Some((momentum, nesterov)), _) => {
                OptimizerSpec::Sgd(SgdSpec { lr, momentum, weight_decay, nesterov })
            }
            (_, Some((betas, eps))) if decoupled_weight_decay => {
                OptimizerSpec::Adamw(AdamwSpec { lr, betas, eps, weight_decay })
            }
            (_, Some((betas, eps))) => OptimizerSpec::Adam(AdamSpec { lr, betas, eps, weight_decay }),
            _ => panic!("neither SGD nor Adam"),
        }
    }
}

fn reference() -> Reference {
    let text = include_str!("../reference/optimizers.json");
    serde_json::from_str(text).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() < TOLERANCE, "{what}: {ours}, not {theirs}");
    }
}

/// candle's gradients of a loss, by name.
fn gradients(loss: &Tensor, params: &[(String, Var)]) -> BTreeMap<String, Tensor> {
    let mut gradients = loss.backward().unwrap();
    params.iter().filter_map(|(name, var)| Some((name.clone(), gradients.remove(var)?))).collect()
}

fn follow(run: &Run, dtype: DType) {
    let tensor = |numbers: &[f64]| Tensor::new(numbers, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let factors: Vec<f64> = (1..=run.w0.len()).map(|i| i as f64).collect();
    let (target, factors) = (tensor(&run.target), tensor(&factors));
    let w = Var::from_tensor(&tensor(&run.w0)).unwrap();
    let params = vec![("w".into(), w.clone())];
    let mut optimizer = Optimizer::new(&run.defaults.spec(), params.clone()).unwrap();
    for (step, want) in run.trajectory.iter().enumerate() {
        let loss = (w.sub(&target).unwrap().sqr().unwrap() * &factors).unwrap().sum_all().unwrap();
        optimizer.step(&gradients(&loss, &params), 1.0, run.clip_norm).unwrap();
        let what = format!("{} in {dtype:?}, clip {:?}, step {step}", run.optimizer, run.clip_norm);
        assert_close(&numbers(&w), want, &what);
    }
}

#[test]
fn every_optimizer_goes_pytorchs_way() {
    let runs = reference().runs;
    assert_eq!(runs.len(), 10);
    for run in &runs {
        follow(run, DType::F32);
    }
}

/// What is not f32 on CPU is updated by tensor operations, as on any other device.
#[test]
fn tensor_operations_go_the_same_way() {
    for run in &reference().runs {
        follow(run, DType::F64);
    }
}

#[test]
fn every_schedule_is_pytorchs() {
    let cosine = |warmup_epochs, min_factor| ScheduleSpec::Cosine(CosineSpec { warmup_epochs, min_factor });
    let steps = MultiStepSpec { milestones: vec![5, 10], gamma: 0.1, warmup_epochs: 0 };
    let schedules = [
        ("cosine_T20", cosine(0, 0.0), 20),
        ("cosine_T20_min01", cosine(0, 0.1), 20),
        ("multistep_5_10", ScheduleSpec::MultiStep(steps), 20),
        ("onecycle", ScheduleSpec::OneCycle(OneCycleSpec::default()), 21),
        ("warmup5_cosine", cosine(5, 0.0), 20),
    ];
    let reference = reference().schedules;
    assert_eq!(reference.len(), schedules.len());
    for (name, schedule, epochs) in schedules {
        let factors: Vec<f64> = (0..20).map(|epoch| schedule.factor(epoch, epochs)).collect();
        assert_close(&factors, &reference[name], name);
    }
}

/// One of each rule, with every option in use.
fn specs() -> Vec<OptimizerSpec> {
    let sgd =
        |momentum, nesterov| OptimizerSpec::Sgd(SgdSpec { lr: 0.01, momentum, weight_decay: 1e-2, nesterov });
    let adam = AdamSpec { weight_decay: 1e-2, ..AdamSpec::default() };
    vec![
        sgd(0.0, false),
        sgd(0.9, false),
        sgd(0.9, true),
        OptimizerSpec::Adam(adam),
        OptimizerSpec::default(),
    ]
}

/// Two parameters, one of several chunks, and their loss.
struct Model {
    params: Vec<(String, Var)>,
}

impl Model {
    fn new() -> Self {
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>();
        let var = |n| Var::from_vec(wave(n), n, &Device::Cpu).unwrap();
        Self { params: vec![("long".into(), var(50_001)), ("a".into(), var(7))] }
    }

    fn steps(&self, optimizer: &mut Optimizer, from: usize, to: usize) {
        for step in from..to {
            let losses = self.params.iter().map(|(_, var)| {
                let target = var.detach().affine(1.3, step as f64 * 0.01).unwrap().cos().unwrap();
                var.sub(&target).unwrap().sqr().unwrap().sum_all().unwrap()
            });
            let loss = losses.reduce(|a, b| (a + b).unwrap()).unwrap();
            optimizer.step(&gradients(&loss, &self.params), 1.0 / (step + 1) as f64, Some(100.0)).unwrap();
        }
    }

    fn bits(&self) -> Vec<u64> {
        self.params.iter().flat_map(|(_, var)| numbers(var)).map(f64::to_bits).collect()
    }

    fn copies(&self) -> Vec<Tensor> {
        self.params.iter().map(|(_, var)| var.force_contiguous().unwrap().detach()).collect()
    }

    fn optimizer(&self, spec: &OptimizerSpec) -> Optimizer {
        Optimizer::new(spec, self.params.clone()).unwrap()
    }
}

#[test]
fn a_restored_state_goes_on_bit_by_bit() {
    for spec in specs() {
        let (whole, resumed) = (Model::new(), Model::new());
        whole.steps(&mut whole.optimizer(&spec), 0, 6);
        let mut first = resumed.optimizer(&spec);
        resumed.steps(&mut first, 0, 3);
        let (state, weights) = (first.state().unwrap(), resumed.copies());
        resumed.steps(&mut first, 3, 5);
        resumed.params.iter().zip(weights).for_each(|((_, var), old)| var.set(&old).unwrap());
        let mut second = resumed.optimizer(&spec);
        second.load_state(&state).unwrap();
        resumed.steps(&mut second, 3, 6);
        assert_eq!(whole.bits(), resumed.bits(), "{spec:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for spec in specs() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let model = Model::new();
                model.steps(&mut model.optimizer(&spec), 0, 3);
                model.bits()
            })
        };
        assert_eq!(run(1), run(2), "{spec:?}");
        assert_eq!(run(1), run(5), "{spec:?}");
    }
}

#[test]
fn the_state_has_pytorchs_names() {
    let model = Model::new();
    let names = |spec| model.optimizer(&spec).state().unwrap().into_keys().collect::<Vec<_>>();
    let adam = ["a.exp_avg", "a.exp_avg_sq", "long.exp_avg", "long.exp_avg_sq", "step"];
    assert_eq!(names(OptimizerSpec::default()), adam);
    let sgd = ["a.momentum_buffer", "long.momentum_buffer", "step"];
    assert_eq!(names(OptimizerSpec::Sgd(SgdSpec::default())), sgd);
    let plain = SgdSpec { momentum: 0.0, ..SgdSpec::default() };
    assert_eq!(names(OptimizerSpec::Sgd(plain)), ["step"]);
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    let model = Model::new();
    let mut optimizer = model.optimizer(&OptimizerSpec::default());
    model.steps(&mut optimizer, 0, 2);
    let state = optimizer.state().unwrap();
    let mut refuse = |change: &dyn Fn(&mut BTreeMap<String, Tensor>), message: &str| {
        let mut other = state.clone();
        change(&mut other);
        let error = optimizer.load_state(&other).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        for (key, tensor) in optimizer.state().unwrap() {
            assert_eq!(numbers(&tensor), numbers(&state[&key]), "{key}");
        }
    };
    let number = Tensor::new(1f32, &Device::Cpu).unwrap();
    refuse(&|state| drop(state.remove("a.exp_avg")), "`a.exp_avg` is missing");
    refuse(&|state| drop(state.remove("step")), "`step` is missing");
    refuse(&|state| drop(state.insert("b.exp_avg".into(), number.clone())), "`b.exp_avg`");
    refuse(
        &|state| drop(state.insert("a.exp_avg".into(), number.clone())),
        "`a.exp_avg` is F32 [], not F32 [7]",
    );
}

#[test]
fn a_parameter_without_gradient_is_an_error_and_none_moves() {
    let model = Model::new();
    let mut optimizer = model.optimizer(&OptimizerSpec::default());
    let before = model.bits();
    let loss = model.params[1].1.sqr().unwrap().sum_all().unwrap();
    let error = optimizer.step(&gradients(&loss, &model.params), 1.0, None).unwrap_err();
    assert!(matches!(&error, OptimizerError::MissingGradient(name) if name == "long"), "{error}");
    assert_eq!(before, model.bits());
}

#[test]
fn gradients_are_clipped_to_the_norm_before_the_step() {
    let w = Var::new(&[3f32, 4.0], &Device::Cpu).unwrap();
    let spec = OptimizerSpec::Sgd(SgdSpec { lr: 1.0, momentum: 0.0, ..SgdSpec::default() });
    let params = vec![("w".into(), w.clone())];
    let mut optimizer = Optimizer::new(&spec, params.clone()).unwrap();
    let loss = (w.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
    optimizer.step(&gradients(&loss, &params), 0.5, Some(1.0)).unwrap();
    assert_close(&numbers(&w), &[2.7, 3.6], "half of a unit step towards 0");
}
