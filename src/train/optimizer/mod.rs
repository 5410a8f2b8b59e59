//! Optimizers, with PyTorch's update rules and serializable state.
//!
//! | file | what |
//! |---|---|
//! | [`sgd`], [`adam`] | the kinds: their options, the update of one parameter |
//! | `clip` | global gradient norm and clipping |
//! | `in_place` | multithreaded, vectorized updates for f32 on CPU |

pub mod adam;
mod clip;
pub(crate) mod in_place;
pub mod sgd;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};

use kind::{Kind, kinds};
use nn::cuda::{self, update::Change, update::Varying};

pub use adam::{AdamSpec, AdamwSpec};
pub use sgd::SgdSpec;

kinds! {
    /// The optimizer. The kind is the key.
    pub enum OptimizerSpec: OptimizerKind {
        // The default first: messages suggest it.
        Adamw(AdamwSpec),
        Adam(AdamSpec),
        Sgd(SgdSpec),
    }
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::Adamw(AdamwSpec::default())
    }
}

/// What every kind of optimizer declares.
pub trait OptimizerKind: Kind {
    /// Base learning rate, which schedules scale.
    fn lr(&self) -> f64;

    /// The update rule.
    fn rule(&self) -> Box<dyn Rule>;
}

/// Name of the number of steps in a saved state.
const STEP: &str = "step";

/// An update rule with its parameters and moments.
///
/// Results do not depend on the number of threads.
pub struct Optimizer {
    rule: Box<dyn Rule>,
    params: Vec<Param>,
    steps: i64,
}

/// A parameter and its moments, in the order of [`Rule::moments`].
struct Param {
    name: String,
    var: Var,
    moments: Vec<Tensor>,
    /// Factor on the learning rate.
    lr_scale: f64,
}

/// The update of one parameter.
pub trait Rule: Send + Sync {
    /// PyTorch's names of the moments; each has the parameter's shape and starts at 0.
    fn moments(&self) -> &'static [&'static str];

    /// Updates a parameter and its moments. All tensors are contiguous and of one shape.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn update(
        &self,
        step: &Step,
        param: &Var,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> candle_core::Result<()>;

    /// What changes from step to step, apart from the factor on the gradients.
    fn varying(&self, step: &Step) -> Varying;

    /// Updates all parameters and moments in place, on a GPU. What is [`Varying`] comes from a tensor if there is one,
    /// otherwise from the steps.
    ///
    /// # Errors
    /// A tensor operation failed.
    fn update_all(&self, updates: &[(Step, Update<'_>)], varying: Option<&Tensor>)
    -> candle_core::Result<()>;
}

/// A parameter with what changes it.
pub struct Update<'a> {
    /// The parameter.
    pub param: &'a Var,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// Its moments.
    pub moments: &'a [Tensor],
}

impl Update<'_> {
    fn change(&self, varying: Varying) -> Change<'_> {
        Change { parameter: self.param, gradient: self.grad, moments: self.moments, varying }
    }
}

/// What a rule needs to know of one step.
pub struct Step {
    /// Number of the step, from 1.
    pub number: i64,
    /// Factor on the learning rate.
    pub lr_factor: f64,
    /// Factor on the gradients.
    pub grad_scale: f64,
}

