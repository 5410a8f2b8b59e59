//! The experiment file: TOML in, typed specs out, every error at once.
//!
//! | file | pass |
//! |---|---|
//! | `load` | the passes in turn: [`Experiment::load`] |
//! | `source` | the text of the file, its parts and its overrides: [`Source`] |
//! | `include` | parts that several files share, laid under the file |
//! | `tree` | text to a tree in which everything knows where it stands; all syntax errors |
//! | `overrides` | keys that the command line sets, put into the tree: they pass through all checks |
//! | `document` | sections, names and kinds |
//! | `sweep`, `interpolate` | axes; `${axis}` and `${data}` filled in |
//! | `shape` | short ways of writing made long; `[train]` merged into the stages that train |
//! | `draft` | each section on its own, at each combination of the axes that it mentions |
//! | `decode` | the tree held against the shape of a spec, every error, then decoded |
//! | `resolve` | names, circles, order, axes |
//! | [`table_spec`], [`figure_spec`] | the keys of `[table.<name>]`, `[figure.<name>]` |
//! | `tables`, `figures` | the names in them checked |
//! | `expand` | the instances |
//! | `method` | a merge method on its own, as the command line has it |
//! | `schema`, `reference` | the JSON Schema for editors, the reference of keys for people |
//! | `error` | what a person gets to read |

mod decode;
mod document;
mod draft;
mod error;
mod expand;
pub mod figure_spec;
mod figures;
mod include;
mod interpolate;
mod load;
mod method;
mod overrides;
mod reference;
mod resolve;
mod schema;
mod shape;
mod source;
mod sweep;
pub mod table_spec;
mod tables;
#[cfg(test)]
mod testing;
mod tree;

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use dataset::{DatasetSpec, LabelBudget};
use stage::StageSpec;

pub use error::{Diagnostic, Errors};
pub use figure_spec::FigureSpec;
pub use include::Part;
pub use merge_method::needs as needs_sources;
pub use method::merge_method;
pub use overrides::{Override, share_out};
pub use reference::reference;
pub use schema::json_schema;
pub use source::Source;
pub use table_spec::TableSpec;

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
    /// `[figure.<name>]`, in the order of the file.
    pub figures: IndexMap<String, FigureSpec>,
}

/// Bytes `start..end` of the source: of its text or, behind that, of its parts and then its overrides.
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
    /// Floats in their shortest form that reads back as a float: `1.0`, `1e-5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
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
    /// How many of its training images count.
    pub labels: LabelBudget,
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
    /// Indices into [`Experiment::stages`], in the order of [`stage::Stage::inputs`].
    pub inputs: Vec<usize>,
    /// Indices into [`Experiment::datasets`], in the order of [`stage::Stage::datasets`].
    pub datasets: Vec<usize>,
    /// Of the section's name, for messages.
    pub span: Span,
}

impl StageInstance {
    /// `name[axis=value,…]`, or `name` if it depends on no axis.
    pub fn id(&self) -> String {
        id(&self.name, &self.at)
    }
}

impl DatasetInstance {
    /// `name[axis=value,…]`, or `name` if it mentions no axis.
    pub fn id(&self) -> String {
        id(&self.name, &self.at)
    }
}

fn id(name: &str, at: &Coordinates) -> String {
    if at.is_empty() {
        return name.to_owned();
    }
    let at: Vec<String> = at.iter().map(|(axis, value)| format!("{axis}={value}")).collect();
    format!("{name}[{}]", at.join(","))
}
