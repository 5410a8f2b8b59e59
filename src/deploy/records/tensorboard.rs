//! The epochs of every training, for TensorBoard: a folder per stage with an event file.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::event_file::{EventFile, Scalar};
use super::{nothing, write_file};
use crate::collect::named::Names;
use crate::error::Error;
use crate::plan::Plan;
use crate::store::{Manifest, Store};
use crate::train::EpochRecord;

/// Write the event files; returns their number.
///
/// # Errors
/// The store has no training of this experiment, or a file cannot be read or written.
pub(super) fn write(plan: &Plan, store: &Store, folder: &Path) -> Result<usize, Error> {
    let mut names = Names::default();
    let mut written = 0;
    for stage in plan.stages() {
        let Some(manifest) = store.manifest(&stage.fingerprint)? else { continue };
        let epochs = store.history(&manifest)?;
        if epochs.is_empty() {
            continue;
        }
        let run = folder.join(names.unique(&stage.id));
        let (started, _) = times(&manifest);
        let file = run.join(format!("events.out.tfevents.{started:.0}.medmerge"));
        fs::create_dir_all(&run).map_err(super::unwritable(&run))?;
        write_file(&file, &events(&manifest, &epochs))?;
        written += 1;
    }
    if written == 0 { Err(nothing(plan, "a training")) } else { Ok(written) }
}

/// Start and duration of a stage, in seconds.
fn times(manifest: &Manifest) -> (f64, f64) {
    let started = manifest.header.started.duration_since(UNIX_EPOCH);
    (started.map_or(0.0, |since| since.as_secs_f64()), manifest.header.seconds)
}

/// Steps are epochs, from 1. The store does not know when each ended, so they are spread over the stage's time.
fn events(manifest: &Manifest, epochs: &[EpochRecord]) -> Vec<u8> {
    let (started, seconds) = times(manifest);
    let mut file = EventFile::new(started);
    for (i, epoch) in epochs.iter().enumerate() {
        let time = started + seconds * (i + 1) as f64 / epochs.len() as f64;
        file.add(time, epoch.epoch + 1, &scalars(epoch));
    }
    file.into_bytes()
}

fn scalars(epoch: &EpochRecord) -> Vec<Scalar> {
    let scalar = |tag: String, value| Scalar { tag, value };
    let train = [("train/loss", epoch.train_loss), ("train/lr", epoch.lr)];
    let train = train.into_iter().map(|(tag, value)| scalar(tag.to_owned(), value));
    train.chain(epoch.val.iter().map(|(name, value)| scalar(format!("val/{name}"), *value))).collect()
}
