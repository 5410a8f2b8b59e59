//! `medmerge store import`.

use std::io::Write;
use std::path::Path;

use super::Error;
use crate::cli::output::{count, stdout};
use crate::kind::text::visible;
use crate::store::Store;
use crate::store::archive::Imported;

/// # Errors
/// An archive that cannot be imported at all; every damaged entry, after all others.
pub(super) fn import(store: &Store, archive: &Path) -> Result<(), Error> {
    let Imported { added, present, damaged } = store.import(archive)?;
    let (added, present, failed) = (added.len(), present.len(), damaged.len());
    let (archive, added) = (archive.display().to_string(), count(added, "entry", "entries"));
    let archive = visible(&archive);
    writeln!(stdout(), "{archive}: {added} imported, {present} already present, {failed} damaged")?;
    Error::all(damaged.into_iter().map(Error::from).collect())
}
