//! The learning rate over the epochs, with PyTorch's closed forms.

use serde::{Deserialize, Serialize};

/// The learning rate over the epochs. The kind is the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleSpec {
    /// The same throughout.
    Constant(ConstantSpec),
    /// Down a half cosine.
    Cosine(CosineSpec),
    /// Multiplied by `gamma` at each milestone.
    MultiStep(MultiStepSpec),
    /// Up, then down to almost nothing (Smith and Topin 2019, arXiv 1708.07120).
    OneCycle(OneCycleSpec),
}

impl Default for ScheduleSpec {
    fn default() -> Self {
        Self::Cosine(CosineSpec::default())
    }
}

/// Options of the constant schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConstantSpec {
    /// Epochs over which the rate rises linearly from a tenth.
    pub warmup_epochs: usize,
}

/// Options of the cosine schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineSpec {
    /// Epochs over which the rate rises linearly from a tenth.
    pub warmup_epochs: usize,
    /// Where it ends, as a share of the learning rate.
    pub min_factor: f64,
}

/// Options of the multi-step schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiStepSpec {
    /// Epochs (from 0) at which the rate falls.
    pub milestones: Vec<usize>,
    /// Factor at each milestone.
    #[serde(default = "tenth")]
    pub gamma: f64,
    /// Epochs over which the rate rises linearly from a tenth.
    #[serde(default)]
    pub warmup_epochs: usize,
}

/// Options of the one-cycle schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleSpec {
    /// Share of the epochs in which the rate rises.
    pub rise: f64,
    /// The learning rate divided by this is where it starts.
    pub start_divisor: f64,
    /// The start divided by this is where it ends.
    pub end_divisor: f64,
}

impl Default for OneCycleSpec {
    fn default() -> Self {
        Self { rise: 0.3, start_divisor: 25.0, end_divisor: 1e4 }
    }
}

fn tenth() -> f64 {
    0.1
}
