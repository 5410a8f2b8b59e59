//! Predictions as CSV: `image,predicted,p_<class>,…`, one row per image. Of a model for a multi-label data set,
//! `predicted` lists the classes with a probability of at least 0.5: `a|b`.

use std::io::{self, Write};

use super::images::ImageFile;
use super::predict::Predictor;
use crate::dataset::Labeling;
use crate::error::Error;
use crate::metric::predictions::is_predicted;

/// How images are taken.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of images in memory at the same time, one or more.
    pub batch_size: usize,
    /// Whether an image that cannot be decoded is left out with a warning.
    pub skip_damaged: bool,
}

/// Write a header and the predictions of all images, in order. `progress` receives the number of images that are done.
/// Returns the number of images that were left out.
///
/// # Errors
/// An image cannot be decoded, or none can; the model failed; `out` cannot be written; the user interrupted.
pub fn write(
    predictor: &Predictor<'_>,
    images: &[ImageFile],
    options: Options,
    out: impl Write,
    mut progress: impl FnMut(usize),
) -> Result<usize, Error> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(header(predictor.classes())).map_err(io::Error::from)?;
    let (mut done, mut left_out) = (0, 0);
    for block in images.chunks(options.batch_size.min(predictor.most_in_a_block())) {
        for (image, outcome) in block.iter().zip(predictor.block(block)?) {
            match outcome {
                Ok(row) => {
                    csv.write_record(cells(image, predictor, &row)).map_err(io::Error::from)?;
                }
                Err(error) if options.skip_damaged => {
                    tracing::warn!("left out: {error}");
                    left_out += 1;
                }
                Err(error) => return Err(error),
            }
        }
        done += block.len();
        progress(done);
    }
    if left_out == images.len() {
        return Err(Error::Image(format!("failed to decode any of {left_out} images; nothing was written")));
    }
    csv.flush()?;
    Ok(left_out)
}

fn header(classes: &[String]) -> impl Iterator<Item = String> {
    let names = ["image", "predicted"].into_iter().map(str::to_owned);
    names.chain(classes.iter().map(|class| format!("p_{class}")))
}

/// Probabilities in the shortest form that reads back to the same number.
fn cells(image: &ImageFile, predictor: &Predictor<'_>, row: &[f32]) -> impl Iterator<Item = String> {
    let predicted = match predictor.labeling() {
        Labeling::SingleLabel => best(predictor.classes(), row),
        Labeling::MultiLabel => likely(predictor.classes(), row),
    };
    [image.name.clone(), predicted].into_iter().chain(row.iter().map(|p| format!("{p:?}")))
}

fn best(classes: &[String], row: &[f32]) -> String {
    let best = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
    classes[best].clone()
}

fn likely(classes: &[String], row: &[f32]) -> String {
    let likely = classes.iter().zip(row).filter(|(_, p)| is_predicted(f64::from(**p)));
    likely.map(|(class, _)| class.as_str()).collect::<Vec<_>>().join("|")
}
