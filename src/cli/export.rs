//! `medmerge export`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::model::NamedModel;
use super::output::stdout;
use super::results::write;
use super::{Error, Global, interrupt};
use crate::deploy::export::{Export as Model, Format, scores};
use crate::deploy::records::{self, Records};
use crate::deploy::source::Source;
use crate::store::Store;

/// Export a finished model for timm or PyTorch, or an experiment for TensorBoard, MedMNIST or as an RO-Crate
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge export 1f0c9a --to timm model/
  medmerge export 'final[seed=0]' --experiment experiments/main.toml --to timm model/
  medmerge export model.safetensors --to pytorch model/
  medmerge export experiments/main.toml --to tensorboard logs/
  medmerge export experiments/main.toml --to medmnist evaluation/
  medmerge export experiments/main.toml --to ro-crate crate/ --author 'A. Name' \\
      --license https://spdx.org/licenses/CC-BY-4.0

In Python, the first is loaded by timm.create_model(\"local-dir:model\", pretrained=True); the folder can be
uploaded to a hub as it is. The third has a module model.py, which makes networks that timm lacks, too: a small
stem, another width. README.md says what the model is, where it comes from and its scores in the store; what
nobody else can know is marked `to be filled in`. medmerge predict takes such folders.

`tensorboard --logdir logs` shows the epochs of every training. MedMNIST's evaluator reads predictions on its
data sets: medmnist.Evaluator.parse_and_evaluate. A crate describes inputs, software, parameters and results
for archives such as Zenodo and WorkflowHub; images and models are not in it.")]
pub(super) struct Export {
    #[command(flatten)]
    model: NamedModel,
    /// Folder to write; it must not exist or be empty
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What the folder is for
    #[arg(long, value_enum, value_name = "PROGRAM")]
    to: To,
    /// Side of the images in pixels [default: that of the model]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    size: Option<u16>,
    /// License of the RO-Crate, as a URL
    #[arg(long, value_name = "URL")]
    license: Option<String>,
    /// Name of the person who ran the experiment, for the RO-Crate
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

/// What a folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// A model for timm.create_model("local-dir:FOLDER", pretrained=True), and model hubs
    Timm,
    /// A model with a Python module that makes the network and loads it with PyTorch
    Pytorch,
    /// An experiment's trainings as event files, for `tensorboard --logdir FOLDER`
    Tensorboard,
    /// An experiment's predictions as evaluation files, for medmnist.Evaluator
    Medmnist,
    /// An experiment's files and results with their origin, as a Workflow Run RO-Crate
    RoCrate,
}

impl Export {
    pub(super) fn execute(self, global: &Global) -> Result<(), Error> {
        if (self.license.is_some() || self.author.is_some()) && self.to != To::RoCrate {
            return Err(Error::Usage("--license and --author are for --to ro-crate; omit them".into()));
        }
        if self
            .license
            .as_ref()
            .is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://"))
        {
            let message = "--license must be a URL, such as https://spdx.org/licenses/CC-BY-4.0";
            return Err(Error::Usage(message.into()));
        }
        match self.to {
            To::Timm => self.model(Format::Timm, global),
            To::Pytorch => self.model(Format::Pytorch, global),
            To::Tensorboard => self.experiment(records::Format::Tensorboard, global),
            To::Medmnist => self.experiment(records::Format::Medmnist, global),
            To::RoCrate => self.experiment(records::Format::RoCrate, global),
        }
    }

    fn model(self, format: Format, global: &Global) -> Result<(), Error> {
        let source = self.model.open(global)?;
        let input = source.input(self.size.map(usize::from))?;
        let scores = scores_of(&source, global)?;
        let export = Model { source, input, format, scores };
        export.caveats().iter().for_each(|caveat| tracing::info!("README.md says: {caveat}"));
        export.write(&self.folder, &*interrupt::listen()?)?;
        Ok(writeln!(stdout(), "{}: {}", self.folder.display(), export.source.model.info.backbone)?)
    }

    fn experiment(self, format: records::Format, global: &Global) -> Result<(), Error> {
        if self.size.is_some() {
            return Err(Error::Usage("--size is for models; omit it".into()));
        }
        let store = global.open_store_to_read()?;
        let plan = self.model.plan(&store)?;
        let results = match format {
            records::Format::RoCrate => write(&plan, &store, global)?.files(&plan, global),
            _ => Vec::new(),
        };
        let records =
            Records { plan: &plan, store: &store, results, license: self.license, author: self.author };
        let summary = records.write(format, &self.folder, &*interrupt::listen()?)?;
        Ok(writeln!(stdout(), "{}: {summary}", self.folder.display())?)
    }
}

/// Scores in the store, if there is one.
fn scores_of(source: &Source, global: &Global) -> Result<Vec<scores::Scored>, Error> {
    match (&source.lineage, Store::existing(&global.store)) {
        (Some(lineage), Ok(store)) => scores::scores(&store, &lineage.root),
        _ => Ok(Vec::new()),
    }
}
