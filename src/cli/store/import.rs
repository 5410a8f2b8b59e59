//! `medmerge store import`.

use std::io::Write;
use std::path::Path;

use super::Error;
use crate::store::Store;
use crate::store::archive::Imported;

/// # Errors
/// An archive that cannot be imported at all; every damaged entry, after all others.
pub(super) fn import(store: &Store, archive: &Path) -> Result<(), Error> {
    let Imported { added, present, damaged } = store.import(archive)?;
    let (added, present, failed) = (added.len(), present.len(), damaged.len());
    writeln!(
        std::io::stdout(),
        "{}: {added} entries imported, {present} already present, {failed} damaged",
        archive.display()
    )?;
    Error::all(damaged.into_iter().map(Error::from).collect())
}