/// Why an optimizer could not step or restore its state.
#[derive(Debug, thiserror::Error)]
pub enum OptimizerError {
    /// A parameter has no gradient.
    #[error(
        "tensor `{0}` is to be trained but got no gradient: \
         the loss does not depend on it, or an operation in between has no gradient"
    )]
    MissingGradient(String),
    /// The saved state is of other parameters or of another rule.
    #[error("the saved state does not match the optimizer: {0}; restart the stage")]
    State(String),
    /// A tensor operation failed.
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl Optimizer {
    /// An optimizer of these parameters, with moments initialized to 0.
    ///
    /// # Errors
    /// If there is not enough memory for the moments.
    ///
    /// # Panics
    /// If two parameters have the same name.
    pub fn new(spec: &OptimizerSpec, mut params: Vec<(String, Var)>) -> Result<Self, OptimizerError> {
        params.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert!(params.windows(2).all(|pair| pair[0].0 != pair[1].0), "two parameters have the same name");
        let rule = spec.rule();
        let with_moments = |(name, var): (String, Var)| {
            let moments = rule.moments().iter().map(|_| var.zeros_like()).collect::<Result<_, _>>()?;
            Ok(Param { name, var, moments, lr_scale: 1.0 })
        };
        let params = params.into_iter().map(with_moments).collect::<Result<_, OptimizerError>>()?;
        Ok(Self { rule, params, steps: 0 })
    }

    /// The same with a factor on the learning rate of each parameter, by its name.
    #[must_use]
    pub fn with_lr_scales(mut self, scale: impl Fn(&str) -> f64) -> Self {
        self.params.iter_mut().for_each(|param| param.lr_scale = scale(&param.name));
        self
    }

    /// Updates every parameter with its gradient, given by name in `grads`.
    ///
    /// The learning rate is the spec's times `lr_factor`. Gradients are clipped to the global norm `clip_norm`, like
    /// PyTorch's `clip_grad_norm_`; if it is `None`, no norm is computed.
    ///
    /// # Errors
    /// If a parameter has no gradient; no parameter is updated then.
    pub fn step(
        &mut self,
        grads: &BTreeMap<String, Tensor>,
        lr_factor: f64,
        clip_norm: Option<f64>,
    ) -> Result<(), OptimizerError> {
        let grads = self.gradients(grads)?;
        let grad_scale = match clip_norm {
            Some(max_norm) => clip::scale(clip::global_norm(&grads)?, max_norm),
            None => 1.0,
        };
        self.steps += 1;
        if self.params.first().is_some_and(|param| cuda::serves(&param.var)) {
            return self.update_all(&grads, (lr_factor, grad_scale), None);
        }
        let steps: Vec<Step> =
            self.params.iter().map(|param| self.of(param, lr_factor, grad_scale)).collect();
        for ((param, grad), step) in self.params.iter_mut().zip(&grads).zip(&steps) {
            self.rule.update(step, &param.var, grad, &mut param.moments)?;
        }
        Ok(())
    }

    /// Launches the update of every parameter on a GPU. What changes from step to step is read from a tensor, which
    /// [`advance`](Self::advance) writes: for steps that are captured once and replayed. Gradients are not clipped.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn launch(&self, grads: &BTreeMap<String, Tensor>, varying: &Tensor) -> Result<(), OptimizerError> {
        self.update_all(&self.gradients(grads)?, (1.0, 1.0), Some(varying))
    }

    /// Memory for what changes from step to step, f64 `[n, 3]`.
    ///
    /// # Errors
    /// If the device is out of memory.
    pub fn varying(&self) -> Result<Var, OptimizerError> {
        Ok(Var::from_tensor(&self.varying_at(1.0)?)?)
    }

    /// Counts a step, and writes what [`launch`](Self::launch) reads in it.
    ///
    /// # Errors
    /// If a tensor operation failed.
    pub fn advance(&mut self, lr_factor: f64, varying: &Var) -> Result<(), OptimizerError> {
        self.steps += 1;
        Ok(varying.set(&self.varying_at(lr_factor)?)?)
    }

    /// All tensors that a step changes.
    pub fn tensors(&self) -> Vec<Tensor> {
        let of = |param: &Param| [vec![param.var.as_tensor().clone()], param.moments.clone()].concat();
        self.params.iter().flat_map(of).collect()
    }

    fn gradients(&self, grads: &BTreeMap<String, Tensor>) -> Result<Vec<Tensor>, OptimizerError> {
        self.params.iter().map(|param| param.gradient(grads)).collect()
    }

    /// The current step of a parameter.
    fn of(&self, param: &Param, lr_factor: f64, grad_scale: f64) -> Step {
        Step { number: self.steps, lr_factor: lr_factor * param.lr_scale, grad_scale }
    }

    fn varying_at(&self, lr_factor: f64) -> candle_core::Result<Tensor> {
        let of = |param: &Param| self.rule.varying(&self.of(param, lr_factor, 1.0));
        let device = self.params.first().map_or(Device::Cpu, |param| param.var.device().clone());
        Varying::tensor(&self.params.iter().map(of).collect::<Vec<_>>(), &device)
    }

    fn update_all(
        &self,
        grads: &[Tensor],
        (lr_factor, grad_scale): (f64, f64),
        varying: Option<&Tensor>,
    ) -> Result<(), OptimizerError> {
        let update =
            |(param, grad): (_, _)| (self.of(param, lr_factor, grad_scale), Param::update(param, grad));
        let updates: Vec<(Step, Update<'_>)> = self.params.iter().zip(grads).map(update).collect();
        Ok(self.rule.update_all(&updates, varying)?)
    }

    /// A copy of the state from which [`load_state`](Self::load_state) resumes bit for bit: `<parameter>.<moment>` with
    /// PyTorch's names of the moments, and the number of steps as `step` (i64).
    ///
    /// # Errors
    /// If there is not enough memory for the copy.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>, OptimizerError> {
        let mut state = BTreeMap::from([(STEP.to_string(), Tensor::new(self.steps, &Device::Cpu)?)]);
        for param in &self.params {
            for (key, moment) in param.keys(&*self.rule).zip(&param.moments) {
                state.insert(key, moment.force_contiguous()?);
            }
        }
        Ok(state)
    }

    /// Restores a state from [`state`](Self::state).
    ///
    /// # Errors
    /// If a tensor is missing, unused or of another shape or dtype; the optimizer is unchanged then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), OptimizerError> {
        let load = |param: &Param| {
            let tensors = param.keys(&*self.rule).map(|key| copy_for(param, state, &key));
            tensors.collect::<Result<Vec<_>, _>>()
        };
        let moments = self.params.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let steps = find(state, STEP)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
        let &[steps] = steps.as_slice() else {
            return Err(OptimizerError::State(format!("`{STEP}` is not a scalar")));
        };
        self.reject_unused(state)?;
        self.steps = steps;
        self.params.iter_mut().zip(moments).for_each(|(param, moments)| param.moments = moments);
        Ok(())
    }

    fn reject_unused(&self, state: &BTreeMap<String, Tensor>) -> Result<(), OptimizerError> {
        let known: std::collections::BTreeSet<String> =
            self.params.iter().flat_map(|param| param.keys(&*self.rule)).collect();
        match state.keys().find(|key| *key != STEP && !known.contains(*key)) {
            Some(key) => Err(OptimizerError::State(format!("its tensor `{key}` is unused"))),
            None => Ok(()),
        }
    }
}

