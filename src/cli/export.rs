//! `medmerge export`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, value_parser};

use super::model::NamedModel;
use super::output::stdout;
use super::{Error, Global, interrupt};
use crate::deploy::export::{Export as Model, Format, scores};
use crate::deploy::source::Source;
use crate::store::Store;

/// Export a finished model as a folder for timm or PyTorch, with a model card
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge export 1f0c9a --to timm model/
  medmerge export 'final[seed=0]' --experiment experiments/main.toml --to timm model/
  medmerge export model.safetensors --to pytorch model/

In Python, the first is loaded by timm.create_model(\"local-dir:model\", pretrained=True); the folder can be
uploaded to a hub as it is. The last has a module model.py, which makes networks that timm lacks, too: a small
stem, another width. README.md says what the model is, where it comes from and its scores in the store; what
nobody else can know is marked `to be filled in`. medmerge predict takes such folders.")]
pub(super) struct Export {
    #[command(flatten)]
    model: NamedModel,
    /// Folder to write; it must not exist or be empty
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// What the folder is for
    #[arg(long, value_enum, value_name = "PROGRAM")]
    to: Format,
    /// Side of the images in pixels [default: that of the model]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    size: Option<u16>,
}

impl Export {
    pub(super) fn execute(self, global: &Global) -> Result<(), Error> {
        let source = self.model.open(global)?;
        let input = source.input(self.size.map(usize::from))?;
        let scores = scores_of(&source, global)?;
        let export = Model { source, input, format: self.to, scores };
        export.caveats().iter().for_each(|caveat| tracing::info!("README.md says: {caveat}"));
        export.write(&self.folder, &*interrupt::listen()?)?;
        Ok(writeln!(stdout(), "{}: {}", self.folder.display(), export.source.model.info.backbone)?)
    }
}

/// Scores in the store, if there is one.
fn scores_of(source: &Source, global: &Global) -> Result<Vec<scores::Scored>, Error> {
    match (&source.lineage, Store::existing(&global.store)) {
        (Some(lineage), Ok(store)) => scores::scores(&store, &lineage.root),
        _ => Ok(Vec::new()),
    }
}
