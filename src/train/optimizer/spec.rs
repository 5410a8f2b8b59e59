//! Which update rule, and its options.

use serde::{Deserialize, Serialize};

/// The update rule. The kind is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerSpec {
    /// Stochastic gradient descent.
    Sgd(SgdSpec),
    /// Adam (Kingma and Ba 2015, arXiv 1412.6980); weight decay as an L2 term.
    Adam(AdamSpec),
    /// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101); decoupled weight decay.
    Adamw(AdamwSpec),
}

impl Default for OptimizerSpec {
    fn default() -> Self {
        Self::Adamw(AdamwSpec::default())
    }
}

impl OptimizerSpec {
    /// The learning rate that schedules scale.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(spec) => spec.lr,
            Self::Adam(spec) => spec.lr,
            Self::Adamw(spec) => spec.lr,
        }
    }
}

/// Options of SGD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdSpec {
    /// Learning rate.
    pub lr: f64,
    /// Share of the last step that is kept.
    pub momentum: f64,
    /// L2 term.
    pub weight_decay: f64,
    /// Nesterov's variant.
    pub nesterov: bool,
}

impl Default for SgdSpec {
    fn default() -> Self {
        Self { lr: 0.01, momentum: 0.9, weight_decay: 0.0, nesterov: false }
    }
}

/// Options of Adam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamSpec {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// L2 term.
    pub weight_decay: f64,
}

impl Default for AdamSpec {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Options of AdamW.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamwSpec {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamwSpec {
    fn default() -> Self {
        Self { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }
    }
}
