//! Stochastic gradient descent, with PyTorch's definition of momentum.
//!
//! ```text
//! g   = gradient + weight_decay · p
//! buf = momentum · buf + g
//! p   = p − lr · (g + momentum · buf   if nesterov, else buf)
//! ```

use candle_core::{Result, Tensor, Var};
use identity::Identity;
use kind::{Kind, Problems};
use nn::cuda::{self, update::Varying};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::in_place::{self, CHUNK};
use super::{OptimizerKind, Rule, Step};

/// Stochastic gradient descent with momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SgdSpec {
    /// Learning rate.
    pub lr: f64,
    /// Momentum μ: factor of the velocity buffer, v ← μ v + g.
    pub momentum: f64,
    /// λ of the L2 term λ · p, added to the gradient.
    pub weight_decay: f64,
    /// Use Nesterov momentum; requires `momentum` above 0.
    pub nesterov: bool,
}

impl Default for SgdSpec {
    fn default() -> Self {
        Self { lr: 0.01, momentum: 0.9, weight_decay: 0.0, nesterov: false }
    }
}

impl Identity for SgdSpec {}

impl Kind for SgdSpec {
    fn validate(&self, problems: &mut Problems) {
        problems.positive("lr", self.lr);
        problems.fraction_below_1("momentum", self.momentum);
        problems.not_negative("weight_decay", self.weight_decay);
        if self.nesterov && self.momentum == 0.0 {
            problems.add("nesterov", "`nesterov` requires `momentum` above 0", None);
        }
    }
}

impl OptimizerKind for SgdSpec {
    fn lr(&self) -> f64 {
        self.lr
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(self.clone())
    }
}

impl Rule for SgdSpec {
    fn varying(&self, step: &Step) -> Varying {
        Varying { keep: 1.0, size: self.lr * step.lr_factor, correction: 1.0 }
    }

    fn update_all(&self, updates: &[(Step, super::Update<'_>)], varying: Option<&Tensor>) -> Result<()> {
        let Some((Step { grad_scale, .. }, _)) = updates.first() else { return Ok(()) };
        let changes = updates.iter().map(|(step, update)| update.change(self.varying(step)));
        let changes: Vec<_> = changes.collect();
        let Self { weight_decay, momentum, nesterov, .. } = *self;
        let nesterov = nesterov.into();
        cuda::update::sgd(
            &changes,
            &cuda::update::Sgd { grad_scale: *grad_scale, weight_decay, momentum, nesterov },
            varying,
        )
    }

    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn update(&self, step: &Step, param: &Var, grad: &Tensor, moments: &mut [Tensor]) -> Result<()> {
        let update = Update::new(self, step);
        match moments {
            [buf] if in_place::applies_to(param) => in_place::change(buf, |buf| {
                in_place::change_by(param, grad, |param, grad| update.with_momentum(param, buf, grad))
            }),
            [] if in_place::applies_to(param) => {
                in_place::change_by(param, grad, |param, grad| update.plain(param, grad))
            }
            _ => self.update_by_tensors(step, param, grad, moments),
        }
    }
}

impl SgdSpec {
    fn update_by_tensors(
        &self,
        step: &Step,
        param: &Var,
        grad: &Tensor,
        moments: &mut [Tensor],
    ) -> Result<()> {
        let p = param.as_detached_tensor();
        let mut direction = ((grad * step.grad_scale)? + (&p * self.weight_decay)?)?;
        if let [buf] = moments {
            *buf = ((&*buf * self.momentum)? + &direction)?;
            let moved = (&*buf * self.momentum)?;
            direction = if self.nesterov { (direction + moved)? } else { buf.clone() };
        }
        param.set(&(p - (direction * (self.lr * step.lr_factor))?)?)
    }
}

/// The coefficients of one step.
struct Update {
    lr: f32,
    momentum: f32,
    nesterov: bool,
    weight_decay: f32,
    grad_scale: f32,
}

impl Update {
    fn new(spec: &SgdSpec, step: &Step) -> Self {
        Self {
            lr: (spec.lr * step.lr_factor) as f32,
            momentum: spec.momentum as f32,
            nesterov: spec.nesterov,
            weight_decay: spec.weight_decay as f32,
            grad_scale: step.grad_scale as f32,
        }
    }

    fn plain(&self, param: &mut [f32], grad: &[f32]) {
        let arch = pulp::Arch::new();
        let chunks = (param.par_chunks_mut(CHUNK), grad.par_chunks(CHUNK));
        chunks.into_par_iter().for_each(|(param, grad)| arch.dispatch(|| self.plain_chunk(param, grad)));
    }

    #[inline(always)]
    fn plain_chunk(&self, param: &mut [f32], grad: &[f32]) {
        for (p, grad) in param.iter_mut().zip(grad) {
            *p -= self.lr * (grad * self.grad_scale + self.weight_decay * *p);
        }
    }

    fn with_momentum(&self, param: &mut [f32], buf: &mut [f32], grad: &[f32]) {
        let arch = pulp::Arch::new();
        let chunks = (param.par_chunks_mut(CHUNK), buf.par_chunks_mut(CHUNK), grad.par_chunks(CHUNK));
        chunks.into_par_iter().for_each(|(param, buf, grad)| {
            arch.dispatch(|| self.momentum_chunk(param, buf, grad));
        });
    }

    #[inline(always)]
    fn momentum_chunk(&self, param: &mut [f32], buf: &mut [f32], grad: &[f32]) {
        for ((p, buf), grad) in param.iter_mut().zip(buf).zip(grad) {
            let g = grad * self.grad_scale + self.weight_decay * *p;
            *buf = self.momentum * *buf + g;
            *p -= self.lr * if self.nesterov { g + self.momentum * *buf } else { *buf };
        }
    }
}
