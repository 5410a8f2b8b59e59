//! `medmerge show`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use safetensors::SafeTensors;

use super::{Error, Global};
use crate::plan::Fingerprint;
use crate::store::{Manifest, Store};

/// Say where a checkpoint or an entry of the store comes from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  medmerge show .medmerge/store/1f/1f0c…/model.safetensors
  medmerge show 1f0c9a                     the first digits of a fingerprint are enough")]
pub(super) struct Show {
    /// A .safetensors file, or a fingerprint
    #[arg(value_name = "FILE.safetensors|FINGERPRINT")]
    what: PathBuf,
}

impl Show {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        if self.what.is_file() {
            return show_checkpoint(&self.what);
        }
        let store = global.open_store()?;
        let fingerprint = fingerprint(&store, &self.what.to_string_lossy())?;
        let (short, root) = (fingerprint.short(), store.root().display());
        let gone = || Error::Usage(format!("the entry {short} of {root} is damaged and was set aside"));
        show_entry(&store.manifest(&fingerprint)?.ok_or_else(gone)?)
    }
}

/// Its provenance, then its tensors.
fn show_checkpoint(path: &Path) -> Result<(), Error> {
    let unreadable = |message: String| Error::Read { path: path.to_owned(), message };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    // SAFETY: as everywhere that files are mapped: whoever changes the file meanwhile gets what they ask for.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|error| unreadable(error.to_string()))?;
    let not_safetensors = |error| unreadable(format!("it is no safetensors file: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(&map).map_err(not_safetensors)?;
    let mut out = std::io::stdout().lock();
    for (key, value) in metadata.metadata().iter().flatten() {
        let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::from(value.as_str()));
        writeln!(out, "{key}: {value:#}")?;
    }
    let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
    for (name, tensor) in tensors {
        writeln!(out, "{name}  {:?} {:?}", tensor.dtype, tensor.shape)?;
    }
    Ok(())
}

/// The one entry whose fingerprint starts so.
///
/// # Errors
/// None does, or several do.
pub(super) fn fingerprint(store: &Store, prefix: &str) -> Result<Fingerprint, Error> {
    let mut matching = store.fingerprints()?;
    matching.retain(|fingerprint| fingerprint.0.starts_with(prefix));
    let root = store.root().display();
    match matching.len() {
        1 => Ok(matching.remove(0)),
        0 => Err(Error::Usage(format!(
            "failed to find {prefix}: there is no such file, and no entry of {root} starts so; \
             see: medmerge store list"
        ))),
        many => Err(Error::Usage(format!("{many} entries of {root} start with {prefix}; write more digits"))),
    }
}

/// Its manifest.
fn show_entry(manifest: &Manifest) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(manifest).expect("manifests have string keys only");
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