impl Param {
    fn gradient(&self, grads: &BTreeMap<String, Tensor>) -> Result<Tensor, OptimizerError> {
        let missing = || OptimizerError::MissingGradient(self.name.clone());
        let gradient = grads.get(&self.name).ok_or_else(missing)?.detach();
        Ok(if cuda::serves(&gradient) { cuda::update::gradient(gradient)? } else { gradient.contiguous()? })
    }

    fn update<'a>(&'a self, grad: &'a Tensor) -> Update<'a> {
        Update { param: &self.var, grad, moments: &self.moments }
    }

    /// Names of its moments in a saved state.
    fn keys(&self, rule: &dyn Rule) -> impl Iterator<Item = String> {
        rule.moments().iter().map(|moment| format!("{}.{moment}", self.name))
    }
}

impl OptimizerSpec {
    /// Number of moments of the rule: elements kept per element of a parameter.
    pub fn moments(&self) -> usize {
        self.rule().moments().len()
    }
}

fn find<'a>(state: &'a BTreeMap<String, Tensor>, key: &str) -> Result<&'a Tensor, OptimizerError> {
    state.get(key).ok_or_else(|| OptimizerError::State(format!("its tensor `{key}` is missing")))
}

/// A copy of a saved moment on the parameter's device.
fn copy_for(param: &Param, state: &BTreeMap<String, Tensor>, key: &str) -> Result<Tensor, OptimizerError> {
    let saved = find(state, key)?;
    if saved.shape() != param.var.shape() || saved.dtype() != param.var.dtype() {
        let (shape, dtype) = (saved.shape(), saved.dtype());
        let (want_shape, want_dtype) = (param.var.shape(), param.var.dtype());
        let message = format!("`{key}` is {dtype:?} {shape:?}, not {want_dtype:?} {want_shape:?}");
        return Err(OptimizerError::State(message));
    }
    Ok(saved.to_device(param.var.device())?.force_contiguous()?)
}
