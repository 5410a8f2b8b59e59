//! An experiment as one HTML page: no external address, readable without JavaScript.
//!
//! | file | what |
//! |---|---|
//! | this one | what a report shows |
//! | `page` | the page around it, its style and script |
//! | `shared` | what the page shows several times, defined once |
//! | `verdict` | the tables, and the differences to the row that they compare with |
//! | `ranks` | ranks of rows over columns: a critical-difference diagram, or pairwise wins |
//! | `options` | the options in which rows differ |
//! | `evaluated` | each model on each data set: confusion, scores of classes, curves |
//! | `wrong` | the images of which a model is most confidently wrong |
//! | `training` | the epochs of each training |
//! | `stages` | when stages ran, and for how long |
//! | `graph` | which stages take from which |
//! | `provenance` | data sets, versions, the experiment file |
//!
//! To add a section: a file here with a function that returns its content, and a line in [`render`].

mod evaluated;
mod graph;
mod options;
mod page;
mod provenance;
mod ranks;
mod shared;
mod stages;
mod training;
mod verdict;
mod wrong;

use chart::{Evaluated, Trained};
use table::Pivot;

/// What the page of an experiment shows.
#[derive(Debug, Default)]
pub struct Report {
    /// Name of the experiment.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its notes.
    pub notes: String,
    /// Names of tables, with what they show.
    pub tables: Vec<(String, Pivot)>,
    /// Names of figures, with their SVG.
    pub figures: Vec<(String, String)>,
    /// The inputs and options of each row of the evaluations: row label, and names with values.
    pub options: Vec<(String, Vec<(String, String)>)>,
    /// Predictions of each model on each data set, with the images of which it is most confidently wrong, at the first
    /// seed; none if none may be shown.
    pub evaluated: Vec<(Evaluated, Vec<Wrong>)>,
    /// Every training.
    pub trained: Vec<Trained>,
    /// Every stage, in the order of the plan.
    pub stages: Vec<Stage>,
    /// Stages that failed in the last run and are still missing, each with its error.
    pub failed: Vec<(String, String)>,
    /// Every data set.
    pub datasets: Vec<Dataset>,
    /// What is questionable.
    pub warnings: Vec<String>,
    /// Facts about how it was made: name and value.
    pub facts: Vec<(String, String)>,
    /// Texts that it was made from: a file's name and content.
    pub sources: Vec<(String, String)>,
}

/// An image with a wrong prediction.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// Its name.
    pub name: String,
    /// Its class.
    pub label: String,
    /// The class that was predicted.
    pub predicted: String,
    /// Probability of the predicted class.
    pub confidence: f64,
    /// The image as JPEG, small.
    pub jpeg: Vec<u8>,
}

/// A stage.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Ids of its inputs.
    pub inputs: Vec<String>,
    /// Versions and numerics of the programs that made it; `None` if its result is not in the store.
    pub by: Option<String>,
    /// Start in seconds since 1970, and duration in seconds; `None` if its result is not in the store.
    pub made: Option<(u64, f64)>,
    /// Peak memory in bytes of the process that made it, without the GPU's; `None` if unknown.
    pub peak_memory: Option<u64>,
}

/// A data set.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// Its name, with the axes that it depends on.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Side of its images in pixels.
    pub size: usize,
    /// Number of images in each split: training, validation, test.
    pub images: [usize; 3],
    /// Class names, with the number of images that have the class in each split.
    pub classes: Vec<(String, [usize; 3])>,
    /// Digest of its content.
    pub digest: String,
    /// Leaks between splits that the experiment allows.
    pub caveats: Vec<String>,
}

/// The page of an experiment.
pub fn render(report: &Report) -> String {
    let sections = [
        ("results", "Results", verdict::section(report)),
        ("options", "What differs between rows", options::section(report)),
        ("models", "Models and data sets", evaluated::section(report)),
        ("training", "Training", training::section(report)),
        ("stages", "Stages", stages::section(report)),
        ("provenance", "Provenance", provenance::section(report)),
    ];
    page::page(&report.name, &report.description, &sections)
}

/// A page with the tables of several experiments, each with the address of its own page.
pub fn render_index(title: &str, reports: &[(&Report, String)]) -> String {
    page::page(title, "", &[("results", "Results", verdict::index(reports))])
}
