//! Adam (Kingma and Ba 2015, arXiv 1412.6980) and AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
//!
//! ```text
//! Adam:  g = gradient + weight_decay · p          AdamW:  p = (1 − lr · weight_decay) · p
//! m = m + (1 − β₁) · (g − m)
//! v = β₂ · v + (1 − β₂) · g²
//! p = p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)
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

/// Adam (Kingma and Ba 2015, arXiv 1412.6980), with weight decay as an L2 term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSpec {
    /// Learning rate.
    pub lr: f64,
    /// β₁ and β₂: decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// ε, added to the denominator √v̂.
    pub eps: f64,
    /// λ of the L2 term λ · p, added to the gradient.
    pub weight_decay: f64,
}

impl Default for AdamSpec {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Identity for AdamSpec {}

impl Kind for AdamSpec {
    fn validate(&self, problems: &mut Problems) {
        validate(self.lr, self.betas, self.eps, self.weight_decay, problems);
    }
}

impl OptimizerKind for AdamSpec {
    fn lr(&self) -> f64 {
        self.lr
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(Adam::from(self))
    }
}

/// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101): Adam with decoupled weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamwSpec {
    /// Learning rate.
    pub lr: f64,
    /// β₁ and β₂: decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// ε, added to the denominator √v̂.
    pub eps: f64,
    /// λ of the decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamwSpec {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }
    }
}

impl Identity for AdamwSpec {}

impl Kind for AdamwSpec {
    fn validate(&self, problems: &mut Problems) {
        validate(self.lr, self.betas, self.eps, self.weight_decay, problems);
    }
}

impl OptimizerKind for AdamwSpec {
    fn lr(&self) -> f64 {
        self.lr
    }

    fn rule(&self) -> Box<dyn Rule> {
        Box::new(Adam::from(self))
    }
}

fn validate(lr: f64, betas: [f64; 2], eps: f64, weight_decay: f64, problems: &mut Problems) {
    problems.positive("lr", lr);
    problems.fraction_below_1("betas.0", betas[0]);
    problems.fraction_below_1("betas.1", betas[1]);
    problems.positive("eps", eps);
    problems.not_negative("weight_decay", weight_decay);
}

/// Both rules; at least one of the two decays is 0.
pub(super) struct Adam {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    l2_decay: f64,
    decoupled_decay: f64,
}

impl From<&AdamSpec> for Adam {
    fn from(spec: &AdamSpec) -> Self {
        let &AdamSpec { lr, betas, eps, weight_decay } = spec;
        Self { lr, betas, eps, l2_decay: weight_decay, decoupled_decay: 0.0 }
    }
}

impl From<&AdamwSpec> for Adam {
    fn from(spec: &AdamwSpec) -> Self {
        let &AdamwSpec { lr, betas, eps, weight_decay } = spec;
        Self { lr, betas, eps, l2_decay: 0.0, decoupled_decay: weight_decay }
    }
}

impl Rule for Adam {
    fn varying(&self, step: &Step) -> Varying {
        let Update { keep, size, correction, .. } = Update::new(self, step);
        Varying { keep, size, correction }
    }

    fn update_all(&self, updates: &[(Step, super::Update<'_>)], varying: Option<&Tensor>) -> Result<()> {
        let changes = updates.iter().map(|(step, update)| update.change(self.varying(step)));
        let changes: Vec<_> = changes.collect();
        let Some((first, _)) = updates.first() else { return Ok(()) };
        let Update { grad_scale, l2_decay, take, beta2, correction, eps, .. } = Update::new(self, first);
        cuda::update::adam(
            &changes,
            &cuda::update::Adam { grad_scale, l2_decay, take, beta2, correction, eps },
            varying,
        )
    }

    fn moments(&self) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn update(&self, step: &Step, param: &Var, grad: &Tensor, moments: &mut [Tensor]) -> Result<()> {
        let [exp_avg, exp_avg_sq] = moments else {
            candle_core::bail!("Adam has two moments, not {}", moments.len());
        };
        let update = Update::new(self, step);
        if !in_place::applies_to(param) {
            return update.by_tensors(param, grad, exp_avg, exp_avg_sq);
        }
        in_place::change(exp_avg, |exp_avg| {
            in_place::change(exp_avg_sq, |exp_avg_sq| {
                in_place::change_by(param, grad, |param, grad| {
                    update.by_chunks(param, grad, exp_avg, exp_avg_sq);
                })
            })
        })
    }
}

/// The coefficients of one step.
struct Update {
    grad_scale: f64,
    l2_decay: f64,
    /// 1 − lr · weight_decay.
    keep: f64,
    /// 1 − β₁.
    take: f64,
    beta2: f64,
    /// √(1 − β₂ᵗ).
    correction: f64,
    eps: f64,
    /// lr / (1 − β₁ᵗ).
    size: f64,
}

impl Update {
    fn new(adam: &Adam, step: &Step) -> Self {
        let lr = adam.lr * step.lr_factor;
        let [beta1, beta2] = adam.betas;
        let t = step.number as f64;
        Self {
            grad_scale: step.grad_scale,
            l2_decay: adam.l2_decay,
            keep: 1.0 - lr * adam.decoupled_decay,
            take: 1.0 - beta1,
            beta2,
            correction: (1.0 - beta2.powf(t)).sqrt(),
            eps: adam.eps,
            size: lr / (1.0 - beta1.powf(t)),
        }
    }

    fn by_tensors(&self, param: &Var, grad: &Tensor, m: &mut Tensor, v: &mut Tensor) -> Result<()> {
        let p = param.as_detached_tensor();
        let g = ((grad * self.grad_scale)? + (&p * self.l2_decay)?)?;
        *m = (&*m + ((&g - &*m)? * self.take)?)?;
        *v = ((&*v * self.beta2)? + (g.sqr()? * (1.0 - self.beta2))?)?;
        let denominator = ((v.sqrt()? / self.correction)? + self.eps)?;
        param.set(&((p * self.keep)? - ((&*m * self.size)? / denominator)?)?)
    }

    fn by_chunks(&self, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let arch = pulp::Arch::new();
        let chunks = (
            param.par_chunks_mut(CHUNK),
            grad.par_chunks(CHUNK),
            m.par_chunks_mut(CHUNK),
            v.par_chunks_mut(CHUNK),
        );
        chunks.into_par_iter().for_each(|(p, g, m, v)| arch.dispatch(|| self.chunk(p, g, m, v)));
    }

    #[inline(always)]
    fn chunk(&self, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let [grad_scale, l2_decay, keep, take] =
            [self.grad_scale, self.l2_decay, self.keep, self.take].map(|x| x as f32);
        let [beta2, beta2_rest, correction, eps, size] =
            [self.beta2, 1.0 - self.beta2, self.correction, self.eps, self.size].map(|x| x as f32);
        for (((p, g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
            let g = g * grad_scale + l2_decay * *p;
            *m += take * (g - *m);
            *v = beta2 * *v + beta2_rest * g * g;
            *p = keep * *p - size * *m / (v.sqrt() / correction + eps);
        }
    }
}
