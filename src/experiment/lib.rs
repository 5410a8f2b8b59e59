//! The experiment file: parses TOML into typed specs and reports all errors at once.
//!
//! | file | pass |
//! |---|---|
//! | `load` | all passes: [`Experiment::load`] |
//! | `source` | the text of the file, its parts and its overrides: [`Source`] |
//! | `include` | parts shared by several files, merged under the file |
//! | `tree`, `brackets` | text to a tree with source locations; the first syntax error |
//! | `overrides` | keys set on the command line, merged into the tree before all checks |
//! | `document` | sections, names and kinds |
//! | `sweep`, `interpolate` | axes; `${axis}` and `${data}` substituted |
//! | `shape` | short forms expanded; `[train]` merged into the stages that train |
//! | `draft` | each section by itself, at each combination of the axes that it uses |
//! | `decode` | a tree checked against the shape of a spec, then decoded |
//! | `resolve`, `gather` | names, cycles, order, axes; the axes that stages gather |
//! | [`table_spec`], [`figure_spec`] | the keys of `[table.<name>]`, `[figure.<name>]` |
//! | [`over`] | the axes that a table takes means over |
//! | `tables`, `table_statistics`, `figures` | checks of the names in them, and of what tables compute |
//! | [`cell`] | the cell of a table that a score falls into |
//! | `shown` | checks of what they will show |
//! | `expand` | the instances |
//! | `method` | a merge method by itself, from the command line |
//! | `schema`, `reference` | the JSON Schema for editors, the reference of keys for the guide |
//! | `error` | errors with source locations |

mod brackets;
pub mod cell;
mod decode;
mod document;
mod draft;
mod error;
mod expand;
pub mod figure_spec;
mod figures;
mod gather;
mod include;
mod interpolate;
mod load;
mod method;
pub mod over;
mod overrides;
mod reference;
mod resolve;
mod schema;
mod shape;
mod shown;
mod source;
mod sweep;
pub mod table_spec;
mod table_statistics;
mod tables;
#[cfg(test)]
mod testing;
mod tree;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use dataset::{DatasetSpec, LabelBudget};
use stage::StageSpec;
use train::TrainSpec;

pub use error::{Diagnostic, Errors};
pub use figure_spec::{FigureSpec, Shows};
pub use include::Part;
pub use merge_method::needs as needs_sources;
pub use method::merge_method;
pub use over::Over;
pub use overrides::{Override, share_out};
pub use reference::{KeyDefault, KeyReference, KindReference, dataset_kinds, reference};
pub use schema::json_schema;
pub use source::Source;
pub use table_spec::TableSpec;

/// A checked experiment with an expanded sweep.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// `[experiment] name`: the folder under `results/`.
    pub name: String,
    /// `[experiment] description`.
    pub description: String,
    /// `[experiment] notes`: text to print below the tables.
    pub notes: String,
    /// The source it was read from.
    pub source: Arc<Source>,
    /// Sweep axes, in file order.
    pub axes: IndexMap<String, Vec<AxisValue>>,
    /// `[train]` at each combination of the axes that it uses; empty if it is absent.
    pub train: Vec<TrainSpec>,
    /// Every data set, once per combination of the axes that it uses.
    pub datasets: Vec<DatasetInstance>,
    /// Every stage, once per combination of the axes that it depends on; inputs first.
    pub stages: Vec<StageInstance>,
    /// Tables, in file order.
    pub tables: IndexMap<String, TableSpec>,
    /// Figures, in file order.
    pub figures: IndexMap<String, FigureSpec>,
    /// Locations of the names of tables and figures, for messages.
    pub spans: IndexMap<String, Span>,
}

impl Experiment {
    /// The stages of which figures show this.
    pub fn shown_in_figures(&self, what: Shows) -> HashSet<&String> {
        self.figures
            .values()
            .filter(|figure| figure.shows() == what)
            .flat_map(|figure| figure.from())
            .collect()
    }
}

/// Byte range of the source: of its text, followed by its parts and its overrides.
pub type Span = std::ops::Range<usize>;

/// A value of a sweep axis, as written into strings and result tables.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisValue {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Boolean(bool),
}

impl AxisValue {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Float(float) => Some(*float),
            Self::String(_) | Self::Boolean(_) => None,
        }
    }
}

impl fmt::Display for AxisValue {
    /// Floats are printed in the shortest form that parses as the same float: `1.0`, `1e-5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Boolean(truth) => write!(f, "{truth}"),
        }
    }
}

/// Values of the axes that something depends on, in the order of `[sweep]`.
pub type Coordinates = IndexMap<String, AxisValue>;

/// A data set at one combination of its axes.
#[derive(Clone, Debug)]
pub struct DatasetInstance {
    /// Name of the section: `[dataset.<name>.…]`.
    pub name: String,
    /// Values of the axes that it uses.
    pub at: Coordinates,
    /// The spec, with `${axis}` substituted and paths resolved relative to the experiment file.
    pub spec: DatasetSpec,
    /// The label budget: which training images are used.
    pub labels: LabelBudget,
    /// Location of the section's name, for messages.
    pub span: Span,
}

/// A stage at one combination of its axes.
#[derive(Clone, Debug)]
pub struct StageInstance {
    /// Name of the section: `[stage.<name>.…]`.
    pub name: String,
    /// Values of the axes that it depends on, directly or through an input.
    pub at: Coordinates,
    /// The spec, with `${axis}` substituted and `[train]` merged.
    pub spec: StageSpec,
    /// Indices into [`Experiment::stages`], in the order of [`stage::Stage::inputs`].
    pub inputs: Vec<usize>,
    /// Indices into [`Experiment::datasets`], in the order of [`stage::Stage::datasets`].
    pub datasets: Vec<usize>,
    /// Location of the section's name, for messages.
    pub span: Span,
}

impl StageInstance {
    /// `name[axis=value,…]`, or `name` if it depends on no axis.
    pub fn id(&self) -> String {
        id(&self.name, &self.at)
    }
}

impl DatasetInstance {
    /// `name[axis=value,…]`, or `name` if it uses no axis.
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
