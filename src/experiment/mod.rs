//! The experiment file: TOML in, typed specs out, every error at once.

mod errors;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

pub use errors::Errors;

use crate::dataset::DatasetSpec;
use crate::stage::StageSpec;
use crate::table::TableSpec;

/// A checked experiment, with its sweep expanded.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// `[experiment] name`; the folder under `results/`.
    pub name: String,
    /// `[experiment] description`.
    pub description: String,
    /// The file it was read from.
    pub source: Arc<Source>,
    /// `[sweep]`: axes in the order of the file.
    pub axes: IndexMap<String, Vec<AxisValue>>,
    /// Every data set, once for each combination of the axes that it mentions.
    pub datasets: Vec<DatasetInstance>,
    /// Every stage, once for each combination of the axes that it mentions; inputs before users.
    pub stages: Vec<StageInstance>,
    /// `[table.<name>]`, in the order of the file.
    pub tables: IndexMap<String, TableSpec>,
}

/// The text of an experiment file, for messages that point into it.
#[derive(Debug)]
pub struct Source {
    /// Where it was read.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// Bytes `start..end` of the source.
pub type Span = std::ops::Range<usize>;

/// One value of a sweep axis, as it is written into strings and result tables.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisValue {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A truth value.
    Boolean(bool),
}

impl fmt::Display for AxisValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(value) => f.write_str(value),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

/// The values of the axes that something depends on, in the order of `[sweep]`.
pub type Coordinates = IndexMap<String, AxisValue>;

/// A data set at one combination of its axes.
#[derive(Clone, Debug)]
pub struct DatasetInstance {
    /// As written: `[dataset.<name>.…]`.
    pub name: String,
    /// The axes that it mentions.
    pub at: Coordinates,
    /// With `${axis}` filled in, and paths made relative to the experiment file.
    pub spec: DatasetSpec,
    /// Of the section's name, for messages.
    pub span: Span,
}

/// A stage at one combination of its axes.
#[derive(Clone, Debug)]
pub struct StageInstance {
    /// As written: `[stage.<name>.…]`.
    pub name: String,
    /// The axes that it mentions, itself or through an input.
    pub at: Coordinates,
    /// With `${axis}` filled in and `[train]` merged.
    pub spec: StageSpec,
    /// Indices into [`Experiment::stages`], in the order of [`crate::stage::Stage::inputs`].
    pub inputs: Vec<usize>,
    /// Indices into [`Experiment::datasets`], in the order of [`crate::stage::Stage::datasets`].
    pub datasets: Vec<usize>,
    /// Of the section's name, for messages.
    pub span: Span,
}
