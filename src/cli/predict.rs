//! `medmerge predict`.

use std::fs::File;
use std::io::{self, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};

use clap::{Args, value_parser};

use super::model::NamedModel;
use super::output::stdout;
use super::stderr::has_color;
use super::{Error, Global, interrupt};
use crate::deploy::images::{self, ImageFile};
use crate::deploy::predict::{Flips, Predictor};
use crate::deploy::rows::{Options, write};
use crate::kind::file::{beside, publish};
use crate::merge_files::FileError;
use crate::run::reporter::Count;

/// Predict the classes of images with a finished model
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge predict model.safetensors scan.png
  medmerge predict 1f0c9a images/ --out predictions.csv
                                           all JPEG, PNG and DICOM files below a folder
  medmerge predict 1f0c9a list.csv --out predictions.csv
                                           the images in the column `image` of a CSV
  medmerge predict 'final[seed=0]' images/ --experiment experiments/main.toml
                                           with what a stage made

Prints CSV: image, the predicted class, and a column p_<class> with the probability of each class; one row per
image, in the order given. Of a multi-label model, all classes with a probability of at least 0.5 are predicted,
separated by `|`. Images need no labels. They are decoded, resized and normalized as for training. Links to folders
are followed; each folder is read once.")]
pub(super) struct Predict {
    #[command(flatten)]
    model: NamedModel,
    /// Image files, folders of images, and CSVs with a column `image`
    #[arg(required = true, value_name = "IMAGE|FOLDER|CSV")]
    images: Vec<PathBuf>,
    /// Path of the predictions [default: stdout]
    #[arg(long, short, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "out")]
    force: bool,
    /// Side of the images in pixels [default: that of the model]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=4096))]
    size: Option<u16>,
    /// Average the probabilities of an image and its mirror image, or of both and both upside down
    #[arg(
        long, value_enum, value_name = "FLIPS", num_args = 0..=1, require_equals = true,
        default_value = "none", default_missing_value = "horizontal", hide_default_value = true
    )]
    flips: Flips,
    /// Largest number of images in memory at the same time, which does not affect results; fewer if they would take
    /// more than about 1 GiB
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u16).range(1..))]
    batch_size: u16,
    /// Leave out images that cannot be decoded, with a warning, and count them at the end
    #[arg(long)]
    skip_damaged: bool,
}

impl Predict {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        if let Some(out) = self.out.as_ref().filter(|out| out.exists() && !self.force) {
            return Err(Error::Usage(format!(
                "{} already exists; choose another --out, or replace it with --force",
                out.display()
            )));
        }
        let source = self.model.open(global)?;
        let images = images::find(&self.images)?;
        let (interrupt, size) = (interrupt::listen()?, self.size.map(usize::from));
        let predictor = Predictor::new(&source, size, self.flips, self.model.on.open()?, &interrupt)?;
        let left_out = match &self.out {
            Some(path) => self.to_file(path, &predictor, &images, global)?,
            None => self.to_stdout(&predictor, &images, global)?,
        };
        if left_out > 0 {
            tracing::warn!("left out {left_out} of {} images, which cannot be decoded", images.len());
        }
        Ok(())
    }

    /// Nothing is visible before all rows are written.
    fn to_file(
        &self,
        path: &Path,
        predictor: &Predictor<'_>,
        images: &[ImageFile],
        global: &Global,
    ) -> Result<usize, Error> {
        let unwritable =
            |error: io::Error| FileError::Write { path: path.to_owned(), problem: error.to_string() };
        let file = beside(path).map_err(unwritable)?;
        let left_out = self.rows(predictor, images, file.as_file(), global).map_err(|error| match error {
            Error::Output(error) => unwritable(error).into(),
            other => other,
        })?;
        publish(file, path, self.force).map_err(unwritable)?;
        Ok(left_out)
    }

    fn to_stdout(
        &self,
        predictor: &Predictor<'_>,
        images: &[ImageFile],
        global: &Global,
    ) -> Result<usize, Error> {
        let mut file = tempfile::tempfile()?;
        let left_out = self.rows(predictor, images, &file, global)?;
        file.rewind()?;
        match io::stdout().is_terminal() {
            true => stdout().write_all(io::read_to_string(file)?.as_bytes())?,
            false => drop(io::copy(&mut file, &mut io::stdout())?),
        }
        Ok(left_out)
    }

    fn rows(
        &self,
        predictor: &Predictor<'_>,
        images: &[ImageFile],
        out: &File,
        global: &Global,
    ) -> Result<usize, Error> {
        let options = Options { batch_size: self.batch_size.into(), skip_damaged: self.skip_damaged };
        let is_shown = io::stderr().is_terminal() && !global.quiet;
        let mut count = is_shown.then(|| Count::new("images", images.len(), has_color()));
        let progress = |done| count.iter_mut().for_each(|count| count.done(done));
        // In the thread pool, as kernels run in stages.
        rayon::scope(|_| write(predictor, images, options, out, progress))
    }
}
