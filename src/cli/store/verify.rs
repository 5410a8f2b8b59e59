//! `medmerge store verify`.

use std::io::Write;

use super::Error;
use crate::cli::output::{count, stdout};
use crate::store::{Store, StoreError};

/// # Errors
/// Every entry and every file of decoded images that cannot be used.
pub(super) fn verify(store: &Store) -> Result<(), Error> {
    let fingerprints = store.fingerprints()?;
    let verified = |fingerprint| match store.get(fingerprint) {
        // Set aside in the meantime, or removed by another process.
        Err(StoreError::Missing { .. }) | Ok(_) => None,
        Err(error) => Some(error),
    };
    let mut problems: Vec<_> = fingerprints.iter().filter_map(verified).collect();
    let mut out = stdout();
    let entries = count(fingerprints.len(), "entry", "entries");
    writeln!(out, "{entries}, {}", how_many(fingerprints.len(), &problems))?;
    let (images, damaged) = store.verify_images()?;
    if images > 0 {
        let datasets = count(images, "data set", "data sets");
        writeln!(out, "images of {datasets}, {}", how_many(images, &damaged))?;
    }
    problems.extend(damaged);
    Error::all(problems.into_iter().map(Error::from).collect())
}

/// `all intact`, or how many were not.
fn how_many(all: usize, problems: &[StoreError]) -> String {
    let set_aside = problems
        .iter()
        .filter(|problem| matches!(problem, StoreError::Damaged { .. } | StoreError::DamagedImages { .. }));
    let (whole, set_aside) = (all - problems.len(), set_aside.count());
    match problems.len() - set_aside {
        0 if set_aside == 0 => "all intact".into(),
        0 => format!("{whole} intact, {set_aside} set aside"),
        unreadable => format!("{whole} intact, {set_aside} set aside, {unreadable} unreadable"),
    }
}
