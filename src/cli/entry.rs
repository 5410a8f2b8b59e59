//! Entries of the store, by fingerprint or stage.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::device::OnDevice;
use super::experiments::stages_named;
use crate::experiment::{Experiment, Override};
use crate::identity::Fingerprint;
use crate::plan::Plan;
use crate::store::Store;

/// The unique entry whose fingerprint starts with `prefix`.
///
/// # Errors
/// There is none, or several.
pub(super) fn fingerprint(store: &Store, prefix: &str) -> Result<Fingerprint, Error> {
    let mut matching = store.fingerprints()?;
    matching.retain(|fingerprint| fingerprint.to_string().starts_with(prefix));
    let root = store.root().display();
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 => Err(Error::Usage(format!(
            "failed to find {prefix}: there is no such file, and no entry of {root} starts with it; \
             see: medmerge store list"
        ))),
        many => Err(Error::Usage(format!("{many} entries of {root} start with {prefix}; give more digits"))),
    }
}

/// The entry that an argument names which is no file.
///
/// # Errors
/// There is none, several, or it is no fingerprint.
pub(super) fn named(store: &Store, what: &str) -> Result<Fingerprint, Error> {
    if what.chars().all(|c| c.is_ascii_hexdigit()) {
        return fingerprint(store, what);
    }
    Err(Error::Usage(format!(
        "failed to find {what}: there is no such file, and it is not the fingerprint of an entry (see: medmerge store \
         list); if it is a stage, add --experiment FILE"
    )))
}

/// The entry of a stage of an experiment with some keys overridden, by the stage's name or id.
///
/// # Errors
/// There is no such stage, several, or the store lacks its entry.
pub(super) fn made(
    name: &str,
    file: &Path,
    overrides: &[Override],
    on: &OnDevice,
    store: &Store,
) -> Result<Fingerprint, Error> {
    let plan = Plan::new(Arc::new(Experiment::load_with(file, overrides)?), store, on.numerics())?;
    match stages_named(&plan, name)?[..] {
        [stage] if stage.status.is_stale() => Err(Error::Usage(format!(
            "failed to find what {} makes in {}: it has not finished; run the experiment first, or repeat the \
             --set and --device with which it ran",
            stage.id,
            store.root().display()
        ))),
        [stage] => Ok(stage.fingerprint),
        ref several => {
            let ids: Vec<_> = several.iter().map(|stage| stage.id.as_str()).collect();
            Err(Error::Usage(format!(
                "{name:?} stands for {} stages; name one of {}",
                ids.len(),
                ids.join(", ")
            )))
        }
    }
}
