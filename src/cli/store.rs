//! `medmerge store`.

use std::io::Write;

use clap::Subcommand;
use serde_json::json;

use super::{Error, Global};
use crate::run::utc;
use crate::store::{Manifest, StoreError};

/// What the store has
#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Every entry: fingerprint, kind, size, time, stages that made it
    #[command(after_help = "\
Examples:
  medmerge store list
  medmerge store list --json | jq -r '.[] | select(.kind == \"merge\") | .fingerprint'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every file of every entry; set aside what is damaged, so that the next run makes it again
    #[command(after_help = "\
Example:
  medmerge store verify")]
    Verify,
}

impl Store {
    pub(super) fn execute(&self, global: &Global) -> Result<(), Error> {
        let store = global.open_store()?;
        match self {
            Self::List { json } => list(&store, *json),
            Self::Verify => verify(&store),
        }
    }
}

/// In the order in which they were made.
fn list(store: &crate::store::Store, as_json: bool) -> Result<(), Error> {
    let mut manifests = Vec::new();
    for fingerprint in store.fingerprints()? {
        manifests.extend(store.manifest(&fingerprint)?);
    }
    manifests.sort_by_key(|manifest| (manifest.header.started, manifest.header.fingerprint.clone()));
    let mut out = std::io::stdout().lock();
    if as_json {
        let entries: Vec<_> = manifests.iter().map(to_json).collect();
        return Ok(writeln!(out, "{:#}", serde_json::Value::from(entries))?);
    }
    for manifest in &manifests {
        let header = &manifest.header;
        let (fingerprint, kind, time) = (header.fingerprint.short(), &header.kind, utc(header.started));
        let mib = bytes(manifest) as f64 / f64::from(1 << 20);
        writeln!(out, "{fingerprint}  {kind:<19}  {mib:>8.1} MiB  {time}  {}", header.stage_ids.join(", "))?;
    }
    Ok(())
}

fn to_json(manifest: &Manifest) -> serde_json::Value {
    let header = &manifest.header;
    json!({
        "fingerprint": header.fingerprint,
        "kind": header.kind,
        "stage_ids": header.stage_ids,
        "bytes": bytes(manifest),
        "time": utc(header.started),
        "seconds": header.seconds,
    })
}

fn bytes(manifest: &Manifest) -> u64 {
    manifest.files.values().map(|file| file.bytes).sum()
}

/// # Errors
/// Every entry that cannot be used.
fn verify(store: &crate::store::Store) -> Result<(), Error> {
    let fingerprints = store.fingerprints()?;
    let verified = |fingerprint| match store.get(fingerprint) {
        // Set aside meanwhile, or removed by another process.
        Err(StoreError::Missing { .. }) | Ok(_) => None,
        Err(error) => Some(Error::from(error)),
    };
    Error::all(fingerprints.iter().filter_map(verified).collect())?;
    Ok(writeln!(std::io::stdout(), "{} entries, all whole", fingerprints.len())?)
}
